package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** The clips that are held out depend on names, not on which others can be read. */
class HeldOutTest {
    private static final HeldOut SHARE = HeldOut.of(.3);
    private static final Set<Modality> TEACHERS = Set.of(Modality.FLOW);
    private static final Set<Modality> STUDENTS = Set.of(Modality.RGB, Modality.FLOW);
    private static final List<String> NAMES = IntStream.range(0, 20)
            .mapToObj(i -> (i % 2 == 0 ? "cut/" : "open/") + "clip" + i)
            .toList();

    @TempDir
    private Path root;

    @BeforeEach
    void write() throws IOException {
        for (String name : NAMES) {
            save("rgb", name, ArrayData.of("rgb", new byte[2 * 16 * 16 * 3], 2, 16, 16, 3));
            save("flow", name, ArrayData.of("flow", new float[2 * 16 * 16 * 2], 2, 16, 16, 2));
        }
    }

    private void save(String modality, String name, ArrayData array) throws IOException {
        Path file = file(modality, name);
        Files.createDirectories(file.resolveSibling("."));
        Npy.write(file, array);
    }

    private Path file(String modality, String name) {
        return root.resolve(modality).resolve(name + ".npy");
    }

    /** Names of what is held out and of what is trained on. */
    private record Drawn(Set<String> held, Set<String> trained) {}

    private Drawn draw(Set<Modality> modalities) {
        ModalityFolders.Options skip = ModalityFolders.Options.DEFAULT.withSkipBroken(true);
        try (ClipSet clips = ModalityFolders.open(root, modalities, null, skip).load(done -> {}, note -> {})) {
            return new Drawn(names(clips, SHARE.held(clips)), names(clips, SHARE.rest(clips)));
        }
    }

    private static Set<String> names(ClipSet clips, int[] of) {
        return Arrays.stream(of).mapToObj(clips.names()::get).collect(Collectors.toCollection(TreeSet::new));
    }

    @Test
    void aClipThatIsBrokenForTheStudentMovesNoOther() throws IOException {
        Drawn teacher = draw(TEACHERS);
        assertEquals(6, teacher.held.size());
        assertEquals(teacher, draw(STUDENTS));
        for (String broken : NAMES) {
            byte[] whole = Files.readAllBytes(file("rgb", broken));
            for (boolean missing : new boolean[] {true, false}) {
                if (missing) {
                    Files.delete(file("rgb", broken));
                } else {
                    Files.writeString(file("rgb", broken), "no array");
                }
                Drawn student = draw(STUDENTS);
                assertEquals(19, student.held.size() + student.trained.size());
                assertTrue(teacher.held.containsAll(student.held), () -> broken + ": " + student);
                assertTrue(teacher.trained.containsAll(student.trained), () -> broken + ": " + student);
            }
            Files.write(file("rgb", broken), whole);
        }
        // Broken clips of every class at once.
        for (String broken : NAMES.subList(0, 10)) {
            Files.delete(file("rgb", broken));
        }
        Drawn student = draw(STUDENTS);
        assertTrue(teacher.held.containsAll(student.held) && teacher.trained.containsAll(student.trained));
    }

    /** What is documented of clips that are not even known. */
    @Test
    void aClipThatIsNotThereMovesAtMostOneOther() {
        for (double share : new double[] {.05, .1, .25, .3, .5, .9}) {
            HeldOut some = HeldOut.of(share);
            Set<String> all = some.names(NAMES);
            assertEquals(2 * Math.clamp(Math.round(share * 10), 1, 9), all.size());
            for (String gone : NAMES) {
                Set<String> others = new HashSet<>(NAMES);
                others.remove(gone);
                Set<String> moved = new HashSet<>(some.names(others));
                Set<String> before = new HashSet<>(all);
                before.remove(gone);
                Set<String> stayed = new HashSet<>(moved);
                stayed.retainAll(before);
                moved.addAll(before);
                moved.removeAll(stayed);
                assertTrue(moved.size() <= 1, () -> share + " without " + gone + ": " + moved);
                moved.forEach(name -> assertEquals(name.charAt(0), gone.charAt(0), "of the same class"));
            }
        }
    }

    /** Teachers that were trained yesterday are weighed by clips that are drawn today. */
    @Test
    void theDrawIsTheSameForever() {
        assertEquals(
                new TreeSet<>(PINNED),
                new TreeSet<>(SHARE.names(NAMES.reversed())),
                "in whatever order they are found");
        assertNotEquals(SHARE.names(NAMES), new HeldOut(.3, 2).names(NAMES), "the seed chooses them");
        assertEquals(Set.of(), HeldOut.NONE.names(NAMES));
        assertEquals(Set.of(), HeldOut.of(.9).names(List.of("alone/clip")), "one stays");
        assertFalse(HeldOut.of(.01).names(List.of("pair/a", "pair/b")).isEmpty(), "one goes");
    }

    private static final List<String> PINNED =
            List.of("cut/clip12", "cut/clip14", "cut/clip16", "open/clip19", "open/clip3", "open/clip7");
}
