package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.distill.train.HeldOut;
import tessera.distill.train.ModalityInput;
import tessera.distill.train.ProgressEvent;
import tessera.distill.train.Recipe;
import tessera.distill.train.RunContext;
import tessera.distill.train.StopSignal;
import tessera.distill.train.Supervised;
import tessera.distill.train.Trainer;
import tessera.nn.ModelConfig;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;

/** Training on clips that are read while it goes on: the same weights as in memory, whatever happens to the files. */
class ReadClipsTest {
    private static final List<String> SWIN =
            List.of("--dim=8", "--depths=1,1", "--attention-heads=1,2", "--window=2x2x2");
    /** Of clips of 4 frames of 16 x 16 pixels, less than two in all modalities. */
    private static final String LITTLE = "--clip-memory=12k";

    @TempDir
    private Path folder;

    private Path data;

    @BeforeEach
    void write() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 4, "dark", "grey", "bright");
    }

    private Object[] training(String modality, String out, String... more) {
        return training(modality, data, out, more);
    }

    private Object[] training(String modality, Path clips, String out, String... more) {
        List<Object> words = new ArrayList<>(List.of("train", "--modality=" + modality, "--clips", clips));
        words.addAll(SWIN);
        words.addAll(List.of("--batch=4", "--steps=8", "--threads=1", "--quiet", "--out", folder.resolve(out)));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private Object[] pretraining(Object... more) {
        return OwnClips.pretraining("rgb", data, folder.resolve("never"), 2, more);
    }

    /** Weights alone: the metadata tell how clips are known. */
    private void assertSameWeights(String expected, String actual) {
        Path one = folder.resolve(expected).resolve("model.safetensors");
        Path other = folder.resolve(actual).resolve("model.safetensors");
        try (SafetensorsFile a = Safetensors.open(one);
                SafetensorsFile b = Safetensors.open(other)) {
            assertEquals(a.names(), b.names());
            for (String name : a.names()) {
                assertArrayEquals(a.entry(name).floats(), b.entry(name).floats(), name);
            }
        }
    }

    private String clipsOf(String out) {
        try (SafetensorsFile model = Safetensors.open(folder.resolve(out).resolve("model.safetensors"))) {
            return String.valueOf(model.metadata().get("tessera.clips"));
        }
    }

    @Test
    void weightsAreThoseOfTrainingInMemory() {
        Shell.succeed(training("rgb", "memory", "--hold-out=0.25"));
        Shell.succeed(training("rgb", "read", "--hold-out=0.25", LITTLE, "--readers=3"));
        assertSameWeights("memory", "read");
        assertTrue(clipsOf("memory").matches("12 clips \\w{8}"), clipsOf("memory"));
        assertTrue(clipsOf("read").startsWith("12 clips by their files "), clipsOf("read"));
        // The same command finds it finished; what is read otherwise is another set.
        Shell.succeed(training("rgb", "read", "--hold-out=0.25", LITTLE));
        Shell.refuse(List.of("clips was 12 clips by their files"), training("rgb", "read", "--hold-out=0.25"));
    }

    @Test
    void bothStagesOfTheFirstSystemReadClips() throws IOException {
        Object[] memory = OwnClips.pretraining("rgb", data, folder.resolve("memory"), 6);
        Object[] read = OwnClips.pretraining("rgb", data, folder.resolve("read"), 6, LITTLE);
        Shell.succeed(memory);
        Shell.succeed(read);
        assertSameWeights("memory", "read");
        List<byte[]> students = new ArrayList<>();
        for (String more : List.of("--clip-memory=1g", LITTLE)) {
            Path out = folder.resolve("student" + students.size());
            Shell.succeed(
                    "distill",
                    "--teachers=rgb=" + folder.resolve("memory"),
                    "--target=" + data,
                    "--batch=2",
                    "--steps=4",
                    "--threads=1",
                    "--quiet",
                    more,
                    "--out=" + out);
            try (SafetensorsFile student = Safetensors.open(out.resolve("student.safetensors"))) {
                students.add(
                        student.entry("encoder.patch_embed.proj.weight").data().toArray(ValueLayout.JAVA_BYTE));
            }
        }
        assertArrayEquals(students.getFirst(), students.getLast());
    }

    private ClipSet open(long memory) {
        ModalityFolders.Options options = ModalityFolders.Options.DEFAULT.withReading(
                ModalityFolders.Reading.DEFAULT.withMemory(memory).withReaders(2));
        return ModalityFolders.open(data, Set.of(Modality.RGB), null, options).forTraining(done -> {}, note -> {});
    }

    @Test
    void aRunThatIsStoppedGoesOnBitForBit() throws IOException {
        try (ClipSet memory = open(1 << 20);
                ClipSet read = open(3 * 4 * 16 * 16 * 3)) {
            assertTrue(read.isRead() && !memory.isRead());
            ModelConfig config = new ModalityInput(memory.geometry(), 4, 2, FlowStats.NONE)
                    .config(Modality.RGB, new ModalityInput.ModelSize(16, 2, 2, 8, 1, 1));
            Recipe recipe = Supervised.defaults(Modality.RGB)
                    .recipe()
                    .withBatch(4)
                    .over(7, 1e-2)
                    .withDropPath(.3);
            Supervised stage =
                    Supervised.defaults(Modality.RGB).withRecipe(recipe).withHeldOut(HeldOut.of(.25));
            RunContext plain = new RunContext(event -> {}, new StopSignal());
            byte[] whole = Files.readAllBytes(stage.run(config, memory, null, folder.resolve("whole"), plain));
            StopSignal stop = new StopSignal();
            RunContext cut = new RunContext(
                    event -> {
                        if (event instanceof ProgressEvent.Advanced advanced && advanced.done() == 3) {
                            stop.request();
                        }
                    },
                    stop);
            Path run = folder.resolve("cut");
            assertThrows(StopSignal.Stopped.class, () -> stage.run(config, read, null, run, cut));
            assertArrayEquals(whole, Files.readAllBytes(stage.run(config, read, null, run, plain)));
            assertTrue(read.heldBytes() <= 3 * 4 * 16 * 16 * 3, read.heldBytes() + " bytes are held");
        }
    }

    private void breakClip(String label, int clip) throws IOException {
        float[] flow = new float[4 * 16 * 16 * 2];
        flow[700] = Float.NaN;
        Path file = data.resolve("flow").resolve(label).resolve("clip" + clip + ".npy");
        Npy.write(file, ArrayData.of("flow", flow, 4, 16, 16, 2));
    }

    @Test
    void aClipThatIsBrokenIsToldAndAnotherStandsIn() throws IOException {
        breakClip("grey", 1);
        String note = Shell.shown(() -> Shell.succeed(training("flow", "skipped", "--skip-broken", LITTLE)));
        assertEquals(1, note.lines().count(), note);
        assertTrue(note.startsWith("train flow: clip grey/clip1 left out, 1 of 12 so far: "), note);
        assertTrue(note.contains("clip1.npy holds NaN"), note);
        // The same clips in the same order, wherever they are read and by how many.
        Shell.shown(() -> Shell.succeed(training("flow", "again", "--skip-broken", LITTLE, "--readers=1")));
        assertSameWeights("skipped", "again");
        Shell.refuse(List.of("clip1.npy holds NaN"), training("flow", "refused", LITTLE));
        breakClip("dark", 0);
        breakClip("bright", 3);
        Shell.refuse(
                List.of("3 of 12 clips are broken, more than the share of 0.2", "--most-broken"),
                training("flow", "many", "--skip-broken", "--most-broken=0.2", LITTLE));
    }

    private Path videos() throws IOException {
        Path videos = folder.resolve("videos");
        for (String label : List.of("one", "two")) {
            for (String name : List.of("a", "b")) {
                try (InputStream video =
                        Objects.requireNonNull(ReadClipsTest.class.getResourceAsStream("/video/ramp.mp4"))) {
                    Files.copy(
                            video,
                            Files.createDirectories(videos.resolve(label)).resolve(name + ".mp4"));
                }
            }
        }
        return videos;
    }

    @Test
    void videosAreCutAnewInEveryEpoch() throws IOException {
        Path videos = videos();
        String[] sizes = {"--clip-frames=4", "--clip-size=16x16"};
        Shell.succeed(training("rgb", videos, "loaded", sizes));
        List<String> live = new ArrayList<>(List.of(sizes));
        live.add("--live");
        Shell.succeed(training("rgb", videos, "live", live.toArray(String[]::new)));
        assertTrue(clipsOf("live").startsWith("4 clips cut anew by their files "), clipsOf("live"));
        live.add("--readers=1");
        Shell.succeed(training("rgb", videos, "again", live.toArray(String[]::new)));
        assertArrayEquals(
                Files.readAllBytes(folder.resolve("live").resolve("model.safetensors")),
                Files.readAllBytes(folder.resolve("again").resolve("model.safetensors")));
        List<MetricsLog.Line> cut = MetricsLog.read(folder.resolve("live").resolve(Trainer.METRICS));
        List<MetricsLog.Line> loaded = MetricsLog.read(folder.resolve("loaded").resolve(Trainer.METRICS));
        assertTrue(
                cut.stream().map(line -> line.values().get(Metric.LOSS)).toList().stream()
                        .noneMatch(loss -> loaded.stream()
                                .anyMatch(line -> Objects.equals(line.values().get(Metric.LOSS), loss))),
                "other pictures give other losses");
        Shell.succeed(OwnClips.pretraining(
                "rgb",
                videos,
                folder.resolve("pretrained"),
                3,
                "--live",
                "--live-stride=2",
                "--clip-frames=4",
                "--clip-size=16x16"));
        Shell.refuse(List.of("load them with rgb"), training("flow", "never", "--live"));
    }

    @Test
    void wrongWordsAreRefused() {
        Shell.refuse(List.of("--clip-memory is much"), training("rgb", "never", "--clip-memory=much"));
        Shell.refuse(List.of("--clip-memory is 0k"), training("rgb", "never", "--clip-memory=0k"));
        Shell.refuse(List.of("is less than one of them"), training("rgb", "never", "--clip-memory=1k"));
        Shell.refuse(List.of("--readers is 0"), training("rgb", "never", "--readers=0"));
        Shell.refuse(List.of("--live-stride is 0"), pretraining("--live", "--live-stride=0"));
        Shell.refuse(List.of("--live-stride is 2", "together with --live"), pretraining("--live-stride=2"));
        Shell.refuse(
                List.of("pass --frame-sampling dense --frame-stride 2"),
                training("rgb", "never", "--live", "--live-stride=2"));
        Shell.refuse(List.of("--most-broken is 2.0"), training("rgb", "never", "--most-broken=2"));
        Shell.refuse(List.of("--accumulate is 0"), training("rgb", "never", "--accumulate=0"));
        Shell.refuse(List.of("--accumulate is 257"), training("rgb", "never", "--accumulate=257"));
    }

    @Test
    void accumulatedBatchesAreOneOfTheirClips() {
        Shell.succeed(training("rgb", "whole", "--drop-path=0"));
        Object[] words = training("rgb", "parts", "--drop-path=0", "--accumulate=2");
        Arrays.setAll(words, i -> words[i].equals("--batch=4") ? "--batch=2" : words[i]);
        Shell.succeed(words);
        Close.relative(losses("parts"), losses("whole"), 1e-3, "losses");
    }

    private double[] losses(String out) {
        return MetricsLog.read(folder.resolve(out).resolve(Trainer.METRICS)).stream()
                .mapToDouble(line -> Objects.requireNonNull(line.values().get(Metric.LOSS)))
                .toArray();
    }

    /** Weights in two files beside their index are a start as one file is. */
    @Test
    void shardsAreAStart() throws IOException {
        Shell.succeed(training("rgb", "first"));
        Path file = folder.resolve("first").resolve("model.safetensors");
        Path hub = Files.createDirectories(folder.resolve("hub"));
        StringBuilder index = new StringBuilder("{\"metadata\": {}, \"weight_map\": {");
        try (SafetensorsFile model = Safetensors.open(file)) {
            List<String> names = List.copyOf(model.names());
            for (int shard = 0; shard < 2; shard++) {
                String name = "model-%05d-of-00002.safetensors".formatted(shard + 1);
                List<ArrayData> arrays = new ArrayList<>();
                for (int i = shard; i < names.size(); i += 2) {
                    arrays.add(model.entry(names.get(i)));
                    index.append(index.charAt(index.length() - 1) == '{' ? "" : ", ")
                            .append("\"%s\": \"%s\"".formatted(names.get(i), name));
                }
                Safetensors.write(hub.resolve(name), arrays, shard == 0 ? model.metadata() : Map.of());
            }
        }
        Path shards = Files.writeString(hub.resolve("model.safetensors.index.json"), index + "}}");
        Shell.succeed(training("rgb", "of-file", "--start=" + file));
        Shell.succeed(training("rgb", "of-shards", "--start=" + shards));
        assertSameWeights("of-file", "of-shards");
        Files.delete(hub.resolve("model-00002-of-00002.safetensors"));
        Shell.refuse(List.of("model-00002-of-00002.safetensors"), training("rgb", "never", "--start=" + shards));
    }
}
