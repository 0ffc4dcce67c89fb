package tessera.distill.cli;

import java.nio.file.Path;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.inference.Student;

/** The student of a command and where it computes: {@code --student} and the options of {@link ComputeOptions}. */
final class StudentOptions {

    @Mixin
    private ComputeOptions compute = new ComputeOptions();

    @Option(names = "--student", required = true, paramLabel = "FILE", description = "The student's safetensors file.")
    private Path file = Path.of("");

    Path file() {
        return file;
    }

    Device device() {
        return compute.device();
    }

    DType precision() {
        return compute.precision();
    }

    /** Loads the student, which belongs to the caller. */
    Student load() {
        return Student.load(file, device(), precision());
    }
}
