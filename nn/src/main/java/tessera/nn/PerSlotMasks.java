package tessera.nn;

import tessera.tensor.TokenMask;

/** Cells that every time slot draws anew; by kernels. */
record PerSlotMasks() implements MaskStrategy {
    @Override
    public TokenMask draw(MaskContext c) {
        return TokenMask.perSlot(
                c.device(), c.batch(), c.slots(), c.plane(), c.ratio(), c.seed(), c.stream() + c.member());
    }

    @Override
    public boolean recordable() {
        return true;
    }

    @Override
    public String word() {
        return "per-slot";
    }
}
