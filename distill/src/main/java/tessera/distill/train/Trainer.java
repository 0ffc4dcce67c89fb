package tessera.distill.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.AdamW;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Schedule;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.FolderLock;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;
import tessera.tensor.io.WriteFailure;

/**
 * Runs stages, with checkpoints that resume bit for bit.
 *
 * <p>A step is a pure function of the weights, the optimiser's state and the step's number, so a checkpoint of those three
 * holds everything. It is written to {@code checkpoint.safetensors} in the run's folder every half minute and when the run
 * is asked to stop; metrics go to {@code metrics.jsonl}.
 *
 * <p>Several devices ({@link RunContext#peers}) each train the same weights on a share of every batch, and add up their gradients; the
 * first writes the files. What fails on one ends the run.
 */
public final class Trainer {
    /** Where a run's state lies in its folder until it has finished. */
    public static final String CHECKPOINT = "checkpoint.safetensors";

    /** Where a run's metrics lie in its folder. */
    public static final String METRICS = "metrics.jsonl";

    private static final long CHECKPOINT_NANOS = TimeUnit.SECONDS.toNanos(30);
    private static final String STEP = "tessera.step";
    private static final String STAGE = "tessera.stage";
    static final String SETTINGS = "tessera.settings";
    private static final String ADVICE = "; use another folder, or delete this one to start again";
    private static final String COMPUTE = "tessera.compute";

    private final Stage stage;
    private final Recipe recipe;
    private final Path folder;
    private final Path checkpoint;
    private final RunContext context;

    private Trainer(Stage stage, Path folder, RunContext context) {
        this.stage = stage;
        this.recipe = stage.recipe();
        this.folder = folder;
        this.checkpoint = folder.resolve(CHECKPOINT);
        this.context = context;
    }

    /**
     * Trains, or resumes, or returns at once if the folder holds the finished result of the same settings. The folder is {@linkplain FolderLock
     * held} meanwhile.
     *
     * @return the finished file
     * @throws CheckpointException if the folder holds a run with other settings; the message says which
     * @throws IllegalArgumentException if the context's devices cannot share batches of the recipe's size, or another run trains in the
     *     folder
     * @throws StopSignal.Stopped if the context's signal asked for it; a checkpoint is written
     */
    public static Path run(Stage stage, Path folder, RunContext context) {
        return new Trainer(stage, folder, context).run();
    }

    /**
     * Refuses, before clips are read, a folder that holds a run with other settings, as far as these are known by then; what is only known
     * later {@link #run} compares.
     *
     * @param finished name of the file that the stage ends with
     * @param defaults stand for the settings that an older run's files do not have
     * @throws CheckpointException if the folder holds a run with other settings; the message says which
     * @throws IllegalArgumentException if another run trains in the folder
     */
    public static void requireSettings(Path folder, String finished, Settings settings, Settings defaults) {
        if (!Files.exists(folder.resolve(finished))) {
            FolderLock.requireFree(folder);
        }
        Path result = folder.resolve(finished);
        Path file = Files.exists(result) ? result : folder.resolve(CHECKPOINT);
        if (!Files.exists(file)) {
            return;
        }
        List<String> differences;
        try (SafetensorsFile stored = Safetensors.open(file)) {
            Settings before = Settings.parse(stored.metadata().getOrDefault(SETTINGS, ""));
            differences = before.only(settings.values().keySet()).differences(settings, defaults);
        } catch (IllegalArgumentException e) {
            return; // what is wrong with the file is told where it is read as a whole
        }
        requireNone(differences, file, file.equals(result) ? "trained" : "written");
    }

    private static void requireNone(List<String> differences, Path file, String how) {
        if (!differences.isEmpty()) {
            throw new CheckpointException(
                    file + " was " + how + " with other settings (" + String.join("; ", differences) + ")" + ADVICE);
        }
    }

    /**
     * The type that a model was trained in, by its word, such as {@code bf16}; {@code f32} where its file says nothing, as one of an
     * untrained model does not.
     */
    public static String precision(Path finished) {
        try (SafetensorsFile file = Safetensors.open(finished)) {
            return file.metadata().getOrDefault(COMPUTE, DType.F32.toString());
        }
    }

    private Path run() {
        Path finished = folder.resolve(stage.export().file());
        // Also of one who has no checkpoint left to remove, and may not write there.
        if (Files.exists(finished) && !Files.exists(checkpoint)) {
            requireFinished(finished);
            FolderLock.removeAbandoned(folder);
            return finished;
        }
        requireShares(context.devices().size());
        try (FolderLock held = FolderLock.hold(folder);
                Scope scope = Scope.open()) {
            if (Files.exists(finished)) {
                requireFinished(finished);
            } else {
                onAll(new ArrayList<>(), finished);
            }
            // A run that was killed just here has left it to the next.
            Files.deleteIfExists(checkpoint);
        } catch (IOException e) {
            throw WriteFailure.of(folder, e);
        }
        return finished;
    }

    private void requireFinished(Path finished) {
        try (Checkpoint result = Checkpoint.read(finished)) {
            requireSame(finished, "trained", result.metadata());
        }
    }

    private void requireShares(int devices) {
        if (recipe.batch() % devices != 0) {
            throw new IllegalArgumentException("batches of " + recipe.batch() + " clips cannot be shared evenly by "
                    + devices + " devices; use batches of a multiple of " + devices + " clips, or fewer devices");
        }
        if (devices * recipe.accumulate() > Recipe.MOST_ACCUMULATED) {
            throw new IllegalArgumentException(devices + " devices share each of the " + recipe.accumulate()
                    + " batches of a step, which makes more than " + Recipe.MOST_ACCUMULATED
                    + " parts; accumulate fewer batches");
        }
    }

    /** Trains and exports with a replica on each device, which are opened one after the other. */
    private void onAll(List<Replica> open, Path finished) throws IOException {
        List<Device> devices = context.devices();
        if (open.size() == devices.size()) {
            // Up to the finished file: whoever is asked to stop in the last step has no later checkpoint than that.
            context.stop().during(() -> {
                train(open);
                stage.export().writer().write(open.getFirst().setup(), finished, metadata());
            });
            return;
        }
        RunContext here = open.isEmpty() ? context : context.on(devices.get(open.size()));
        try (Replica replica = Replica.of(stage, here)) {
            open.add(replica);
            onAll(open, finished);
        }
    }

    private void train(List<Replica> replicas) throws IOException {
        Schedule schedule = recipe.rate().schedule();
        long steps = recipe.steps();
        Stage.Setup setup = replicas.getFirst().setup();
        AdamW optimiser = replicas.getFirst().optimiser();
        long first = restore(setup, optimiser);
        for (Replica replica : replicas.subList(1, replicas.size())) {
            replica.follow(replicas.getFirst());
        }
        try (TrainingStep trainingStep = new TrainingStep(stage, replicas);
                MetricsLog log = MetricsLog.resumeAt(folder.resolve(METRICS), first);
                Task task = Task.begin(context.listener(), stage.title(), Task.Unit.STEPS, first, steps)) {
            long written = System.nanoTime();
            for (long step = first; step < steps; step++) {
                Map<Metric, Double> metrics = trainingStep.take(step, schedule.at(step));
                requireFinite(step, "loss", metrics.getOrDefault(Metric.LOSS, Double.NaN));
                requireFinite(step, "norm of the gradients", metrics.getOrDefault(Metric.GRADIENT_NORM, 0.0));
                metrics.put(Metric.LEARNING_RATE, schedule.at(step));
                log.write(step + 1, metrics);
                task.advance(step + 1, metrics);
                boolean stopping = context.stop().isRequested() && step + 1 < steps;
                if (stopping || System.nanoTime() - written > CHECKPOINT_NANOS) {
                    save(setup, optimiser, step + 1);
                    written = System.nanoTime();
                }
                if (stopping) {
                    throw new StopSignal.Stopped(
                            "stopped after step " + (step + 1) + " of " + steps + "; run the same command to resume");
                }
            }
        }
    }

    private void requireFinite(long step, String what, double value) {
        if (!Double.isFinite(value)) {
            throw new IllegalStateException("the " + what + " of step " + step + " is " + value
                    + "; the last checkpoint in " + folder + " is kept; lower the learning rate and start again");
        }
    }

    // ------------------------------------------------------------------------------------------------- checkpoints

    private Map<String, String> metadata() {
        Map<String, String> metadata = new LinkedHashMap<>(stage.export().model());
        metadata.put(STAGE, stage.name());
        metadata.put(SETTINGS, stage.settings().json());
        if (context.compute() != DType.F32) {
            metadata.put(COMPUTE, context.compute().toString());
        }
        metadata.putAll(context.origin());
        return metadata;
    }

    /** A run goes on with the settings, in the type and on the clips with which it began. */
    private void requireSame(Path file, String how, Map<String, String> stored) {
        String settings = stored.get(SETTINGS);
        if (settings == null) {
            throw new CheckpointException(
                    file + " does not say its settings; an earlier version or something else wrote it" + ADVICE);
        }
        List<String> differences = new ArrayList<>();
        Map<String, String> wanted = metadata();
        TreeSet<String> names = new TreeSet<>(stored.keySet());
        names.addAll(wanted.keySet());
        names.removeAll(List.of(SETTINGS, STEP));
        for (String name : names) {
            String absent = name.equals(COMPUTE) ? DType.F32.toString() : "none";
            String was = stored.getOrDefault(name, absent);
            String is = wanted.getOrDefault(name, absent);
            if (!was.equals(is)) {
                differences.add(name.replaceFirst("^tessera\\.", "") + " was " + was + ", is " + is);
            }
        }
        try {
            differences.addAll(Settings.parse(settings).differences(stage.settings(), stage.defaults()));
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(file + ": its settings cannot be read (" + e.getMessage() + ")" + ADVICE);
        }
        requireNone(differences, file, how);
    }

    private void save(Stage.Setup setup, AdamW optimiser, long step) {
        Map<String, Tensor> state = new LinkedHashMap<>();
        setup.trained().forEach((name, parameter) -> state.put("p." + name, parameter));
        state.putAll(optimiser.state());
        Map<String, String> metadata = new TreeMap<>(metadata());
        metadata.put(STEP, Long.toString(step));
        Checkpoint.write(checkpoint, state, metadata);
    }

    /** Returns the step to start at. */
    private long restore(Stage.Setup setup, AdamW optimiser) {
        if (!Files.exists(checkpoint)) {
            return 0;
        }
        try (Checkpoint saved = Checkpoint.read(checkpoint)) {
            requireSame(checkpoint, "written", saved.metadata());
            Map<String, Tensor> weights = saved.below("p.");
            setup.trained().forEach((name, parameter) -> {
                Tensor from = weights.get(name);
                if (from == null || !from.shape().equals(parameter.shape())) {
                    throw new CheckpointException(checkpoint + " lacks the weight " + name + " " + parameter.shape()
                            + "; delete the folder to start again");
                }
                parameter.copyFrom(from);
            });
            String step = saved.metadata().get(STEP);
            if (step == null) {
                throw new CheckpointException(checkpoint + " does not say its step; delete the folder to start again");
            }
            long done = done(step);
            optimiser.restore(saved.tensors(), done);
            return done;
        }
    }

    private long done(String step) {
        try {
            long done = Long.parseLong(step);
            if (done >= 0 && done <= recipe.steps()) {
                return done;
            }
        } catch (NumberFormatException e) {
            // Refused below, as a number out of range is.
        }
        throw new CheckpointException(checkpoint + ": its step is '" + step + "' but must be 0 to " + recipe.steps()
                + "; delete the folder to start again");
    }
}
