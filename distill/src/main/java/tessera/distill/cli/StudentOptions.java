package tessera.distill.cli;

import java.nio.file.Path;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.nn.inference.Student;

/** The student of a command and where it computes: {@code --student} and the options of {@link ComputeOptions}. */
final class StudentOptions {

    @Mixin
    private ComputeOptions compute;

    @Option(names = "--student", required = true, paramLabel = "FILE", description = "The student's safetensors file.")
    private Path file = Path.of("");

    Path file() {
        return file;
    }

    ComputeOptions compute() {
        return compute;
    }

    /** Loads the student, which belongs to the caller, if the masks leave it something to look at. */
    Student load(MaskOptions masks) {
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
