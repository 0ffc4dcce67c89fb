package tessera.distill.egosim;

import java.util.List;
import java.util.Set;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;

/** Renders EgoSim's clips into sets to train and judge on. */
public final class EgoSimClips {
    private EgoSimClips() {}

    /**
     * Renders equally many of each class: the first {@code perClass} clips of every class of a split.
     *
     * @param progress told after each clip how many are done
     */
    public static ClipSet render(
            EgoSim sim, Split split, Domain domain, int perClass, Set<Modality> modalities, IntConsumer progress) {
        List<ActionClass> classes = EgoSim.classes(split);
        int count = classes.size();
        int[] labels = IntStream.range(0, count * perClass).map(i -> i % count).toArray();
        return ClipSet.load(
                sim.geometry(),
                classes.stream().map(ActionClass::name).toList(),
                labels,
                modalities,
                i -> sim.render(split, domain, i % count, i / count, modalities).samples(),
                progress);
    }

    /** Measures the flow of some clips of a split, spread evenly over its classes; the same arguments give the same figures. */
    public static FlowStats flowStats(EgoSim sim, Split split, Domain domain, int clips) {
        int classes = EgoSim.classes(split).size();
        return FlowStats.measure(
                clips,
                i -> sim.render(split, domain, i % classes, i / classes, Set.of(Modality.FLOW))
                        .flow());
    }
}
