package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assumptions.abort;

import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.KernelParity;
import tessera.kernels.cpu.scalar.PlainDevice;

/**
 * The CUDA kernels against the plain ones in f64: f32 and bf16, aligned and not, three times the same bits, one
 * of them with threads and blocks in another order.
 */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaKernelsTest extends KernelParity {
    private static final Device PLAIN = PlainDevice.create();

    private static Device device;

    /** The next order of threads; the first, -1, is backwards. */
    private int orders = -1;

    /** Half a unit of bf16 twice: cuBLASLt may round a product before it adds to it, as was seen on an H100. */
    private static final double LIBRARY_ROUNDING = 1 / 256.0;

    @BeforeAll
    static void find() {
        try {
            device = Device.cuda(0);
        } catch (IllegalArgumentException e) {
            device = abort(FakeCuda.absence() + "; " + e.getMessage());
        }
    }

    @Override
    protected void check(String what, double tolerance, Call call) {
        for (DType type : List.of(DType.F32, DType.BF16)) {
            List<double[]> expected = reference(type == DType.BF16, call);
            List<double[]> plain = type == DType.BF16 ? run(PLAIN.kernels(), PLAIN, type, true, 0, call) : expected;
            for (int offset = 0; offset < 2; offset++) {
                String where = what + " in " + type + " offset " + offset;
                List<double[]> actual;
                try (Memory memory = new Memory(device, type, type == DType.BF16, offset)) {
                    call.run(device.kernels(), memory);
                    actual = memory.results();
                    for (int i = 0; i < expected.size(); i++) {
                        double bound =
                                PlainDevice.bound(memory.outputs().get(i).dtype(), plain.get(i), expected.get(i));
                        double library =
                                type == DType.BF16 && byLibrary(what) ? Math.max(bound, LIBRARY_ROUNDING) : bound;
                        Close.relative(actual.get(i), expected.get(i), library, where + " output " + i);
                    }
                }
                for (int repeat = 0; repeat < 2; repeat++) {
                    int order = repeat == 0 ? 0 : shuffle();
                    List<double[]> again = run(device.kernels(), device, type, type == DType.BF16, offset, call);
                    for (int i = 0; i < expected.size(); i++) {
                        String repeated = where + " again, threads in order " + order + ", output " + i;
                        assertArrayEquals(actual.get(i), again.get(i), repeated);
                    }
                }
                inOrder();
            }
        }
    }

    /** Whether NVIDIA's library may compute it; the fake's rounds once. */
    private static boolean byLibrary(String what) {
        return !FakeCuda.present() && (what.startsWith("product ") || what.startsWith("linear "));
    }

    /** Lets the fake run threads and blocks in another random order than ever before, or backwards; returns its number. */
    private int shuffle() {
        int order = orders;
        orders = Math.max(1, order + 1);
        if (FakeCuda.present()) {
            FakeCuda.set("order", order);
        }
        return order;
    }

    @AfterEach
    void inOrder() {
        if (FakeCuda.present()) {
            FakeCuda.set("order", 0);
        }
    }
}
