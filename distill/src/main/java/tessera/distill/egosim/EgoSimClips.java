package tessera.distill.egosim;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntConsumer;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;

/** Renders EgoSim's clips into sets to train and judge on. */
public final class EgoSimClips {
    private EgoSimClips() {}

    /** The heads beside that of actions. */
    public static final String VERB = "verb";

    public static final String NOUN = "noun";

    /**
     * Renders equally many of each class: the first {@code perClass} clips of every class of a split, with the further heads
     * {@value #VERB} and {@value #NOUN}.
     *
     * @param progress told after each clip how many are done
     */
    public static ClipSet render(
            EgoSim sim, Split split, Domain domain, int perClass, Set<Modality> modalities, IntConsumer progress) {
        return render(sim, split, domain, 0, perClass, modalities, progress);
    }

    /**
     * Renders clips {@code firstClip} to {@code firstClip + perClass - 1} of every class of a split, with the further heads
     * {@value #VERB} and {@value #NOUN}. Ranges that do not overlap are sets for training and judging on the same classes.
     *
     * @param progress told after each clip how many are done
     * @throws IllegalArgumentException if the first clip is negative, or there is no clip of a class
     */
    public static ClipSet render(
            EgoSim sim,
            Split split,
            Domain domain,
            long firstClip,
            int perClass,
            Set<Modality> modalities,
            IntConsumer progress) {
        if (firstClip < 0 || perClass < 1) {
            throw new IllegalArgumentException("egosim: " + perClass + " clips of each class from clip " + firstClip
                    + " on are none; pass 1 or more, from clip 0 or a later one on");
        }
        List<ActionClass> classes = EgoSim.classes(split);
        int count = classes.size();
        int[] labels = IntStream.range(0, count * perClass).map(i -> i % count).toArray();
        return ClipSet.load(
                sim.geometry(),
                classes.stream().map(ActionClass::name).toList(),
                Map.of(
                        VERB, classes.stream().map(c -> c.verb().word()).toList(),
                        NOUN, classes.stream().map(c -> c.noun().word()).toList()),
                new ClipSet.Listing(names(split, firstClip, perClass), labels, Set.of()),
                modalities,
                i -> sim.render(split, domain, i % count, firstClip + i / count, modalities)
                        .samples(),
                progress);
    }

    /** What the clips are called that {@link #render(EgoSim, Split, Domain, long, int, Set, IntConsumer)} gives. */
    public static List<String> names(Split split, long firstClip, int perClass) {
        List<ActionClass> classes = EgoSim.classes(split);
        int count = classes.size();
        return IntStream.range(0, count * perClass)
                .mapToObj(i -> name(classes.get(i % count), firstClip + i / count))
                .toList();
    }

    private static String name(ActionClass of, long clip) {
        return of.name() + "/" + clip;
    }

    /** Measures the flow of some clips of a split, spread evenly over its classes; the same arguments give the same figures. */
    public static FlowStats flowStats(EgoSim sim, Split split, Domain domain, int clips) {
        return flowStats(sim, split, domain, clips, name -> true);
    }

    /**
     * Measures the flow of some clips of a split, spread evenly over its classes.
     *
     * @param clips how many
     * @param chosen which of the split's endless clips may be measured, by their {@link #names}; as many as are asked for
     */
    public static FlowStats flowStats(EgoSim sim, Split split, Domain domain, int clips, Predicate<String> chosen) {
        List<ActionClass> classes = EgoSim.classes(split);
        int[] measured = IntStream.iterate(0, i -> i + 1)
                .filter(i -> chosen.test(name(classes.get(i % classes.size()), i / classes.size())))
                .limit(clips)
                .toArray();
        return FlowStats.measure(clips, i -> {
            int clip = measured[i];
            return sim.render(split, domain, clip % classes.size(), clip / classes.size(), Set.of(Modality.FLOW))
                    .flow();
        });
    }
}
