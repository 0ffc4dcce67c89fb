package tessera.distill.cli;

import java.nio.file.Path;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.train.WarmStart;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Stopping;
import tessera.nn.inference.Student;

/** The student of a command, where it computes, through which masks it looks and how many tokens it computes: {@code --student} and three mixins. */
final class StudentOptions {

    @Mixin
    private ComputeOptions compute;

    @Mixin
    private MaskOptions masks;

    @Mixin
    private ReductionOptions reduction;

    @Option(
            names = "--student",
            paramLabel = "FILE",
            description =
                    "The student's safetensors file. Default: the small one that comes with Tessera, trained on EgoSim 2")
    private @Nullable Path file;

    Path file() {
        Path chosen = file;
        if (chosen == null) {
            chosen = WarmStart.file();
            file = chosen;
        }
        return chosen;
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

    /** How the student looks at clips; refuses numbers that no student can work with. */
    Masking masking() {
        return masks.masking().withReduction(reduction.reduction());
    }

    /** Refuses a student that was made of the opened one and for which no tokens are taken away. */
    void requireReducible(Student made) {
        reduction.requireFit(made);
    }

    /** Opens the student with heads or without, if the masks leave it something to look at. */
    Predictor open(Path... heads) {
        return open(null, heads);
    }

    /** As {@link #open(Path...)}, with masks added one at a time where {@code stopping} is not null. */
    Predictor open(@Nullable Function<Head, Stopping> stopping, Path... heads) {
        Predictor.Options options =
                new Predictor.Options(compute.device(), compute.precision(), masking(), masks.seed(), stopping);
        Predictor predictor = Predictor.open(options, file(), heads);
        try {
            masks.check(predictor.student());
            reduction.requireFit(predictor.student());
        } catch (IllegalArgumentException e) {
            predictor.close();
            throw e;
        }
        return predictor;
    }
}
