package tessera.distill.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.Modality;
import tessera.distill.report.Json;

/**
 * Named settings of a run, kept in its files as JSON, one key each. Immutable.
 *
 * <p>Files are read field by field: a setting that a file does not have, because the run began before the setting existed, counts
 * as having its default. So a new setting's default must be what runs did before.
 */
public final class Settings {
    /** No settings. */
    public static final Settings NONE = new Settings(Map.of());

    private final Map<String, @Nullable Object> values;

    private Settings(Map<String, ? extends @Nullable Object> values) {
        this.values = Collections.unmodifiableMap(new LinkedHashMap<>(values));
    }

    /**
     * These and one more.
     *
     * @param value a number, a boolean, a map of these, or what its text stands for
     */
    public Settings with(String name, Object value) {
        Map<String, @Nullable Object> more = new LinkedHashMap<>(values);
        more.put(name, value);
        return new Settings(more);
    }

    /** Those of these names. */
    Settings only(Set<String> names) {
        Map<String, @Nullable Object> fewer = new LinkedHashMap<>(values);
        fewer.keySet().retainAll(names);
        return new Settings(fewer);
    }

    /** The settings by name, in order. */
    public Map<String, @Nullable Object> values() {
        return values;
    }

    /** One JSON object. */
    public String json() {
        return Json.text(values, value -> value instanceof Modality modality ? modality.id() : value);
    }

    /**
     * Reads what {@link #json} wrote.
     *
     * @throws IllegalArgumentException if it is no JSON object
     */
    public static Settings parse(String json) {
        return new Settings(Json.object(json));
    }

    /**
     * Reads a file that holds settings as JSON.
     *
     * @throws IllegalArgumentException if it holds something else; the message names the file
     */
    public static Settings read(Path file) throws IOException {
        try {
            return parse(Files.readString(file));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(
                    file + " holds no settings; use another folder, or delete this one to start again", e);
        }
    }

    /**
     * In what other settings differ from these.
     *
     * @param now the other settings
     * @param defaults stand for the settings that only one of both has
     * @return a sentence for each that differs, such as {@code clipNorm was 0.5, is 0.0}
     */
    public List<String> differences(Settings now, Settings defaults) {
        List<String> sentences = new ArrayList<>();
        compare("", parse(json()).values, parse(now.json()).values, parse(defaults.json()).values, sentences);
        return sentences;
    }

    private static void compare(
            String above, Map<?, ?> before, Map<?, ?> now, Map<?, ?> defaults, List<String> sentences) {
        Set<Object> names = new LinkedHashSet<>(now.keySet());
        names.addAll(before.keySet());
        for (Object name : names) {
            Object standard = defaults.get(name);
            Object was = before.containsKey(name) ? before.get(name) : standard;
            Object is = now.containsKey(name) ? now.get(name) : standard;
            if (was instanceof Map<?, ?> members && is instanceof Map<?, ?> others) {
                Map<?, ?> standards = standard instanceof Map<?, ?> map ? map : Map.of();
                compare(above + name + ".", members, others, standards, sentences);
            } else if (!Objects.equals(was, is)) {
                sentences.add(above + name + " was " + text(was) + ", is " + text(is));
            }
        }
    }

    private static String text(@Nullable Object value) {
        return value == null ? "none" : value.toString();
    }

    /** As a record's text: {@code [batch=16, steps=600]}. */
    @Override
    public String toString() {
        return values.entrySet().stream().map(Map.Entry::toString).collect(Collectors.joining(", ", "[", "]"));
    }
}
