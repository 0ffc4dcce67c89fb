import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Compiles every CUDA source to machine code for each architecture, where nvcc is on the build machine, and checks what the
 * assembler says about local memory: a kernel that spills, or keeps on its stack, more than allowances.txt beside this file
 * grants it fails the build. So does one of which the assembler says that it loses speed, such as products of a warpgroup that
 * it had to make wait for each other.
 *
 * <p>Arguments: folder of the sources, folder that keeps compiled code from build to build, folder to put the cubins into,
 * {@code off} to compile and package none or {@code lineinfo} to compile with the lines of the sources, for a profiler, which
 * makes the cubins three times as large, and the architectures, {@code all} or some. A source is compiled again only when it,
 * a header, the flags or nvcc have changed.
 */
public final class CompileKernels {
    private static final List<String> ARCHITECTURES = List.of("80", "86", "89", "90a", "100", "120");
    private static final List<String> FLAGS =
            List.of("-cubin", "-std=c++17", "-O3", "-Werror", "all-warnings", "-Xptxas", "-v");
    private static final Pattern FUNCTION = Pattern.compile("Function properties for (\\S+)");
    private static final Pattern STACK =
            Pattern.compile("(\\d+) bytes stack frame, (\\d+) bytes spill stores, (\\d+) bytes spill loads");
    private static final String LOSS = "Potential Performance Loss";
    private static final Pattern USED = Pattern.compile("Used (\\d+) registers(.*)");

    /** FLAGS, and more where asked for. */
    private static List<String> flags = FLAGS;

    private record Job(Path source, String architecture, Path cubin, Path report) {}

    public static void main(String[] args) throws Exception {
        Path sources = Path.of(args[0]);
        Path kept = Path.of(args[1]);
        Path target = Path.of(args[2]);
        if (args.length > 3 && args[3].equals("off")) {
            publish(List.of(), target); // those of an earlier build may be of other sources
            System.out.println("CUDA kernels: not compiled (-Dcuda.compile=off); the sources are packaged");
            return;
        }
        if (args.length > 3 && args[3].equals("lineinfo")) {
            flags = Stream.concat(FLAGS.stream(), Stream.of("-lineinfo")).toList();
        }
        Path nvcc = nvcc();
        if (nvcc == null) {
            publish(List.of(), target);
            System.out.println(
                    "CUDA kernels: no nvcc in PATH, CUDA_HOME or /usr/local/cuda; only the sources are packaged");
            return;
        }
        Files.createDirectories(kept);
        Files.createDirectories(target);
        List<String> architectures = args.length > 4 ? architectures(args[4]) : ARCHITECTURES;
        List<Job> jobs =
                jobs(sources, kept, run(List.of(nvcc.toString(), "--version")).text(), architectures);
        List<Job> missing = jobs.stream()
                .filter(job -> !Files.exists(job.cubin) || !Files.exists(job.report))
                .toList();
        long start = System.nanoTime();
        List<String> failures = compile(nvcc, missing);
        if (!failures.isEmpty()) {
            failures.forEach(System.err::println);
            System.exit(1);
        }
        List<String> table = new ArrayList<>();
        List<String> spills = new ArrayList<>();
        List<String> losses = new ArrayList<>();
        List<Allowance> allowances = allowances();
        for (Job job : jobs) {
            read(job, allowances, table, spills, losses);
        }
        Files.write(kept.resolve("resources.txt"), table);
        if (!spills.isEmpty()) {
            System.err.println(
                    "CUDA kernels: local memory beyond what src/build/allowances.txt grants; use fewer live values, a"
                            + " larger launch bound or, where it was measured to pay, a larger allowance:");
            spills.forEach(System.err::println);
            System.exit(1);
        }
        if (!losses.isEmpty()) {
            System.err.println("CUDA kernels: code that the assembler calls slow; mend what it names:");
            losses.forEach(System.err::println);
            System.exit(1);
        }
        publish(jobs, target);
        if (architectures.equals(ARCHITECTURES)) {
            forget(jobs, kept);
        }
        if (!missing.isEmpty()) {
            System.out.printf(
                    "CUDA kernels: %d cubins compiled in %.1f s, %d in all; registers, stack and spills in %s%n",
                    missing.size(), (System.nanoTime() - start) / 1e9, jobs.size(), kept.resolve("resources.txt"));
        }
    }

    private static List<String> architectures(String text) {
        if (text.equals("all")) {
            return ARCHITECTURES;
        }
        List<String> chosen = List.of(text.split(","));
        if (!ARCHITECTURES.containsAll(chosen)) {
            throw new IllegalArgumentException("cuda.architectures is '" + text + "'; pass all or some of "
                    + String.join(",", ARCHITECTURES) + ", separated by commas");
        }
        return chosen;
    }

    private static Path nvcc() {
        List<String> folders = new ArrayList<>(List.of(System.getenv("PATH").split(java.io.File.pathSeparator)));
        for (String variable : List.of("CUDA_HOME", "CUDA_PATH")) {
            if (System.getenv(variable) != null) {
                folders.add(System.getenv(variable) + "/bin");
            }
        }
        folders.add("/usr/local/cuda/bin");
        return folders.stream()
                .map(folder -> Path.of(folder, "nvcc"))
                .filter(Files::isExecutable)
                .findFirst()
                .orElse(null);
    }

    private static List<Job> jobs(Path sources, Path kept, String compiler, List<String> architectures)
            throws Exception {
        List<Path> units = files(sources, ".cu");
        MessageDigest common = MessageDigest.getInstance("SHA-256");
        common.update((compiler + flags).getBytes(StandardCharsets.UTF_8));
        for (Path header : files(sources, ".cuh")) {
            common.update(Files.readAllBytes(header));
        }
        List<Job> jobs = new ArrayList<>();
        for (Path unit : units) {
            String name = unit.getFileName().toString().replaceFirst("\\.cu$", "");
            for (String architecture : architectures) {
                MessageDigest digest = (MessageDigest) common.clone();
                digest.update(architecture.getBytes(StandardCharsets.UTF_8));
                digest.update(Files.readAllBytes(unit));
                String key = HexFormat.of().formatHex(digest.digest(), 0, 8);
                String stem = name + ".sm_" + architecture + "." + key;
                jobs.add(new Job(unit, architecture, kept.resolve(stem + ".cubin"), kept.resolve(stem + ".txt")));
            }
        }
        return jobs;
    }

    private static List<Path> files(Path folder, String suffix) throws IOException {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.filter(path -> path.toString().endsWith(suffix))
                    .sorted()
                    .toList();
        }
    }

    private static List<String> compile(Path nvcc, List<Job> jobs) throws InterruptedException, ExecutionException {
        List<String> failures = new ArrayList<>();
        int threads = Math.max(1, Math.min(8, Runtime.getRuntime().availableProcessors()));
        try (ExecutorService pool = Executors.newFixedThreadPool(threads)) {
            List<Future<String>> results = new ArrayList<>();
            for (Job job : jobs) {
                results.add(pool.submit(() -> compile(nvcc, job)));
            }
            for (Future<String> result : results) {
                if (!result.get().isEmpty()) {
                    failures.add(result.get());
                }
            }
        }
        return failures;
    }

    private static String compile(Path nvcc, Job job) throws Exception {
        Path made = Path.of(job.cubin + ".made");
        List<String> command = new ArrayList<>(List.of(nvcc.toString(), "-arch=sm_" + job.architecture));
        command.addAll(flags);
        command.addAll(List.of("-o", made.toString(), job.source.toString()));
        Result result = run(command);
        if (result.status != 0) {
            Files.deleteIfExists(made);
            return "CUDA kernels: " + job.source.getFileName() + " does not compile for sm_" + job.architecture + ":\n"
                    + result.text;
        }
        Files.move(made, job.cubin, StandardCopyOption.ATOMIC_MOVE);
        Files.writeString(job.report, result.text);
        return "";
    }

    private record Result(int status, String text) {}

    private static Result run(List<String> command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Result(process.waitFor(), text);
    }

    /** What kernels whose names begin or are as given may use of local memory, in bytes: stack, and spill stores plus loads. */
    private record Allowance(String kernel, boolean prefix, int stack, int spills) {
        boolean covers(String name) {
            return prefix ? name.startsWith(kernel) : name.equals(kernel);
        }
    }

    private static List<Allowance> allowances() throws IOException {
        List<Allowance> allowances = new ArrayList<>();
        for (String line : Files.readAllLines(Path.of("src/build/allowances.txt"))) {
            String[] words = line.replaceFirst("#.*", "").strip().split("\\s+");
            if (words.length == 3) {
                boolean prefix = words[0].endsWith("*");
                String name = prefix ? words[0].substring(0, words[0].length() - 1) : words[0];
                allowances.add(new Allowance(name, prefix, Integer.parseInt(words[1]), Integer.parseInt(words[2])));
            } else if (!line.startsWith("#") && !line.isBlank()) {
                throw new IllegalArgumentException(
                        "allowances.txt: '" + line + "' was given but a line is KERNEL STACK SPILLS, in bytes");
            }
        }
        return allowances;
    }

    private static void read(
            Job job, List<Allowance> allowances, List<String> table, List<String> excesses, List<String> losses)
            throws IOException {
        String function = "";
        int stack = 0;
        int spills = 0;
        for (String line : Files.readAllLines(job.report)) {
            if (line.contains(LOSS)) {
                losses.add("  sm_" + job.architecture + ": " + line.strip());
            }
            Matcher matcher = FUNCTION.matcher(line);
            if (matcher.find()) {
                function = matcher.group(1);
            }
            matcher = STACK.matcher(line);
            if (matcher.find()) {
                String name = function;
                Allowance allowed = allowances.stream()
                        .filter(one -> one.covers(name))
                        .findFirst()
                        .orElse(new Allowance(name, false, 0, 0));
                stack = Integer.parseInt(matcher.group(1));
                spills = Integer.parseInt(matcher.group(2)) + Integer.parseInt(matcher.group(3));
                if (stack > allowed.stack || spills > allowed.spills) {
                    excesses.add(String.format(
                            "  %s for sm_%s: %d bytes of stack, %d of spills; %d and %d are allowed",
                            function, job.architecture, stack, spills, allowed.stack, allowed.spills));
                }
            }
            matcher = USED.matcher(line);
            if (matcher.find()) {
                table.add(String.format(
                        "%-40s sm_%-5s %3s registers, %d bytes stack, %d bytes spilled%s",
                        function, job.architecture, matcher.group(1), stack, spills, matcher.group(2)));
            }
        }
    }

    /** Puts the cubins where they are packaged from, and takes away those of sources that are gone. */
    private static void publish(List<Job> jobs, Path target) throws IOException {
        TreeSet<String> names = new TreeSet<>();
        for (Job job : jobs) {
            String name = job.cubin.getFileName().toString().replaceFirst("\\.[0-9a-f]{16}\\.cubin$", ".cubin");
            names.add(name);
            Path file = target.resolve(name);
            if (!Files.exists(file) || Files.mismatch(file, job.cubin) >= 0) {
                Files.copy(job.cubin, file, StandardCopyOption.REPLACE_EXISTING);
            }
        }
        for (Path file : files(target, ".cubin")) {
            if (!names.contains(file.getFileName().toString())) {
                Files.delete(file);
            }
        }
    }

    /** Deletes kept files that this build did not use. */
    private static void forget(List<Job> jobs, Path kept) throws IOException {
        TreeSet<Path> used = new TreeSet<>();
        for (Job job : jobs) {
            used.add(job.cubin);
            used.add(job.report);
        }
        used.add(kept.resolve("resources.txt"));
        try (Stream<Path> entries = Files.list(kept)) {
            for (Path file : entries.toList()) {
                if (!used.contains(file)) {
                    Files.delete(file);
                }
            }
        }
    }
}
