package tessera.distill.evaluation;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.data.HeadLabels;

class ActionAccuracyTest {
    private static final List<String> VERBS = List.of("open", "cut");
    private static final List<String> NOUNS = List.of("box", "cup", "leek");

    /** Scores whose highest is that of the class given. */
    private static HeadLogits saying(String head, List<String> labels, int... classes) {
        double[][] values = new double[classes.length][labels.size()];
        for (int i = 0; i < classes.length; i++) {
            values[i][classes[i]] = 1;
        }
        return new HeadLogits(head, labels, values);
    }

    @Test
    void anActionIsRightIfItsVerbAndItsNounAre() {
        HeadLogits verbs = saying("verb", VERBS, 0, 0, 1, 1, 0);
        int[] verb = {0, 0, 1, 0, 1};
        HeadLogits nouns = saying("noun", NOUNS, 0, 1, 2, 2, 0);
        int[] noun = {0, 2, 2, 2, 1};
        // Right verbs: clips 0, 1, 2. Right nouns: 0, 2, 3. Cut (1) is rare: clips 2, 4. Leek (2) is rare: clips 1, 2,
        // 3.
        ActionAccuracy accuracy = ActionAccuracy.of(verbs, verb, nouns, noun, Set.of("cut"), Set.of("leek"));
        assertEquals(new Share(2, 5), accuracy.all());
        assertEquals(new Share(1, 2), accuracy.tailVerbs());
        assertEquals(new Share(2, 3), accuracy.tailNouns());
        assertEquals(new Share(1, 1), accuracy.tailAnd());
        assertEquals(new Share(1, 4), accuracy.tailOr());
        ActionAccuracy without = ActionAccuracy.of(verbs, verb, nouns, noun, Set.of(), Set.of());
        assertEquals(new Share(0, 0), without.tailOr());
        assertTrue(Double.isNaN(without.tailOr().value()));
        assertThrows(
                IllegalArgumentException.class,
                () -> ActionAccuracy.of(verbs, verb, saying("noun", NOUNS, 0), new int[] {0}, Set.of(), Set.of()));
    }

    @Test
    void theTailIsTheSmallestClassesOfAFifth() {
        // 50, 30, 10, 6, 4, 0 of 100 clips: 0 + 4 + 6 + 10 are 20, which is the fifth; one clip less there and it is
        // 19.
        List<String> classes = List.of("a", "b", "c", "d", "e", "f");
        int[] labels = IntStream.of(50, 30, 10, 6, 4)
                .flatMap(n -> IntStream.range(0, n).map(i -> n))
                .toArray();
        List<Integer> sizes = List.of(50, 30, 10, 6, 4);
        for (int i = 0; i < labels.length; i++) {
            labels[i] = sizes.indexOf(labels[i]);
        }
        assertEquals(Set.of("c", "d", "e", "f"), TailClasses.of(classes, labels));
        int[] more = labels.clone();
        more[0] = 2;
        assertEquals(Set.of("d", "e", "f"), TailClasses.of(classes, more), "21 clips are more than a fifth");
        assertEquals(Set.of("f"), TailClasses.of(classes, labels, 0));
        assertEquals(Set.copyOf(classes), TailClasses.of(classes, labels, 1));
        assertThrows(IllegalArgumentException.class, () -> TailClasses.of(classes, labels, 1.5));
    }

    @Test
    void theTailIsCountedByTheNamesOfTheClasses() {
        // Of ten clips three are cups and seven boxes; the head knows leeks too, of which there is none.
        HeadLabels training = new HeadLabels(List.of("cup", "box"), new int[] {0, 0, 0, 1, 1, 1, 1, 1, 1, 1});
        assertEquals(Set.of("leek"), TailClasses.of(NOUNS, training), "three are more than a fifth");
        HeadLabels fewer = new HeadLabels(List.of("cup", "box"), new int[] {0, 0, 1, 1, 1, 1, 1, 1, 1, 1});
        assertEquals(Set.of("leek", "cup"), TailClasses.of(NOUNS, fewer));
        HeadLabels foreign = new HeadLabels(List.of("saw"), new int[] {0});
        var unknown = assertThrows(IllegalArgumentException.class, () -> TailClasses.of(NOUNS, foreign));
        assertTrue(String.valueOf(unknown.getMessage()).contains("'saw', which the head does not know"));
    }

    @Test
    void aListedTailIsRead(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("tail.csv"), "noun\ncup\n\n leek \n");
        assertEquals(Set.of("cup", "leek"), TailClasses.read(file, "noun", NOUNS));
        Path other = Files.writeString(folder.resolve("other.csv"), "cup\nsaw\n");
        var unknown = assertThrows(IllegalArgumentException.class, () -> TailClasses.read(other, "noun", NOUNS));
        assertTrue(String.valueOf(unknown.getMessage()).contains("line 2: the head 'noun' knows no 'saw'"));
        assertThrows(IllegalArgumentException.class, () -> TailClasses.read(folder.resolve("none"), "noun", NOUNS));
    }

    @Test
    void labelsAreFoundByName() {
        HeadLogits nouns = saying("noun", NOUNS, 0, 1, 2);
        assertArrayEquals(
                new int[] {2, 0, 2}, nouns.numbered(List.of("leek", "saw", "box"), new int[] {0, 2, 0}), "by name");
        var unknown = assertThrows(
                IllegalArgumentException.class, () -> nouns.numbered(List.of("leek", "saw"), new int[] {0, 1, 0}));
        assertTrue(String.valueOf(unknown.getMessage()).contains("head 'noun' knows no 'saw'"), unknown.getMessage());
        assertThrows(IllegalArgumentException.class, () -> nouns.numbered(NOUNS, new int[] {0}));
        Close.within(Classification.topK(nouns.values(), new int[] {0, 1, 2}, 1), 1, 0, "all right");
    }
}
