package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** How near two students are to each other, of which one has other random weights. */
class AgreementTest {
    private static final Masking MASKING = Masking.of(.5, 2);
    private static final int CLIPS = 11;

    @TempDir
    private Path folder;

    private Scope scope;
    private Student one;
    private Student other;

    @BeforeEach
    void open() {
        scope = Scope.open();
        one = Student.load(Toy.student(folder.resolve("one.safetensors"), Toy.CONFIG, 5), Device.cpu());
        other = Student.load(Toy.student(folder.resolve("other.safetensors"), Toy.CONFIG, 6), Device.cpu());
    }

    @AfterEach
    void close() {
        one.close();
        other.close();
        scope.close();
    }

    /** Batches of different sizes. */
    private static List<Tensor> batches() {
        return List.of(Toy.clips(4, 1), Toy.clips(4, 2), Toy.clips(CLIPS - 8, 3));
    }

    /** Means over the masks, of unit length, {@code [clips][width]}. */
    private static double[][] units(Student student) {
        double[][] units = new double[CLIPS][];
        int at = 0;
        for (Tensor batch : batches()) {
            int size = (int) batch.size(0);
            double[] mean = student.features(batch, MASKING, 3).mean(0).toDoubles();
            int width = mean.length / size;
            for (int i = 0; i < size; i++) {
                double[] unit = new double[width];
                double length = 0;
                for (int j = 0; j < width; j++) {
                    unit[j] = mean[i * width + j];
                    length += unit[j] * unit[j];
                }
                for (int j = 0; j < width; j++) {
                    unit[j] /= Math.sqrt(length);
                }
                units[at++] = unit;
            }
        }
        return units;
    }

    private static int nearest(double[] unit, double[][] gallery, int self) {
        int best = self == 0 ? 1 : 0;
        for (int i = 0; i < gallery.length; i++) {
            best = i != self && dot(unit, gallery[i]) > dot(unit, gallery[best]) ? i : best;
        }
        return best;
    }

    private static double dot(double[] a, double[] b) {
        double dot = 0;
        for (int i = 0; i < a.length; i++) {
            dot += a[i] * b[i];
        }
        return dot;
    }

    @Test
    void aStudentAgreesWithItself() {
        Agreement agreement = Agreement.of(one, one, batches(), MASKING, 3);
        assertEquals(CLIPS, agreement.clips());
        Close.within(agreement.leastCosine(), 1, 1e-12, "cosine");
        assertEquals(CLIPS, agreement.sameNearest());
        assertNull(agreement.sameLabel(), "it has no heads");
    }

    @Test
    void theNearestOtherClipIsThatOfTheFirstStudentsFeatures() {
        double[][] ones = units(one);
        double[][] others = units(other);
        int same = 0;
        for (int i = 0; i < CLIPS; i++) {
            same += nearest(ones[i], ones, i) == nearest(others[i], ones, i) ? 1 : 0;
        }
        assertTrue(same < CLIPS, "the students differ");
        assertEquals(same, Agreement.of(one, other, batches(), MASKING, 3).sameNearest());
    }

    @Test
    void twoClipsHaveNoChoiceOfANearest() {
        assertNull(
                Agreement.of(one, other, List.of(Toy.clips(2, 1)), MASKING, 3).sameNearest());
        assertEquals(
                3, Agreement.of(one, one, List.of(Toy.clips(3, 1)), MASKING, 3).sameNearest());
    }

    @Test
    void noClipsAreRefused() {
        assertEquals(
                "agreement: there are no clips; pass one or more",
                assertThrows(IllegalArgumentException.class, () -> Agreement.of(one, other, List.of(), MASKING, 3))
                        .getMessage());
    }
}
