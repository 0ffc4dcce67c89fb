package tessera.jmh.gpu;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import tessera.jmh.gpu.References.Expected;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Matmul;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;

/**
 * Measures every kernel, beside the copy bandwidth and the matmul rate of the same run, and compares each result with the
 * reference in f64.
 *
 * <p>Traps avoided: buffers rotate, so that data does not wait in the L2 cache; data is random, because zeros draw less power
 * and run faster; and a kernel whose result is wrong is reported as wrong, however fast.
 */
final class KernelBenchmark {
    /** Several times the L2 cache of the largest GPU. */
    private static final double ROTATION_BYTES = 512e6;

    private static final int MOST_SETS = 32;

    /** Greatest squared error over the squared norm: f32 differs in the order of additions, bf16 in its rounding. */
    private static final double F32_ERROR = 1e-9;

    private static final double BF16_ERROR = 1e-4;

    /** What is bound by memory: of a kernel's arithmetic and of its least time, at the copy bandwidth. */
    private static final double MOST_FLOPS_PER_BYTE = 8;

    private static final double FEWEST_US = 10;

    private final Device device;
    private final Sizes sizes;
    private final Stopwatch stopwatch;
    private final References references;
    private final Results results;
    private final PrintWriter out;
    private final boolean tiny;
    private boolean headed;
    private final Map<String, Double> errors = new HashMap<>();
    private double copyBandwidth;
    private final Map<DType, Double> matmulRates = new LinkedHashMap<>();

    KernelBenchmark(Device device, Sizes sizes, boolean tiny, References references, Results results, PrintWriter out) {
        this.references = references;
        this.device = device;
        this.sizes = sizes;
        this.tiny = tiny;
        this.stopwatch = new Stopwatch(device, tiny);
        this.results = results;
        this.out = out;
    }

    /** Measures the kernels for data of one type, after the ceilings; returns how many failed or gave wrong results. */
    int run(DType type, Deadline deadline) {
        if (!headed) {
            row("kernel", "shape", "type", "us", "GB/s", "of own", "TFLOP/s", "of matmul", "error");
            headed = true;
        }
        int wrong = 0;
        for (KernelCase one : KernelCases.of(sizes)) {
            if (type == DType.BF16 && !one.bf16()) {
                continue;
            }
            if (deadline.passed()) {
                results.put("kernels_cut_short", true);
                out.println("out of time: the kernels in " + type + " from here on were not measured");
                return wrong;
            }
            wrong += measure(one, type) ? 0 : 1;
        }
        return wrong;
    }

    /** Prints a line {@code NAME|SHAPE|TYPE|SQUARED ERROR} for each kernel, in a process of its own. */
    void checkHere() {
        for (DType type : List.of(DType.BF16, DType.F32)) {
            for (KernelCase one : KernelCases.of(sizes)) {
                if (type == DType.F32 || one.bf16()) {
                    try {
                        out.println(key(one, type) + "|" + error(one, type));
                    } catch (RuntimeException e) {
                        out.println("# " + key(one, type) + " failed: " + e.getMessage());
                    }
                    out.flush();
                }
            }
        }
    }

    /** Takes a line of {@link #checkHere}; returns whether it was one. */
    boolean checked(String line) {
        int at = line.lastIndexOf('|');
        if (line.startsWith("#") || at < 0) {
            return false;
        }
        errors.put(line.substring(0, at), Double.parseDouble(line.substring(at + 1)));
        return true;
    }

    private static String key(KernelCase one, DType type) {
        return one.name() + "|" + one.shape() + "|" + type;
    }

    // ---------------------------------------------------------------------------------------------------- ceilings

    /** Measures what the kernels are compared with. */
    void ceilings() {
        copyBandwidth = measureCopy();
        results.put("copy_gb_per_s", copyBandwidth);
        out.printf(Locale.ROOT, "copy: %.0f GB/s%n", copyBandwidth);
        for (DType type : device.computes(DType.BF16) ? List.of(DType.BF16, DType.F32) : List.of(DType.F32)) {
            try {
                double rate = measureMatmul(type);
                matmulRates.put(type, rate);
                results.put("matmul_tflop_per_s_" + type, rate);
                out.printf(Locale.ROOT, "matmul, %s: %.1f TFLOP/s%n", type, rate);
            } catch (RuntimeException e) {
                results.put("matmul_error_" + type, String.valueOf(e.getMessage()));
                out.println("matmul, " + type + ": " + e.getMessage());
            }
        }
        out.flush();
    }

    private double measureCopy() {
        long count = sizes.copyBytes() / Float.BYTES;
        try (Inputs in = Inputs.of(device, DType.F32)) {
            Buffer from = in.normal(count);
            Buffer to = in.output(count);
            List<Runnable> calls = List.of(() -> from.copyTo(to), () -> to.copyTo(from));
            return 2.0 * from.byteSize() / stopwatch.time(calls).median() / 1e3;
        }
    }

    private double measureMatmul(DType type) {
        long n = type == DType.BF16 ? sizes.matmulSide() : sizes.matmulSide() / 2;
        try (Inputs in = Inputs.of(device, type)) {
            Buffer a = in.normal(n * n);
            Buffer b = in.normal(n * n);
            Buffer c = in.output(n * n);
            Matmul matmul = device.kernels().matmul();
            Runnable call = () -> matmul.matmul(MatmulShape.of(false, true, n, n, n), a, b, Epilogue.NONE, c);
            return 2.0 * n * n * n / stopwatch.time(List.of(call)).median() / 1e6;
        }
    }

    // --------------------------------------------------------------------------------------------------- one kernel

    /** Returns whether the result was right. */
    private boolean measure(KernelCase one, DType type) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("kernel", one.name());
        entry.put("primitive", one.primitive());
        entry.put("shape", one.shape());
        entry.put("type", type.toString());
        boolean right = false;
        try {
            double error = errors.getOrDefault(key(one, type), Double.NaN);
            error = Double.isNaN(error) ? error(one, type) : error;
            right = right(one, type, error);
            report(one, type, error, time(one, type), entry);
        } catch (RuntimeException e) {
            entry.put("failed", String.valueOf(e.getMessage()));
            row(one.name(), one.shape(), type.toString(), "failed: " + e.getMessage());
        }
        results.add("kernels", entry);
        out.flush();
        return right;
    }

    private void report(KernelCase one, DType type, double error, Stopwatch.Time time, Map<String, Object> entry) {
        double bytes = one.bytes().of((double) one.batch(), type.bytes());
        double flops = one.flops().of((double) one.batch(), type.bytes());
        boolean right = right(one, type, error);
        double bandwidth = bytes / time.median() / 1e3;
        double rate = flops / time.median() / 1e6;
        double ofCopy = bandwidth / copyBandwidth;
        double ofOwn = ofCopy * one.sectors().of((double) one.batch(), type.bytes()) / bytes;
        double ofMatmul = rate / matmulRates.getOrDefault(type, Double.NaN);
        entry.put("us", time.median());
        entry.put("us_least", time.least());
        entry.put("samples", time.samples());
        entry.put("bytes", bytes);
        entry.put("flops", flops);
        entry.put("gb_per_s", bandwidth);
        entry.put("of_copy", ofCopy);
        entry.put("of_own_ceiling", ofOwn);
        entry.put("tflop_per_s", rate);
        if (one.tensorCores()) {
            entry.put("of_matmul", ofMatmul);
        }
        // Not what a launch costs more than its bytes, and not arithmetic.
        entry.put(
                "memory_bound",
                !one.tensorCores() && flops <= MOST_FLOPS_PER_BYTE * bytes && bytes / copyBandwidth / 1e3 >= FEWEST_US);
        entry.put("squared_error", error);
        entry.put("right", right);
        row(
                one.name(),
                one.shape(),
                type.toString(),
                number("%.1f", time.median()),
                number("%.0f", bandwidth),
                number("%.0f %%", 100 * ofOwn),
                number("%.2f", rate),
                one.tensorCores() ? number("%.0f %%", 100 * ofMatmul) : "",
                number("%.1e", error) + (right ? "" : " WRONG"));
    }

    /** The squared error of a result over the squared norm, the largest of its outputs at a small and at the measured size. */
    double error(KernelCase one, DType type) {
        List<Expected> expected = references.of(one, type);
        return Math.max(smallError(one, type, expected), largeError(one, type, expected));
    }

    /** Whether the kernel with this error may be called right. */
    static boolean right(KernelCase one, DType type, double error) {
        return error <= (type == DType.BF16 || one.name().contains("bf16") ? BF16_ERROR : F32_ERROR);
    }

    /** Times a kernel on buffers that rotate. */
    Stopwatch.Time time(KernelCase one, DType type) {
        double bytes = one.bytes().of((double) one.batch(), type.bytes());
        int sets = tiny ? 2 : (int) Math.clamp(Math.ceil(ROTATION_BYTES / bytes), 2, MOST_SETS);
        List<Inputs> all = new ArrayList<>();
        try {
            List<Runnable> calls = new ArrayList<>();
            for (int i = 0; i < sets; i++) {
                Inputs in = all.isEmpty() ? Inputs.of(device, type) : Inputs.copyOf(all.getFirst());
                all.add(in);
                calls.add(one.setup().prepare(device.kernels(), in, one.batch()));
            }
            return stopwatch.time(calls);
        } finally {
            all.forEach(Inputs::close);
        }
    }

    /** The largest error among the outputs for the small batch. */
    private double smallError(KernelCase one, DType type, List<Expected> expected) {
        try (Inputs in = Inputs.of(device, type)) {
            one.setup().prepare(device.kernels(), in, one.checkBatch()).run();
            List<double[]> actual = in.results();
            double worst = 0;
            for (int i = 0; i < expected.size(); i++) {
                worst = Math.max(worst, error(actual.get(i), expected.get(i), 1));
            }
            return worst;
        }
    }

    /**
     * The largest error of the first samples at the measured size; infinite where the end of an output is not finite. The inputs
     * of the first samples are those of the small batch.
     */
    private double largeError(KernelCase one, DType type, List<Expected> expected) {
        try (Inputs in = Inputs.of(device, type)) {
            one.setup().prepare(device.kernels(), in, one.batch()).run();
            double worst = 0;
            for (int i = 0; i < expected.size(); i++) {
                int small = expected.get(i).length();
                long length = in.outputLength(i);
                if (length * one.checkBatch() == small * one.batch()) {
                    double shrunk = one.mean() ? (double) one.checkBatch() / one.batch() : 1;
                    worst = Math.max(worst, error(in.output(i, 0, small), expected.get(i), shrunk));
                }
                long end = Math.min(length, 4096);
                for (double value : in.output(i, length - end, end)) {
                    worst = Double.isFinite(value) ? worst : Double.POSITIVE_INFINITY;
                }
            }
            return worst;
        }
    }

    /** The squared error over the squared norm, at the places that are compared; not a number is infinitely wrong. */
    private static double error(double[] actual, Expected expected, double factor) {
        double difference = 0;
        double norm = 0;
        if (actual.length != expected.length()) {
            throw new IllegalStateException("an output has " + actual.length + " elements and its reference "
                    + expected.length() + "; were the references made from other sources?");
        }
        if (!Arrays.stream(actual).allMatch(Double::isFinite)) {
            return Double.POSITIVE_INFINITY;
        }
        double[] compared = References.at(actual);
        for (int i = 0; i < compared.length; i++) {
            double wanted = expected.values()[i] * factor;
            difference += (compared[i] - wanted) * (compared[i] - wanted);
            norm += wanted * wanted;
        }
        double error = difference == 0 ? 0 : difference / norm;
        return Double.isNaN(error) ? Double.POSITIVE_INFINITY : error;
    }

    // ------------------------------------------------------------------------------------------------------- table

    private static String number(String format, double value) {
        return Double.isFinite(value) ? String.format(Locale.ROOT, format, value) : "-";
    }

    private void row(String... cells) {
        StringBuilder line = new StringBuilder();
        int[] widths = {46, 40, 5, 10, 8, 8, 9, 10, 14};
        for (int i = 0; i < cells.length; i++) {
            line.append(String.format(i < 3 ? "%-" + widths[i] + "s " : "%" + widths[i] + "s ", cells[i]));
        }
        out.println(line.toString().stripTrailing());
    }
}
