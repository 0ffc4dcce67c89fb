package tessera.distill.sweep;

import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;

/**
 * A way to look at clips that is measured.
 *
 * @param student which stays whoever's it is
 * @param batch clips in a call
 */
public record Setup(Student student, Masking masking, int batch) {
    /** The same with another student. */
    public Setup withStudent(Student other) {
        return new Setup(other, masking, batch);
    }

    /** The same with other masks. */
    public Setup withMasking(Masking other) {
        return new Setup(student, other, batch);
    }

    /** The same with another number of clips in a call. */
    public Setup withBatch(int clips) {
        return new Setup(student, masking, clips);
    }
}
