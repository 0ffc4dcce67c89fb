package tessera.tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import tessera.kernels.Buffer;

/** Formats values in NumPy's layout: aligned columns, edges of long axes, scientific notation where needed. */
final class TensorPrinter {
    private static final int THRESHOLD = 1000;
    private static final int EDGE = 3;
    private static final int WIDTH = 75;

    private final Tensor tensor;
    private final boolean shorten;
    private final String format;
    private final int cell;

    private TensorPrinter(Tensor tensor) {
        this.tensor = tensor;
        this.shorten = tensor.shape().count() > THRESHOLD;
        List<Double> values = new ArrayList<>();
        collect(0, tensor.offset(), values);
        this.format = format(tensor.dtype().isFloating(), values);
        this.cell = values.stream().mapToInt(v -> text(v).length()).max().orElse(0);
    }

    static String print(Tensor tensor) {
        if (tensor.shape().count() == 0) {
            return "[]";
        }
        StringBuilder out = new StringBuilder();
        new TensorPrinter(tensor).append(out, 0, tensor.offset());
        return out.toString();
    }

    private static String format(boolean floating, List<Double> values) {
        if (!floating) {
            return "%.0f";
        }
        double largest = 0;
        double smallest = Double.POSITIVE_INFINITY;
        boolean whole = true;
        for (double v : values) {
            if (Double.isFinite(v)) {
                largest = Math.max(largest, Math.abs(v));
                smallest = v == 0 ? smallest : Math.min(smallest, Math.abs(v));
                whole &= v == Math.rint(v);
            }
        }
        if (largest >= 1e8 || (smallest < 1e-4 && !whole)) {
            return "%.4e";
        }
        return whole ? "%.0f." : "%.4f";
    }

    private String text(double value) {
        if (Double.isNaN(value)) {
            return "nan";
        }
        if (Double.isInfinite(value)) {
            return value > 0 ? "inf" : "-inf";
        }
        return String.format(Locale.ROOT, format, value);
    }

    private boolean skips(int axis) {
        return shorten && tensor.size(axis) > 2 * EDGE;
    }

    private void collect(int axis, long at, List<Double> values) {
        if (axis == tensor.rank()) {
            values.add(element(tensor.wholeBuffer(), at));
            return;
        }
        for (long i = 0; i < tensor.size(axis); i++) {
            if (skips(axis) && i == EDGE) {
                i = tensor.size(axis) - EDGE;
            }
            collect(axis + 1, at + i * tensor.strides()[axis], values);
        }
    }

    private void append(StringBuilder out, int axis, long at) {
        if (axis == tensor.rank()) {
            String text = text(element(tensor.wholeBuffer(), at));
            out.append(" ".repeat(cell - text.length())).append(text);
            return;
        }
        boolean last = axis == tensor.rank() - 1;
        String between = last ? " " : "\n".repeat(tensor.rank() - 1 - axis) + " ".repeat(axis + 1);
        out.append('[');
        int lineStart = out.length();
        for (long i = 0; i < tensor.size(axis); i++) {
            if (i > 0) {
                boolean wrap = last && out.length() - lineStart + cell + 2 > WIDTH;
                out.append(wrap ? "\n" + " ".repeat(axis + 1) : between);
                lineStart = wrap ? out.length() : lineStart;
            }
            if (skips(axis) && i == EDGE) {
                out.append("...").append(between);
                i = tensor.size(axis) - EDGE;
            }
            append(out, axis + 1, at + i * tensor.strides()[axis]);
        }
        out.append(']');
    }

    /** The element at a position of the storage as a double. */
    private static double element(Buffer buffer, long index) {
        MemorySegment segment = buffer.segment();
        return switch (buffer.dtype()) {
            case F32 -> segment.getAtIndex(ValueLayout.JAVA_FLOAT, index);
            case F64 -> segment.getAtIndex(ValueLayout.JAVA_DOUBLE, index);
            case BF16 -> Float.intBitsToFloat(segment.getAtIndex(ValueLayout.JAVA_SHORT, index) << 16);
            case I32 -> segment.getAtIndex(ValueLayout.JAVA_INT, index);
            case U8 -> segment.getAtIndex(ValueLayout.JAVA_BYTE, index) & 0xFF;
        };
    }
}
