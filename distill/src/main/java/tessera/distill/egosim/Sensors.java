package tessera.distill.egosim;

import tessera.distill.data.Geometry;

/**
 * What estimators, detectors and the microphone make of the truth.
 *
 * @param poseSigma standard deviation of a joint's Gaussian, in image pixels
 * @param flowErrors whether flow is blurred at motion boundaries and carries noise and outliers, as an estimator's would
 * @param poseErrors whether joints jitter and whole hands or single joints are missed now and then
 * @param boxErrors whether boxes jitter (by 2 to 6 % of their size, drawn for each clip), are missed (3 % of frames begin a while
 *     without a thing, half-hidden things are missed in 15 % of frames more), are invented (in a quarter of frames, with low
 *     scores), carry scores that fall with their error, and are of the wrong class (2 %), side (3 %) or state of contact (8 %); the
 *     figures are chosen, not measured on a detector
 * @param soundErrors whether sound is that of a room: under the clip's own sound lie pink noise and mains hum (10 to 25 dB lower in
 *     homes, 5 to 20 in kitchens, 0 to 15 in workshops), 30 % of clips hold a stroke of something else, and the microphone's gain is
 *     from -6 to 6 dB; figures chosen, too
 */
public record Sensors(
        double poseSigma, boolean flowErrors, boolean poseErrors, boolean boxErrors, boolean soundErrors) {
    public Sensors {
        if (!(poseSigma > 0)) {
            throw new IllegalArgumentException(
                    "egosim: poseSigma is " + poseSigma + " but must be positive; pass for instance 10 for size 224");
        }
    }

    /** Estimators of usual quality; sigma is 10 pixels of a picture of 224. */
    public static Sensors realistic(Geometry geometry) {
        return new Sensors(10.0 / 224 * geometry.size(), true, true, true, true);
    }

    /** The truth itself. */
    public static Sensors exact(Geometry geometry) {
        return new Sensors(10.0 / 224 * geometry.size(), false, false, false, false);
    }
}
