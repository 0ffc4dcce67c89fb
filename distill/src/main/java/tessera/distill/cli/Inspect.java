package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.LongStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;
import tessera.tensor.io.ArrayInfo;
import tessera.tensor.io.FileSummary;

/** {@code tessera inspect FILE}: what a file of arrays holds, without reading its elements. */
@Command(
        name = "inspect",
        mixinStandardHelpOptions = true,
        description = "List names, types, shapes and metadata of a safetensors, npy or npz file.")
final class Inspect implements Callable<Integer> {

    @Spec
    private CommandSpec spec;

    @Mixin
    private JsonOption json;

    @Parameters(paramLabel = "FILE", description = "A safetensors, npy or npz file, told by its content.")
    private Path file;

    @Override
    public Integer call() {
        FileSummary summary = FileSummary.of(file);
        PrintWriter out = spec.commandLine().getOut();
        if (json.wanted()) {
            JsonOption.print(out, asJson(summary));
        } else {
            print(out, summary);
        }
        return ExitCode.OK;
    }

    private static void print(PrintWriter out, FileSummary summary) {
        int arrays = summary.arrays().size();
        out.printf(
                "%s: %s, %d %s, %,d elements, %,d bytes%n",
                summary.path(),
                lower(summary.format()),
                arrays,
                arrays == 1 ? "array" : "arrays",
                summary.arrays().stream().mapToLong(Inspect::elements).sum(),
                summary.arrays().stream().mapToLong(ArrayInfo::bytes).sum());
        summary.metadata().forEach((name, value) -> out.printf("  # %s = %s%n", name, value));
        summary.arrays().forEach(array -> out.println("  " + array));
    }

    private static Map<String, Object> asJson(FileSummary summary) {
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("path", summary.path());
        result.put("format", lower(summary.format()));
        result.put("metadata", summary.metadata());
        result.put("arrays", summary.arrays().stream().map(Inspect::asJson).toList());
        return result;
    }

    private static Map<String, Object> asJson(ArrayInfo array) {
        Map<String, Object> result = new LinkedHashMap<>();
        result.put("name", array.name());
        result.put("dtype", lower(array.type()));
        result.put("shape", shape(array));
        result.put("bytes", array.bytes());
        return result;
    }

    private static List<Long> shape(ArrayInfo array) {
        return LongStream.of(array.shape()).boxed().toList();
    }

    private static long elements(ArrayInfo array) {
        return array.bytes() / array.type().bytes();
    }

    private static String lower(Enum<?> name) {
        return name.name().toLowerCase(Locale.ROOT);
    }
}
