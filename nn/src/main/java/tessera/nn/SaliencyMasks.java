package tessera.nn;

import java.util.Arrays;
import tessera.tensor.TokenMask;

/** Tube masks that show the cells of which the passes before saw, or expect, the largest tokens. */
record SaliencyMasks() implements MaskStrategy {
    @Override
    public TokenMask draw(MaskContext c) {
        if (c.member() == 0) {
            return MaskStrategy.tubes().draw(c);
        }
        float[][] saliency = c.saliency();
        if (saliency == null || saliency.length != c.batch()) {
            throw new IllegalArgumentException(
                    "saliency masks after the first follow the pass before, which is not known"
                            + " here; use an ensemble of 1, or another strategy, such as pairs");
        }
        return HostMasks.tubes(c, clip -> {
            int[] cells = HostMasks.falling(c, clip, values(saliency[clip], c.grid()));
            return Arrays.copyOf(cells, c.shown());
        });
    }

    /** How much each cell is worth looking at: any that was not seen is worth more than all that were. */
    private static double[] values(float[] saliency, TokenGrid grid) {
        int plane = grid.plane();
        double[] values = new double[plane];
        boolean[] seen = new boolean[plane];
        double most = 0;
        for (int cell = 0; cell < plane; cell++) {
            double sum = 0;
            int count = 0;
            for (int slot = 0; slot < grid.slots(); slot++) {
                float value = saliency[slot * plane + cell];
                if (!Float.isNaN(value)) {
                    sum += value;
                    count++;
                }
            }
            seen[cell] = count > 0;
            values[cell] = count > 0 ? sum / count : 0;
            most = Math.max(most, values[cell]);
        }
        double[] worth = values.clone();
        for (int cell = 0; cell < plane; cell++) {
            if (!seen[cell]) {
                worth[cell] = most + 1 + expected(values, seen, cell, grid.columns());
            }
        }
        return worth;
    }

    private static double expected(double[] values, boolean[] seen, int cell, int columns) {
        double sum = 0;
        double weights = 0;
        for (int other = 0; other < values.length; other++) {
            if (seen[other]) {
                int down = cell / columns - other / columns;
                int along = cell % columns - other % columns;
                double weight = 1.0 / (down * down + along * along);
                sum += weight * values[other];
                weights += weight;
            }
        }
        return weights == 0 ? 0 : sum / weights;
    }

    @Override
    public boolean showsTubes() {
        return true;
    }

    @Override
    public boolean looksBack() {
        return true;
    }

    @Override
    public String word() {
        return "saliency";
    }
}
