package tessera.distill.fewshot;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * Draws few-shot episodes from labelled clips.
 *
 * <p>The classes of an episode are drawn uniformly without replacement. Each class holds its clips in a shuffled list
 * that episodes consume in consecutive blocks of {@code shots + queries}; the list is shuffled anew when fewer remain.
 * So no clip serves twice before its class has run out, and support and queries of an episode never share a clip.
 *
 * <p>A seed gives the same episodes on every Java version. Not safe for use by several threads at once.
 */
public final class EpisodeSampler {
    private final int ways;
    private final int shots;
    private final int queries;
    private final List<ClassClips> classes;
    private final Shuffle shuffle;

    private static final class ClassClips {
        final int id;
        final int[] clips;
        int used;

        ClassClips(int id, List<Integer> clips) {
            this.id = id;
            this.clips = clips.stream().mapToInt(Integer::intValue).toArray();
            this.used = clips.size();
        }
    }

    /**
     * Prepares the lists.
     *
     * @param labels the class id of every clip; ids need not be consecutive
     * @param ways classes in an episode, at least 2
     * @param shots support clips of each class, at least 1
     * @param queries query clips of each class, at least 1
     * @throws IllegalArgumentException if there are fewer than {@code ways} classes, or a class has fewer than
     *     {@code shots + queries} clips; the message names the class
     */
    public EpisodeSampler(int[] labels, int ways, int shots, int queries, long seed) {
        if (ways < 2 || shots < 1 || queries < 1) {
            throw new IllegalArgumentException("episode_sampler: " + ways + " ways, " + shots + " shots and " + queries
                    + " queries given; it needs at least 2 ways, 1 shot and 1 query");
        }
        SortedMap<Integer, List<Integer>> byClass = new TreeMap<>();
        for (int clip = 0; clip < labels.length; clip++) {
            byClass.computeIfAbsent(labels[clip], id -> new ArrayList<>()).add(clip);
        }
        if (byClass.size() < ways) {
            throw new IllegalArgumentException("episode_sampler: the clips have " + byClass.size() + " class(es) but an"
                    + " episode needs " + ways + "; add classes or lower the number of ways");
        }
        this.classes = new ArrayList<>();
        byClass.forEach((id, clips) -> {
            if (clips.size() < shots + queries) {
                throw new IllegalArgumentException("episode_sampler: class " + id + " has " + clips.size()
                        + " clips but an episode takes " + (shots + queries) + " (" + shots + " support + " + queries
                        + " queries); add clips, drop the class, or ask for fewer");
            }
            classes.add(new ClassClips(id, clips));
        });
        this.ways = ways;
        this.shots = shots;
        this.queries = queries;
        this.shuffle = new Shuffle(seed);
    }

    /** Draws the next {@code count} episodes. */
    public List<Episode> draw(int count) {
        return Stream.generate(this::next).limit(count).toList();
    }

    /** Draws the next episode. */
    public Episode next() {
        int[] positions = new int[classes.size()];
        Arrays.setAll(positions, i -> i);
        shuffle.of(positions);
        int[] chosen = Arrays.copyOf(positions, ways);
        Arrays.sort(chosen);

        int[] ids = new int[ways];
        int[] support = new int[ways * shots];
        int[] supportLabels = new int[ways * shots];
        int[] query = new int[ways * queries];
        int[] queryLabels = new int[ways * queries];
        for (int label = 0; label < ways; label++) {
            ClassClips from = classes.get(chosen[label]);
            ids[label] = from.id;
            int block = takeBlock(from);
            System.arraycopy(from.clips, block, support, label * shots, shots);
            System.arraycopy(from.clips, block + shots, query, label * queries, queries);
            Arrays.fill(supportLabels, label * shots, (label + 1) * shots, label);
            Arrays.fill(queryLabels, label * queries, (label + 1) * queries, label);
        }
        return new Episode(ids, support, supportLabels, query, queryLabels);
    }

    /** Where the class's next block begins; shuffles first if too few clips remain. */
    private int takeBlock(ClassClips from) {
        int size = shots + queries;
        if (from.clips.length - from.used < size) {
            shuffle.of(from.clips);
            from.used = 0;
        }
        int block = from.used;
        from.used += size;
        return block;
    }
}
