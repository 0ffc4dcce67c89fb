package tessera.jmh.gpu;

import tessera.kernels.Buffer;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Elementwise.UnaryOp;

/** Element-wise functions, copies and sums. */
final class ElementwiseCases extends FamilyCases {
    ElementwiseCases(Sizes sizes) {
        super(sizes);
    }

    @Override
    void all() {
        int wide = 4 * d;
        double hidden = (double) visible * wide;
        double rows = (double) visible * d;
        moves(
                "elementwise.unary",
                "GELU",
                batched(visible, wide),
                (b, s) -> b * 2 * hidden * s,
                (b, s) -> b * hidden * 20,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer y = in.output(b * visible * wide);
                    return () -> kernels.elementwise().unary(UnaryOp.GELU, x, y);
                });
        moves(
                "elementwise.unaryBackward",
                "GELU backward",
                batched(visible, wide),
                (b, s) -> b * 3 * hidden * s,
                (b, s) -> b * hidden * 30,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer dy = in.normal(b * visible * wide);
                    Buffer dx = in.output(b * visible * wide);
                    return () -> kernels.elementwise().unaryBackward(UnaryOp.GELU, x, dy, dx);
                });
        moves(
                "elementwise.binary",
                "sum of two",
                batched(visible, d),
                (b, s) -> b * 3 * rows * s,
                (b, s) -> b * rows,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * d);
                    Buffer z = in.normal(b * visible * d);
                    Buffer y = in.output(b * visible * d);
                    long[] shape = {b * visible, d};
                    Strided first = new Strided(x, 0, d, 1);
                    Strided second = new Strided(z, 0, d, 1);
                    return () -> kernels.elementwise().binary(BinaryOp.ADD, first, second, y, shape);
                });
        moves(
                "elementwise.binary",
                "bias row added",
                batched(visible, wide),
                (b, s) -> b * 2 * hidden * s,
                (b, s) -> b * hidden,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer bias = in.normal(wide);
                    Buffer y = in.output(b * visible * wide);
                    long[] shape = {b * visible, wide};
                    Strided rowsOfX = new Strided(x, 0, wide, 1);
                    Strided broadcast = new Strided(bias, 0, 0, 1);
                    return () -> kernels.elementwise().binary(BinaryOp.ADD, rowsOfX, broadcast, y, shape);
                });
        moves(
                "elementwise.copyStrided",
                "transpose of heads",
                batched(visible, d),
                (b, s) -> b * 2 * rows * s,
                (b, s) -> 0,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * d);
                    Buffer y = in.output(b * visible * d);
                    int headDim = d / heads;
                    long[] shape = {b, heads, visible, headDim};
                    Strided from = new Strided(x, 0, (long) visible * d, headDim, d, 1);
                    Strided to = new Strided(y, 0, (long) visible * d, (long) visible * headDim, headDim, 1);
                    return () -> kernels.elementwise().copyStrided(from, to, shape);
                });
        moves(
                "elementwise.sum",
                "bias gradient, sum over rows",
                batched(visible, wide),
                (b, s) -> b * hidden * s,
                (b, s) -> b * hidden,
                (kernels, in, b) -> {
                    Buffer dy = in.normal(b * visible * wide);
                    Buffer db = in.output(wide);
                    return () -> kernels.elementwise().sum(dy, 1, b * visible, wide, 1, db);
                });
        moves(
                "elementwise.sum",
                "mean over tokens",
                batched(visible, d),
                (b, s) -> b * rows * s,
                (b, s) -> b * rows,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * d);
                    Buffer y = in.output(b * d);
                    return () -> kernels.elementwise().sum(x, b, visible, d, 1.0 / visible, y);
                });
        moves(
                "elementwise.fill",
                "fill",
                batched(visible, wide),
                (b, s) -> b * hidden * s,
                (b, s) -> 0,
                (kernels, in, b) -> {
                    Buffer y = in.output(b * visible * wide);
                    return () -> kernels.elementwise().fill(y, .1);
                });
        moves(
                "elementwise.affine",
                "scale and shift by numbers",
                batched(visible, wide),
                (b, s) -> b * 2 * hidden * s,
                (b, s) -> b * hidden * 2,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer y = in.output(b * visible * wide);
                    return () -> kernels.elementwise().affine(x, .5, .25, y);
                });
        moves(
                "elementwise.axpy",
                "multiple added in place",
                batched(visible, wide),
                (b, s) -> b * 3 * hidden * s,
                (b, s) -> b * hidden * 2,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer y = in.written(in.normal(b * visible * wide));
                    return () -> kernels.elementwise().axpy(.5, x, y);
                });
        moves(
                "elementwise.scaleBy",
                "scale by a number in memory",
                batched(visible, wide),
                (b, s) -> b * 2 * hidden * s,
                (b, s) -> b * hidden,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer scale = in.positive(1);
                    Buffer y = in.output(b * visible * wide);
                    return () -> kernels.elementwise().scaleBy(x, scale, y);
                });
        add(new KernelCase(
                "elementwise.cast",
                "conversion from f32 to bf16",
                batched(visible, wide),
                sizes.batch(),
                1,
                false,
                (b, s) -> b * hidden * 6,
                (b, s) -> 0,
                false,
                false,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer y = in.shadowOutput(b * visible * wide);
                    return () -> kernels.elementwise().cast(x, y);
                }));
    }
}
