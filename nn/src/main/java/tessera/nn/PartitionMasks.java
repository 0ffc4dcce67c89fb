package tessera.nn;

import tessera.tensor.TokenMask;

/** Tube masks of an ensemble that share no cell: consecutive parts of each clip's shuffled plane. */
record PartitionMasks() implements MaskStrategy {
    @Override
    public TokenMask draw(MaskContext c) {
        int most = c.plane() / c.shown();
        if (c.member() >= most) {
            throw new IllegalArgumentException("partition: " + (c.member() + 1) + " masks of " + c.shown() + " of "
                    + c.plane() + " cells cannot but share some; pass an ensemble of at most " + most
                    + ", a larger mask ratio, or pairs");
        }
        double[] equal = new double[c.plane()];
        return HostMasks.tubes(c, clip -> HostMasks.turn(c, HostMasks.falling(c, clip, equal)));
    }

    @Override
    public boolean showsTubes() {
        return true;
    }

    @Override
    public String word() {
        return "partition";
    }
}
