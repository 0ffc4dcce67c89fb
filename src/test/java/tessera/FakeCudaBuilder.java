package tessera;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;

/**
 * Compiles the CUDA kernels for the CPU and puts them behind libraries that answer like CUDA's.
 *
 * <p>A source is compiled again only when it, a header, the flags or the compiler have changed. Without a C++ compiler the
 * folder of the libraries holds a text with the reason instead, and tests on the fake are skipped.
 */
public final class FakeCudaBuilder {
    /** Name of the text that stands where the libraries could not be built. */
    static final String REASON = "reason.txt";

    private static final List<String> LINKED_INTO_DRIVER =
            List.of("emulation", "emulation_tma", "emulation_wgmma", "fake_cuda", "fake_tensor_maps", "races");
    private static final List<String> RUNNER = List.of("emulation", "races");
    private static final Map<String, String> OTHER_LIBRARIES = Map.of(
            "libcublasLt.so.13",
            "fake_cublas",
            "libcublas.so.13",
            "fake_cublas",
            "libnvrtc.so.13",
            "fake_nvrtc",
            "libnccl.so.2",
            "fake_nccl");

    /** What a build looks for beside wrong results. */
    private enum Watch {
        NOTHING(List.of("-O2"), List.of(), List.of()),

        /** Nothing, with fibers that the C library switches, as where the block runner's assembler is not understood. */
        NOTHING_PORTABLY(List.of("-O2"), List.of(), List.of("-DEMULATION_UCONTEXT")),

        /** AddressSanitizer and UBSan, whose library the process must load first, see {@link #sanitizerLibrary}. */
        ADDRESSES(
                List.of(
                        "-O1",
                        "-g1",
                        "-fno-omit-frame-pointer",
                        "-fsanitize=address,undefined",
                        "-fno-sanitize-recover=undefined"),
                List.of(),
                List.of()),

        /** Data races, by races.cpp, which is called at every access of a kernel. */
        RACES(List.of("-O1", "-DEMULATION_RACES"), List.of("-fsanitize=thread"), List.of("-O2"));

        @SuppressWarnings("ImmutableEnumChecker") // made by List.of, so it is immutable
        private final List<String> flags;

        @SuppressWarnings("ImmutableEnumChecker") // made by List.of, so it is immutable
        private final List<String> kernelFlags;

        @SuppressWarnings("ImmutableEnumChecker") // made by List.of, so it is immutable
        private final List<String> runnerFlags;

        Watch(List<String> flags, List<String> kernelFlags, List<String> runnerFlags) {
            this.flags = flags;
            this.kernelFlags = kernelFlags;
            this.runnerFlags = runnerFlags;
        }
    }

    private final Watch watch;
    private final Path kernels;
    private final Path sources;
    private final Path kept;
    private final List<String> compiler;
    private final List<String> flags;
    private final Set<Path> used = new TreeSet<>();

    private FakeCudaBuilder(
            Watch watch, Path kernels, Path sources, Path kept, List<String> compiler, List<String> flags) {
        this.watch = watch;
        this.kernels = kernels;
        this.sources = sources;
        this.kept = kept;
        this.compiler = compiler;
        this.flags = flags;
    }

    /**
     * Builds.
     *
     * @param args folder of the kernels, folder of the fake's C++ sources, folder to put the libraries into
     */
    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[2]);
        String reason = build(Path.of(args[0]), Path.of(args[1]), folder, objects(folder), Watch.NOTHING);
        if (!reason.isEmpty()) {
            Files.createDirectories(folder);
            for (Path file : files(folder, "")) {
                Files.delete(file);
            }
            Files.writeString(folder.resolve(REASON), reason);
            System.out.println("fake CUDA: not built, its tests are skipped: " + reason);
        }
    }

    /** Builds the libraries; returns why that is not possible on this machine, or an empty text. */
    private static String build(Path kernels, Path sources, Path folder, Path kept, Watch watch) throws Exception {
        if (!System.getProperty("os.name").equals("Linux")) {
            return "it is made for Linux";
        }
        String compiler = compiler();
        if (compiler.isEmpty()) {
            return "there is no C++ compiler (g++, clang++ or the one that CXX names) in PATH";
        }
        List<String> flags =
                new ArrayList<>(List.of("-std=c++17", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-w"));
        if (hasAvx2()) {
            flags.add("-march=x86-64-v3");
        }
        flags.addAll(watch.flags);
        if (run(List.of(compiler, "-ftrivial-auto-var-init=pattern", "-fsyntax-only", "-xc++", "/dev/null")).status
                == 0) {
            flags.add("-ftrivial-auto-var-init=pattern");
        }
        Files.createDirectories(kept);
        new FakeCudaBuilder(watch, kernels, sources, kept, List.of(compiler), flags).make(folder);
        return "";
    }

    /** Builds the libraries that sanitizers watch, from the folder of the tests; returns as {@link #build}. */
    public static String buildSanitized(Path folder) throws Exception {
        return build(folder, objects(folder), Watch.ADDRESSES);
    }

    /** Builds the libraries that look for data races, from the folder of the tests; returns as {@link #build}. */
    public static String buildForRaces(Path folder) throws Exception {
        return build(folder, objects(folder), Watch.RACES);
    }

    /** Builds the libraries with portable fibers from the objects of the usual ones; returns as {@link #build}. */
    static String buildPortable(Path folder, Path usual) throws Exception {
        return build(folder, objects(usual), Watch.NOTHING_PORTABLY);
    }

    private static String build(Path folder, Path kept, Watch watch) throws Exception {
        return build(Path.of("../../kernels/src/main/cuda"), Path.of("cuda"), folder, kept, watch);
    }

    private static Path objects(Path folder) {
        return folder.resolveSibling(folder.getFileName() + "-objects");
    }

    /** The library that a process has to load first for AddressSanitizer to work. */
    public static String sanitizerLibrary() throws Exception {
        return run(List.of(compiler(), "-print-file-name=libasan.so")).text.strip();
    }

    private void make(Path folder) throws Exception {
        MessageDigest common = MessageDigest.getInstance("SHA-256");
        common.update(run(List.of(compiler.getFirst(), "--version")).text.getBytes(StandardCharsets.UTF_8));
        for (Path header : Stream.concat(files(kernels, ".cuh").stream(), files(sources, ".h").stream())
                .toList()) {
            common.update(Files.readAllBytes(header));
        }
        long start = System.nanoTime();
        List<Path> units = new ArrayList<>(files(sources, ".cpp"));
        units.addAll(files(kernels, ".cu"));
        units.addAll(files(sources, ".cu"));
        List<Path> objects = new ArrayList<>();
        int compiled = 0;
        try (ExecutorService pool = Executors.newFixedThreadPool(2)) {
            List<Future<Boolean>> results = new ArrayList<>();
            for (Path unit : units) {
                MessageDigest digest = (MessageDigest) common.clone();
                digest.update(Files.readAllBytes(unit));
                digest.update(flagsOf(unit).toString().getBytes(StandardCharsets.UTF_8));
                Path object = kept.resolve(stem(unit) + "." + HexFormat.of().formatHex(digest.digest(), 0, 8) + ".o");
                objects.add(object);
                used.add(object);
                results.add(pool.submit(() -> compile(unit, object)));
            }
            for (Future<Boolean> result : results) {
                compiled += result.get() ? 1 : 0;
            }
        }
        String state = objects.toString();
        Path stamp = folder.resolve("stamp.txt");
        if (compiled > 0 || !Files.exists(stamp) || !Files.readString(stamp).equals(state)) {
            link(folder, objects);
            Files.writeString(stamp, state);
            Files.deleteIfExists(folder.resolve(REASON));
            System.out.printf(
                    "fake CUDA: %d sources compiled in %.1f s, libraries in %s%n",
                    compiled, (System.nanoTime() - start) / 1e9, folder);
        }
        if (watch != Watch.NOTHING_PORTABLY) { // whose objects are another build's
            for (Path file : files(kept, "")) {
                if (!used.contains(file)) {
                    Files.delete(file);
                }
            }
        }
    }

    private List<String> flagsOf(Path unit) {
        List<String> all = new ArrayList<>(flags);
        if (unit.toString().endsWith(".cu")) {
            all.addAll(watch.kernelFlags);
        } else if (RUNNER.contains(stem(unit))) {
            all.addAll(watch.runnerFlags);
        }
        return all;
    }

    /** Compiles one source if its object is not there; a kernel's source in a namespace of its own. */
    private boolean compile(Path unit, Path object) throws Exception {
        if (Files.exists(object)) {
            return false;
        }
        Path source = unit;
        if (unit.toString().endsWith(".cu")) {
            source = kept.resolve(stem(unit) + ".host.cpp");
            StringBuilder text = new StringBuilder();
            for (Path header : files(kernels, ".cuh")) { // which declare what is outside the namespace
                text.append("#include \"" + header.getFileName() + "\"\n");
            }
            Files.writeString(source, text + "namespace {\n#include \"" + unit.toAbsolutePath() + "\"\n}\n");
            used.add(source);
        }
        Path made = kept.resolve(
                object.getFileName() + "." + ProcessHandle.current().pid());
        List<String> command = new ArrayList<>(compiler);
        command.addAll(flagsOf(unit));
        command.addAll(List.of("-I" + sources, "-I" + kernels, "-c", source.toString(), "-o", made.toString()));
        demand(command);
        Files.move(made, object, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        return true;
    }

    private void link(Path folder, List<Path> objects) throws Exception {
        Files.createDirectories(folder);
        List<String> driver = new ArrayList<>();
        for (Path object : objects) {
            String name = stem(object);
            boolean kernel = Files.exists(kernels.resolve(name + ".cu")) || Files.exists(sources.resolve(name + ".cu"));
            if (kernel || LINKED_INTO_DRIVER.contains(name)) {
                driver.add(object.toString());
            }
        }
        driver.add("-lpthread");
        link(folder, "libcuda.so.1", driver);
        for (Map.Entry<String, String> library : OTHER_LIBRARIES.entrySet()) {
            Path object = objects.stream()
                    .filter(path -> stem(path).equals(library.getValue()))
                    .findFirst()
                    .orElseThrow();
            String driverFile = folder.resolve("libcuda.so.1").toString();
            link(folder, library.getKey(), List.of("-Wl,-rpath,$ORIGIN", object.toString(), driverFile));
        }
        linkCudnn(folder, objects);
    }

    /** cuDNN is in a folder of its own, because most tests do without. */
    private void linkCudnn(Path folder, List<Path> objects) throws Exception {
        Path apart = Files.createDirectories(FakeCuda.cudnn(folder));
        Path object = objects.stream()
                .filter(path -> stem(path).equals("fake_cudnn"))
                .findFirst()
                .orElseThrow();
        String driver = folder.resolve("libcuda.so.1").toString();
        String origin = "-Wl,-rpath,$ORIGIN/../" + folder.getFileName();
        link(apart, "libcudnn.so.9", List.of(origin, object.toString(), driver));
    }

    private void link(Path folder, String name, List<String> inputs) throws Exception {
        Path made = folder.resolve(name + "." + ProcessHandle.current().pid());
        List<String> command = new ArrayList<>(compiler);
        command.addAll(flags);
        command.addAll(List.of("-shared", "-Wl,-soname," + name, "-o", made.toString()));
        if (!flags.toString().contains("sanitize")) {
            command.add("-Wl,-z,defs");
        }
        command.addAll(inputs);
        demand(command);
        Files.move(made, folder.resolve(name), StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    private static String stem(Path file) {
        String name = file.getFileName().toString();
        return name.substring(0, name.indexOf('.'));
    }

    private static String compiler() throws Exception {
        String named = System.getenv("CXX");
        for (String name : named != null ? List.of(named) : List.of("g++", "c++", "clang++")) {
            for (String folder : System.getenv("PATH").split(File.pathSeparator, 0)) {
                if (Files.isExecutable(Path.of(folder, name)) || Files.isExecutable(Path.of(name))) {
                    return name;
                }
            }
        }
        return "";
    }

    private static boolean hasAvx2() throws IOException {
        Path info = Path.of("/proc/cpuinfo");
        String text = Files.exists(info) ? Files.readString(info) : "";
        return Stream.of(" avx2", " fma", " bmi2", " movbe", " f16c").allMatch(text::contains);
    }

    private static List<Path> files(Path folder, String suffix) throws IOException {
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.filter(path -> path.toString().endsWith(suffix))
                    .sorted()
                    .toList();
        }
    }

    private record Result(int status, String text) {}

    private static void demand(List<String> command) throws Exception {
        Result result = run(command);
        if (result.status != 0) {
            throw new IllegalStateException("fake CUDA: " + String.join(" ", command) + "\n" + result.text);
        }
    }

    private static Result run(List<String> command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Result(process.waitFor(), text);
    }
}
