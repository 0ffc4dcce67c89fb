package tessera.distill.data.annotation;

import java.util.List;
import java.util.Map;

/**
 * What a data set says of a part of a video.
 *
 * @param places where the part is found: data sets are handed out as whole recordings or as pieces of them, and the first place whose
 *     video is there counts; one or more
 * @param label what is shown, or empty where the data set does not tell
 * @param heads what further heads would answer, such as {@code verb -> take}; empty or the same names in all annotations of a file
 * @param split the share of the data set, in the data set's own word, or empty
 * @param origin where that is told, for messages, such as {@code train.csv, line 5}, or empty
 */
public record Annotation(List<Place> places, String label, Map<String, String> heads, String split, String origin) {

    /**
     * A part of a video.
     *
     * @param video its name without an extension, or its path below the folder of videos
     */
    public record Place(String video, Segment segment) {}

    public Annotation {
        places = List.copyOf(places);
        heads = Map.copyOf(heads);
        if (places.isEmpty()) {
            throw new IllegalArgumentException("an annotation without a place; name a video");
        }
    }

    /** One of nowhere in particular. */
    public Annotation(List<Place> places, String label, Map<String, String> heads, String split) {
        this(places, label, heads, split, "");
    }

    /** One that is found in one place. */
    Annotation(String video, Segment segment, String label, Map<String, String> heads, String split) {
        this(List.of(new Place(video, segment)), label, heads, split);
    }

    /** The same that is told somewhere. */
    public Annotation toldBy(String where) {
        return new Annotation(places, label, heads, split, where);
    }
}
