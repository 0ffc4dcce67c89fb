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
 * @param label index of the class in {@link EgoSim#classes}
 */
public record Clip(byte[] rgb, float[] flow, float[] pose, int label) {
    /** The arrays by their modalities, as a {@link tessera.distill.data.ClipSet} takes them. */
    Map<Modality, MemorySegment> samples() {
        return Map.of(
                Modality.RGB, MemorySegment.ofArray(rgb),
                Modality.FLOW, MemorySegment.ofArray(flow),
                Modality.POSE, MemorySegment.ofArray(pose));
    }
}
