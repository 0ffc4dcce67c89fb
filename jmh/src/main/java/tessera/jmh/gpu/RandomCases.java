package tessera.jmh.gpu;

import tessera.kernels.Buffer;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.RandomOps.MaskShape;
import tessera.kernels.RandomOps.RandomStream;

/** Masks, random numbers, dropout and stochastic depth. */
final class RandomCases extends FamilyCases {
    private static final RandomStream RANDOM = new RandomStream(1, 2);

    RandomCases(Sizes sizes) {
        super(sizes);
    }

    @Override
    void all() {
        PatchGeometry one = sizes.geometry(1);
        int plane = one.plane();
        moves(
                "random.randomMask",
                "random mask",
                batched(tokens),
                (b, s) -> b * 4 * tokens,
                (b, s) -> 0,
                (kernels, in, b) -> {
                    Buffer shown = in.indexOutput(b * visible);
                    Buffer masked = in.indexOutput(b * (tokens - visible));
                    MaskShape shape = new MaskShape(b, one.slots(), plane, plane - visible / one.slots(), true);
                    return () -> kernels.random().randomMask(RANDOM, shape, shown, masked);
                });
        int wide = 4 * d;
        double hidden = (double) visible * wide;
        double rows = (double) visible * d;
        moves(
                "random.dropout",
                "dropout",
                batched(visible, wide),
                (b, s) -> b * 2 * hidden * s,
                (b, s) -> b * hidden * 20,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer y = in.output(b * visible * wide);
                    return () -> kernels.random().dropout(RANDOM, x, .5, y);
                });
        double rate = .2;
        moves(
                "random.dropPath",
                "drop-path onto the residual",
                batched(visible, d) + ", rate " + rate,
                (b, s) -> b * (3 - rate) * rows * s,
                (b, s) -> b * (1 - rate) * 2 * rows,
                (kernels, in, b) -> {
                    Buffer residual = in.normal(b * visible * d);
                    Buffer x = in.normal(b * visible * d);
                    Buffer y = in.output(b * visible * d);
                    return () -> kernels.random().dropPath(RANDOM, residual, x, rate, b, y);
                });
        add(new KernelCase(
                "random.randomUniform",
                "uniform numbers",
                batched(visible, wide),
                sizes.batch(),
                1,
                false,
                (b, s) -> b * hidden * 4,
                (b, s) -> b * hidden * 20,
                false,
                false,
                (kernels, in, b) -> {
                    Buffer y = in.output(b * visible * wide);
                    return () -> kernels.random().randomUniform(RANDOM, -1, 1, y);
                }));
        add(new KernelCase(
                "random.randomNormal",
                "normal numbers",
                batched(visible, wide),
                sizes.batch(),
                1,
                false,
                (b, s) -> b * hidden * 4,
                (b, s) -> b * hidden * 40,
                false,
                false,
                (kernels, in, b) -> {
                    Buffer y = in.output(b * visible * wide);
                    return () -> kernels.random().randomNormal(RANDOM, 0, 1, y);
                }));
    }
}
