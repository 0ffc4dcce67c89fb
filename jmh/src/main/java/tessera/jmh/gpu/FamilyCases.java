package tessera.jmh.gpu;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import tessera.jmh.gpu.KernelCase.Cost;
import tessera.jmh.gpu.KernelCase.Setup;

/** The cases of one family of primitives. Bytes and operations are what the task needs, not what a kernel does. */
abstract class FamilyCases {
    static final double RHO = .75;
    static final double PRETRAIN_RHO = .9;

    final Sizes sizes;
    final int d;
    final int heads;
    final int visible;
    final int tokens;
    private final List<KernelCase> cases = new ArrayList<>();

    FamilyCases(Sizes sizes) {
        this.sizes = sizes;
        this.d = sizes.config().embedDim();
        this.heads = sizes.config().heads();
        this.visible = sizes.visible(RHO);
        this.tokens = sizes.tokens();
    }

    /** Adds every case of the family. */
    abstract void all();

    final List<KernelCase> cases() {
        return cases;
    }

    final void add(KernelCase one) {
        cases.add(one);
    }

    /** Adds a kernel bound by matrix products. */
    final void multiplies(String primitive, String name, String shape, Cost bytes, Cost flops, Setup setup) {
        add(new KernelCase(primitive, name, shape, sizes.batch(), 1, true, bytes, flops, false, true, setup));
    }

    /** Adds a kernel bound by memory. */
    final void moves(String primitive, String name, String shape, Cost bytes, Cost flops, Setup setup) {
        moves(primitive, name, shape, bytes, flops, bytes, setup);
    }

    /** Adds a kernel bound by memory that reads sectors of which it does not need all. */
    final void moves(String primitive, String name, String shape, Cost bytes, Cost flops, Cost sectors, Setup setup) {
        add(new KernelCase(primitive, name, shape, sizes.batch(), 1, true, bytes, flops, false, false, setup)
                .reading(sectors));
    }

    final String batched(Object... rest) {
        return sizes.batch() + " x "
                + String.join(" x ", Arrays.stream(rest).map(String::valueOf).toList());
    }
}
