package tessera.kernels;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.PlainDevice;

/** Runs calls on inputs that are the same for every device and type; who extends this says what is done with the results. */
public abstract class Parity {
    private static final Device HOST = Device.cpu(2);
    protected static final Kernels REFERENCE = PlainDevice.reference(new Workers(1));

    protected static final int[] SIZES = {0, 1, 3, 7, 15, 16, 17, 31, 33, 131, 392};

    /** Relative tolerance of f32 on a CPU. */
    private static final double TOLERANCE = 2e-6;

    /** A call with the inputs and outputs that {@code memory} hands out. */
    public interface Call {
        void run(Kernels kernels, Memory memory);
    }

    /**
     * Compares a call with the f64 reference.
     *
     * @param tolerance relative error that f32 on a CPU keeps
     */
    protected abstract void check(String what, double tolerance, Call call);

    protected final void check(String what, Call call) {
        check(what, TOLERANCE, call);
    }

    protected static int[] sizesAnd(int large) {
        int[] sizes = Arrays.copyOf(SIZES, SIZES.length + 1);
        sizes[SIZES.length] = large;
        return sizes;
    }

    /** Videos of two samples, four frames and nine patches a frame. */
    protected static PatchGeometry geometry(int patch, int channels, boolean channelLast, double scale) {
        int frames = 4;
        int side = 3 * patch;
        double[] mean = new double[channels];
        double[] std = new double[channels];
        for (int c = 0; c < channels; c++) {
            mean[c] = 0.1 * (c + 1);
            std[c] = 0.2 + 0.1 * c;
        }
        long plane = (long) side * side;
        long pixel = channelLast ? channels : 1;
        return new PatchGeometry(
                2,
                frames,
                side,
                side,
                channels,
                2,
                patch,
                (long) channels * frames * plane,
                plane * pixel,
                side * pixel,
                pixel,
                channelLast ? 1 : frames * plane,
                scale,
                mean,
                std);
    }

    /** Makes the same random inputs every time, in one floating type, and remembers the outputs. */
    public static final class Memory implements AutoCloseable {
        private final Device device;
        private final DType type;
        private final DType single;
        private final boolean rounded;
        private final int offset;
        private final Random random = new Random(7);
        private final List<Buffer> made = new ArrayList<>();
        private final List<Buffer> outputs = new ArrayList<>();

        /**
         * Memory of a device.
         *
         * @param type of data; what is f32 beside bf16 data, such as statistics, is f32 then and of this type else
         * @param rounded whether data are rounded to bf16, so that all types start from the same
         * @param offset elements by which every buffer misses its natural alignment
         */
        public Memory(Device device, DType type, boolean rounded, int offset) {
            this.device = device;
            this.type = type;
            this.single = type == DType.BF16 ? DType.F32 : type;
            this.rounded = rounded;
            this.offset = offset;
        }

        public Buffer make(DType dtype, long n) {
            Buffer whole = device.allocate(dtype, n + offset);
            made.add(whole);
            return whole.slice(offset, n);
        }

        /** Fills on the host and moves to the device. */
        private Buffer upload(DType dtype, double[] values) {
            Buffer x = make(dtype, values.length);
            try (Buffer host = HOST.allocate(dtype, values.length)) {
                for (int i = 0; i < values.length; i++) {
                    if (dtype == DType.I32) {
                        Elements.setInt(host, i, (int) values[i]);
                    } else if (dtype == DType.U8) {
                        host.segment().set(ValueLayout.JAVA_BYTE, i, (byte) (int) values[i]);
                    } else {
                        Elements.set(host, i, values[i]);
                    }
                }
                host.copyTo(x);
            }
            return x;
        }

        private double round(double value) {
            return rounded ? Elements.fromBf16(Elements.toBf16(value)) : (float) value;
        }

        private double[] draw(long n) {
            double[] values = new double[Math.toIntExact(n)];
            Arrays.setAll(values, i -> (float) random.nextGaussian());
            return values;
        }

        /** Normal data. */
        public Buffer normal(long n) {
            double[] values = draw(n);
            Arrays.setAll(values, i -> round(values[i]));
            return upload(type, values);
        }

        /** Normal values that stay f32 beside bf16 data. */
        public Buffer single(long n) {
            return upload(single, draw(n));
        }

        public Buffer values(double... values) {
            double[] rounded = values.clone();
            Arrays.setAll(rounded, i -> round(values[i]));
            return upload(type, rounded);
        }

        public Buffer bytes(int n) {
            double[] values = new double[n];
            Arrays.setAll(values, i -> random.nextInt(256));
            return upload(DType.U8, values);
        }

        public Buffer indices(int n, int bound) {
            double[] values = new double[n];
            Arrays.setAll(values, i -> random.nextInt(bound));
            return upload(DType.I32, values);
        }

        /** Indices below {@code bound}, but every {@code gap}-th is -1; few of them are the upper half. */
        public Buffer holes(int n, int bound, int gap) {
            double[] values = new double[n];
            Arrays.setAll(
                    values,
                    i -> i % gap == gap - 1 ? -1 : random.nextInt(i % 10 == 0 ? bound : Math.max(1, bound / 2)));
            return upload(DType.I32, values);
        }

        /** Regions of positions, {@code [rows, n]}: one in the first row, three in the others. */
        public Buffer regions(int rows, int n) {
            double[] values = new double[rows * n];
            Arrays.setAll(values, i -> i < n ? 9 : random.nextInt(3) - 1);
            return upload(DType.I32, values);
        }

        /** Holds NaN until it is written. */
        public Buffer output(long n) {
            return written(unwritten(type, n));
        }

        /** An output that is f32 beside bf16 data. */
        public Buffer singleOutput(long n) {
            return written(unwritten(single, n));
        }

        public Buffer integerOutput(long n) {
            double[] values = new double[Math.toIntExact(n)];
            Arrays.fill(values, -7);
            return written(upload(DType.I32, values));
        }

        private Buffer unwritten(DType dtype, long n) {
            double[] values = new double[Math.toIntExact(n)];
            Arrays.fill(values, Double.NaN);
            return upload(dtype, values);
        }

        /** Also an input. */
        public Buffer written(Buffer y) {
            outputs.add(y);
            return y;
        }

        public List<Buffer> outputs() {
            return outputs;
        }

        /** The outputs' values, in the order in which they were made. */
        public List<double[]> results() {
            List<double[]> results = new ArrayList<>();
            for (Buffer y : outputs) {
                double[] values = new double[Math.toIntExact(y.length())];
                try (Buffer host = HOST.allocate(y.dtype(), y.length())) {
                    y.copyTo(host);
                    for (int i = 0; i < values.length; i++) {
                        values[i] = y.dtype() == DType.I32 ? Elements.getInt(host, i) : Elements.get(host, i);
                    }
                }
                results.add(values);
            }
            return results;
        }

        @Override
        public void close() {
            made.forEach(Buffer::close);
        }
    }

    /** What the plain kernels compute in f64 from the same inputs. */
    protected static List<double[]> reference(boolean rounded, Call call) {
        return run(REFERENCE, HOST, DType.F64, rounded, 0, call);
    }

    protected static List<double[]> run(
            Kernels kernels, Device device, DType type, boolean rounded, int offset, Call call) {
        try (Memory memory = new Memory(device, type, rounded, offset)) {
            call.run(kernels, memory);
            return memory.results();
        }
    }
}
