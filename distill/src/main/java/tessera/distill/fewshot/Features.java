package tessera.distill.fewshot;

/** Checks of feature rows and of the examples that they are. */
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

    static void requireViews(String operation, double[][][] views) {
        if (views.length == 0) {
            throw new IllegalArgumentException(operation + ": no view of the examples given; pass one or more");
        }
    }

    /** Refuses rows that do not fit their labels, are not finite, or leave a class without an example. */
    static void requireExamples(String operation, double[][] features, int[] labels, int classes) {
        if (classes < 2) {
            throw new IllegalArgumentException(operation + ": " + classes + " class(es) given; it needs 2 or more");
        }
        if (features.length != labels.length) {
            throw new IllegalArgumentException(operation + ": " + features.length + " feature rows but " + labels.length
                    + " labels; pass one label for each row");
        }
        int[] examples = new int[classes];
        for (int i = 0; i < labels.length; i++) {
            if (labels[i] < 0 || labels[i] >= classes) {
                throw new IllegalArgumentException(operation + ": label " + labels[i] + " of example " + i
                        + " is outside 0.." + (classes - 1) + "; number the classes from 0");
            }
            examples[labels[i]]++;
            if (features[i].length != features[0].length || features[i].length == 0) {
                throw new IllegalArgumentException(operation + ": example " + i + " has " + features[i].length
                        + " features but example 0 has " + features[0].length + "; pass rows of one length over 0");
            }
            requireFinite(operation, "example " + i, features[i]);
        }
        for (int k = 0; k < classes; k++) {
            if (examples[k] == 0) {
                throw new IllegalArgumentException(operation + ": class " + k + " has no example among " + labels.length
                        + "; give every class at least one");
            }
        }
    }
}
