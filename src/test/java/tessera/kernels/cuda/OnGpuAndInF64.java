package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import tessera.Close;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Kernels;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.scalar.PlainDevice;

/** Losses and updates on a GPU and by the plain kernels in f64 on the CPU, on the same values, and how they are compared. */
abstract class OnGpuAndInF64 {
    static final double F32_ERROR = 3e-6;
    static final Device PLAIN = PlainDevice.create();

    interface Call {
        void run(Kernels kernels, Memory memory);
    }

    /** The same values on every device: rounded to the type that the GPU gets, exact for the reference. */
    static final class Memory {
        final Device device;
        final DType data;
        final DType master;
        final DType rounding;
        final int offset;
        final Random random = new Random(5);
        final List<Buffer> outputs = new ArrayList<>();

        Memory(Device device, DType data, DType master, DType rounding, int offset) {
            this.device = device;
            this.data = data;
            this.master = master;
            this.rounding = rounding;
            this.offset = offset;
        }

        Buffer make(DType dtype, long n) {
            return device.allocate(dtype, n + offset).slice(offset, n);
        }

        Buffer upload(DType dtype, double... values) {
            Buffer buffer = make(dtype, values.length);
            try (Buffer host = Device.cpu().allocate(dtype, values.length)) {
                for (int i = 0; i < values.length; i++) {
                    Elements.set(host, i, values[i]);
                }
                host.copyTo(buffer);
            }
            return buffer;
        }

        double[] draw(int n, double scale, double shift, DType type) {
            double[] values = new double[n];
            for (int i = 0; i < n; i++) {
                float value = (float) (scale * random.nextGaussian() + shift);
                values[i] = type == DType.BF16 ? Elements.fromBf16(Elements.toBf16(value)) : value;
            }
            return values;
        }

        Buffer normal(int n, double scale, double shift) {
            return upload(data, draw(n, scale, shift, rounding));
        }

        Buffer normal(int n) {
            return normal(n, 1, 0);
        }

        Buffer master(int n) {
            return upload(master, draw(n, 1, 0, DType.F32));
        }

        Buffer positive(int n) {
            double[] values = draw(n, 1, 0, DType.F32);
            for (int i = 0; i < n; i++) {
                values[i] = (float) Math.abs(values[i]);
            }
            return upload(master, values);
        }

        Buffer values(double... values) {
            return upload(data, values);
        }

        Buffer bytes(int n) {
            double[] values = new double[n];
            for (int i = 0; i < n; i++) {
                values[i] = random.nextInt(256);
            }
            return upload(DType.U8, values);
        }

        Buffer indices(int n, int bound) {
            double[] values = new double[n];
            for (int i = 0; i < n; i++) {
                values[i] = random.nextInt(bound);
            }
            return upload(DType.I32, values);
        }

        Buffer output(int n) {
            return written(make(data, n));
        }

        Buffer masterOutput(int n) {
            return written(make(master, n));
        }

        Buffer written(Buffer buffer) {
            outputs.add(buffer);
            return buffer;
        }

        List<double[]> results() {
            return outputs.stream().map(OnGpuAndInF64::values).toList();
        }
    }

    static double[] values(Buffer buffer) {
        try (Buffer host = Device.cpu().allocate(buffer.dtype(), buffer.length())) {
            buffer.copyTo(host);
            double[] values = new double[(int) host.length()];
            Elements.load(host, 0, values.length, values, 0);
            return values;
        }
    }

    static List<double[]> results(DType type, int offset, Call call) {
        Device gpu = Device.cuda(0);
        Memory memory = new Memory(gpu, type, DType.F32, type, offset);
        call.run(gpu.kernels(), memory);
        return memory.results();
    }

    /** In f32 and bf16, aligned and not, three times with the same bits. */
    static void check(Call call) {
        for (DType type : List.of(DType.F32, DType.BF16)) {
            Memory reference = new Memory(Device.cpu(), DType.F64, DType.F64, type, 0);
            call.run(Device.cpu().kernels(), reference);
            List<double[]> expected = reference.results();
            Memory plain = new Memory(PLAIN, type, DType.F32, type, 0);
            call.run(PLAIN.kernels(), plain);
            for (int offset = 0; offset < 2; offset++) {
                List<double[]> actual = results(type, offset, call);
                for (int i = 0; i < expected.size(); i++) {
                    String what = type + " output " + i + " offset " + offset;
                    double bound = type == DType.F32
                            ? F32_ERROR
                            : PlainDevice.bound(
                                    plain.outputs.get(i).dtype(), values(plain.outputs.get(i)), expected.get(i));
                    Close.relative(actual.get(i), expected.get(i), bound, what);
                }
                for (int again = 0; again < 2; again++) {
                    List<double[]> repeated = results(type, offset, call);
                    for (int i = 0; i < expected.size(); i++) {
                        assertArrayEquals(/* expected= */ actual.get(i), /* actual= */ repeated.get(i));
                    }
                }
            }
        }
    }

    static void refused(String part, Runnable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage());
    }
}
