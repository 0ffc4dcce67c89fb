package tessera.distill.egosim;

import java.util.Set;

/** What a clip can hold; whatever is not asked for is not computed. */
public enum Modality {
    /** Frames, u8 [T, H, W, 3]. */
    RGB,
    /** Optical flow in pixels, f32 [T, H, W, 2]. */
    FLOW,
    /** Heat maps of the 21 hand joints, f32 [T, h, w, 21]. */
    POSE;

    /** Every modality. */
    public static final Set<Modality> ALL = Set.of(values());
}
