package tessera.distill.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import tessera.distill.video.VideoException;
import tessera.distill.video.VideoReader;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Int8Kernels;
import tessera.kernels.NativeReport;
import tessera.natives.NativeLibraries;

/** {@code tessera doctor}: what this machine offers, what was found and what was refused, with reasons. */
@Command(
        name = "doctor",
        description = "Show the JDK, the processor, and the libraries found or refused, with reasons.")
final class Doctor extends ToolCommand {

    /** The processor features that decide how fast the kernels run. */
    private static final Set<String> FEATURES =
            Set.of("avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_tile", "asimd", "sve");

    private static final String GLIBC_LOADER = "lib64/ld-linux-x86-64.so.2";

    /** What a user who asks how things are waits for. */
    private static final Duration PATIENCE = Duration.ofMinutes(1);

    @Override
    void run() {
        Map<String, String> report = report();
        Map<String, List<String>> places = NativeReport.placesTried();
        Map<String, Object> result = new LinkedHashMap<>(report);
        result.put("places tried", places);
        print(result, out -> {
            report.forEach((name, value) -> out.printf("%-12s %s%n", name, value));
            places.forEach((library, tried) -> {
                if (!tried.isEmpty()) {
                    out.printf("%nWhere %s was looked for:%n", library);
                    tried.forEach(place -> out.printf("  %s%n", place));
                }
            });
        });
    }

    private static Map<String, String> report() {
        Map<String, String> report = new LinkedHashMap<>();
        report.put("tessera", Main.Version.current());
        report.put("jdk", Runtime.version() + ", " + System.getProperty("java.vendor"));
        report.put("system", system(NativeLibraries.platform(), Path.of("/")));
        report.put("processor", processor());
        report.put("threads", threads());
        report.put("heap", (Runtime.getRuntime().maxMemory() >> 20) + " MiB at most");
        report.put("vector api", vectorApi());
        report.put("cpu kernels", NativeReport.cpuKernels());
        report.putAll(NativeReport.findings());
        report.put("int8", int8());
        report.put("bf16", bf16());
        report.put("machine code", NativeReport.machineCode());
        cuda(report);
        report.put("ffmpeg", ffmpeg());
        report.put(
                "cache",
                String.valueOf(NativeLibraries.defaultCache(System.getenv()).getParent()));
        return report;
    }

    /** Those that there are, and how many of them compute where {@code tessera.threads} names another number. */
    private static String threads() {
        String available = Runtime.getRuntime().availableProcessors() + " available";
        try {
            int threads = Device.cpu().threads();
            return threads == Runtime.getRuntime().availableProcessors()
                    ? available
                    : available + ", " + threads + " in use";
        } catch (IllegalArgumentException e) {
            return available + ", but " + e.getMessage();
        }
    }

    /** Programs and libraries are carried for Linux on x86-64 as it mostly is, with glibc. */
    static String system(String platform, Path root) {
        String name = System.getProperty("os.name") + " " + System.getProperty("os.arch");
        return !platform.equals("linux-x86_64") || Files.exists(root.resolve(GLIBC_LOADER))
                ? name
                : name + " without /" + GLIBC_LOADER
                        + ": the FFmpeg and oneDNN that are carried need glibc (Alpine has musl);"
                        + " take an image with glibc, or install FFmpeg and do with the Java matmul";
    }

    private static String processor() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            Map<String, String> first = lines.takeWhile(line -> !line.isBlank())
                    .map(line -> line.split(":", 2))
                    .filter(pair -> pair.length == 2)
                    .collect(Collectors.toMap(pair -> pair[0].strip(), pair -> pair[1].strip(), (a, b) -> a));
            String name = first.getOrDefault("model name", "unnamed");
            String flags = first.getOrDefault("flags", first.getOrDefault("Features", ""));
            String known = Stream.of(flags.split(" "))
                    .filter(FEATURES::contains)
                    .sorted()
                    .collect(Collectors.joining(" "));
            return name + (known.isEmpty() ? "" : " (" + known + ")");
        } catch (IOException e) {
            return "unknown (this system has no readable /proc/cpuinfo)";
        }
    }

    private static String vectorApi() {
        return ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent()
                ? "readable"
                : "not readable: kernels run as plain loops; start Java with --add-modules jdk.incubator.vector";
    }

    private static String int8() {
        return Device.cpu()
                .int8()
                .map(int8 -> int8.largestInput() == Int8Kernels.LARGEST_INPUT
                        ? "products of bytes by the processor: students of tessera quantize are fast"
                        : "products of bytes with inputs of 7 bits (AVX2 without VNNI): students of tessera quantize are faster"
                                + " than in f32, and a little coarser than elsewhere")
                .orElse(
                        "no products of bytes by the processor, no oneDNN or no Vector API: students of tessera quantize"
                                + " run in f32");
    }

    private static String bf16() {
        return Device.cpu().bf16().isPresent()
                ? "products of bf16 by the processor: --precision bf16 works on the CPU"
                : "no products of bf16 by the processor, no oneDNN or no Vector API: --precision bf16 needs a GPU";
    }

    private static String ffmpeg() {
        try {
            return VideoReader.program();
        } catch (VideoException e) {
            return "not used: " + e.getMessage();
        }
    }

    /** What {@code --device cuda:0} would get, or the reason why it is refused; compiles ahead what the jar lacks for it. */
    private static void cuda(Map<String, String> report) {
        Device device;
        try {
            device = Device.cuda(0);
        } catch (RuntimeException e) {
            report.put("cuda", e.getMessage() + "; the CPU is used");
            return;
        }
        report.put("cuda", "used: " + device.describe());
        try {
            report.put("cuda kernels", device.prepare(PATIENCE));
        } catch (DeviceException e) {
            report.put("cuda kernels", String.valueOf(e.getMessage()));
        }
    }
}
