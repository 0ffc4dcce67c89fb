package tessera.jmh.gpu;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import tessera.distill.demo.Machine;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.NativeReport;
import tessera.tensor.io.AtomicFile;
import tessera.tensor.io.TensorFileException;

/**
 * Measures a GPU: whole models with PyTorch beside them, what the goals name first, attention by all who can compute it, every
 * kernel, and where the time of a model goes; and leaves a JSON file and tables on the standard output. Beside the file lie a page
 * of the results, {@code attention.providers} and what PyTorch complained of.
 *
 * <p>Options: {@code --device cuda:0}, {@code --out results.json}, {@code --budget SECONDS} (of all together), {@code --only LIST}
 * (of {@link #STEPS}, separated by commas), {@code --python PROGRAM} (of PyTorch, {@code none} for without), {@code --references
 * FILE} (of {@link References}), {@code --revision TEXT} (of the sources), {@code --tiny} (small shapes, once, to see that it
 * runs). Exit code 0 where everything ran and was right, 1 where something failed or was wrong, 2 for a bad option. The file is
 * complete after every measurement, so a run that is cut short leaves what it has.
 */
public final class GpuBenchmark {
    /** What is done, in the order of its worth: {@code products} chooses
     * cuBLASLt's algorithms, {@code settings} are the models under other settings, {@code f32} kernels in f32, {@code rest} models at
     * other mask ratios and batches. */
    static final List<String> STEPS =
            List.of("attention", "products", "models", "kernels", "profile", "settings", "f32", "rest");

    /** For the processes that the steps start. */
    private static final List<String> CHILDREN =
            List.of("warm", "attention-here", "checks-here", "profile-here", "products-here", "settings-here");

    /** Ends the names of steps that a started process does by itself. */
    private static final String HERE = "-here";

    /** In which PyTorch compiles, and its part of all. */
    private static final double PREPARE_SECONDS = 170;

    private static final double PREPARE_SHARE = .41;
    private final PrintWriter out;
    private String device = "cuda:0";
    private Path file = Path.of("results.json");
    private double budget = 360;
    private List<String> only = STEPS;
    private String python = "python3";
    private String revision = "";
    private @Nullable Path references;
    private boolean tiny;

    private GpuBenchmark(PrintWriter out) {
        this.out = out;
    }

    /** Measures, then exits. */
    public static void main(String[] args) {
        // Where this process is ended from outside, those of its steps and PyTorch's would disturb what is measured
        // next.
        Runtime.getRuntime()
                .addShutdownHook(new Thread(
                        () -> ProcessHandle.current().descendants().forEach(ProcessHandle::destroyForcibly)));
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
                        + " --out, --budget, --only, --python, --references or --revision with a value, or --tiny");
            }
            String value = args.get(++i);
            switch (option) {
                case "--device" -> device = value;
                case "--out" -> file = Path.of(value);
                case "--budget" -> budget = seconds(value);
                case "--only" -> only = steps(value);
                case "--python" -> python = value;
                case "--revision" -> revision = value;
                case "--references" -> references = Path.of(value);
                default ->
                    throw new IllegalArgumentException("unknown option " + option
                            + "; pass --device, --out, --budget, --only, --python, --references, --revision or --tiny");
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

    private static List<String> steps(String text) {
        List<String> steps = List.of(text.split(",", -1));
        if (!STEPS.containsAll(steps) && !CHILDREN.containsAll(steps)) {
            throw new IllegalArgumentException(
                    "--only is '" + text + "'; pass some of " + String.join(",", STEPS) + ", separated by commas");
        }
        return steps;
    }

    /** Returns how much failed or was wrong. */
    private int measure(Device target) {
        Results results = new Results(file);
        Sizes sizes = tiny ? Sizes.tiny() : Sizes.paper();
        References expected = references();
        if (only.stream().anyMatch(step -> step.endsWith(HERE))) {
            runHere(target, sizes, expected, results);
            return 0;
        }
        describe(target, results);
        Deadline all = new Deadline(budget);
        boolean gpu = !target.isHost();
        KernelBenchmark single = new KernelBenchmark(target, sizes, tiny, expected, results, out);
        int[] wrong = new int[1];
        try (Conditions conditions = gpu ? new Conditions(0) : null;
                Peers peers = python.equals("none") ? null : new Peers(python, sizes, tiny, target, results, out);
                ModelBenchmark whole = new ModelBenchmark(target, sizes, tiny, results, peers, out)) {
            Sections sections = new Sections(results, out, conditions);
            if (peers != null && (only.contains("models") || only.contains("warm"))) {
                whole.preparePeers();
            }
            if (peers != null && only.contains("warm")) {
                peers.await(all); // what it compiles, it keeps on the disk
                return 0;
            }
            // While PyTorch compiles, results are compared and nothing is timed. That, and what is tried for the tables
            // of
            // who computes what, is done by processes of their own: this one reads the tables when it first computes.
            sections.run("checks", () -> {
                Deadline prepared = all.share(Math.min(PREPARE_SHARE, PREPARE_SECONDS / Math.max(1, budget)));
                if (gpu && (only.contains("kernels") || only.contains("f32"))) {
                    int code = Sections.run(Sections.child("checks-here", target, Map.of(), more()), prepared, line -> {
                        if (!single.checked(line)) {
                            out.println(line);
                        }
                    });
                    out.println(code == 0 ? "all kernels were compared" : "comparing kernels ended with code " + code);
                }
                if (peers != null) {
                    peers.await(prepared);
                }
            });
            // Each has to end at its share of the time; what one leaves is the next one's.
            if (gpu && only.contains("attention")) {
                sections.run(
                        "attention",
                        () -> wrong[0] +=
                                new AttentionBenchmark(target, sizes, more(), results, peers, out).run(all.share(.56)));
            }
            if (gpu && only.contains("products")) {
                sections.run("products", () -> new Tuning(target, more(), results, out).products(all.share(.62)));
            }
            sections.run("ceilings", single::ceilings);
            if (only.contains("models")) {
                sections.run("models", () -> {
                    wrong[0] += whole.check();
                    wrong[0] += whole.goals(all.share(.78));
                });
                target.trim();
            }
            if (gpu && only.contains("kernels")) {
                sections.run("kernels", () -> wrong[0] += single.run(DType.BF16, all.share(.9)));
                target.trim();
            }
            if (gpu && only.contains("profile")) {
                sections.run("profile", () -> new Profile(target, more(), results, out).run(all.share(.93)));
            }
            if (gpu && only.contains("settings")) {
                sections.run("settings", () -> new Tuning(target, more(), results, out).settings(all.share(.95)));
            }
            if (only.contains("f32") || (!gpu && only.contains("kernels"))) {
                sections.run("kernels in f32", () -> wrong[0] += single.run(DType.F32, all.share(.96)));
                target.trim();
            }
            if (only.contains("rest")) {
                sections.run("models at other ratios and batches", () -> wrong[0] += whole.rest(all.share(.985)));
            }
            wrong[0] += sections.failures();
        }
        tell(results, wrong[0]);
        return wrong[0];
    }

    /** What a process does that another one started. */
    private void runHere(Device target, Sizes sizes, References expected, Results results) {
        if (only.contains("attention-here")) {
            AttentionBenchmark.measureHere(target, sizes, tiny, expected, results, out);
        } else if (only.contains("checks-here")) {
            new KernelBenchmark(target, sizes, tiny, expected, results, out).checkHere();
        } else if (only.contains("profile-here")) {
            Profile.runHere(target, sizes);
        } else {
            try (ModelBenchmark models = new ModelBenchmark(target, sizes, tiny, results, null, out)) {
                if (only.contains("products-here")) {
                    Tuning.productsHere(target, models, out);
                } else {
                    Tuning.settingsHere(models, out);
                }
            }
        }
    }

    /** Completes the file, and writes the page and the summary. */
    private void tell(Results results, int wrong) {
        results.put("wrong_or_failed", wrong);
        results.put("complete", true);
        byte[] page = ResultsPage.of(results.root()).getBytes(StandardCharsets.UTF_8);
        try {
            AtomicFile.write(results.beside("goals.md"), file -> file.write(page));
        } catch (UncheckedIOException | TensorFileException e) {
            out.println("the page could not be written: " + e.getMessage());
        }
        out.println(ResultsPage.summary(results.root()));
        Goals.print(results.goals(), out);
        out.println();
        out.println(
                wrong == 0 ? "everything that was measured was right" : wrong + " measurements failed or were wrong");
        out.println("results: " + file);
    }

    private References references() {
        try {
            return references == null ? References.none() : References.of(references);
        } catch (IOException e) {
            out.println("the references in " + references + " cannot be read and are computed: " + e.getMessage());
            return References.none();
        }
    }

    /** Options that the processes of a part need too. */
    private List<String> more() {
        List<String> options = new ArrayList<>();
        if (references != null) {
            options.addAll(List.of("--references", references.toString()));
        }
        if (tiny) {
            options.add("--tiny");
        }
        return options;
    }

    private void describe(Device target, Results results) {
        results.put("device", target.isHost() ? target.toString() : target.name());
        results.put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
        if (!revision.isEmpty()) {
            results.put("revision", revision);
        }
        results.put("tiny", tiny);
        if (!target.isHost()) {
            results.put("described", target.describe());
            results.put("driver", driver());
            results.put("versions", NativeReport.versions());
        }
        results.put("libraries", NativeReport.findings());
        results.put("machine", Machine.here());
        out.println(target.isHost() ? target.toString() : target.describe());
    }

    /** The version of the kernel's driver, which the CUDA libraries do not tell. */
    private static String driver() {
        Path file = Path.of("/proc/driver/nvidia/version");
        try {
            if (Files.isReadable(file)) {
                return Files.readString(file)
                        .lines()
                        .findFirst()
                        .orElse("unknown")
                        .strip();
            }
            Process query = new ProcessBuilder("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            if (!query.waitFor(20, TimeUnit.SECONDS)) {
                query.destroyForcibly();
                return "unknown";
            }
            String version = new String(query.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            return version.isEmpty() ? "unknown" : version;
        } catch (IOException e) {
            return "unknown";
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "unknown";
        }
    }
}
