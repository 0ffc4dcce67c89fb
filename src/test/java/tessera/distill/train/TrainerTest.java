package tessera.distill.train;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.data.ClipSet;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.MaskStrategy;
import tessera.tensor.Scope;
import tessera.tensor.TokenMask;

/** A stage of one's own: a student learns from the logits and the features of teachers at once. */
class TrainerTest {
    private static final int STEPS = MixedStage.STEPS;
    private static ClipSet clips;
    private static MixedStage mixed;

    @TempDir
    private Path folder;

    @BeforeAll
    static void render() {
        clips = SmallNetworks.clips();
        mixed = new MixedStage(clips);
    }

    @AfterAll
    static void free() {
        clips.close();
    }

    private static RunContext context(ProgressListener listener, StopSignal stop) {
        return new RunContext(listener, stop);
    }

    private Path run(String name, Stage stage) {
        return Trainer.run(stage, folder.resolve(name), context(ProgressListener.NONE, new StopSignal()));
    }

    @Test
    void logitsAndFeaturesTeachAStudentAndTeachersStayAsTheyAre() throws IOException {
        Path result = run("whole", mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), 1));
        assertEquals(Map.of(), mixed.taught, "every teacher's weight was compared at the end");
        List<MetricsLog.Line> lines = MetricsLog.read(folder.resolve("whole").resolve("metrics.jsonl"));
        assertEquals(
                List.of(MixedStage.FEATURES, MixedStage.LOGITS, Metric.LOSS, Metric.LEARNING_RATE),
                List.copyOf(lines.getFirst().values().keySet()));
        assertEquals(STEPS, lines.size());
        double before = requireNonNull(lines.getFirst().values().get(Metric.LOSS));
        double after = requireNonNull(lines.getLast().values().get(Metric.LOSS));
        assertTrue(after < before, before + " to " + after);
        assertTrue(Files.exists(result));
        assertFalse(Files.exists(folder.resolve("whole").resolve("checkpoint.safetensors")));
    }

    /** A lambda of one's own that the trainer cannot record: its masks come with the batch, and resume as others do. */
    @Test
    void ownMasksAreUsedAndRunsResumeBitForBit() throws IOException {
        List<Long> streams = new ArrayList<>();
        MaskStrategy own = c -> {
            streams.add(c.stream());
            return TokenMask.perSlot(c.device(), c.batch(), c.slots(), c.plane(), c.ratio(), c.seed(), c.stream());
        };
        byte[] whole = Files.readAllBytes(run("whole", mixed.stage(MixedStage.recipe(), own, 1)));
        assertEquals(STEPS, streams.stream().distinct().count(), "one mask a step");
        StopSignal stop = new StopSignal();
        ProgressListener watching = event -> {
            if (event instanceof ProgressEvent.Advanced advanced && advanced.done() == 2) {
                stop.request();
            }
        };
        Path cut = folder.resolve("cut");
        assertThrows(
                StopSignal.Stopped.class,
                () -> Trainer.run(mixed.stage(MixedStage.recipe(), own, 1), cut, context(watching, stop)));
        assertArrayEquals(whole, Files.readAllBytes(run("cut", mixed.stage(MixedStage.recipe(), own, 1))));
        byte[] tubes = Files.readAllBytes(run("tubes", mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), 1)));
        assertFalse(Arrays.equals(whole, tubes));
    }

    @Test
    void aListenerHearsWhatHappens() {
        List<ProgressEvent> heard = new ArrayList<>();
        Trainer.run(
                mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), 1),
                folder.resolve("heard"),
                context(heard::add, new StopSignal()));
        Task task = heard.getFirst().task();
        assertEquals("students", task.title());
        assertEquals(Task.Unit.STEPS, task.unit());
        assertEquals(List.of(0L, (long) STEPS), List.of(task.first(), task.total()));
        assertEquals(new ProgressEvent.Started(task), heard.getFirst());
        assertEquals(new ProgressEvent.Ended(task), heard.getLast());
        assertEquals(STEPS + 2, heard.size());
        for (int step = 1; step <= STEPS; step++) {
            ProgressEvent.Advanced advanced = (ProgressEvent.Advanced) heard.get(step);
            assertEquals(step, advanced.done());
            assertTrue(advanced.metrics().containsKey(Metric.LOSS), advanced.metrics()::toString);
        }
    }

    /** Whoever starts the same command again by mistake must not spoil what the first is doing; a finished folder is free to be asked. */
    @Test
    void twoRunsInOneFolderAreRefusedAndTheFirstGoesOn() throws IOException {
        Path run = folder.resolve("taken");
        Stage stage = mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), 1);
        List<String> refused = new ArrayList<>();
        ProgressListener second = event -> {
            if (event instanceof ProgressEvent.Advanced) {
                refused.add(assertThrows(IllegalArgumentException.class, () -> run("taken", stage))
                        .getMessage());
            }
        };
        Trainer.run(stage, run, context(second, new StopSignal()));
        String told = run + " is in use by another run (process "
                + ProcessHandle.current().pid() + "); wait until it has ended, or name another folder";
        assertEquals(List.of(told), refused.stream().distinct().toList());
        assertArrayEquals(
                Files.readAllBytes(run("alone", stage)),
                Files.readAllBytes(run.resolve(stage.export().file())));
        // As a run leaves it that is killed between its last two steps.
        Files.writeString(run.resolve("checkpoint.safetensors"), "a checkpoint");
        run("taken", stage);
        assertEquals(List.of("metrics.jsonl", stage.export().file()), names(run));
    }

    private static List<String> names(Path run) throws IOException {
        try (Stream<Path> files = Files.list(run)) {
            return files.map(file -> String.valueOf(file.getFileName()))
                    .sorted()
                    .toList();
        }
    }

    /** The loss is spoilt after a checkpoint: the run ends with one line, and the checkpoint is the one from before. */
    @Test
    void aLossThatIsNotFiniteStopsTheRunAndKeepsItsCheckpoint() throws IOException {
        Path run = folder.resolve("spoilt");
        StopSignal stop = new StopSignal();
        stop.request();
        assertThrows(
                StopSignal.Stopped.class,
                () -> Trainer.run(
                        mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), 1),
                        run,
                        context(ProgressListener.NONE, stop)));
        byte[] checkpoint = Files.readAllBytes(run.resolve("checkpoint.safetensors"));
        Exception ended = assertThrows(
                IllegalStateException.class,
                () -> run("spoilt", mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), Double.POSITIVE_INFINITY)));
        assertTrue(
                requireNonNull(ended.getMessage()).startsWith("the loss of step 1 is ")
                        && ended.getMessage().contains("the last checkpoint in " + run + " is kept"),
                ended.getMessage());
        assertArrayEquals(checkpoint, Files.readAllBytes(run.resolve("checkpoint.safetensors")));
        assertFalse(Files.exists(run.resolve(MixedStage.RESULT)));
    }

    @Test
    void aRunOfAnOlderVersionIsFinishedToo() {
        Path result = run("older", mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), 1));
        rewrite(result, settings -> settings.replace("\"dropPath\":0.0,", ""));
        assertEquals(result, run("older", mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), 1)));
    }

    @Test
    void theRefusalNamesTheOneSetting() {
        Path result = run("other", mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), 1));
        Exception refused = assertThrows(
                CheckpointException.class,
                () -> run("other", mixed.stage(MixedStage.recipe().withBatch(5), MaskStrategy.tubes(), 1)));
        assertEquals(
                result
                        + " was trained with other settings (batch was 4, is 5); use another folder, or delete this"
                        + " one to start again",
                refused.getMessage());
        rewrite(result, settings -> "");
        Exception unknown = assertThrows(
                CheckpointException.class,
                () -> run("other", mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), 1)));
        assertTrue(
                requireNonNull(unknown.getMessage()).startsWith(result + " does not say its settings"),
                unknown.getMessage());
    }

    @Test
    void aDamagedEntryIsRefusedWithTheFileAndWhatToDo() {
        StopSignal stop = new StopSignal();
        stop.request();
        Stage stage = mixed.stage(MixedStage.recipe(), MaskStrategy.tubes(), 1);
        Path run = folder.resolve("damaged");
        assertThrows(StopSignal.Stopped.class, () -> Trainer.run(stage, run, context(ProgressListener.NONE, stop)));
        Path checkpoint = run.resolve("checkpoint.safetensors");
        for (String step : List.of("one", "-1", "7")) {
            rewrite(checkpoint, "tessera.step", before -> step);
            Exception refused = assertThrows(CheckpointException.class, () -> run("damaged", stage));
            assertEquals(
                    checkpoint + ": its step is '" + step + "' but must be 0 to " + STEPS
                            + "; delete the folder to start again",
                    refused.getMessage());
        }
        rewrite(checkpoint, settings -> settings.substring(1));
        String message = requireNonNull(assertThrows(CheckpointException.class, () -> run("damaged", stage))
                .getMessage());
        assertTrue(message.startsWith(checkpoint + ": its settings cannot be read ("), message);
        assertTrue(message.endsWith("; use another folder, or delete this one to start again"), message);
    }

    /** Changes the settings in a file's metadata; an empty text leaves them out. */
    private static void rewrite(Path file, UnaryOperator<String> change) {
        rewrite(file, "tessera.settings", change);
    }

    private static void rewrite(Path file, String entry, UnaryOperator<String> change) {
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(file)) {
            Map<String, String> metadata = new HashMap<>(checkpoint.metadata());
            String before = String.valueOf(metadata.remove(entry));
            String after = change.apply(before);
            assertNotEquals(before, after);
            if (!after.isEmpty()) {
                metadata.put(entry, after);
            }
            Checkpoint.write(file, checkpoint.tensors(), metadata);
        }
    }
}
