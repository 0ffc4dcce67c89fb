package tessera.distill.data.annotation;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.annotation.Annotation.Place;

/** Annotations in JSON. */
final class JsonAnnotations {
    private final Path file;
    private final Object root;

    JsonAnnotations(Path file, Object root) {
        this.file = file;
        this.root = root;
    }

    /** The data sets of MM-CDFSL: frames of a second, and at what distance a clip takes them. */
    enum DataSet {
        EGO4D(30, 4),
        EPIC(60, 8),
        MECCANO(12, 1),
        WEAR(60, 8);

        private final double rate;
        private final int step;

        DataSet(double rate, int step) {
            this.rate = rate;
            this.step = step;
        }
    }

    /** The data set of a list of MM-CDFSL by its description, or null where it is none. */
    static @Nullable DataSet dataSet(String description) {
        String lower = description.toLowerCase(Locale.ROOT);
        if (!lower.contains("few-shot")) {
            return null;
        }
        return Stream.of(DataSet.values())
                .filter(set -> lower.startsWith(set.name().toLowerCase(Locale.ROOT)))
                .findFirst()
                .orElse(null);
    }

    /** As {@link AnnotationFormat#EGO4D} says. */
    List<Annotation> ego4d(Consumer<String> notes) {
        return new Ego4dAnnotations(this, members(root, "the file"), notes).read();
    }

    /** As {@link AnnotationFormat#WEAR} says. */
    List<Annotation> wear() {
        List<Annotation> found = new ArrayList<>();
        members(members(root, "the file").get("database"), "database").forEach((participant, value) -> {
            String video = String.valueOf(participant);
            Map<?, ?> told = members(value, video);
            for (Object each : list(told, "annotations")) {
                String where = "annotation " + found.size() + " (" + video + ")";
                Map<?, ?> row = members(each, where);
                List<?> times = list(row, "segment");
                if (times.size() != 2
                        || !(times.get(0) instanceof Number start)
                        || !(times.get(1) instanceof Number end)
                        || !(start.doubleValue() >= 0 && end.doubleValue() >= start.doubleValue())) {
                    throw wrong("has no \"segment\": [start, end] in " + where);
                }
                double rate = told.get("fps") instanceof Number fps ? fps.doubleValue() : 0;
                Segment.Span seconds = new Segment.Span(start.doubleValue(), end.doubleValue());
                Segment.Span frames =
                        rate > 0 ? new Segment.Span(1 + rate * seconds.start(), 1 + rate * seconds.end()) : null;
                found.add(new Annotation(
                                video,
                                new Segment(seconds, frames, rate, 0),
                                text(row, "label", where),
                                Map.of(),
                                optional(told, "subset"))
                        .toldBy(where(where)));
            }
        });
        return found;
    }

    /** As {@link AnnotationFormat#SSV2} says; the split is told by the file's name. */
    List<Annotation> ssv2() {
        String name = String.valueOf(file.getFileName()).toLowerCase(Locale.ROOT);
        String split = Stream.of("train", "validation", "test")
                .filter(name::contains)
                .findFirst()
                .orElse("");
        List<Annotation> found = new ArrayList<>();
        if (!(root instanceof List<?> videos)) {
            throw wrong("is no list of videos");
        }
        for (Object video : videos) {
            String where = "video " + found.size();
            Map<?, ?> row = members(video, where);
            // The class is the template, in which brackets mark what the label says in words.
            String label = optional(row, "template").replaceAll("[\\[\\]]", "");
            if (label.isEmpty() && !optional(row, "label").isEmpty()) {
                throw wrong("has no template, which names the class, in " + where);
            }
            found.add(
                    new Annotation(text(row, "id", where), Segment.WHOLE, label, Map.of(), split).toldBy(where(where)));
        }
        return found;
    }

    /** As {@link AnnotationFormat#MM_CDFSL} says. */
    List<Annotation> mmCdfsl() {
        Map<?, ?> members = members(root, "the file");
        DataSet set = dataSet(optional(members, "description"));
        if (set == null) {
            throw wrong(
                    "has no description that begins with Ego4d, EPIC, MECCANO or WEAR and tells of few-shot learning");
        }
        List<Annotation> found = new ArrayList<>();
        for (Object clip : list(members, "clips")) {
            String where = "clip " + found.size();
            Map<?, ?> row = members(clip, where);
            List<Place> places = new ArrayList<>();
            if (set == DataSet.EGO4D) {
                places.add(place(text(row, "clip_uid", where), number(row, "clip_frame", where), set));
                places.add(place(text(row, "video_id", where), number(row, "frame", where), set));
            } else {
                places.add(place(text(row, "video_id", where), number(row, "start_frame", where), set));
            }
            String label = Stream.of("action_name", "label")
                    .map(name -> optional(row, name))
                    .filter(name -> !name.isEmpty())
                    .findFirst()
                    .orElseGet(() -> verbNoun(row));
            found.add(new Annotation(places, label, heads(row), optional(members, "split")).toldBy(where(where)));
        }
        return found;
    }

    private static Place place(String video, double first, DataSet set) {
        return new Place(video, Segment.every(set.step, first, set.rate));
    }

    /** Verb and noun where there are both, in words or else by their numbers. */
    static Map<String, String> heads(Map<?, ?> row) {
        String verb = word(row, "verb");
        String noun = word(row, "noun");
        return verb.isEmpty() || noun.isEmpty() ? Map.of() : Map.of("verb", verb, "noun", noun);
    }

    static String verbNoun(Map<?, ?> row) {
        return (word(row, "verb") + " " + word(row, "noun")).strip();
    }

    private static String word(Map<?, ?> row, String head) {
        String word = optional(row, head);
        String number = optional(row, head + "_label");
        return !word.isEmpty() || number.isEmpty() ? word : head + number;
    }

    static String optional(Map<?, ?> row, String name) {
        Object value = row.get(name);
        return value instanceof String || value instanceof Number
                ? value.toString().strip()
                : "";
    }

    String text(Map<?, ?> row, String name, String where) {
        String text = optional(row, name);
        if (text.isEmpty()) {
            throw wrong("has no " + name + " in " + where);
        }
        return text;
    }

    /** A number of 0 or more, which some lists write as text. */
    double number(Map<?, ?> row, String name, String where) {
        Object value = row.get(name);
        double number = value instanceof Number given
                ? given.doubleValue()
                : value instanceof String text && text.matches("\\d{1,15}(\\.\\d{1,15})?")
                        ? Double.parseDouble(text)
                        : Double.NaN;
        if (!(number >= 0 && number < 1e9)) {
            throw wrong("gives " + (value == null ? "none" : value) + " as " + name + " in " + where);
        }
        return number;
    }

    Map<?, ?> members(@Nullable Object value, String what) {
        if (value instanceof Map<?, ?> members) {
            return members;
        }
        throw wrong("has no members in " + what);
    }

    List<?> list(Map<?, ?> members, String name) {
        if (members.get(name) instanceof List<?> list) {
            return list;
        }
        throw wrong("has no list '" + name + "'");
    }

    /** A part of the file for messages. */
    String where(String part) {
        return file + ", " + part;
    }

    IllegalArgumentException wrong(String what) {
        return new IllegalArgumentException(file + " " + what + "; fetch it again, or name another --format");
    }
}
