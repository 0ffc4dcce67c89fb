package tessera.distill.cli;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Json;
import tessera.tensor.Patches;

/**
 * What a Hugging Face {@code config.json} says of a model, with the {@code preprocessor_config.json} beside it: transformers'
 * VideoMAE, or VideoMAE V2, whose sizes lie one level deeper under names of their own. Immutable.
 */
final class PublishedConfig {
    private static final String NAME = "config.json";
    private static final List<String> PREPROCESSORS =
            List.of("preprocessor_config.json", "video_preprocessor_config.json");
    private static final String DEEPER = "model_config";
    private static final String LABELS = "id2label";
    private static final String IDS = "label2id";

    private final Path file;
    private final Map<String, @Nullable Object> entries;
    private final Map<String, @Nullable Object> preprocessor;

    private PublishedConfig(Path file) {
        this.file = file;
        this.entries = read(file);
        Map<String, @Nullable Object> beside = Map.of();
        for (String name : PREPROCESSORS) {
            Path each = file.resolveSibling(name);
            beside = beside.isEmpty() && Files.isRegularFile(each) ? read(each) : beside;
        }
        this.preprocessor = beside;
    }

    /** Reads a file that was named. */
    static PublishedConfig of(Path file) {
        return new PublishedConfig(file);
    }

    /** Where the one of a checkpoint lies, which is a file or the folder of shards. */
    static Path path(Path checkpoint) {
        return Files.isDirectory(checkpoint) ? checkpoint.resolve(NAME) : checkpoint.resolveSibling(NAME);
    }

    /** The one beside a checkpoint, if there is one and it is of a VideoMAE; a folder may hold another program's. */
    static @Nullable PublishedConfig beside(Path checkpoint) {
        Path file = path(checkpoint);
        if (!Files.isRegularFile(file)) {
            return null;
        }
        PublishedConfig found = new PublishedConfig(file);
        Object type = found.entries.get("model_type");
        boolean own = type instanceof String name
                ? name.toLowerCase(Locale.ROOT).startsWith("videomae")
                : found.entries.containsKey(DEEPER) || found.entries.containsKey(LABELS);
        return own ? found : null;
    }

    private static Map<String, @Nullable Object> read(Path file) {
        try {
            return Json.object(Files.readString(file).replaceFirst("^\uFEFF", ""));
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException(file + " is no text in UTF-8; pass a model's " + NAME, e);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read (" + e.getMessage() + "); pass a model's " + NAME, e);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(
                    file + " is no JSON object (" + e.getMessage() + "); pass a model's " + NAME
                            + " as it was published",
                    e);
        }
    }

    Path file() {
        return file;
    }

    /** The first of several entries that is there, in the sizes of V2 too. */
    private @Nullable Object entry(String... names) {
        Map<?, ?> deeper = entries.get(DEEPER) instanceof Map<?, ?> found ? found : Map.of();
        return Stream.of(names)
                .flatMap(name -> Stream.of(deeper, entries).map(level -> level.get(name)))
                .filter(Objects::nonNull)
                .findFirst()
                .orElse(null);
    }

    /** A whole number under any of several names, or null. */
    @Nullable
    Integer integer(String... names) {
        Object value = entry(names);
        if (value instanceof List<?> sides
                && !sides.isEmpty()
                && sides.stream().distinct().count() == 1) {
            value = sides.getFirst(); // a size of a side each; models here see squares
        }
        if (value == null) {
            return null;
        }
        // Some programs write whole numbers as fractions.
        if (value instanceof Number number
                && number.doubleValue() >= 1
                && number.doubleValue() <= Integer.MAX_VALUE
                && number.doubleValue() == Math.rint(number.doubleValue())) {
            return number.intValue();
        }
        String shown = value instanceof String ? "'" + value + "'" : String.valueOf(value);
        throw new IllegalArgumentException(file + ": " + names[0] + " is " + shown + ", which is no size"
                + (value instanceof List<?> ? " of equal sides, as models here have it" : "")
                + "; pass the model's own "
                + NAME);
    }

    /** A number, or the default. */
    double number(String name, double absent) {
        Object value = entry(name);
        if (value == null) {
            return absent;
        }
        if (value instanceof Number number && Double.isFinite(number.doubleValue()) && number.doubleValue() >= 0) {
            return number.doubleValue();
        }
        throw new IllegalArgumentException(
                file + ": " + name + " is " + value + ", which is no number; pass the model's own " + NAME);
    }

    /** A switch under any of several names, or the default. */
    boolean flag(boolean absent, String... names) {
        return entry(names) instanceof Boolean value ? value : absent;
    }

    /** A text, or the default. */
    String text(String name, String absent) {
        return entry(name) instanceof String value ? value : absent;
    }

    /**
     * How pictures are prepared, by the file beside; what that does not say is as it was.
     *
     * @param plain how they are where nothing is said
     * @throws IllegalArgumentException if a mean or deviation is none of each channel
     */
    Patches prepared(Patches plain) {
        boolean normalised = !Boolean.FALSE.equals(preprocessor.get("do_normalize"));
        double scale = Boolean.FALSE.equals(preprocessor.get("do_rescale"))
                ? 1
                : preprocessor.get("rescale_factor") instanceof Number factor ? factor.doubleValue() : plain.scale();
        if (!(scale > 0 && Double.isFinite(scale))) {
            throw new IllegalArgumentException(
                    file + ": the preprocessor's file beside it gives " + scale
                            + " as rescale_factor, by which no picture could be seen; pass the file of these weights, or remove it");
        }
        double[] std = normalised ? ofChannels("image_std", plain.std()) : plain.std();
        if (Arrays.stream(std).anyMatch(each -> !(each > 0 && Double.isFinite(each)))) {
            throw new IllegalArgumentException(
                    file + ": the preprocessor's file beside it gives " + Arrays.toString(std)
                            + " as image_std, by which pictures are divided; pass the file of these weights, or remove it");
        }
        double[] zeros = new double[plain.channels()];
        double[] ones = new double[plain.channels()];
        Arrays.fill(ones, 1);
        return new Patches(
                plain.channels(),
                plain.tubelet(),
                plain.patch(),
                scale,
                normalised ? ofChannels("image_mean", plain.mean()) : zeros,
                normalised ? std : ones);
    }

    /** Numbers of each channel, of which the file may give one for all; those before where it does not say. */
    private double[] ofChannels(String name, double[] absent) {
        Object value = preprocessor.get(name);
        if (value == null) {
            return absent;
        }
        double[] numbers = new double[absent.length];
        if (value instanceof Number one) {
            Arrays.fill(numbers, one.doubleValue());
            return numbers;
        }
        if (value instanceof List<?> each
                && each.size() == absent.length
                && each.stream().allMatch(Number.class::isInstance)) {
            Arrays.setAll(numbers, i -> ((Number) each.get(i)).doubleValue());
            return numbers;
        }
        throw new IllegalArgumentException(file + ": the preprocessor's file beside it gives " + value + " as " + name
                + " but the model has " + absent.length + " channels; pass the file of these weights, or remove it");
    }

    /**
     * Names of the classes in order; empty where it names none.
     *
     * @throws IllegalArgumentException if the names are not those of classes 0, 1, 2 ..
     */
    List<String> labels() {
        Map<Long, String> byId = new LinkedHashMap<>();
        if (entries.get(LABELS) instanceof Map<?, ?> named) {
            named.forEach((id, label) -> byId.put(id(LABELS, id), label(label, id)));
        } else if (entries.get(LABELS) instanceof List<?> inOrder) {
            inOrder.forEach(label -> byId.put((long) byId.size(), label(label, byId.size())));
        } else if (entries.get(IDS) instanceof Map<?, ?> ids) {
            ids.forEach((label, id) -> byId.put(id(IDS, id), label(label, id)));
        }
        List<String> labels = new ArrayList<>();
        for (long i = 0; i < byId.size(); i++) {
            String label = byId.get(i);
            if (label == null) {
                throw new IllegalArgumentException(file + ": it names " + byId.size() + " classes, but none of them is "
                        + i + "; pass the model's own " + NAME + ", or --labels FILE with a label a line");
            }
            labels.add(label);
        }
        return labels;
    }

    /** The class's number where it has no name. */
    private String label(@Nullable Object label, @Nullable Object id) {
        if (label instanceof Map<?, ?> || label instanceof List<?>) {
            throw new IllegalArgumentException(file + ": it says of class " + id + " " + label
                    + ", which is no name; pass --labels FILE with a label a line");
        }
        String name = label == null ? "" : label.toString();
        return name.isBlank() ? String.valueOf(id) : name;
    }

    private Long id(String entry, @Nullable Object id) {
        try {
            return Long.valueOf(String.valueOf(id));
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(
                    file + ": " + entry + " has the class '" + id + "', which is no number; pass the model's own "
                            + NAME,
                    e);
        }
    }
}
