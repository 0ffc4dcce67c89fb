package tessera.nn;

import tessera.tensor.TokenMask;

/** The strategies that kernels draw and that hide the same cells in every time slot. */
enum TubeMasks implements MaskStrategy {
    INDEPENDENT("tube"),
    PAIRS("pairs");

    private final String word;

    TubeMasks(String word) {
        this.word = word;
    }

    @Override
    public TokenMask draw(MaskContext c) {
        if (this == INDEPENDENT || c.member() == 0) {
            return TokenMask.tubes(
                    c.device(), c.batch(), c.slots(), c.plane(), c.ratio(), c.seed(), c.stream() + c.member());
        }
        if (c.stream() != 0) {
            throw new IllegalArgumentException("masks: member " + c.member() + " of an ensemble of pairs in stream "
                    + c.stream() + "; pairs are for inference (stream 0), so use MaskStrategy.tubes()");
        }
        return TokenMask.ofEnsemble(c.device(), c.batch(), c.slots(), c.plane(), c.ratio(), c.seed(), c.member());
    }

    @Override
    public boolean recordable() {
        return true;
    }

    @Override
    public boolean showsTubes() {
        return true;
    }

    @Override
    public String word() {
        return word;
    }
}
