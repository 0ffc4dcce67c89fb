package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

class HeadTest {
    @TempDir
    private Path folder;

    @Test
    void labelsMayBeAnyText() {
        Path file = folder.resolve("head.safetensors");
        List<String> labels =
                List.of("two\nlines", "", "[\"quoted\"]", "ünïcödé \u0007", "half \ud83d", "\ude00 whole \ud83d\ude00");
        Toy.head(1, labels.toArray(String[]::new)).named("verb").save(file);
        Head read = Head.load(file);
        assertEquals(labels, read.labels());
        assertEquals("verb", read.name());
        assertEquals(Optional.empty(), read.student());
    }

    @Test
    void headsOfBeforeStillLoad() {
        Path file = folder.resolve("old.safetensors");
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = Map.of(
                    "head.weight", Tensor.of(new float[] {1, 2, 3, 4}, 2, 2), "head.bias", Tensor.of(new float[] {5, 6
                    }));
            Checkpoint.write(file, weights, Map.of("tessera.labels", "pour\n[stir]"));
        }
        Head read = Head.load(file);
        assertEquals(List.of("pour", "[stir]"), read.labels());
        assertEquals(Head.ACTION, read.name());
        assertArrayEquals(new float[] {1, 2, 3, 4}, read.weight());
        assertArrayEquals(new float[] {5, 6}, read.bias());
    }

    @Test
    void damagedHeadsAreRefused() {
        Path file = folder.resolve("damaged.safetensors");
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = Map.of("head.weight", Tensor.zeros(2, 2), "head.bias", Tensor.zeros(2));
            for (String labels : List.of("[", "[1, 2]", "[\"a\"]", "[\"a\", \"b\"] x", "\"a\"")) {
                Checkpoint.write(file, weights, Map.of("tessera.head.labels", labels));
                refused(() -> Head.load(file), file + " is no head: ");
            }
        }
        refused(() -> Head.of(new double[][] {{Double.NaN}}, new double[1], List.of("a")), "NaN");
        refused(() -> Head.of(new double[][] {{1}, {}}, new double[2], List.of("a", "b")), "rows of one length");
    }

    @Test
    void aHeadRefusesAnotherStudent() {
        Path file = Toy.student(folder.resolve("a.safetensors"), Toy.CONFIG, 1);
        Path other = Toy.student(folder.resolve("b.safetensors"), Toy.CONFIG, 2);
        try (Student mine = Student.load(file, Device.cpu());
                Student again = Student.load(file, Device.cpu(1));
                Student another = Student.load(other, Device.cpu())) {
            String checksum = mine.checksum();
            assertTrue(checksum.matches("[0-9a-f]{64}"), checksum);
            assertEquals(checksum, again.checksum(), "the same on every device");
            Path head = folder.resolve("head.safetensors");
            Toy.head(4, "a", "b").fittedOn(checksum).save(head);
            Head read = Head.load(head);
            assertEquals(Optional.of(checksum), read.student());
            assertEquals(List.of(read), again.withHead(read).heads());
            assertNotEquals(checksum, another.checksum());
            refused(
                    () -> another.withHead(read),
                    "head 'action' was learned with student " + checksum.substring(0, 12) + " but this is student "
                            + another.checksum().substring(0, 12) + "; pass the student that it was learned with");
        }
    }

    @Test
    void metadataDoNotCountForTheChecksum() {
        Path file = Toy.student(folder.resolve("a.safetensors"), Toy.CONFIG, 1);
        Path noted = folder.resolve("noted.safetensors");
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            Student.save(noted, checkpoint.tensors(), Toy.CONFIG, Map.of("tessera.note", "something else"));
        }
        try (Student one = Student.load(file, Device.cpu());
                Student two = Student.load(noted, Device.cpu())) {
            assertEquals(one.checksum(), two.checksum());
        }
    }

    /** Of every student made from one, in any order, and twice. */
    @Test
    void copiesOfHeadsAreFreedOnce() {
        Device own = Device.cpu(1);
        Path file = Toy.student(folder.resolve("a.safetensors"), Toy.CONFIG, 1);
        Student root = Student.load(file, own);
        long before = own.memory().live();
        Student first =
                root.withHeads(List.of(Toy.head(1, "a", "b"), Toy.head(2, "c").named("other")));
        assertEquals(List.of("a", "b"), first.labels());
        Student second = first.withHead(Toy.head(3, "d", "e", "f"));
        assertTrue(own.memory().live() > before);
        first.close();
        first.close();
        second.close();
        assertEquals(before, own.memory().live());
        root.withHead(Toy.head(1, "a"));
        root.close();
        root.close();
        assertEquals(0, own.memory().live());
    }

    private static void refused(Runnable call, String part) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
    }
}
