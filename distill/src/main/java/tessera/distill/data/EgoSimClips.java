package tessera.distill.data;

import java.util.List;
import java.util.Set;
import java.util.function.IntConsumer;
import tessera.distill.egosim.ActionClass;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.Modality;
import tessera.distill.egosim.Split;

/** Loads sets of EgoSim clips, equally many per class. */
public final class EgoSimClips {
    private EgoSimClips() {}

    /**
     * Renders the first {@code perClass} clips of every class of a split.
     *
     * @param progress told after each clip how many are done
     */
    public static ClipSet render(
            EgoSim sim, Split split, Domain domain, int perClass, Set<Modality> modalities, IntConsumer progress) {
        List<ActionClass> classes = EgoSim.classes(split);
        int count = classes.size();
        int[] labels = new int[count * perClass];
        for (int i = 0; i < labels.length; i++) {
            labels[i] = i % count;
        }
        return ClipSet.load(
                sim.geometry(),
                classes.stream().map(ActionClass::name).toList(),
                labels,
                modalities,
                i -> sim.render(split, domain, i % count, i / count, modalities),
                progress);
    }
}
