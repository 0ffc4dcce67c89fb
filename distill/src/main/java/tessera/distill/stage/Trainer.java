package tessera.distill.stage;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import tessera.distill.report.MetricsLog;
import tessera.distill.report.Progress;
import tessera.kernels.Device;
import tessera.nn.AdamW;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Schedule;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * Runs the steps of a stage, with checkpoints that resume bit for bit.
 *
 * <p>A step is a pure function of the weights, the optimiser's state and the step's number, so a checkpoint of those three
 * holds everything. It is written to {@code checkpoint.safetensors} in the run's folder every half minute and when the run
 * is asked to stop; metrics go to {@code metrics.jsonl}.
 */
final class Trainer {
    private static final long CHECKPOINT_NANOS = TimeUnit.SECONDS.toNanos(30);
    private static final String STEP = "tessera.step";

    private final Device device;
    private final Path folder;
    private final Map<String, Tensor> parameters;
    private final AdamW optimiser;
    private final Schedule schedule;
    private final long steps;
    private final Map<String, String> settings;
    private final StopSignal stop;

    /** The clips and labels of a step, in host memory; of the same shapes in every step. */
    interface Data {
        List<Tensor> at(long step);
    }

    /**
     * Computes the gradients of one step and returns its losses, scalars, the one named {@code loss} among them. It draws
     * random numbers only by streams that grow with the step's number, and never looks at values on the host: on a GPU it is
     * recorded once and then replayed.
     */
    interface Body {
        Map<String, Tensor> losses(List<Tensor> data, long step);
    }

    /**
     * A trainer.
     *
     * @param settings what must be equal for a checkpoint to be resumed
     */
    Trainer(
            Device device,
            Path folder,
            Map<String, Tensor> parameters,
            AdamW optimiser,
            Schedule schedule,
            long steps,
            Map<String, String> settings,
            StopSignal stop) {
        this.device = device;
        this.folder = folder;
        this.parameters = parameters;
        this.optimiser = optimiser;
        this.schedule = schedule;
        this.steps = steps;
        this.settings = settings;
        this.stop = stop;
    }

    /** Trains from the checkpoint, or from the start, to the last step. */
    void run(Data data, Body body, ProgressFactory progressFactory) {
        createFolder();
        long first = restore();
        try (TrainingStep trainingStep = TrainingStep.on(device, body, optimiser);
                MetricsLog log = MetricsLog.resumeAt(folder.resolve("metrics.jsonl"), first);
                Progress progress = progressFactory.start(first, steps)) {
            stop.running(true);
            long written = System.nanoTime();
            for (long step = first; step < steps; step++) {
                Map<String, Double> metrics;
                try (Scope scope = Scope.open()) {
                    metrics = trainingStep.run(data.at(step), step, schedule.at(step));
                }
                double loss = metrics.getOrDefault("loss", Double.NaN);
                requireFinite(step, "loss", loss);
                requireFinite(step, "norm of the gradients", metrics.getOrDefault(TrainingStep.GRADIENT_NORM, 0.0));
                Map<String, Double> line = new LinkedHashMap<>(metrics);
                line.put("lr", schedule.at(step));
                log.write(step + 1, line);
                progress.update(step + 1, loss);
                boolean stopping = stop.isRequested() && step + 1 < steps;
                if (stopping || System.nanoTime() - written > CHECKPOINT_NANOS) {
                    save(step + 1);
                    written = System.nanoTime();
                }
                if (stopping) {
                    throw new StopSignal.Stopped(
                            "stopped after step " + (step + 1) + " of " + steps + "; run the same command to resume");
                }
            }
        } finally {
            stop.running(false);
        }
    }

    private void requireFinite(long step, String what, double value) {
        if (!Double.isFinite(value)) {
            throw new IllegalStateException("the " + what + " of step " + step + " is " + value
                    + "; the last checkpoint in " + folder + " is kept; lower the learning rate and start again");
        }
    }

    private void createFolder() {
        try {
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot create the folder " + folder, e);
        }
    }

    private Path checkpointFile() {
        return folder.resolve("checkpoint.safetensors");
    }

    private void save(long step) {
        Map<String, Tensor> state = new LinkedHashMap<>();
        parameters.forEach((name, parameter) -> state.put("p." + name, parameter));
        state.putAll(optimiser.state());
        Map<String, String> metadata = new TreeMap<>(settings);
        metadata.put(STEP, Long.toString(step));
        Checkpoint.write(checkpointFile(), state, metadata);
    }

    /** Returns the step to start at. */
    private long restore() {
        Path file = checkpointFile();
        if (!Files.exists(file)) {
            return 0;
        }
        try (Checkpoint saved = Checkpoint.read(file)) {
            Map<String, String> stored = new TreeMap<>(saved.metadata());
            String step = stored.remove(STEP);
            if (step == null || !stored.equals(new TreeMap<>(settings))) {
                throw new CheckpointException(file + " was written with other settings ("
                        + Stages.differences(stored, settings)
                        + "); use another folder, or delete this one to start again");
            }
            Map<String, Tensor> weights = saved.below("p.");
            parameters.forEach((name, parameter) -> {
                Tensor from = weights.get(name);
                if (from == null || !from.shape().equals(parameter.shape())) {
                    throw new CheckpointException(file + " lacks the weight " + name + " " + parameter.shape()
                            + "; delete the folder to start again");
                }
                parameter.copyFrom(from);
            });
            long steps = Long.parseLong(step);
            optimiser.restore(saved.tensors(), steps);
            return steps;
        }
    }

    /** Starts the display of a run's progress. */
    interface ProgressFactory {
        Progress start(long first, long total);
    }
}
