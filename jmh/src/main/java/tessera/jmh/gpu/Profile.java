package tessera.jmh.gpu;

import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;

/**
 * Where the time of a model goes: the kernels of masked inference at the large batch and at 1 and of a training step, one by one, as
 * Nsight Compute ({@code ncu}) times them in a process of its own. Without that program nothing is measured.
 */
final class Profile {
    private static final int ROWS = 14;

    /** What is profiled, in this order; a kernel of {@link #MARK} is before each. */
    static final List<String> PARTS = List.of("forward, large batch", "forward, batch 1", "training step, large batch");

    /** A kernel that none of them launches. */
    private static final String MARK = "global_norm";

    private static final String DURATION = "gpu__time_duration.sum";
    private static final String TRAFFIC = "dram__bytes.sum";

    private final Device device;
    private final List<String> more;
    private final Results results;
    private final PrintWriter out;

    /** @param more options of the process it starts */
    Profile(Device device, List<String> more, Results results, PrintWriter out) {
        this.device = device;
        this.more = more;
        this.results = results;
        this.out = out;
    }

    // ------------------------------------------------------------------------------------------- in the child process

    /** Runs every part twice, the second time between {@code cuProfilerStart} and {@code cuProfilerStop}. */
    @SuppressWarnings("restricted") // calling the driver
    static void runHere(Device device, Sizes sizes) {
        PrintWriter out = new PrintWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8), true);
        try (Arena arena = Arena.ofShared();
                ModelBenchmark models =
                        new ModelBenchmark(device, sizes, true, new Results(Path.of("unused")), null, out);
                Inputs in = Inputs.of(device, DType.F32)) {
            SymbolLookup driver = driver(arena);
            Buffer[] one = {in.master(64)};
            Buffer norm = in.masterOutput(1);
            for (Runnable part : models.profiled()) {
                part.run();
                device.synchronize();
                call(driver, "cuProfilerStart");
                device.kernels().optimiser().globalNorm(one, norm);
                part.run();
                device.synchronize();
                call(driver, "cuProfilerStop");
            }
        }
    }

    @SuppressWarnings("restricted")
    private static SymbolLookup driver(Arena arena) {
        String folder = System.getProperty("tessera.cuda.dir", "");
        return folder.isEmpty()
                ? SymbolLookup.libraryLookup("libcuda.so.1", arena)
                : SymbolLookup.libraryLookup(Path.of(folder.split(":", 2)[0], "libcuda.so.1"), arena);
    }

    @SuppressWarnings("restricted")
    private static void call(SymbolLookup driver, String name) {
        driver.find(name).ifPresent(address -> {
            try {
                int status = (int) Linker.nativeLinker()
                        .downcallHandle(address, FunctionDescriptor.of(ValueLayout.JAVA_INT))
                        .invokeExact();
                if (status != 0) {
                    System.out.println(name + ": " + status);
                }
            } catch (Throwable e) {
                throw new IllegalStateException(name, e);
            }
        });
    }

    // ------------------------------------------------------------------------------------------ in the parent process

    /** One launch. */
    record Launch(String kernel, double us, double bytes) {}

    void run(Deadline deadline) {
        Optional<Path> ncu = ncu();
        if (ncu.isEmpty()) {
            results.put("profile_absent", "there is no ncu");
            out.println("not profiled: there is no ncu on the PATH or in /usr/local/cuda/bin");
            return;
        }
        Path log = results.beside("profile.csv.part");
        List<Launch> launches = launches(ncu.get(), DURATION + "," + TRAFFIC, log, deadline);
        if (launches.isEmpty() && !deadline.passed()) {
            launches = launches(ncu.get(), DURATION, log, deadline);
        }
        List<List<Launch>> parts = new ArrayList<>();
        for (Launch launch : launches) {
            if (launch.kernel.contains(MARK)) {
                // The mark may be several kernels.
                if (parts.isEmpty() || !parts.getLast().isEmpty()) {
                    parts.add(new ArrayList<>());
                }
            } else if (!parts.isEmpty()) {
                parts.getLast().add(launch);
            }
        }
        for (int i = 0; i < Math.min(parts.size(), PARTS.size()); i++) {
            report(PARTS.get(i), parts.get(i));
        }
        try {
            Files.deleteIfExists(log);
        } catch (IOException e) {
            out.println("left behind: " + log);
        }
    }

    private static Optional<Path> ncu() {
        return Stream.concat(
                        Stream.of(System.getenv().getOrDefault("PATH", "").split(":", -1)),
                        Stream.of("/usr/local/cuda/bin"))
                .map(folder -> Path.of(folder, "ncu"))
                .filter(Files::isExecutable)
                .findFirst();
    }

    private List<Launch> launches(Path ncu, String metrics, Path log, Deadline deadline) {
        List<String> command =
                new ArrayList<>(List.of(ncu.toString(), "--profile-from-start", "off", "--metrics", metrics));
        command.addAll(List.of("--clock-control", "none", "--cache-control", "none", "--csv", "--print-units", "base"));
        command.addAll(List.of("--log-file", log.toString()));
        command.addAll(Sections.child("profile-here", device, Map.of(), more));
        try {
            Files.deleteIfExists(log);
            Process process = new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectOutput(results.beside("profile.out.part").toFile())
                    .start();
            process.getOutputStream().close();
            if (!process.waitFor((long) (deadline.left() * 1e3), TimeUnit.MILLISECONDS)) {
                process.descendants().forEach(ProcessHandle::destroyForcibly);
                process.destroyForcibly();
                out.println("the profile was cut short");
            }
            Path said = results.beside("profile.out.part");
            String printed = Files.readString(said);
            Files.delete(said);
            List<Launch> launches = Files.exists(log) ? parse(Files.readAllLines(log)) : List.of();
            if (launches.isEmpty()) {
                out.println(
                        "ncu gave no times: " + tail(printed) + tail(Files.exists(log) ? Files.readString(log) : ""));
            }
            return launches;
        } catch (IOException e) {
            out.println("ncu: " + e.getMessage());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        return List.of();
    }

    private static String tail(String text) {
        return text.substring(Math.max(0, text.length() - 600)).strip();
    }

    /** Reads rows of one metric of one launch each. */
    static List<Launch> parse(List<String> lines) {
        Map<String, Launch> launches = new LinkedHashMap<>();
        List<String> header = List.of();
        for (String line : lines) {
            List<String> fields = fields(line);
            if (fields.contains("Kernel Name") && fields.contains("Metric Value")) {
                header = fields;
            } else if (!header.isEmpty() && fields.size() == header.size()) {
                String id = fields.get(header.indexOf("ID"));
                String name = fields.get(header.indexOf("Kernel Name"));
                String text = fields.get(header.indexOf("Metric Value")).replace(",", "");
                double value = text.matches("[0-9.]+(e[+-]?\\d+)?") ? Double.parseDouble(text) : Double.NaN;
                Launch old = launches.getOrDefault(id, new Launch(name, Double.NaN, Double.NaN));
                launches.put(
                        id,
                        fields.get(header.indexOf("Metric Name")).equals(DURATION)
                                ? new Launch(name, value / 1e3, old.bytes)
                                : new Launch(name, old.us, value));
            }
        }
        return List.copyOf(launches.values());
    }

    /** Fields in quotes, separated by commas. */
    private static List<String> fields(String line) {
        List<String> fields = new ArrayList<>();
        StringBuilder field = new StringBuilder();
        boolean quoted = false;
        for (int i = 0; i < line.length(); i++) {
            char c = line.charAt(i);
            if (c == '"') {
                quoted = !quoted;
            } else if (c == ',' && !quoted) {
                fields.add(field.toString());
                field.setLength(0);
            } else {
                field.append(c);
            }
        }
        fields.add(field.toString());
        return fields;
    }

    private void report(String part, List<Launch> launches) {
        Map<String, double[]> kernels = new LinkedHashMap<>();
        double all = 0;
        for (Launch launch : launches) {
            String name = launch.kernel.replaceFirst("\\(.*", "").replaceFirst("^void ", "");
            double[] sums = kernels.computeIfAbsent(name, key -> new double[3]);
            sums[0]++;
            sums[1] += launch.us;
            sums[2] += launch.bytes;
            all += launch.us;
        }
        double total = all;
        out.printf(Locale.ROOT, "%s: %d launches, %.1f us of kernels one by one%n", part, launches.size(), total);
        List<Map<String, Object>> rows = new ArrayList<>();
        kernels.entrySet().stream()
                .sorted(Comparator.comparingDouble(entry -> -entry.getValue()[1]))
                .forEach(entry -> {
                    double[] sums = entry.getValue();
                    Map<String, Object> row = new LinkedHashMap<>();
                    row.put("kernel", entry.getKey());
                    row.put("launches", (int) sums[0]);
                    row.put("us", sums[1]);
                    row.put("share", sums[1] / total);
                    row.put("gb_per_s", sums[2] / sums[1] / 1e3);
                    rows.add(row);
                    if (rows.size() <= ROWS) {
                        String name = entry.getKey();
                        out.printf(
                                Locale.ROOT,
                                "  %5.1f %% %9.1f us %4d x %6.0f GB/s  %s%n",
                                100 * sums[1] / total,
                                sums[1],
                                (int) sums[0],
                                sums[2] / sums[1] / 1e3,
                                name.substring(0, Math.min(100, name.length())));
                    }
                });
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("part", part);
        entry.put("launches", launches.size());
        entry.put("us", total);
        entry.put("kernels", rows);
        results.add("profile", entry);
    }
}
