package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.IntToDoubleFunction;
import org.jspecify.annotations.Nullable;
import tessera.Close;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Kernels;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.cpu.Elements;

/** Runs calls on a GPU and on the CPU with the same inputs, and compares. */
abstract class OnGpuAndCpu {
    static final double F32_ERROR = 3e-6;

    interface Call {
        void run(Kernels kernels, Memory memory);
    }

    /** Makes the same values on every device, and remembers the outputs. */
    static final class Memory implements AutoCloseable {
        final Device device;
        final DType type;
        final DType wide;
        final DType rounding;
        final int offset;
        final Random random = new Random(11);
        final List<Buffer> outputs = new ArrayList<>();
        final List<Buffer> owned = new ArrayList<>();

        /**
         * @param type of data
         * @param wide of what stays f32 beside bf16 data
         * @param rounding to which data is rounded
         */
        Memory(Device device, DType type, DType wide, DType rounding, int offset) {
            this.device = device;
            this.type = type;
            this.wide = wide;
            this.rounding = rounding;
            this.offset = offset;
        }

        Buffer make(DType dtype, long n) {
            Buffer whole = device.allocate(dtype, n + offset);
            owned.add(whole);
            return whole.slice(offset, n);
        }

        Buffer fill(DType dtype, int n, IntToDoubleFunction value) {
            Buffer buffer = make(dtype, n);
            try (Buffer host = Device.cpu().allocate(dtype, n)) {
                for (int i = 0; i < n; i++) {
                    Elements.set(host, i, value.applyAsDouble(i));
                }
                host.copyTo(buffer);
            }
            return buffer;
        }

        Buffer data(int n, IntToDoubleFunction value) {
            return fill(type, n, i -> {
                float v = (float) value.applyAsDouble(i);
                return rounding == DType.BF16 ? Elements.fromBf16(Elements.toBf16(v)) : v;
            });
        }

        Buffer normal(int n) {
            return data(n, i -> random.nextGaussian());
        }

        Buffer positive(int n) {
            return data(n, i -> .01 + Math.abs(random.nextGaussian()));
        }

        Buffer bytes(int n) {
            return fill(DType.U8, n, i -> random.nextInt(256));
        }

        Buffer indices(int... values) {
            return fill(DType.I32, values.length, i -> values[i]);
        }

        Buffer output(Buffer buffer) {
            outputs.add(buffer);
            return buffer;
        }

        Buffer output(int n) {
            return output(make(type, n));
        }

        Buffer wideOutput(int n) {
            return output(make(wide, n));
        }

        @Override
        public void close() {
            owned.forEach(Buffer::close);
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

    static List<double[]> run(Device device, DType type, DType wide, DType rounding, int offset, Call call) {
        try (Memory memory = new Memory(device, type, wide, rounding, offset)) {
            call.run(device.kernels(), memory);
            return memory.outputs.stream().map(OnGpuAndCpu::values).toList();
        }
    }

    static List<double[]> onGpu(DType type, int offset, Call call) {
        return run(Device.cuda(0), type, DType.F32, type, offset, call);
    }

    /** f32 close to f64; bf16 at most twice as far from it as its own rounding; aligned and not; three times the same bits. */
    static void check(Call call) {
        for (DType type : List.of(DType.F32, DType.BF16)) {
            List<double[]> expected = run(Device.cpu(), DType.F64, DType.F64, type, 0, call);
            for (int offset = 0; offset < 2; offset++) {
                List<double[]> actual = onGpu(type, offset, call);
                for (int i = 0; i < expected.size(); i++) {
                    double tolerance = F32_ERROR + (type == DType.BF16 ? 2 * roundingError(expected.get(i)) : 0);
                    Close.relative(
                            actual.get(i), expected.get(i), tolerance, type + " output " + i + " offset " + offset);
                }
                for (int again = 0; again < 2; again++) {
                    List<double[]> repeated = onGpu(type, offset, call);
                    for (int i = 0; i < expected.size(); i++) {
                        assertArrayEquals(/* expected= */ actual.get(i), /* actual= */ repeated.get(i));
                    }
                }
            }
        }
    }

    static double roundingError(double[] values) {
        double error = 0;
        double norm = 0;
        for (double value : values) {
            double difference = Elements.fromBf16(Elements.toBf16(value)) - value;
            error += difference * difference;
            norm += value * value;
        }
        return norm == 0 ? 0 : Math.sqrt(error / norm);
    }

    /** The same bits as the CPU's for each type, aligned and not. */
    static void checkExactly(List<DType> types, Call call) {
        for (DType type : types) {
            List<double[]> expected = run(Device.cpu(), type, type, type, 0, call);
            for (int offset = 0; offset < 2; offset++) {
                List<double[]> actual = onGpu(type, offset, call);
                for (int i = 0; i < expected.size(); i++) {
                    assertArrayEquals(expected.get(i), actual.get(i), type + " output " + i + " offset " + offset);
                }
            }
        }
    }

    static final List<DType> FLOATING = List.of(DType.F32, DType.BF16);
    static final List<DType> ALL = List.of(DType.F32, DType.BF16, DType.I32, DType.U8);

    /** A video as a tensor [B, C, T, H, W] or as frames [B, T, H, W, C]. */
    static PatchGeometry geometry(int batch, int slots, int high, int wide, int channels, int patch, boolean last) {
        int tubelet = 2;
        int frames = slots * tubelet;
        int height = high * patch;
        int width = wide * patch;
        double[] mean = new double[channels];
        double[] std = new double[channels];
        for (int c = 0; c < channels; c++) {
            mean[c] = .4 + .05 * c;
            std[c] = .2 + .03 * c;
        }
        long pixel = last ? channels : 1;
        long row = width * pixel;
        long frame = height * row;
        return new PatchGeometry(
                batch,
                frames,
                height,
                width,
                channels,
                tubelet,
                patch,
                (long) frames * height * width * channels,
                frame,
                row,
                pixel,
                last ? 1 : frames * frame,
                1 / 255.,
                mean,
                std);
    }

    static Buffer video(Memory memory, PatchGeometry g, boolean bytes) {
        int n = Math.toIntExact(g.batch() * g.strideB());
        return bytes
                ? memory.bytes(n)
                : memory.fill(memory.wide, n, i -> (float) (128 + 60 * memory.random.nextGaussian()));
    }

    static void refused(String text, Runnable call) {
        @Nullable
        String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
        assertTrue(String.valueOf(message).contains(text), message);
    }
}
