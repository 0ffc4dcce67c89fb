package tessera.distill.train;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.Modality;
import tessera.nn.MaskStrategy;
import tessera.tensor.Tensor;

/**
 * A stage of training: what is trained, how, and what comes out. {@link Trainer#run} does the rest: it finishes, resumes and
 * refuses alike for all.
 *
 * @param name in files, such as {@code distill}; a run is resumed only by a stage of the same
 * @param title of its progress, for people, such as {@code distill rgb from flow}
 * @param recipe how it trains
 * @param settings everything that must be equal for a run to be resumed
 * @param defaults stand for the settings that an older run's files do not have
 * @param build makes the networks, in the scope of the run; not called if there is nothing left to train
 * @param export what is written at the end
 */
public record Stage(
        String name,
        String title,
        Recipe recipe,
        Settings settings,
        Settings defaults,
        Function<RunContext, Setup> build,
        Export export) {

    /** A stage whose progress is titled as it is called. */
    public Stage(
            String name,
            Recipe recipe,
            Settings settings,
            Settings defaults,
            Function<RunContext, Setup> build,
            Export export) {
        this(name, name, recipe, settings, defaults, build, export);
    }

    /** The same with progress under another title. */
    public Stage withTitle(String other) {
        return new Stage(name, other, recipe, settings, defaults, build, export);
    }

    /**
     * What a stage trains and looks at.
     *
     * @param trained parameters by their names in the checkpoint
     * @param sees what the student looks at
     * @param student the network to train
     * @param teachers frozen; closed with the student at the end of the run
     * @param parts of a step, in order, 1 or more
     * @param masks which tokens everybody sees, or null if all are seen
     * @param maskStream number of the masks' random stream, another than those of the parts
     */
    public record Setup(
            Map<String, Tensor> trained,
            Modality sees,
            Network student,
            List<Teacher> teachers,
            List<Part> parts,
            @Nullable MaskStrategy masks,
            int maskStream)
            implements AutoCloseable {
        @Override
        public void close() {
            student.close();
            teachers.forEach(teacher -> teacher.network().close());
        }
    }

    /**
     * One part of a step: batches with the objective of them. The losses of all parts are summed; each part's gradients are
     * computed before the next part begins, so that only one is in memory.
     *
     * @param stream number of the random stream of stochastic depth, another for each part
     */
    public record Part(BatchSource batches, Objective objective, int stream) {}

    /**
     * What is written at the end.
     *
     * @param file its name in the run's folder
     * @param model the model's configuration, which the file's metadata hold beside the settings
     * @param writer writes it: to a temporary name, then moved
     */
    public record Export(String file, Map<String, String> model, Writer writer) {}

    /** Writes the result of a stage. */
    @FunctionalInterface
    public interface Writer {
        /** Writes a file with metadata, from which alone it can be read again. */
        void write(Setup setup, Path file, Map<String, String> metadata);
    }
}
