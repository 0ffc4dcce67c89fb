package tessera.distill.cli;

import java.nio.file.Path;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.nn.inference.Student;

/** The student of a command, where it computes and through which masks it looks: {@code --student} and two mixins. */
final class StudentOptions {

    @Mixin
    private ComputeOptions compute;

    @Mixin
    private MaskOptions masks;

    @Option(names = "--student", required = true, paramLabel = "FILE", description = "The student's safetensors file.")
    private Path file = Path.of("");

    Path file() {
        return file;
    }

    ComputeOptions compute() {
        return compute;
    }

    MaskOptions masks() {
        return masks;
    }

    /** Loads the student, which belongs to the caller, if the masks leave it something to look at. */
    Student load() {
        Student student = Student.load(file, compute.device(), compute.precision());
        try {
            masks.check(student);
        } catch (IllegalArgumentException e) {
            student.close();
            throw e;
        }
        return student;
    }
}
