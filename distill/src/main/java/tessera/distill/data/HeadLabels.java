package tessera.distill.data;

import java.util.List;

/**
 * What the clips of a set are for one head.
 *
 * @param classes names of the head's classes
 * @param ofClip class of each clip; the caller's own copy
 */
public record HeadLabels(List<String> classes, int[] ofClip) {
    public HeadLabels {
        classes = List.copyOf(classes);
    }
}
