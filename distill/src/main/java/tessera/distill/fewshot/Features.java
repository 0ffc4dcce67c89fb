package tessera.distill.fewshot;

/** Checks of feature rows. */
final class Features {
    private Features() {}

    static void requireFinite(String operation, String row, double[] features) {
        for (int j = 0; j < features.length; j++) {
            if (!Double.isFinite(features[j])) {
                throw new IllegalArgumentException(operation + ": feature " + j + " of " + row + " is " + features[j]
                        + "; every feature must be finite, so check the model and the clip that gave it");
            }
        }
    }
}
