package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.reflect.Field;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.CommandLine;
import picocli.CommandLine.Option;
import tessera.distill.data.Modality;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;

/** What a distillation leaves alone, and how it ends when it fails. */
class DistillTest {
    private static final List<String> MODALITIES = List.of("rgb", "flow", "pose");

    @TempDir
    private static Path folder;

    private static Path data;

    @BeforeAll
    static void pretrain() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 3, "dark", "bright");
        for (String modality : MODALITIES) {
            Shell.succeed(OwnClips.pretraining(modality, data, folder.resolve(modality), 2));
        }
    }

    private static Object[] distilling(Path out, String... more) {
        List<Object> words = new ArrayList<>(List.of("distill", "--teachers"));
        words.add(
                "rgb=" + folder.resolve("rgb") + ",flow=" + folder.resolve("flow") + ",pose=" + folder.resolve("pose"));
        words.addAll(List.of("--target", data, "--batch=4", "--mask-ratio=0.5", "--threads=1", "--quiet"));
        words.addAll(List.of("--steps=4", "--out", out));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static byte[][] teachers() throws IOException {
        byte[][] files = new byte[MODALITIES.size()][];
        for (int m = 0; m < files.length; m++) {
            files[m] = Files.readAllBytes(folder.resolve(MODALITIES.get(m)).resolve("model.safetensors"));
        }
        return files;
    }

    private static List<String> names(Path run) throws IOException {
        try (var files = Files.list(run)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void teachersStayAsTheyAre() throws IOException {
        byte[][] before = teachers();
        Path out = folder.resolve("distilled");
        Shell.succeed(distilling(out));
        assertArrayEquals(before, teachers());
        for (String modality : MODALITIES) {
            assertEquals(List.of("metrics.jsonl", "model.safetensors"), names(folder.resolve(modality)));
        }
        try (SafetensorsFile teacher = Safetensors.open(folder.resolve("rgb").resolve("model.safetensors"));
                SafetensorsFile student = Safetensors.open(out.resolve("student.safetensors"))) {
            for (String norm : List.of("encoder.norm.weight", "encoder.blocks.0.norm1.bias")) {
                assertFalse(Arrays.equals(teacher.floats(norm), student.floats(norm)), norm + " was trained");
            }
        }
    }

    /** No weights are left, and the run starts afresh in the same folder by a rate that it can bear. */
    @Test
    void aLossThatIsNotFiniteEndsTheRun() throws IOException {
        byte[][] before = teachers();
        Path out = folder.resolve("diverged");
        Shell.Outcome outcome = Shell.run(distilling(out, "--lr=1e30"));
        assertEquals(1, outcome.code(), outcome.err());
        assertEquals("", outcome.out());
        assertEquals(1, outcome.err().lines().count(), outcome.err());
        String expected = "tessera: error: IllegalStateException: the loss of step 1 is NaN; the last checkpoint in "
                + out + " is kept; lower the learning rate and start again";
        assertTrue(outcome.err().startsWith(expected), outcome.err());
        assertEquals(List.of("metrics.jsonl"), names(out));
        assertArrayEquals(before, teachers());
        Shell.succeed(distilling(out, "--lr=1e-3"));
        assertEquals(List.of("metrics.jsonl", "student.safetensors"), names(out));
        assertEquals(4, Files.readAllLines(out.resolve("metrics.jsonl")).size());
    }

    /** Options that only class scores need, none of which asks for these. */
    private static final List<String> OF_SCORES = List.of(
            "--weighting-temperature=2",
            "--held-out=x",
            "--head-weights=action=1",
            "--hold-out=0.1",
            "--view-count=2",
            "--start=x",
            "--frames=2",
            "--dim=8",
            "--depths=1",
            "--attention-heads=1",
            "--window=2x2x2");

    static List<String> ofScores() {
        return OF_SCORES;
    }

    @ParameterizedTest
    @MethodSource("ofScores")
    void featuresAloneRefuseWhatTheyWouldIgnore(String option) {
        Path out = folder.resolve("never");
        String name = option.substring(0, option.indexOf('='));
        Shell.refuse(
                List.of(
                        "error: " + name + " is for learning from class scores but nothing asks for that",
                        "add --heads action (or other heads) and labelled --clips, or leave " + name + " away"),
                distilling(out, option));
        assertFalse(Files.exists(out));
    }

    /** Every option of these mixins asks for class scores or is refused without them. */
    @Test
    void noOptionOfClassScoresIsForgotten() {
        CommandLine command = new CommandLine(new Distill());
        command.registerConverter(Modality.class, Clips::modality);
        command.registerConverter(NamedTeacher.class, NamedTeacher::parse);
        Set<String> asking = Set.of(
                "--alpha",
                "--beta",
                "--temperature",
                "--weighting",
                "--features",
                "--heads",
                "--clips",
                "--student-arch",
                "--cache");
        Set<String> names = new TreeSet<>(asking);
        OF_SCORES.forEach(option -> names.add(option.substring(0, option.indexOf('='))));
        Set<String> there = new TreeSet<>();
        for (Class<?> mixin : List.of(EnsembleOptions.class, LabelledOptions.class, ModelOptions.class)) {
            for (Field field : mixin.getDeclaredFields()) {
                Option option = field.getAnnotation(Option.class);
                if (option != null) {
                    there.add(option.names()[option.names().length - 1]);
                }
            }
        }
        assertEquals(there, names);
        for (String name : asking) {
            assertEquals(
                    Optional.of(name),
                    EnsembleOptions.asking(command.parseArgs("--teachers=rgb=x", "--out=x", name, word(name))));
        }
    }

    private static String word(String option) {
        return switch (option) {
            case "--weighting" -> "UNIFORM";
            case "--student-arch" -> "STLT";
            case "--features" -> "rgb=1";
            default -> "1";
        };
    }

    @Test
    void featuresAloneHaveOneTeacherOfEachModality() {
        Path out = folder.resolve("never");
        Shell.refuse(
                List.of("--teachers names 'large:flow'", "one teacher of each modality", "write flow=x"),
                distilling(out, "--teachers=large:flow=x"));
        Shell.refuse(
                List.of("--teachers names 'rgb' twice; give each a name of its own, such as large:rgb=x"),
                distilling(out, "--teachers=rgb=x"));
        Shell.Outcome outcome = Shell.run(distilling(out, "--teachers=large:sound=x"));
        assertEquals(2, outcome.code());
        assertTrue(outcome.err().contains("--teachers is 'large:sound=x'; pass one of rgb, flow, pose"), outcome.err());
    }

    @Test
    void progressSaysWhoTeachesWhom() {
        List<Object> words = new ArrayList<>(List.of(distilling(folder.resolve("told"))));
        words.remove("--quiet");
        String text = Shell.shown(() -> Shell.succeed(words.toArray()));
        assertTrue(text.contains("distill rgb from rgb, flow, pose  "), text);
    }
}
