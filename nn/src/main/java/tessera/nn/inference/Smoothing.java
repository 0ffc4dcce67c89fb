package tessera.nn.inference;

/** How the predictions of a stream's windows, which may overlap, become steadier ones. Immutable. */
public sealed interface Smoothing {
    /** Every window by itself. */
    static Smoothing none() {
        return mean(1);
    }

    /**
     * The mean of the probabilities of the last windows; of fewer at the beginning.
     *
     * @param windows 1 or more; 1 is no smoothing
     */
    static Smoothing mean(int windows) {
        return new Mean(windows);
    }

    /**
     * The newest window's probabilities times {@code weight} plus the last smoothed ones times {@code 1 - weight}.
     *
     * @param weight in (0, 1]; 1 is no smoothing
     */
    static Smoothing exponential(double weight) {
        return new Exponential(weight);
    }

    /** See {@link Smoothing#mean}. */
    record Mean(int windows) implements Smoothing {
        public Mean {
            if (windows < 1) {
                throw new IllegalArgumentException(
                        "smoothing: the mean of " + windows + " windows; pass 1 or more, 1 for none");
            }
        }
    }

    /** See {@link Smoothing#exponential}. */
    record Exponential(double weight) implements Smoothing {
        public Exponential {
            if (!(weight > 0 && weight <= 1)) {
                throw new IllegalArgumentException("smoothing: the newest window has the weight " + weight
                        + "; pass one above 0 and at most 1, 1 for none");
            }
        }
    }
}
