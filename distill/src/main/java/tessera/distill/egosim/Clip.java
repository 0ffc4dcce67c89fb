package tessera.distill.egosim;

import java.lang.foreign.MemorySegment;
import java.util.Map;
import tessera.distill.data.Modality;

/**
 * One rendered clip. The arrays belong to the caller; an array whose modality was not asked for has length 0.
 *
 * @param rgb frames, u8 [T, H, W, 3]
 * @param flow motion in pixels (right, down) from frame t to t + 1, f32 [T, H, W, 2]; the last frame's leads to a frame
 *     that is not shown
 * @param pose heat maps, f32 [T, h, w, 21], in [0, 1]; both hands share the channels by maximum
 * @param boxes of hands and objects, f32 [T, 14, 1, 8]: left, top, right, bottom in [0, 1] of the frame; score; class 1 for an
 *     object, 2 for a hand; of a hand, side 1 for the left one, 2 for the right, and contact state 1 for none, 4 for a portable
 *     object (those of "Understanding human hands in contact at internet scale", 2020, each 1 more), of an object both 0. In each
 *     frame the right hand, the left one, the object that is acted on, those that lie around, then padding (0, 0, 1e-9, 1e-9, 0,
 *     0, 0, 0)
 * @param audio mel spectrograms in dB of the sound around each frame, f32 [T, H, H, 1], see {@link
 *     tessera.nn.audio.MelSpectrogram}
 * @param waveform the sound that they are made of: {@link EgoSim#SECONDS} in full scale [-1, 1] at {@link EgoSim#SOUND_RATE} Hz
 * @param label index of the class in {@link EgoSim#classes}
 */
public record Clip(byte[] rgb, float[] flow, float[] pose, float[] boxes, float[] audio, float[] waveform, int label) {
    /** The arrays by their modalities, as a {@link tessera.distill.data.ClipSet} takes them. */
    Map<Modality, MemorySegment> samples() {
        return Map.of(
                Modality.RGB, MemorySegment.ofArray(rgb),
                Modality.FLOW, MemorySegment.ofArray(flow),
                Modality.POSE, MemorySegment.ofArray(pose),
                Modality.BOXES, MemorySegment.ofArray(boxes),
                Modality.AUDIO, MemorySegment.ofArray(audio));
    }
}
