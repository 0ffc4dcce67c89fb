package tessera.distill.train;

import java.nio.file.Path;
import tessera.distill.data.Modality;

/**
 * A finished model that teaches.
 *
 * @param name by which settings and metrics tell it from other teachers, such as {@code flow}
 * @param sees what it looks at
 * @param file a student's file of any architecture, or a pretraining model
 */
public record TeacherFile(String name, Modality sees, Path file) {
    public TeacherFile {
        if (!name.matches("[A-Za-z0-9_-]+")) {
            throw new IllegalArgumentException(
                    "a teacher cannot be called '" + name + "'; pass a name of letters and digits such as flow");
        }
    }

    /** A teacher that is called as its modality. */
    public static TeacherFile of(Modality sees, Path file) {
        return new TeacherFile(sees.id(), sees, file);
    }
}
