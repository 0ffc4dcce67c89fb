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
        return render(sim, split, List.of(domain), 0, perClass, modalities, progress);
    }

    /**
     * Renders clips {@code firstClip} to {@code firstClip + perClass - 1} of every class of a split, with the further heads
     * {@value #VERB} and {@value #NOUN}. Ranges that do not overlap are sets for training and judging on the same classes.
     *
     * @param domains where they are filmed; the clips of a class take turns, from the next domain on in the next class, so that of two
     *     domains each has half
     * @param progress told after each clip how many are done
     * @throws IllegalArgumentException if the first clip is negative, there is no clip of a class, or no domain
     */
    public static ClipSet render(
            EgoSim sim,
            Split split,
            List<Domain> domains,
            long firstClip,
            int perClass,
            Set<Modality> modalities,
            IntConsumer progress) {
        if (firstClip < 0 || perClass < 1) {
            throw new IllegalArgumentException("egosim: " + perClass + " clips of each class from clip " + firstClip
                    + " on are none; pass 1 or more, from clip 0 or a later one on");
        }
        requireDomains(domains);
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
                i -> {
                    long clip = firstClip + i / count;
                    return sim.render(split, turn(domains, i % count, clip), i % count, clip, modalities)
                            .samples();
                },
                progress);
    }

    private static void requireDomains(List<Domain> domains) {
        if (domains.isEmpty()) {
            throw new IllegalArgumentException("egosim: clips of no domain are asked for; name one or more");
        }
    }

    /** The domain whose turn a clip is. */
    private static Domain turn(List<Domain> domains, int classIndex, long clip) {
        return domains.get((int) ((classIndex + clip) % domains.size()));
    }

    /** What the clips are called that {@link #render(EgoSim, Split, List, long, int, Set, IntConsumer)} gives. */
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
        return flowStats(sim, split, List.of(domain), clips, name -> true);
    }

    /**
     * Measures the flow of some clips of a split, spread evenly over its classes.
     *
     * @param domains where they are filmed, in turns as those that are rendered
     * @param clips how many
     * @param chosen which of the split's endless clips may be measured, by their {@link #names}; as many as are asked for
     */
    public static FlowStats flowStats(
            EgoSim sim, Split split, List<Domain> domains, int clips, Predicate<String> chosen) {
        requireDomains(domains);
        List<ActionClass> classes = EgoSim.classes(split);
        int[] measured = IntStream.iterate(0, i -> i + 1)
                .filter(i -> chosen.test(name(classes.get(i % classes.size()), i / classes.size())))
                .limit(clips)
                .toArray();
        return FlowStats.measure(clips, i -> {
            int what = measured[i] % classes.size();
            long clip = measured[i] / classes.size();
            return sim.render(split, turn(domains, what, clip), what, clip, Set.of(Modality.FLOW))
                    .flow();
        });
    }
}
