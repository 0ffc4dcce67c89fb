package tessera.jmh.gpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;

/**
 * The buffers of one call. The same requests in the same order give the same values on every device and in every type: values
 * that a kernel gets as bf16 are rounded to bf16 for its reference too. Not thread-safe; closing frees everything.
 */
final class Inputs implements AutoCloseable {
    /** Values come from a fixed sequence of this length, over and over; no multiple of a row, so that rows differ. */
    private static final int PERIOD = (1 << 20) - 3;

    private static final float[] NORMAL = normals();

    private final Device device;
    private final DType data;
    private final DType master;
    private final DType rounding;
    private final List<AutoCloseable> open = new ArrayList<>();
    private final List<Buffer> filled = new ArrayList<>();
    private final @Nullable Inputs original;
    private final List<Buffer> outputs = new ArrayList<>();
    private int requests;

    private Inputs(Device device, DType data, DType master, DType rounding, @Nullable Inputs original) {
        this.original = original;
        this.device = device;
        this.data = data;
        this.master = master;
        this.rounding = rounding;
    }

    /** Inputs of a kernel for data of a type; statistics, parameters and losses are f32. */
    static Inputs of(Device device, DType data) {
        return new Inputs(device, data, DType.F32, data, null);
    }

    /** The same inputs in memory of their own, copied on the device; to be made before the call of the first has run. */
    static Inputs copyOf(Inputs inputs) {
        return new Inputs(inputs.device, inputs.data, inputs.master, inputs.rounding, inputs);
    }

    /** The same inputs for the reference in f64 on the CPU. */
    static Inputs reference(DType data) {
        return new Inputs(Device.cpu(), DType.F64, DType.F64, data, null);
    }

    private static float[] normals() {
        SplittableRandom random = new SplittableRandom(11);
        float[] values = new float[PERIOD];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    private static float toBf16(float value) {
        int bits = Float.floatToRawIntBits(value);
        return Float.intBitsToFloat((bits + 0x7FFF + (bits >>> 16 & 1)) & 0xFFFF0000);
    }

    Device device() {
        return device;
    }

    /** The type of data that is measured, also where these are the reference's inputs. */
    DType type() {
        return rounding;
    }

    /** Frees it with the inputs. */
    <T extends AutoCloseable> T keep(T resource) {
        open.add(resource);
        return resource;
    }

    private Buffer allocate(DType dtype, long count) {
        return keep(device.allocate(dtype, count));
    }

    /** Data with normal values. */
    Buffer normal(long count) {
        return normal(count, 1);
    }

    /** Data with normal values times a factor. */
    Buffer normal(long count, double scale) {
        return filled(data, rounding, count, value -> (float) (value * scale));
    }

    /** Statistics or parameters with normal values. */
    Buffer master(long count) {
        return filled(master, DType.F32, count, value -> value);
    }

    /** Statistics or parameters in (0, 1]. */
    Buffer positive(long count) {
        return filled(master, DType.F32, count, value -> (float) Math.exp(-Math.abs(value)));
    }

    /** A video in f32 (f64 for the reference) with values in [0, 1]. */
    Buffer floatVideo(long count) {
        return filled(master, DType.F32, count, value -> (float) Math.exp(-Math.abs(value)));
    }

    private interface Map {
        float of(float value);
    }

    private Buffer filled(DType dtype, DType rounded, long count, Map map) {
        Buffer buffer = allocate(dtype, count);
        int start = Math.floorMod(++requests * 7919, PERIOD);
        if (copied(buffer)) {
            return buffer;
        }
        int chunk = (int) Math.min(PERIOD, count);
        try (Buffer host = Device.cpu().allocate(dtype, chunk)) {
            MemorySegment segment = host.segment();
            for (int i = 0; i < chunk; i++) {
                float value = map.of(NORMAL[(start + i) % PERIOD]);
                float exact = rounded == DType.BF16 ? toBf16(value) : value;
                switch (dtype) {
                    case F64 -> segment.setAtIndex(ValueLayout.JAVA_DOUBLE, i, exact);
                    case BF16 ->
                        segment.setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToRawIntBits(exact) >>> 16));
                    default -> segment.setAtIndex(ValueLayout.JAVA_FLOAT, i, exact);
                }
            }
            repeat(host, buffer);
        }
        return buffer;
    }

    /** Whether the buffer has got its values from the original. */
    private boolean copied(Buffer buffer) {
        filled.add(buffer);
        if (original == null) {
            return false;
        }
        original.filled.get(filled.size() - 1).copyTo(buffer);
        return true;
    }

    /** Fills a buffer with copies of a host buffer that is no longer than it. */
    private static void repeat(Buffer host, Buffer buffer) {
        for (long at = 0; at < buffer.length(); at += host.length()) {
            long count = Math.min(host.length(), buffer.length() - at);
            (at == 0 ? host : buffer).slice(0, count).copyTo(buffer.slice(at, count));
        }
    }

    /** Pixels. */
    Buffer bytes(long count) {
        Buffer buffer = allocate(DType.U8, count);
        ++requests;
        if (copied(buffer)) {
            return buffer;
        }
        try (Buffer host = Device.cpu().allocate(DType.U8, Math.min(PERIOD, count))) {
            SplittableRandom random = new SplittableRandom(requests);
            for (long i = 0; i < host.length(); i++) {
                host.segment().set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(256));
            }
            repeat(host, buffer);
        }
        return buffer;
    }

    private interface Index {
        int at(long row, long column);
    }

    private Buffer indices(long rows, long columns, Index index) {
        Buffer buffer = allocate(DType.I32, rows * columns);
        if (copied(buffer)) {
            return buffer;
        }
        try (Buffer host = Device.cpu().allocate(DType.I32, rows * columns)) {
            for (long row = 0; row < rows; row++) {
                for (long column = 0; column < columns; column++) {
                    host.segment().setAtIndex(ValueLayout.JAVA_INT, row * columns + column, index.at(row, column));
                }
            }
            host.copyTo(buffer);
        }
        return buffer;
    }

    /** Ascending indices without repetition, {@code [batch, count]} out of {@code tokens}, different in each sample. */
    Buffer tokens(long batch, long tokens, long count) {
        long gap = tokens / count;
        return indices(batch, count, (row, column) -> (int) (column * tokens / count + (row * 7 + column * 13) % gap));
    }

    /** Regions of positions, {@code [rows, positions]}: two in every fourth row, as in shifted windows, one in the others. */
    Buffer regions(long rows, long positions) {
        return indices(rows, positions, (row, column) -> row % 4 == 3 ? (int) (2 * column / positions) : 0);
    }

    /** Labels of {@code rows} rows. */
    Buffer labels(long rows, long classes) {
        return indices(rows, 1, (row, column) -> (int) (row * 31 % classes));
    }

    /** Data that the kernel writes. */
    Buffer output(long count) {
        return written(allocate(data, count));
    }

    /** Statistics, parameters or losses that the kernel writes. */
    Buffer masterOutput(long count) {
        return written(allocate(master, count));
    }

    /** Indices that the kernel writes. */
    Buffer indexOutput(long count) {
        return written(allocate(DType.I32, count));
    }

    /** bf16 that the kernel writes beside its data; the reference has it in f64. */
    Buffer shadowOutput(long count) {
        return written(allocate(data == DType.F64 ? DType.F64 : DType.BF16, count));
    }

    /** Marks an input that the kernel writes too. */
    Buffer written(Buffer buffer) {
        outputs.add(buffer);
        return buffer;
    }

    /** What the kernel has written, one array per output. */
    List<double[]> results() {
        List<double[]> results = new ArrayList<>();
        for (Buffer output : outputs) {
            results.add(values(output));
        }
        return results;
    }

    /** Number of elements of an output. */
    long outputLength(int index) {
        return outputs.get(index).length();
    }

    /** The {@code count} elements of an output from {@code offset} on. */
    double[] output(int index, long offset, long count) {
        return values(outputs.get(index).slice(offset, count));
    }

    private static double[] values(Buffer buffer) {
        try (Buffer host = Device.cpu().allocate(buffer.dtype(), buffer.length())) {
            buffer.copyTo(host);
            double[] values = new double[Math.toIntExact(buffer.length())];
            for (int i = 0; i < values.length; i++) {
                values[i] = value(host, i);
            }
            return values;
        }
    }

    private static double value(Buffer host, int i) {
        MemorySegment segment = host.segment();
        return switch (host.dtype()) {
            case F32 -> segment.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            case F64 -> segment.getAtIndex(ValueLayout.JAVA_DOUBLE, i);
            case BF16 -> Float.intBitsToFloat(segment.getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
            case I32 -> segment.getAtIndex(ValueLayout.JAVA_INT, i);
            case U8 -> segment.get(ValueLayout.JAVA_BYTE, i) & 0xFF;
        };
    }

    @Override
    public void close() {
        for (AutoCloseable resource : open.reversed()) {
            try {
                resource.close();
            } catch (RuntimeException e) {
                throw e;
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }
        open.clear();
        filled.clear();
    }
}
