package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Kernels;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.PlainDevice;
import tessera.tensor.TestDevices;

/** Calls on a GPU and by the plain kernels on the CPU, on the same inputs, and how their results are compared. */
abstract class OnGpuAndPlain {
    static final Device PLAIN = PlainDevice.create();
    static final Device CPU = Device.cpu();
    static final Kernels REFERENCE = PlainDevice.reference(new Workers(1));
    static final double UNTOUCHED = 77;

    final Random random = new Random(11);

    @BeforeAll
    static void needsDevice() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
    }

    static Device device() {
        return Device.cuda(0);
    }

    double[] normal(long n, DType dtype) {
        return random.doubles(n, 0, 1)
                .map(u -> round(random.nextGaussian(), dtype))
                .toArray();
    }

    /** The value that an element of this type holds. */
    static double round(double value, DType dtype) {
        return dtype == DType.BF16 ? Elements.fromBf16(Elements.toBf16(value)) : (float) value;
    }

    static double[] rounded(double[] values, DType dtype) {
        return Arrays.stream(values).map(value -> round(value, dtype)).toArray();
    }

    static Buffer onCpu(DType dtype, double... values) {
        Buffer buffer = CPU.allocate(dtype, values.length);
        Elements.store(values, 0, values.length, buffer, 0);
        return buffer;
    }

    /** A copy on the GPU; with an offset of one element it allows no wide access. */
    static Buffer onGpu(DType dtype, int offset, double... values) {
        Buffer buffer = device().allocate(dtype, values.length + offset).slice(offset, values.length);
        onCpu(dtype, values).copyTo(buffer);
        return buffer;
    }

    static Buffer output(DType dtype, int offset, long n) {
        double[] values = new double[Math.toIntExact(n)];
        Arrays.fill(values, UNTOUCHED);
        return onGpu(dtype, offset, values);
    }

    static double[] values(Buffer buffer) {
        int n = Math.toIntExact(buffer.length());
        Buffer copy = buffer.device().equals(CPU) ? buffer : CPU.allocate(buffer.dtype(), n);
        if (copy != buffer) {
            buffer.copyTo(copy);
            device().currentStream().synchronize();
        }
        double[] values = new double[n];
        Elements.load(copy, 0, n, values, 0);
        return values;
    }

    /** f32 within its tolerance; bf16 at most twice as far off as the plain computation. */
    static void check(String what, Buffer actual, double[] expected, double[] plain) {
        check(what, actual.dtype(), values(actual), expected, plain);
    }

    static void check(String what, DType dtype, double[] actual, double[] expected, double[] plain) {
        Close.relative(actual, expected, PlainDevice.bound(dtype, plain, expected), what);
    }

    static void check(String what, Buffer actual, double[] expected) {
        check(what, actual, expected, rounded(expected, actual.dtype()));
    }
}
