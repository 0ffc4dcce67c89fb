package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.GroupedEpisodes;

class GroupedEpisodesTest {
    private static final List<String> NAMES = List.of("cut", "pour", "wipe");

    /** Three classes with two clips in each of {@code groups} groups. */
    private static int[] labels(int groups) {
        return IntStream.range(0, 6 * groups).map(i -> i % 3).toArray();
    }

    private static int[] groups(int groups) {
        return IntStream.range(0, 6 * groups).map(i -> 10 * (i / 6)).toArray();
    }

    private static String refuse(int[] labels, int[] groups, int ways, int shots, int queries) {
        return requireNonNull(assertThrows(
                        IllegalArgumentException.class,
                        () -> new GroupedEpisodes(labels, groups, NAMES, ways, shots, queries, 1).draw(1))
                .getMessage());
    }

    @Test
    void noGroupIsOnBothSides() {
        int[] labels = labels(7);
        int[] groups = groups(7);
        Set<List<Integer>> seen = new GroupedEpisodes(labels, groups, NAMES, 2, 5, 6, 1)
                .draw(200).stream()
                        .map(episode -> {
                            check(episode, labels, groups);
                            return Arrays.stream(episode.support()).boxed().toList();
                        })
                        .collect(Collectors.toSet());
        assertTrue(seen.size() > 190, seen.size() + " different supports of 200");
    }

    private static void check(Episode episode, int[] labels, int[] groups) {
        Set<Integer> first =
                IntStream.of(episode.support()).map(i -> groups[i]).boxed().collect(Collectors.toSet());
        assertEquals(10, IntStream.of(episode.support()).distinct().count());
        assertEquals(12, IntStream.of(episode.queries()).distinct().count());
        for (int i = 0; i < 12; i++) {
            int clip = episode.queries()[i];
            assertFalse(first.contains(groups[clip]), "group " + groups[clip] + " teaches and is asked");
            assertEquals(labels[clip], episode.classes()[episode.queryLabels()[i]]);
        }
        for (int i = 0; i < 10; i++) {
            assertEquals(labels[episode.support()[i]], episode.classes()[episode.supportLabels()[i]]);
        }
    }

    @Test
    void aSeedGivesTheSameEpisodes() {
        for (long seed : new long[] {1, 2}) {
            Episode one = new GroupedEpisodes(labels(4), groups(4), NAMES, 2, 3, 3, seed).next();
            Episode two = new GroupedEpisodes(labels(4), groups(4), NAMES, 2, 3, 3, seed).next();
            assertArrayEquals(one.support(), two.support());
            assertArrayEquals(one.queries(), two.queries());
        }
    }

    /** A class that some halves leave too few clips of takes part in the others alone. */
    @Test
    void classesTakePartWhereTheyHaveEnough() {
        int[] labels =
                IntStream.concat(IntStream.of(labels(4)), IntStream.of(2, 2, 2)).toArray();
        int[] groups =
                IntStream.concat(IntStream.of(groups(4)), IntStream.of(0, 0, 0)).toArray();
        // of class 2 are 5 clips in group 0, so 7 shots need it in the first half
        for (Episode episode : new GroupedEpisodes(labels, groups, NAMES, 2, 4, 4, 1).draw(50)) {
            assertEquals(2, episode.ways());
        }
        String message = refuse(labels, groups, 2, 7, 4);
        assertTrue(message.startsWith("label cut has 8 clips in 4 groups"), message);
    }

    @Test
    void theLabelWithTooFewClipsOrGroupsIsNamed() {
        int[] labels = {0, 0, 0, 0, 1, 1, 1, 1};
        String message = refuse(labels, new int[] {0, 0, 1, 1, 0, 0, 0, 0}, 2, 2, 2);
        assertTrue(
                message.startsWith("label pour has 4 clips in 1 group ([4]) but an episode takes 2 of one half"),
                message);
        message = refuse(labels, new int[] {0, 0, 1, 1, 0, 0, 0, 1}, 2, 2, 2);
        assertTrue(message.startsWith("label pour has 4 clips in 2 groups ([3, 1])"), message);
        assertTrue(message.contains("add clips of other groups"), message);
        // three groups: the support gets one of them, and no single one has 3
        message = refuse(labels, new int[] {0, 0, 1, 2, 0, 0, 1, 2}, 2, 3, 1);
        assertTrue(message.startsWith("label cut has 4 clips in 3 groups ([2, 1, 1])"), message);
    }

    @Test
    void whatMakesNoEpisodeIsRefused() {
        assertTrue(refuse(labels(1), groups(1), 2, 1, 1).contains("all clips are of one group"));
        assertTrue(refuse(labels(4), groups(4), 4, 2, 2).contains("the clips have 3 labels but an episode needs 4"));
        assertTrue(refuse(labels(4), new int[3], 2, 2, 2).contains("24 labels but 3 groups"));
        // either class is possible, but in other halves
        int[] labels = {0, 0, 0, 1, 1, 1};
        int[] groups = {0, 0, 1, 1, 1, 0};
        assertTrue(refuse(labels, groups, 2, 2, 1).contains("no halves of the 2 groups were found"));
    }
}
