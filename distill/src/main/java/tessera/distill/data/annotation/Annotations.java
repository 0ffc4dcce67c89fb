package tessera.distill.data.annotation;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Json;

/** Reads the annotations of public data sets and of one's own. */
public final class Annotations {
    private Annotations() {}

    /**
     * Reads a file.
     *
     * @param format null to find it out by what is in the file
     * @param notes told in one line each what people should know of the labels
     * @return in the order of the file, one or more
     * @throws IllegalArgumentException if the file cannot be read, or holds something else, with the place and what to do
     */
    public static List<Annotation> read(Path file, @Nullable AnnotationFormat format, Consumer<String> notes) {
        if (!Files.isRegularFile(file)) {
            throw new IllegalArgumentException(file + (Files.exists(file) ? " is no file" : " does not exist")
                    + "; name a file of annotations, CSV or JSON");
        }
        boolean json = file.toString().toLowerCase(Locale.ROOT).endsWith(".json");
        List<Annotation> found = json ? fromJson(file, format, notes) : fromCsv(file, format, notes);
        if (found.isEmpty()) {
            throw new IllegalArgumentException(file + " annotates nothing; name another file");
        }
        return found;
    }

    private static List<Annotation> fromCsv(Path file, @Nullable AnnotationFormat given, Consumer<String> notes) {
        CsvTable table = CsvTable.read(file);
        CsvAnnotations reader = new CsvAnnotations(file, table, notes);
        AnnotationFormat format = given;
        if (format == null) {
            if (table.has("path")) {
                format = AnnotationFormat.CSV;
            } else if (table.has("video_id") && table.has("start_timestamp")) {
                format = AnnotationFormat.EPIC;
            } else if (CsvAnnotations.isMeccano(table)) {
                format = AnnotationFormat.MECCANO;
            } else {
                throw new IllegalArgumentException(
                        file + " begins with " + String.join(",", table.header())
                                + ", by which no format is known; name path,start,end,label in its first line, or pass --format");
            }
        }
        return switch (format) {
            case CSV -> reader.plain();
            case EPIC -> reader.epic();
            case MECCANO -> reader.meccano();
            case EGO4D, WEAR, SSV2, MM_CDFSL -> throw wrongKind(file, format, "JSON");
        };
    }

    private static List<Annotation> fromJson(Path file, @Nullable AnnotationFormat given, Consumer<String> notes) {
        Object root;
        try {
            root = Json.value(Files.readString(file));
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read (" + e.getMessage() + "); check that it is there and is text in UTF-8", e);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(file + " is no JSON; fetch it again, or name another file", e);
        }
        JsonAnnotations reader = new JsonAnnotations(file, root);
        return switch (given == null ? format(file, root) : given) {
            case EGO4D -> reader.ego4d(notes);
            case WEAR -> reader.wear();
            case SSV2 -> reader.ssv2();
            case MM_CDFSL -> reader.mmCdfsl();
            case CSV -> throw wrongKind(file, AnnotationFormat.CSV, "CSV");
            case EPIC -> throw wrongKind(file, AnnotationFormat.EPIC, "CSV");
            case MECCANO -> throw wrongKind(file, AnnotationFormat.MECCANO, "CSV");
        };
    }

    private static AnnotationFormat format(Path file, Object root) {
        if (root instanceof List<?>) {
            return AnnotationFormat.SSV2;
        }
        if (root instanceof Map<?, ?> members && members.containsKey("database")) {
            return AnnotationFormat.WEAR;
        }
        if (root instanceof Map<?, ?> members && members.containsKey("clips")) {
            return JsonAnnotations.dataSet(String.valueOf(members.get("description"))) == null
                    ? AnnotationFormat.EGO4D
                    : AnnotationFormat.MM_CDFSL;
        }
        if (root instanceof Map<?, ?> members && Ego4dAnnotations.isOne(members)) {
            return AnnotationFormat.EGO4D;
        }
        throw new IllegalArgumentException(
                file + " has neither clips nor database, and is no list: no format is known by that; pass --format");
    }

    private static IllegalArgumentException wrongKind(Path file, AnnotationFormat format, String kind) {
        return new IllegalArgumentException(file + " is not of the format "
                + format.name().toLowerCase(Locale.ROOT).replace('_', '-') + ", which is " + kind
                + " in a file that is called so;"
                + " name another file or --format");
    }
}
