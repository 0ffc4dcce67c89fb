package tessera.distill.fewshot;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Draws few-shot episodes whose support and queries come from different groups of clips, such as places, people or recordings, so that
 * what the clips of one group share by chance does not decide.
 *
 * <p>For each episode the groups are halved at random; of an odd number the queries get the larger half. Classes are drawn among those
 * with {@code shots} clips in the one half and {@code queries} in the other, and of each of them clips of either half, all uniformly
 * without replacement. Halves that leave too few such classes are drawn anew.
 *
 * <p>A seed gives the same episodes on every Java version. Not safe for use by several threads at once.
 */
public final class GroupedEpisodes {
    private static final int TRIES = 10_000;

    private final int ways;
    private final int shots;
    private final int queries;
    private final int[] groupIds;
    private final int[] groups;
    /** Clips of each class by its id. */
    private final TreeMap<Integer, int[]> classes = new TreeMap<>();

    private final Shuffle shuffle;

    /**
     * Prepares the lists.
     *
     * @param labels the class id of every clip; ids need not be consecutive
     * @param groups the group of every clip; ids need not be consecutive
     * @param names of the classes by their ids, for messages
     * @param ways classes in an episode, at least 2
     * @param shots support clips of each class, at least 1
     * @param queries query clips of each class, at least 1
     * @throws IllegalArgumentException if there are too few classes or groups, or a class has too few clips on whichever side of
     *     the groups; the message names the class
     */
    public GroupedEpisodes(
            int[] labels, int[] groups, List<String> names, int ways, int shots, int queries, long seed) {
        if (labels.length != groups.length) {
            throw new IllegalArgumentException("grouped_episodes: " + labels.length + " labels but " + groups.length
                    + " groups; pass one group for each clip");
        }
        this.ways = ways;
        this.shots = shots;
        this.queries = queries;
        this.groups = groups.clone();
        this.shuffle = new Shuffle(seed);
        groupIds = IntStream.of(groups).distinct().sorted().toArray();
        if (groupIds.length < 2) {
            throw new IllegalArgumentException("all clips are of one group, but support and queries come from different"
                    + " ones; pass clips of two groups or more");
        }
        IntStream.of(labels)
                .distinct()
                .forEach(id -> classes.put(
                        id,
                        IntStream.range(0, labels.length)
                                .filter(i -> labels[i] == id)
                                .toArray()));
        classes.forEach((id, clips) -> requireBothSides(names.get(id), clips));
        if (classes.size() < ways) {
            throw new IllegalArgumentException("the clips have " + classes.size() + " labels but an episode needs "
                    + ways + "; add labels or lower the number of ways");
        }
    }

    /** Refuses a class that no halves of the groups give enough clips on both sides. */
    private void requireBothSides(String name, int[] clips) {
        Map<Integer, Integer> counts = new TreeMap<>();
        IntStream.of(clips).forEach(clip -> counts.merge(groups[clip], 1, Integer::sum));
        // possible[m][n]: some m of its groups have n clips together
        boolean[][] possible = new boolean[counts.size() + 1][clips.length + 1];
        possible[0][0] = true;
        for (int count : counts.values()) {
            for (int m = counts.size() - 1; m >= 0; m--) {
                for (int n = clips.length - count; n >= 0; n--) {
                    possible[m + 1][n + count] |= possible[m][n];
                }
            }
        }
        int half = groupIds.length / 2;
        for (int m = Math.max(0, counts.size() - (groupIds.length - half)); m <= Math.min(half, counts.size()); m++) {
            for (int n = shots; n <= clips.length - queries; n++) {
                if (possible[m][n]) {
                    return;
                }
            }
        }
        throw new IllegalArgumentException("label " + name + " has " + clips.length + " clips in " + counts.size()
                + (counts.size() == 1 ? " group" : " groups") + " (" + counts.values()
                + ") but an episode takes " + shots + " of one half of the groups and " + queries
                + " of the other; add clips of other groups, lower --shots or --queries, or leave the label away");
    }

    /**
     * Draws the next {@code count} episodes.
     *
     * @throws IllegalArgumentException if no halves are found that leave enough classes
     */
    public List<Episode> draw(int count) {
        return Stream.generate(this::next).limit(count).toList();
    }

    /** Draws the next episode; see {@link #draw}. */
    public Episode next() {
        for (int i = 0; i < TRIES; i++) {
            int[] order = groupIds.clone();
            shuffle.of(order);
            int[] first = Arrays.copyOf(order, order.length / 2);
            Arrays.sort(first);
            List<Integer> able = new ArrayList<>();
            classes.forEach((id, clips) -> {
                int inside = side(clips, first, true).length;
                if (inside >= shots && clips.length - inside >= queries) {
                    able.add(id);
                }
            });
            if (able.size() >= ways) {
                return episode(able.stream().mapToInt(id -> id).toArray(), first);
            }
        }
        throw new IllegalArgumentException("no halves of the " + groupIds.length + " groups were found in " + TRIES
                + " draws in which " + ways + " labels have " + shots + " clips in one half and " + queries
                + " in the other; lower --ways, --shots or --queries, or add clips");
    }

    private int[] side(int[] clips, int[] first, boolean inside) {
        return IntStream.of(clips)
                .filter(clip -> Arrays.binarySearch(first, groups[clip]) >= 0 == inside)
                .toArray();
    }

    private Episode episode(int[] able, int[] first) {
        shuffle.of(able);
        int[] ids = Arrays.copyOf(able, ways);
        Arrays.sort(ids);
        int[] support = new int[ways * shots];
        int[] supportLabels = new int[ways * shots];
        int[] query = new int[ways * queries];
        int[] queryLabels = new int[ways * queries];
        for (int label = 0; label < ways; label++) {
            int[] clips = classes.getOrDefault(ids[label], new int[0]);
            take(side(clips, first, true), support, label, shots, supportLabels);
            take(side(clips, first, false), query, label, queries, queryLabels);
        }
        return new Episode(ids, support, supportLabels, query, queryLabels);
    }

    private void take(int[] from, int[] into, int label, int count, int[] labels) {
        shuffle.of(from);
        System.arraycopy(from, 0, into, label * count, count);
        Arrays.fill(labels, label * count, (label + 1) * count, label);
    }
}
