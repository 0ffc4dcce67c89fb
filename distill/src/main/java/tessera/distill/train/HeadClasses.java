package tessera.distill.train;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tessera.distill.data.ClipSet;
import tessera.nn.ModelHeads;

/** The labels that a set of clips has for a head. */
record HeadClasses(List<String> classes, int[] ofClip) {
    /**
     * Those of one head.
     *
     * @throws IllegalArgumentException if the clips have no labels for it
     */
    static HeadClasses of(ClipSet clips, String head) {
        if (!head.equals(ClipBatches.ACTION)) {
            throw new IllegalArgumentException("the clips have no labels for a head '" + head + "' but for "
                    + ClipBatches.ACTION + "; name one of these");
        }
        return new HeadClasses(clips.classes(), clips.labels());
    }

    /** Heads for all of these labels. */
    static ModelHeads heads(ClipSet clips, Collection<String> names) {
        Map<String, List<String>> labels = new LinkedHashMap<>();
        names.forEach(name -> labels.put(name, of(clips, name).classes()));
        return new ModelHeads(labels);
    }
}
