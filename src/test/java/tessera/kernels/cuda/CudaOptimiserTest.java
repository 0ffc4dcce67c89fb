package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Graph;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;
import tessera.kernels.Optimiser.Clip;
import tessera.kernels.RandomOps.RandomStream;
import tessera.kernels.cpu.Elements;

/** Updates of parameters and norms of gradients on a GPU. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaOptimiserTest extends OnGpuAndInF64 {
    @Test
    void adamWWritesShadows() {
        Device gpu = Device.cuda(0);
        Memory memory = new Memory(gpu, DType.BF16, DType.F32, DType.BF16, 0);
        int[] sizes = {5000, 7};
        Buffer[] p = new Buffer[2];
        Buffer[] g = new Buffer[2];
        Buffer[] m = new Buffer[2];
        Buffer[] v = new Buffer[2];
        for (int i = 0; i < 2; i++) {
            p[i] = memory.master(sizes[i]);
            g[i] = i == 0 ? memory.normal(sizes[i]) : memory.master(sizes[i]);
            m[i] = memory.master(sizes[i]);
            v[i] = memory.positive(sizes[i]);
        }
        Buffer[] shadows = {memory.output(sizes[0]), null};
        gpu.kernels()
                .optimiser()
                .adamW(
                        new AdamWTensors(p, g, m, v, shadows, new double[2]),
                        new AdamWStep(1e-3, .9, .95, 1e-8, 1, null));
        double[] expected = values(p[0]);
        for (int i = 0; i < expected.length; i++) {
            expected[i] = Elements.fromBf16(Elements.toBf16(expected[i]));
        }
        assertArrayEquals(expected, memory.results().getFirst());
    }

    @Test
    void normsThatAreNotFiniteStayVisible() {
        Device gpu = Device.cuda(0);
        for (DType type : List.of(DType.F32, DType.BF16)) {
            for (double odd : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
                Memory memory = new Memory(gpu, type, DType.F32, type, 0);
                Buffer[] g = {memory.normal(5000), memory.values(1, odd, 2)};
                Buffer norm = memory.masterOutput(1);
                gpu.kernels().optimiser().globalNorm(g, norm);
                assertEquals(odd, values(norm)[0]);
                Buffer[] p = {memory.master(5000), memory.master(3)};
                Buffer[] m = {memory.master(5000), memory.master(3)};
                Buffer[] v = {memory.positive(5000), memory.positive(3)};
                gpu.kernels()
                        .optimiser()
                        .adamW(
                                new AdamWTensors(p, g, m, v, null, new double[2]),
                                new AdamWStep(1e-3, .9, .95, 1e-8, 1, new Clip(norm, 1)));
                for (double value : values(p[0])) {
                    assertEquals(Double.isNaN(odd), Double.isNaN(value), odd + " makes " + value);
                }
                assertTrue(Double.isNaN(values(p[1])[1]));
            }
        }
    }

    @Test
    void normsOfOtherTypesAreRefused() {
        Device gpu = Device.cuda(0);
        Memory memory = new Memory(gpu, DType.F32, DType.F32, DType.F32, 0);
        Buffer x = memory.master(3);
        Buffer norm = memory.masterOutput(1);
        refused(
                "global_norm on cuda:0: gradient 1 is f64; keep gradients in f32 or bf16, or compute on the cpu",
                () -> gpu.kernels().optimiser().globalNorm(new Buffer[] {x, memory.make(DType.F64, 2)}, norm));
        refused(
                "for the norm; pass one element of f32",
                () -> gpu.kernels().optimiser().globalNorm(new Buffer[] {x}, memory.masterOutput(2)));
        Buffer[] one = {x};
        refused(
                "adamw on cuda:0 was given bf16[1] on cuda:0 for the norm; pass one element of f32",
                () -> gpu.kernels()
                        .optimiser()
                        .adamW(
                                new AdamWTensors(one, one, one, one, null, new double[1]),
                                new AdamWStep(1e-3, .9, .95, 1e-8, 1, new Clip(memory.make(DType.BF16, 1), 1))));
    }

    /** Parameters with their moments, a gradient that each step replaces, and what stochastic depth makes of it. */
    private static final class Trained {
        private final Device gpu = Device.cuda(0);
        private final Memory memory = new Memory(gpu, DType.BF16, DType.F32, DType.BF16, 0);
        private final Buffer[] p = {memory.master(5000), memory.master(7)};
        private final Buffer[] m = {memory.master(5000), memory.master(7)};
        private final Buffer[] v = {memory.positive(5000), memory.positive(7)};
        private final Buffer[] g = {memory.normal(5000), memory.normal(7)};
        private final Buffer dropped = memory.output(5000);
        private final Buffer norm = memory.masterOutput(1);

        void compute(double lr, long step) {
            gpu.kernels().optimiser().globalNorm(g, norm);
            gpu.kernels()
                    .optimiser()
                    .adamW(
                            new AdamWTensors(p, g, m, v, null, new double[2]),
                            new AdamWStep(lr, .9, .95, 1e-8, step, new Clip(norm, 50)));
            gpu.kernels().random().dropPath(new RandomStream(3, 40 + step), null, g[0], .5, 50, dropped);
        }

        /** New gradients, of a norm below and above the largest in turn. */
        void renew(int step) {
            try (Buffer other = memory.normal(5000, step % 2 == 0 ? .1 : 3, 0)) {
                other.copyTo(g[0]);
            }
        }

        List<double[]> state() {
            return List.of(values(p[0]), values(p[1]), values(m[0]), values(v[0]), values(norm), values(dropped));
        }
    }

    @Test
    void aRecordedStepClipsAsOneOfItsOwn() {
        Trained direct = new Trained();
        Trained replayed = new Trained();
        replayed.compute(1e-2, 1);
        direct.compute(1e-2, 1);
        try (Graph graph = replayed.gpu.record(() -> replayed.compute(1e-2, 2))) {
            for (int step = 2; step < 6; step++) {
                direct.renew(step);
                direct.compute(1e-2 / step, step);
                replayed.renew(step);
                graph.launch(new Graph.Variables(0, step - 2, 1e-2 / step, step));
                List<double[]> expected = direct.state();
                List<double[]> actual = replayed.state();
                for (int i = 0; i < expected.size(); i++) {
                    assertArrayEquals(expected.get(i), actual.get(i), "step " + step + " state " + i);
                }
            }
        }
    }
}
