package tessera.distill.train;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import tessera.kernels.Philox;

/**
 * Training clips that nothing is trained on, so that teachers can be judged by them: a share of each class, chosen by the seed
 * alone. Teachers and students with the same share and seed leave out the same clips of a set.
 *
 * @param share of the clips, in [0, 1); of a class with two clips or more at least one is left out, and one stays
 * @param seed determines which
 */
public record HeldOut(double share, long seed) {
    /** Nothing is left out. */
    public static final HeldOut NONE = new HeldOut(0, 1);

    public HeldOut {
        if (!(share >= 0 && share < 1)) {
            throw new IllegalArgumentException(
                    "a share of " + share + " training clips cannot be held out; pass 0 or more and less than 1");
        }
    }

    /** A share with the standard seed, which the seeds of runs do not change. */
    public static HeldOut of(double share) {
        return new HeldOut(share, NONE.seed);
    }

    /** The clips that are left out, ascending. */
    int[] held(int[] labels) {
        Map<Integer, List<Integer>> ofClass = IntStream.range(0, labels.length)
                .boxed()
                .collect(Collectors.groupingBy(clip -> labels[clip], TreeMap::new, Collectors.toList()));
        return ofClass.values().stream()
                .flatMap(clips -> {
                    int count = clips.size();
                    int held = share == 0 || count < 2 ? 0 : Math.clamp(Math.round(share * count), 1, count - 1);
                    return clips.stream()
                            .sorted(Comparator.comparingInt((Integer clip) -> Philox.word(seed, 0, clip))
                                    .thenComparingInt(clip -> clip))
                            .limit(held);
                })
                .mapToInt(clip -> clip)
                .sorted()
                .toArray();
    }

    /** The other clips, ascending. */
    int[] rest(int[] labels) {
        int[] held = held(labels);
        return IntStream.range(0, labels.length)
                .filter(clip -> Arrays.binarySearch(held, clip) < 0)
                .toArray();
    }

    Settings addTo(Settings settings) {
        return settings.with("heldOut", share).with("heldOutSeed", seed);
    }
}
