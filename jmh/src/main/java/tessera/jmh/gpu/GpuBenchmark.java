package tessera.jmh.gpu;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import tessera.distill.stage.Machine;
import tessera.kernels.CudaDevice;
import tessera.kernels.Device;

/**
 * Measures a GPU: every kernel, then whole models with PyTorch beside them, and leaves a JSON file and a table on the standard
 * output.
 *
 * <p>Options: {@code --device cuda:0}, {@code --out results.json}, {@code --budget SECONDS} (of kernels and models together),
 * {@code --only kernels|models}, {@code --python PROGRAM} (of PyTorch, {@code none} for without), {@code --tiny} (small shapes,
 * once, to see that it runs). Exit code 0 where everything ran and was right, 1 where something failed or was wrong, 2 for a
 * bad option. The file is complete after every measurement, so a run that is cut short leaves what it has.
 */
public final class GpuBenchmark {
    /** The kernels' share of the time. */
    private static final double KERNELS = .55;

    private final PrintWriter out;
    private String device = "cuda:0";
    private Path file = Path.of("results.json");
    private double budget = 360;
    private String only = "";
    private String python = "python3";
    private boolean tiny;

    private GpuBenchmark(PrintWriter out) {
        this.out = out;
    }

    /** Measures, then exits. */
    public static void main(String[] args) {
        PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        int code = run(List.of(args), out);
        out.flush();
        System.exit(code);
    }

    /**
     * Measures.
     *
     * @return the exit code
     */
    public static int run(List<String> args, PrintWriter out) {
        GpuBenchmark benchmark = new GpuBenchmark(out);
        Device target;
        try {
            benchmark.parse(args);
            target = Device.parse(benchmark.device);
        } catch (IllegalArgumentException e) {
            out.println("error: " + e.getMessage());
            return 2;
        }
        return benchmark.measure(target) == 0 ? 0 : 1;
    }

    private void parse(List<String> args) {
        for (int i = 0; i < args.size(); i++) {
            String option = args.get(i);
            if (option.equals("--tiny")) {
                tiny = true;
                continue;
            }
            if (i + 1 == args.size()) {
                throw new IllegalArgumentException("option " + option + " is unknown or has no value; pass --device,"
                        + " --out, --budget, --only or --python with a value, or --tiny");
            }
            String value = args.get(++i);
            switch (option) {
                case "--device" -> device = value;
                case "--out" -> file = Path.of(value);
                case "--budget" -> budget = seconds(value);
                case "--only" -> only = part(value);
                case "--python" -> python = value;
                default ->
                    throw new IllegalArgumentException("unknown option " + option
                            + "; pass --device, --out, --budget, --only, --python or --tiny");
            }
        }
    }

    private static double seconds(String text) {
        if (!text.matches("\\d{1,6}(\\.\\d{1,3})?")) {
            throw new IllegalArgumentException(
                    "--budget is '" + text + "', no number of seconds; pass for example 300");
        }
        return Double.parseDouble(text);
    }

    private static String part(String text) {
        if (!text.equals("kernels") && !text.equals("models")) {
            throw new IllegalArgumentException("--only is '" + text + "'; pass kernels or models");
        }
        return text;
    }

    /** Returns how much failed or was wrong. */
    private int measure(Device target) {
        Results results = new Results(file);
        results.put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        results.put("device", target instanceof CudaDevice gpu ? gpu.describe() : target.toString());
        results.put("machine", Machine.here());
        out.println(target instanceof CudaDevice gpu ? gpu.describe() : target.toString());
        Sizes sizes = tiny ? Sizes.tiny() : Sizes.paper();
        Deadline all = new Deadline(budget);
        int wrong = 0;
        if (!only.equals("models")) {
            Deadline deadline = only.isEmpty() ? new Deadline(budget * KERNELS) : all;
            wrong += new KernelBenchmark(target, sizes, tiny, results, deadline, out).run();
            target.trim();
        }
        if (!only.equals("kernels")) {
            wrong += new ModelBenchmark(target, sizes, tiny, python, results, all, out).run();
        }
        results.put("wrong_or_failed", wrong);
        results.put("complete", true);
        out.println(wrong == 0 ? "everything ran" : wrong + " measurements failed or were wrong");
        out.println("results: " + file);
        return wrong;
    }
}
