package tessera.distill.data.annotation;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.annotation.Annotation.Place;

/**
 * Ego4D's files of hands and objects (Grauman et al., CVPR 2022): the actions, the long- and the short-term anticipation, and the hands. Each
 * tells where something is in a clip, as videos are handed out in pieces, and in the whole video.
 */
final class Ego4dAnnotations {
    /** Frames that the published model of short-term anticipation looks at, the annotated one last. */
    private static final int OBSERVED = 32;

    private static final double RATE = 30;

    private final JsonAnnotations json;
    private final Map<?, ?> root;
    private final Consumer<String> notes;

    Ego4dAnnotations(JsonAnnotations json, Map<?, ?> root, Consumer<String> notes) {
        this.json = json;
        this.root = root;
        this.notes = notes;
    }

    /** Whether a file's members are those of one of these, other than {@code clips}. */
    static boolean isOne(Map<?, ?> root) {
        return root.get("videos") instanceof List<?>
                || (root.get("annotations") instanceof List<?> && root.containsKey("noun_categories"));
    }

    List<Annotation> read() {
        if (root.containsKey("videos")) {
            return actions();
        }
        return root.containsKey("annotations") ? shortTerm() : clips();
    }

    /** {@code fho_main.json}: every narrated action that was found to be one. */
    private List<Annotation> actions() {
        List<Annotation> found = new ArrayList<>();
        int all = 0;
        for (Object video : json.list(root, "videos")) {
            Map<?, ?> told = json.members(video, "video " + all);
            String uid = json.text(told, "video_uid", "a video before action " + all);
            for (Object each : json.list(told, "annotated_intervals")) {
                Map<?, ?> interval = json.members(each, "an interval of " + uid);
                for (Object action :
                        interval.get("narrated_actions") instanceof List<?> actions ? actions : List.of()) {
                    String where = "action " + all++ + " (" + uid + ")";
                    Map<?, ?> row = json.members(action, where);
                    if (isAction(row)) {
                        found.add(action(row, interval, uid, where));
                    }
                }
            }
        }
        List<Annotation> labelled = found.stream()
                .filter(annotation -> !annotation.heads().isEmpty())
                .toList();
        if (!labelled.isEmpty() && labelled.size() < all) {
            notes.accept((all - labelled.size()) + " of " + all
                    + " actions are rejected, or have no verb or no object that they change, and are left out");
        }
        return labelled.isEmpty() ? found : labelled;
    }

    private static boolean isAction(Map<?, ?> row) {
        return !Boolean.FALSE.equals(row.get("is_valid_action"))
                && !Boolean.TRUE.equals(row.get("is_rejected"))
                && !Boolean.TRUE.equals(row.get("is_invalid_annotation"));
    }

    private Annotation action(Map<?, ?> row, Map<?, ?> interval, String video, String where) {
        List<Place> places = new ArrayList<>();
        String clip = JsonAnnotations.optional(row, "clip_uid");
        clip = clip.isEmpty() ? JsonAnnotations.optional(interval, "clip_uid") : clip;
        if (!clip.isEmpty() && row.get("clip_start_sec") != null) {
            places.add(new Place(clip, part(row, "clip_", where)));
        }
        places.add(new Place(video, part(row, "", where)));
        String verb = JsonAnnotations.optional(row, "structured_verb");
        verb = verb.isEmpty() ? JsonAnnotations.optional(row, "freeform_verb") : verb;
        String noun = changed(row);
        boolean both = !verb.isEmpty() && !noun.isEmpty();
        return new Annotation(
                        places,
                        (verb + " " + noun).strip(),
                        both ? Map.of("verb", verb, "noun", noun) : Map.of(),
                        JsonAnnotations.optional(row, "split"))
                .toldBy(json.where(where));
    }

    /** The object that an action changes, as its frames' boxes name it; empty if none does. */
    private static String changed(Map<?, ?> row) {
        for (Object frame : row.get("frames") instanceof List<?> frames ? frames : List.of()) {
            Object boxes = frame instanceof Map<?, ?> members ? members.get("boxes") : null;
            for (Object box : boxes instanceof List<?> list ? list : List.of()) {
                if (box instanceof Map<?, ?> object && "object_of_change".equals(object.get("object_type"))) {
                    String noun = JsonAnnotations.optional(object, "structured_noun");
                    if (!noun.isEmpty()) {
                        return noun;
                    }
                }
            }
        }
        return "";
    }

    /** From {@code <prefix>start_sec} to {@code <prefix>end_sec}, with frames where there are some. */
    private Segment part(Map<?, ?> row, String prefix, String where) {
        double start = json.number(row, prefix + "start_sec", where);
        double end = Math.max(start, json.number(row, prefix + "end_sec", where));
        Segment.Span frames = null;
        if (row.get(prefix + "start_frame") != null && row.get(prefix + "end_frame") != null) {
            double first = json.number(row, prefix + "start_frame", where);
            frames = new Segment.Span(first, Math.max(first, json.number(row, prefix + "end_frame", where)));
        }
        return new Segment(new Segment.Span(start, end), frames, 0, 0);
    }

    /** {@code fho_lta_*.json}, and {@code fho_hands_*.json}, whose clips have frames. */
    private List<Annotation> clips() {
        String split = JsonAnnotations.optional(root, "split");
        List<Annotation> found = new ArrayList<>();
        for (Object clip : json.list(root, "clips")) {
            String where = "clip " + found.size();
            Map<?, ?> row = json.members(clip, where);
            if (row.get("frames") instanceof List<?> frames) {
                for (Object frame : frames) {
                    found.add(hands(json.members(frame, where), row, split, "frame of " + where));
                }
            } else {
                found.add(longTerm(row, split, where));
            }
        }
        return found;
    }

    private Annotation longTerm(Map<?, ?> row, String split, String where) {
        Segment part = part(row, "action_clip_", where);
        List<Place> places = new ArrayList<>();
        places.add(new Place(json.text(row, "clip_uid", where), part));
        Segment.Span seconds = part.seconds();
        if (seconds != null && row.get("video_uid") != null && row.get("clip_parent_start_sec") != null) {
            double parent = json.number(row, "clip_parent_start_sec", where);
            places.add(new Place(
                    json.text(row, "video_uid", where),
                    Segment.seconds(parent + seconds.start(), parent + seconds.end())));
        }
        return new Annotation(places, JsonAnnotations.verbNoun(row), JsonAnnotations.heads(row), split)
                .toldBy(json.where(where));
    }

    /** What the hands do is not labelled. */
    private Annotation hands(Map<?, ?> frame, Map<?, ?> clip, String split, String where) {
        List<Place> places = new ArrayList<>();
        if (clip.get("clip_uid") != null && frame.get("action_clip_start_sec") != null) {
            places.add(new Place(json.text(clip, "clip_uid", where), part(frame, "action_clip_", where)));
        }
        if (places.isEmpty() || (clip.get("video_uid") != null && frame.get("action_start_sec") != null)) {
            places.add(new Place(json.text(clip, "video_uid", where), part(frame, "action_", where)));
        }
        return new Annotation(places, "", Map.of(), split).toldBy(json.where(where));
    }

    /** {@code fho_sta_*.json}: the frames up to the annotated one, and what is touched next. */
    private List<Annotation> shortTerm() {
        Map<?, ?> info = root.get("info") instanceof Map<?, ?> members ? members : Map.of();
        String split = JsonAnnotations.optional(root, "split");
        split = split.isEmpty() ? JsonAnnotations.optional(info, "split") : split;
        Map<String, String> verbs = names("verb_categories");
        Map<String, String> nouns = names("noun_categories");
        List<Annotation> found = new ArrayList<>();
        for (Object each : json.list(root, "annotations")) {
            String where = "annotation " + found.size();
            Map<?, ?> row = json.members(each, where);
            String video = JsonAnnotations.optional(row, "video_uid");
            video = video.isEmpty() ? json.text(row, "video_id", where) : video;
            List<Place> places = new ArrayList<>();
            if (row.get("clip_uid") != null && row.get("clip_frame") != null) {
                places.add(new Place(json.text(row, "clip_uid", where), observed(row, "clip_frame", RATE, where)));
            }
            places.add(new Place(video, observed(row, "frame", rate(info, video), where)));
            Map<?, ?> next = next(row);
            if (next == null) {
                found.add(new Annotation(places, "", Map.of(), split).toldBy(json.where(where)));
                continue;
            }
            String verb = name(next, "verb_category_id", verbs, where);
            String noun = name(next, "noun_category_id", nouns, where);
            found.add(new Annotation(places, verb + " " + noun, Map.of("verb", verb, "noun", noun), split)
                    .toldBy(json.where(where)));
        }
        return found;
    }

    private Segment observed(Map<?, ?> row, String name, double rate, String where) {
        // The file counts from 0.
        double last = json.number(row, name, where) + 1;
        return Segment.frames(Math.max(1, last - OBSERVED + 1), last, rate);
    }

    private static double rate(Map<?, ?> info, String video) {
        return info.get("video_metadata") instanceof Map<?, ?> videos
                        && videos.get(video) instanceof Map<?, ?> told
                        && told.get("fps") instanceof Number fps
                        && fps.doubleValue() > 0
                        && fps.doubleValue() <= 1000
                ? fps.doubleValue()
                : RATE;
    }

    /** The object that is touched first, or null where none is told. */
    private static @Nullable Map<?, ?> next(Map<?, ?> row) {
        List<Map<?, ?>> objects = new ArrayList<>();
        for (Object each : row.get("objects") instanceof List<?> list ? list : List.of()) {
            if (each instanceof Map<?, ?> object) {
                objects.add(object);
            }
        }
        return objects.stream()
                .min(Comparator.comparingDouble(object -> object.get("time_to_contact") instanceof Number seconds
                        ? seconds.doubleValue()
                        : Double.MAX_VALUE))
                .orElse(null);
    }

    /** Names of classes by their numbers. */
    private Map<String, String> names(String list) {
        Map<String, String> names = new HashMap<>();
        for (Object each : root.get(list) instanceof List<?> all ? all : List.of()) {
            Map<?, ?> category = json.members(each, list);
            names.put(number(category.get("id")), json.text(category, "name", list));
        }
        return names;
    }

    private String name(Map<?, ?> object, String member, Map<String, String> names, String where) {
        String name = names.get(number(object.get(member)));
        if (name == null) {
            throw json.wrong("has the " + member + " " + object.get(member) + " in " + where
                    + ", which its list of categories lacks");
        }
        return name;
    }

    private static String number(@Nullable Object value) {
        return value instanceof Number number ? Long.toString(number.longValue()) : String.valueOf(value);
    }
}
