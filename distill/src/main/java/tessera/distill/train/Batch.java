package tessera.distill.train;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import tessera.distill.data.Modality;
import tessera.tensor.Tensor;

/**
 * The clips of a step, in every modality that somebody looks at.
 *
 * @param clips {@code [B, T, H, W, C]} of each modality, aligned
 * @param labels i32 {@code [B]} by the name of the head that learns them; empty for unlabelled clips
 * @param taught what frozen teachers made of these clips before, by names of their own; empty where they look themselves
 */
public record Batch(
        SortedMap<Modality, Tensor> clips, SortedMap<String, Tensor> labels, SortedMap<String, Tensor> taught) {

    /** Clips without labels. */
    public Batch(Map<Modality, Tensor> clips) {
        this(clips, Map.of());
    }

    public Batch(Map<Modality, Tensor> clips, Map<String, Tensor> labels) {
        this(clips, labels, Map.of());
    }

    public Batch(Map<Modality, Tensor> clips, Map<String, Tensor> labels, Map<String, Tensor> taught) {
        this(new TreeMap<>(clips), new TreeMap<>(labels), new TreeMap<>(taught));
    }

    /** Clips of a modality. */
    public Tensor clips(Modality modality) {
        Tensor tensor = clips.get(modality);
        if (tensor == null) {
            throw new IllegalArgumentException("a batch of " + clips.keySet() + " holds no " + modality
                    + "; use a source of batches that gives every modality that is looked at");
        }
        return tensor;
    }

    /** Labels for a head. */
    public Tensor labels(String head) {
        Tensor tensor = labels.get(head);
        if (tensor == null) {
            throw new IllegalArgumentException(
                    "a batch holds no labels for the head '" + head + "'; use a source of labelled batches");
        }
        return tensor;
    }

    List<Tensor> tensors() {
        List<Tensor> all = new ArrayList<>(clips.values());
        all.addAll(labels.values());
        all.addAll(taught.values());
        return all;
    }

    /** A batch like this one of other tensors, in the order of {@link #tensors}. */
    Batch of(Iterator<Tensor> tensors) {
        Batch batch = new Batch(new TreeMap<>(clips), new TreeMap<>(labels), new TreeMap<>(taught));
        batch.clips.replaceAll((modality, old) -> tensors.next());
        batch.labels.replaceAll((head, old) -> tensors.next());
        batch.taught.replaceAll((name, old) -> tensors.next());
        return batch;
    }
}
