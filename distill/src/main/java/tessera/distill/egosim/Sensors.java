package tessera.distill.egosim;

import tessera.distill.data.Geometry;

/**
 * What the estimators of flow and pose make of the truth.
 *
 * @param poseSigma standard deviation of a joint's Gaussian, in image pixels
 * @param flowErrors whether flow is blurred at motion boundaries and carries noise and outliers, as an estimator's would
 * @param poseErrors whether joints jitter and whole hands or single joints are missed now and then
 */
public record Sensors(double poseSigma, boolean flowErrors, boolean poseErrors) {
    public Sensors {
        if (!(poseSigma > 0)) {
            throw new IllegalArgumentException(
                    "egosim: poseSigma is " + poseSigma + " but must be positive; pass for instance 10 for size 224");
        }
    }

    /** Estimators of usual quality; sigma is 10 pixels of a picture of 224. */
    public static Sensors realistic(Geometry geometry) {
        return new Sensors(10.0 / 224 * geometry.size(), true, true);
    }

    /** The truth itself. */
    public static Sensors exact(Geometry geometry) {
        return new Sensors(10.0 / 224 * geometry.size(), false, false);
    }
}
