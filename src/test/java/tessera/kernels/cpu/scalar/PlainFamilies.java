package tessera.kernels.cpu.scalar;

import java.util.Arrays;
import tessera.Close;
import tessera.Golden;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Kernels;
import tessera.kernels.RandomOps.RandomStream;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;

/** What the tests of the plain kernels share: the kernels, and buffers of golden and other values. */
abstract class PlainFamilies {
    static final double TOLERANCE = 1e-12;
    static final Golden OPS = Golden.open("ops-float64");
    static final Golden LOSSES = Golden.open("losses-schedules");
    static final Device DEVICE = Device.cpu(1);
    /** Daemons, shared by all tests. */
    private static final Workers WORKERS = new Workers(3);

    static final Kernels KERNELS = PlainDevice.reference(WORKERS);

    static Buffer in(String name, String input) {
        return f64(OPS.doubles(name + "/in." + input));
    }

    static Buffer cotangent(String name) {
        return f64(OPS.doubles(name + "/cotangent"));
    }

    static void assertGolden(Buffer actual, String key) {
        Close.relative(doubles(actual), OPS.doubles(key), TOLERANCE, key);
    }

    static void assertGradient(Buffer actual, String name, String input) {
        assertGolden(actual, name + "/grad." + input);
    }

    static Buffer like(Buffer x) {
        return DEVICE.allocate(x.dtype(), x.length());
    }

    static Buffer f64(long length) {
        return DEVICE.allocate(DType.F64, length);
    }

    static Buffer f64(double[] values) {
        Buffer buffer = f64(values.length);
        Elements.store(values, 0, values.length, buffer, 0);
        return buffer;
    }

    static Buffer f32(float... values) {
        Buffer buffer = DEVICE.allocate(DType.F32, values.length);
        for (int i = 0; i < values.length; i++) {
            Elements.set(buffer, i, values[i]);
        }
        return buffer;
    }

    static Buffer i32(int... values) {
        Buffer buffer = DEVICE.allocate(DType.I32, values.length);
        for (int i = 0; i < values.length; i++) {
            Elements.setInt(buffer, i, values[i]);
        }
        return buffer;
    }

    static Buffer noise(int length, long seed) {
        Buffer buffer = f64(length);
        KERNELS.random().randomNormal(new RandomStream(seed, 99), 0, 1, buffer);
        return buffer;
    }

    static double[] doubles(Buffer buffer) {
        double[] values = new double[(int) buffer.length()];
        Elements.load(buffer, 0, values.length, values, 0);
        return values;
    }

    static float[] floats(Buffer buffer) {
        double[] wide = doubles(buffer);
        float[] values = new float[wide.length];
        for (int i = 0; i < wide.length; i++) {
            values[i] = (float) wide[i];
        }
        return values;
    }

    static int[] ints(Buffer buffer) {
        return Arrays.stream(doubles(buffer)).mapToInt(v -> (int) v).toArray();
    }
}
