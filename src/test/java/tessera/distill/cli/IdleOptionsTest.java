package tessera.distill.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.distill.MadeVideo;

/** An option that would do nothing beside the others is refused before any work, with the word that makes it do something. */
class IdleOptionsTest {
    private static final String OF_EGOSIM = "is for EgoSim's clips; pass --egosim too";
    private static final String OWN = "is for clips of your own, not for EgoSim's";

    @TempDir
    private Path folder;

    private void refuse(String command, String words, String expected) {
        List<Object> line = new ArrayList<>(List.of(command));
        line.addAll(Arrays.asList(words.replace("DIR", folder.toString()).split(" ")));
        Shell.refuse(List.of(expected), line.toArray());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "pretrain|--modality=rgb --source=DIR --target=DIR --out=DIR/o --egosim-seed=3|--egosim-seed",
                "train|--modality=rgb --clips=DIR --out=DIR/o --per-class=3|--per-class",
                "distill|--teachers=rgb=DIR --target=DIR --out=DIR/o --domain=kitchen|--domain",
                "fewshot|--student=s --clips=DIR --split=test|--split",
                "evaluate|--student=s --clips=DIR --per-class=40|--per-class",
                "evaluate|--student=s --clips=DIR --first-clip=40|--first-clip",
                "sweep|--student=s --clips=DIR --out=DIR/o --egosim-seed=1|--egosim-seed",
            })
    void optionsOfTheBenchmarkNeedIt(String command, String words, String option) {
        refuse(command, words, option + " " + OF_EGOSIM);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "pretrain|--modality=rgb --egosim --out=DIR/o --clip-size=32x32|--clip-size",
                "train|--modality=rgb --egosim --out=DIR/o --live|--live",
                "distill|--teachers=rgb=DIR --egosim --out=DIR/o --skip-broken|--skip-broken",
                "fewshot|--student=s --egosim --clip-memory=1g|--clip-memory",
                "evaluate|--student=s --egosim --clip-frames=8|--clip-frames",
                "sweep|--student=s --egosim --out=DIR/o --flow-bound=3|--flow-bound",
            })
    void optionsOfFoldersNeedOne(String command, String words, String option) {
        refuse(command, words, option + " " + OWN);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--frame-stride=4|--frame-stride is for dense windows; pass --frame-sampling dense too",
                "--no-augment --jitter=.1|--jitter is for random views but --no-augment shows clips as they are",
                "--no-augment --view-count=3|--view-count is for random views but --no-augment",
                "--arch=videomae --window=2x2x2|--window is for swin3d but the model is videomae",
                "--most-broken=.1|--most-broken is for --skip-broken; pass that too",
                "--flow-bound=3|--flow-bound is for pictures of flow but what is read is rgb",
            })
    void trainingDoesWhatItIsTold(String words, String expected) throws IOException {
        Path clips = OwnClips.write(folder.resolve("clips"), 1, "dark", "bright");
        refuse("train", "--modality=rgb --steps=1 --clips=" + clips + " --out=DIR/o " + words, expected);
        refuse(
                "train",
                "--modality=flow --clips=DIR --out=DIR/o --hue=.1",
                "--hue changes colours, which flow does not have");
    }

    @Test
    void teachersAreWeightedAsTold() {
        String words = "--teachers=rgb=DIR --clips=DIR --out=DIR/o ";
        refuse(
                "distill",
                words + "--weighting-temperature=2",
                "--weighting-temperature is for teachers that are weighted; pass --weighting dataset or per-sample too");
        refuse(
                "distill",
                words + "--weighting=per-sample --held-out=DIR",
                "--held-out is for teachers that are weighted by the data set; pass --weighting dataset too");
    }

    @Test
    void aSweepJudgesByOneThing() throws IOException {
        for (String word : List.of("--ways=3", "--episodes=9", "--pooling=mean", "--fit=plain")) {
            refuse(
                    "sweep",
                    "--student=s --clips=DIR --out=DIR/o --by=agreement " + word,
                    word.substring(0, word.indexOf('=')) + " is for --by episodes but --by is agreement");
        }
        Path clips = OwnClips.write(folder.resolve("clips"), 2, "dark", "bright");
        Path run = folder.resolve("run");
        Shell.succeed(
                "train",
                "--modality=rgb",
                "--dim=8",
                "--depths=1,1",
                "--attention-heads=1,2",
                "--window=2x2x2",
                "--batch=2",
                "--steps=1",
                "--threads=1",
                "--quiet",
                "--clips",
                clips,
                "--out",
                run);
        for (String word : List.of("--mask-ratios=0,.5", "--ensembles=1", "--strategies=tube")) {
            refuse(
                    "sweep",
                    "--student=" + run.resolve("model.safetensors") + " --clips=" + clips + " --out=DIR/o " + word,
                    word.substring(0, word.indexOf('=')) + " is for masks but models of this student's architecture");
        }
    }

    @Test
    void whatIsCutIsCutAsTold() throws IOException {
        Path video = MadeVideo.write(
                Files.createDirectories(folder.resolve("videos")).resolve("a.mp4"),
                MadeVideo.ramp("32x32", 10, 2) + " -c:v mpeg4");
        refuse("predict", "--video=" + video + " --fps=10", "--fps is for folders of pictures, videos have their own");
        refuse(
                "predict",
                "--video=" + video + " --clip-seconds=0 --stride-seconds=1",
                "--stride-seconds is 1.0 but --clip-seconds is 0, one clip of the whole part");
        refuse("predict", "--video=" + video + " --adaptive=1d", "--adaptive is '1d'; pass a number between 0 and 1");
        refuse("predict", "--video=" + video + " --adaptive-by=margin", "--adaptive-by is for --adaptive");
        refuse(
                "learn",
                "--clips=DIR/videos --out=DIR/h.safetensors --adaptive=.9 --adaptive-tolerance=.1",
                "--adaptive-tolerance is for a threshold that is chosen; pass --adaptive without a number too");
        refuse("adapt", "--clips=DIR/videos --out=DIR/o --to=.5", "--to is of no use here, since all of each video is");
        Path clips = OwnClips.write(folder.resolve("clips"), 1, "any");
        refuse(
                "adapt",
                "--clips=" + clips + " --out=DIR/o --clip-seconds=1",
                "--clip-seconds says how videos are cut but " + clips + " holds clips already");
        refuse(
                "extract",
                "--videos=DIR/videos --out=DIR/o --unlabelled --clip-seconds=0 --stride-seconds=1",
                "--stride-seconds is 1.0 but each video is one clip");
        refuse("extract", "--videos=DIR/videos --out=DIR/o --most-broken=.1", "--most-broken is for --skip-broken");
        refuse("demo", "--show-plan=quick --out=DIR/o", "--out says what to run but --show-plan runs nothing");
    }
}
