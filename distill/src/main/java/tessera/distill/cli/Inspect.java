package tessera.distill.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.LongStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;
import tessera.tensor.io.ArrayInfo;
import tessera.tensor.io.FileSummary;
import tessera.tensor.io.Printable;

/** {@code tessera inspect FILE}: what a file of arrays holds, without reading its elements. */
@Command(
        name = "inspect",
        description =
                "List names, types, shapes and metadata of a safetensors, npy or npz file, or of the shards of a folder.")
final class Inspect extends ToolCommand {

    @Parameters(
            paramLabel = "FILE",
            description = "A safetensors, npy or npz file, told by its content; or the index or the folder of shards.")
    private Path file;

    @Override
    void run() {
        FileSummary summary = FileSummary.of(file);
        List<ArrayInfo> arrays = summary.arrays();
        String format = lower(summary.format());
        List<Entry> entries = arrays.stream().map(Entry::of).toList();
        print(new Answer(summary.path(), format, summary.metadata(), entries, summary.unreadable()), out -> {
            out.printf(
                    "%s: %s, %d %s, %,d elements, %,d bytes%n",
                    summary.path(),
                    format,
                    arrays.size(),
                    arrays.size() == 1 ? "array" : "arrays",
                    arrays.stream()
                            .mapToLong(array -> array.bytes() / array.type().bytes())
                            .sum(),
                    arrays.stream().mapToLong(ArrayInfo::bytes).sum());
            summary.metadata()
                    .forEach((name, value) -> out.printf("  # %s = %s%n", Printable.line(name), Printable.line(value)));
            arrays.forEach(array -> out.println("  " + array));
            summary.unreadable()
                    .forEach((name, reason) ->
                            out.printf("  %s: cannot be read: %s%n", Printable.line(name), Printable.line(reason)));
        });
    }

    private record Answer(
            Path path,
            String format,
            Map<String, String> metadata,
            List<Entry> arrays,
            Map<String, String> unreadable) {}

    private record Entry(String name, String dtype, List<Long> shape, long bytes) {
        static Entry of(ArrayInfo array) {
            List<Long> shape = LongStream.of(array.shape()).boxed().toList();
            return new Entry(array.name(), lower(array.type()), shape, array.bytes());
        }
    }

    private static String lower(Enum<?> name) {
        return name.name().toLowerCase(Locale.ROOT);
    }
}
