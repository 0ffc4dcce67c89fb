package tessera.distill.cli;

import java.nio.file.Path;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.nn.inference.Head;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Stopping;

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

    /** Another student takes the place of the one named. */
    void replace(Path other) {
        file = other;
    }

    ComputeOptions compute() {
        return compute;
    }

    MaskOptions masks() {
        return masks;
    }

    /** Opens the student with heads or without, if the masks leave it something to look at. */
    Predictor open(Path... heads) {
        return open(null, heads);
    }

    /** As {@link #open(Path...)}, with masks added one at a time where {@code stopping} is not null. */
    Predictor open(@Nullable Function<Head, Stopping> stopping, Path... heads) {
        Predictor.Options options =
                new Predictor.Options(compute.device(), compute.precision(), masks.masking(), masks.seed(), stopping);
        Predictor predictor = Predictor.open(options, file, heads);
        try {
            masks.check(predictor.student());
        } catch (IllegalArgumentException e) {
            predictor.close();
            throw e;
        }
        return predictor;
    }
}
