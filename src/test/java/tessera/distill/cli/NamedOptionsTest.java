package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** Whatever refuses an option's value, the line names the option, and those that belong to it. */
class NamedOptionsTest {
    private static final String PRETRAIN = "pretrain --modality=rgb --source=DATA --target=DATA --steps=1 --grid=2";
    private static final String TRAIN = "train --modality=rgb --clips=DATA --arch=videomae --dim=16 --depths=1"
            + " --attention-heads=2 --batch=2 --steps=1";
    private static final String SWIN = "train --modality=rgb --clips=DATA --arch=swin3d --dim=8 --depths=1,1"
            + " --attention-heads=1,2 --window=2x2x2 --batch=2 --steps=1";
    private static final String SCORES =
            "distill --teachers=rgb=OUT/none,flow=OUT/none --clips=DATA --weighting=dataset --hold-out=.25 --view-count=2"
                    + " --batch=2 --steps=1";

    /** Words that stand for longer ones. */
    private static final Map<String, String> BASES = Map.of(
            "PRETRAIN",
            PRETRAIN,
            "TRAIN",
            TRAIN,
            "SWIN",
            SWIN,
            "SCORES",
            SCORES,
            "FEATURES",
            "features --student=STUDENT --clips=CLIPS",
            "FEWSHOT",
            "fewshot --student=STUDENT --clips=DATA --ways=2 --shots=1 --queries=1 --episodes=2",
            "SWEEP",
            "sweep --student=STUDENT --clips=DATA --ways=2 --shots=1 --queries=1 --episodes=2",
            "EVALUATE",
            "evaluate --student=STUDENT --clips=DATA",
            "DEMO",
            "demo");

    @TempDir
    private static Path folder;

    @BeforeAll
    static void write() throws IOException {
        TinyStudent.write(folder.resolve("student.safetensors"), 16);
        OwnClips.write(folder.resolve("data"), 4, "dark", "bright");
        Npy.write(folder.resolve("clips.npy"), ArrayData.of("clips", new byte[4 * 16 * 16 * 3], 1, 4, 16, 16, 3));
        Files.writeString(folder.resolve("text"), "no folder");
    }

    @AfterEach
    void nothingIsWritten() {
        assertFalse(Files.exists(folder.resolve("out")), "a result");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '"',
            value = {
                "FEATURES --device=tpu            | --device: unknown device 'tpu'; pass auto",
                "FEATURES --threads=999999999     | --threads: thread count is 999999999 but must be at most 1024",
                "FEATURES --strategy=stripes      | --strategy: mask strategy 'stripes' is none; pass tube",
                "FEATURES --mask-ratio=1.5        | --mask-ratio: mask ratio 1.5 is not in [0, 1)",
                "FEATURES --pooling=most          | --pooling: pooling 'most' is none",
                "FEATURES --merge=-1              | --merge: token merging takes away -1 tokens",
                "FEATURES --run-length=-1         | --run-length: the run length's threshold is -1.0",
                "FEATURES --run-length=1 --merge=1 | --merge and --run-length: token merging and run lengths",
                "FEATURES --merge=1 --pooling=grid:2 | --merge: merging 1 forgets where tokens lie",
                "FEWSHOT --pooling=most           | --pooling: pooling 'most' is none",
                "FEWSHOT --merge=1 --pooling=grid:2 | --pooling: merging 1 forgets where tokens lie",
                "FEWSHOT --eps=0                  | --eps: norms: 0.0 cannot be added",
                "FEWSHOT --groups=nonsense        | --groups: 'nonsense' cannot be read; pass the word prefix",
                "SWEEP --strategies=stripes       | --strategies: mask strategy 'stripes' is none",
                "SWEEP --strategies=,             | --strategies is ',', which names nothing; pass WORD, several with ','",
                "SWEEP --mask-ratios=0,NaN        | --mask-ratios: mask ratio NaN is not in",
                "SWEEP --batches=999999999        | --batches is 999999999 clips, more than the memory of any device",
                "EVALUATE --clip-frames=1         | --clip-frames and --clip-size: geometry has frames 1",
                "EVALUATE --frames=-1             | --frames: geometry has frames -1",
                "PRETRAIN --flow-bound=0          | --flow-bound: flow pictures bounded by 0.0 pixels",
                "PRETRAIN --size=huge             | --size: there is no VideoMAE size 'huge'",
                "PRETRAIN --grid=7                | --grid and --tubelet: a token grid of 7 x 7 does not divide",
                "PRETRAIN --tubelet=3             | --grid and --tubelet: patches of 3 frames do not divide",
                "PRETRAIN --depth=999999999       | --dim, --depth and --heads: VideoMAE: ",
                "PRETRAIN --batch=999999999       | --batch is 999999999 clips, more than the memory of any device",
                "TRAIN --strategy=stripes --mask-ratio=.5 | --strategy: mask strategy 'stripes' is none",
                "TRAIN --dim=-1                   | --dim is -1; pass 1 or more",
                "TRAIN --dim=15                   | --frames, --dim, --depths and --attention-heads: VideoMAE: an encoder",
                "TRAIN --attention-heads=0        | --attention-heads is 0; pass 1 or more",
                "TRAIN --frames=-1                | --frames: geometry has frames -1",
                "SWIN --frames=6                  | --frames is 6 but the clips have 4 frames; pass at most these",
                "TRAIN --frames=3                 | --frames, --dim, --depths and --attention-heads: patches of 2",
                "TRAIN --heads=verb               | --heads: the clips have no labels for the head 'verb', only for [action]",
                "TRAIN --heads=,                  | --heads is ',', which names nothing; pass NAME, several with ','",
                "TRAIN --head-weights=action=NaN  | --head-weights gives action=NaN; pass numbers of 0 or more",
                "TRAIN --hold-out=1.5             | --hold-out: a share of 1.5 training clips",
                "TRAIN --view-count=-1            | --view-count is -1; pass 0 or more",
                "TRAIN --frame-stride=0           | --frame-stride: views with stride 0",
                "TRAIN --scales=2,1               | --scales: views with stride",
                "TRAIN --jitter=-1                | --jitter and --hue: views with stride",
                "TRAIN --hue=NaN                  | --jitter and --hue: views with stride",
                "SWIN --depths=1                  | --frames, --dim, --depths, --attention-heads and --window: Swin3D: depths",
                "SCORES --alpha=-1                | --alpha, --beta and --temperature: distillation at T 1.0, alpha -1.0",
                "SCORES --temperature=0           | --alpha, --beta and --temperature: distillation at T 0.0",
                "SCORES --alpha=0                 | --alpha and --beta are 0 and --features names no teacher",
                "SCORES --features=rgb=-1         | --features gives rgb=-1.0; pass numbers of 0 or more",
                "SCORES --features=pose=1         | --features names 'pose' but --teachers are [rgb, flow]",
                "SCORES --weighting-temperature=0 | --weighting-temperature: teachers are weighted at a temperature of 0.0",
                "SCORES --hold-out=0              | --weighting dataset weighs teachers by training clips that are held out",
                "SCORES --cache=TEXT              | --cache TEXT cannot be a folder, because TEXT is a file",
                "SCORES --cache=OUT/c --mask-ratio=.5 | --cache is for teachers that see all of a clip but --mask-ratio is",
                "SCORES --cache=OUT/c --view-count=0  | --cache is for views that come again",
                "SCORES --target=DATA             | --target is for distilling features alone but --weighting asks for",
                "DEMO --plan=nonsense             | --plan is 'nonsense', which is no plan; pass one of quick",
                "DEMO --plan=TEXT                 | --plan: plan TEXT",
            })
    void theLineBeginsWithTheOption(String line, String expected) {
        List<Object> words = new ArrayList<>();
        String last = "";
        for (String word : line.split(" +", -1)) {
            String longer = BASES.getOrDefault(word, word);
            words.addAll(Arrays.asList(longer.split(" ", -1)));
            last = word;
        }
        // What is tried takes the place of what the base has.
        String tried = last.substring(0, last.indexOf('=') + 1);
        words.subList(0, words.size() - 1).removeIf(word -> word.toString().startsWith(tried));
        words.add("--out=OUT" + (line.startsWith("FEATURES") ? ".npy" : ""));
        if (line.startsWith("FEWSHOT") || line.startsWith("EVALUATE")) {
            words.removeLast();
        }
        words.replaceAll(word -> filled(word.toString()));
        Shell.Outcome outcome = Shell.run(words.toArray());
        assertEquals(2, outcome.code(), outcome.err());
        assertEquals(1, outcome.err().lines().count(), outcome.err());
        assertTrue(outcome.err().startsWith("tessera: error: " + filled(expected)), outcome.err());
    }

    /** Words in capitals are files here. */
    private static String filled(String text) {
        String filled = text;
        for (String name : List.of("DATA", "OUT", "TEXT")) {
            filled = filled.replace(
                    name, folder.resolve(name.toLowerCase(Locale.ROOT)).toString());
        }
        return filled.replace("STUDENT", folder.resolve("student.safetensors").toString())
                .replace("CLIPS", folder.resolve("clips.npy").toString());
    }

    @Test
    void whatIsNamedAlreadyIsNotNamedAgain() {
        IllegalArgumentException own = new IllegalArgumentException("--other is 1; pass 2");
        assertSame(
                own, assertThrows(IllegalArgumentException.class, () -> UsageErrors.naming(() -> thrown(own), "--x")));
        IllegalArgumentException within = new IllegalArgumentException("there is no such --x");
        assertSame(
                within,
                assertThrows(IllegalArgumentException.class, () -> UsageErrors.naming(() -> thrown(within), "--x")));
        assertEquals(1, UsageErrors.naming(() -> 1, "--x"));
    }

    /** Of several files in a line only the options tell what each is for. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "/v: is no video                          | --videos /v: is no video",
                "/v/a.mp4: is no video                    | --videos /v/a.mp4: is no video",
                "/v/a.mp4 has no /v/boxes/a.json; make it | --videos and --boxes: /v/a.mp4 has no /v/boxes/a.json; make it",
                "there is no '/v/boxes'                   | --boxes: there is no '/v/boxes'",
                "/v/boxes/a.json: is a text               | --boxes /v/boxes/a.json: is a text",
                "nothing is made of clips: pass some      | nothing is made of clips: pass some",
                "/vale is no folder                       | /vale is no folder",
                "/v has no clip; pass --fps               | --videos /v has no clip; pass --fps",
                "the sound of /v has no end; pass --fps   | the sound of /v has no end; pass --fps",
            })
    void pathsAreNamedByTheirOptions(String message, String expected) {
        CommandLine command = new CommandLine(Main.COMMANDS.get("extract"));
        command.parseArgs("--videos=/v", "--boxes=/v/boxes", "--out=clips");
        IllegalArgumentException named =
                UsageErrors.namingPaths(command.getCommandSpec(), new IllegalArgumentException(message));
        assertEquals(expected, named.getMessage());
    }

    private static int thrown(IllegalArgumentException e) {
        throw e;
    }
}
