package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeSampler;

class EpisodeSamplerTest {
    /** Class ids 3, 10, 17, ... with {@code clips} clips each, interleaved. */
    private static int[] labels(int classes, int clips) {
        return IntStream.range(0, classes * clips)
                .map(i -> 3 + 7 * (i % classes))
                .toArray();
    }

    @Test
    void relabelsBySortedClassAndKeepsSupportAndQueriesApart() {
        int[] labels = labels(9, 25);
        for (Episode e : new EpisodeSampler(labels, 5, 5, 15, 1).draw(50)) {
            assertEquals(25, e.support().length);
            assertEquals(75, e.queries().length);
            int[] sorted = e.classes().clone();
            Arrays.sort(sorted);
            assertArrayEquals(sorted, e.classes());
            Set<Integer> clips = new HashSet<>();
            for (int i = 0; i < e.support().length; i++) {
                assertTrue(clips.add(e.support()[i]), "clip twice");
                assertEquals(labels[e.support()[i]], e.classes()[e.supportLabels()[i]]);
            }
            for (int i = 0; i < e.queries().length; i++) {
                assertTrue(clips.add(e.queries()[i]), "clip twice");
                assertEquals(labels[e.queries()[i]], e.classes()[e.queryLabels()[i]]);
            }
        }
    }

    @Test
    void consumesEachClassInBlocksBeforeAnyClipServesAgain() {
        // 50 clips and blocks of 20: two blocks without a repeated clip, then a reshuffle drops the last ten.
        int[] labels = labels(2, 50);
        var sampler = new EpisodeSampler(labels, 2, 5, 15, 7);
        Set<Set<Integer>> rounds = new HashSet<>();
        for (int round = 0; round < 20; round++) {
            Map<Integer, Set<Integer>> seen = new HashMap<>();
            for (int block = 0; block < 2; block++) {
                Episode e = sampler.next();
                IntStream.concat(Arrays.stream(e.support()), Arrays.stream(e.queries()))
                        .forEach(clip -> assertTrue(seen.computeIfAbsent(labels[clip], id -> new HashSet<>())
                                .add(clip)));
            }
            seen.values().forEach(clips -> assertEquals(40, clips.size()));
            rounds.addAll(seen.values());
        }
        assertEquals(40, rounds.size(), "every reshuffle leaves out other clips");
    }

    @Test
    void drawsClassesUniformly() {
        Map<Integer, Integer> counts = new HashMap<>();
        for (Episode e : new EpisodeSampler(labels(8, 4), 2, 1, 3, 5).draw(4000)) {
            for (int id : e.classes()) {
                counts.merge(id, 1, Integer::sum);
            }
        }
        assertEquals(8, counts.size());
        // Expected 1000 each with a standard deviation of 27.
        counts.forEach((id, n) -> assertTrue(Math.abs(n - 1000) < 140, "class " + id + " drawn " + n));
    }

    @Test
    void aSeedFixesTheEpisodes() {
        int[] labels = labels(6, 20);
        int[] first =
                new EpisodeSampler(labels, 5, 1, 15, 11).draw(10).getLast().support();
        assertArrayEquals(
                first,
                new EpisodeSampler(labels, 5, 1, 15, 11).draw(10).getLast().support());
        assertFalse(Arrays.equals(
                first,
                new EpisodeSampler(labels, 5, 1, 15, 12).draw(10).getLast().support()));
    }

    @Test
    void refusalsNameTheClassAndTheRemedy() {
        int[] short17 = labels(5, 20);
        short17[2] = 3; // One clip fewer in class 17, one more in class 3.
        var few = assertThrows(IllegalArgumentException.class, () -> new EpisodeSampler(short17, 5, 5, 15, 0));
        assertTrue(
                requireNonNull(few.getMessage()).contains("class 17 has 19 clips but an episode takes 20"),
                few.getMessage());
        var ways = assertThrows(IllegalArgumentException.class, () -> new EpisodeSampler(labels(4, 20), 5, 5, 15, 0));
        assertTrue(requireNonNull(ways.getMessage()).contains("4 class(es)"), ways.getMessage());
        assertThrows(IllegalArgumentException.class, () -> new EpisodeSampler(labels(5, 20), 5, 0, 15, 0));
    }
}
