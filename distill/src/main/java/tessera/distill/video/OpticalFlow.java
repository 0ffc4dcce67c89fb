package tessera.distill.video;

import tessera.nn.inference.VideoClip;

/** Dense optical flow: where each pixel of a frame lies in the next one. */
@FunctionalInterface
public interface OpticalFlow {
    /** Frames must be at least so high and wide. */
    int SMALLEST = 16;

    /**
     * The flow of a clip.
     *
     * @param clip two frames or more
     * @return {@code [T, H, W, 2]}: how many pixels of the given frames each pixel moves to the right and down until the next frame.
     *     The last frame has no next one and repeats the flow of the one before it
     * @throws IllegalArgumentException if the clip has one frame, or frames smaller than {@link #SMALLEST}
     */
    float[] of(VideoClip clip);

    /**
     * Dense inverse search (Kroeger et al., ECCV 2016) as OpenCV computes it with its medium preset, on grey pictures and, as clips
     * for models are small, down to their full resolution. The same frames give the same flow. Thread-safe; one processor at a time
     * and call.
     *
     * @throws IllegalStateException if OpenCV cannot be loaded here
     */
    static OpticalFlow dis() {
        return new DisFlow();
    }
}
