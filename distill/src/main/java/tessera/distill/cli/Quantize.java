package tessera.distill.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.train.Task;
import tessera.distill.video.ClipCut;
import tessera.distill.video.ClipFolder;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.inference.Agreement;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;

/** {@code tessera quantize}: a student whose linear layers are on bytes. */
@Command(
        name = "quantize",
        description = {
            "Make a student that computes its linear layers on bytes (int8): two to three times as fast on a CPU with VNNI or"
                    + " AMX, less with AVX2 alone, and a quarter of the size.",
            "Weights get a scale for each output. Inputs get one for each token as they come; with --calibrate each layer's"
                    + " range is measured on clips and kept. Heads of the file are kept, and heads that were learned with the"
                    + " student serve the new one too.",
            "How far it agrees with the student is told on clips that it was not calibrated on: the cosine of features, and how"
                    + " many clips get the same label by the student's heads and the same nearest other clip by its features."
        })
final class Quantize extends ToolCommand {
    private static final int BATCH = 4;
    /** One video of so many is not calibrated on. */
    private static final int HELD_OUT_OF = 4;
    /** The mixins of what only looking at clips needs. */
    private static final List<String> OF_CLIPS = List.of("masks", "cutting");

    @Option(names = "--student", required = true, paramLabel = "FILE", description = "The student's safetensors file.")
    private Path file = Path.of("");

    @Option(
            names = "--calibrate",
            paramLabel = "DIR",
            description =
                    "A folder with one folder of videos for each label, as learn takes; ranges are the least and the"
                            + " largest value seen. Without --check every fourth video, from the second on, is left out and the"
                            + " agreement with the student told on these.")
    private @Nullable Path calibrate;

    @Option(
            names = "--check",
            paramLabel = "DIR",
            description = "A folder of other videos, laid out like that of --calibrate, on which the agreement with the"
                    + " student is told; all of --calibrate is calibrated on then.")
    private @Nullable Path check;

    @Mixin
    private MaskOptions masks;

    @Mixin
    private CutOptions cutting;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "The student to write.")
    private Path out = Path.of("");

    @Mixin
    private ProgressOption progress;

    @Override
    void run() {
        if (calibrate == null && check == null) {
            requireNoClipOptions();
        }
        masks.masking();
        cutting.check();
        Outputs.requireFile(out, "safetensors");
        Predictor.Options options = new Predictor.Options(Device.cpu(), DType.F32, masks.masking(), masks.seed());
        try (Scope scope = Scope.open();
                Predictor predictor = Predictor.open(options, file)) {
            masks.check(predictor.student());
            List<Path> all = videos(predictor, calibrate);
            List<Path> checked = check == null ? heldOut(all) : videos(predictor, check);
            List<Path> calibrated = check == null
                    ? all.stream().filter(video -> !checked.contains(video)).toList()
                    : all;
            requireOthers(calibrated, checked);
            try (Student made = quantized(predictor, calibrated)) {
                made.save(out);
                Agreement agreement = checked.isEmpty() ? null : compared(predictor, made, checked);
                tell(new Answer(out, size(file), size(out), calibrated.size(), checked.size(), agreement));
            }
        }
    }

    private List<Path> videos(Predictor predictor, @Nullable Path folder) {
        if (folder == null) {
            return List.of();
        }
        Clips.requireRgb(predictor.student().config().input(), file);
        ClipFolder clips = ClipFolder.open(folder);
        return IntStream.range(0, clips.labels().size())
                .boxed()
                .flatMap(label -> clips.videos(label).stream())
                .toList();
    }

    /** Whole videos, since clips of one resemble each other. */
    private static List<Path> heldOut(List<Path> videos) {
        return IntStream.range(0, videos.size())
                .filter(i -> i % HELD_OUT_OF == 1)
                .mapToObj(videos::get)
                .toList();
    }

    /** A video that ranges were measured on says nothing of others. */
    private static void requireOthers(List<Path> calibrated, List<Path> checked) {
        Set<Path> known = calibrated.stream().map(Quantize::real).collect(Collectors.toSet());
        checked.stream()
                .filter(video -> known.contains(real(video)))
                .findFirst()
                .ifPresent(video -> {
                    throw new IllegalArgumentException(
                            "--check has " + video + ", which --calibrate has too; pass videos that are"
                                    + " not calibrated on, or leave --check away to hold out every fourth of --calibrate");
                });
    }

    private static Path real(Path video) {
        try {
            return video.toRealPath();
        } catch (IOException e) {
            throw new UncheckedIOException(video + " cannot be read", e);
        }
    }

    private Student quantized(Predictor predictor, List<Path> videos) {
        Student student = predictor.student();
        return videos.isEmpty()
                ? student.quantize()
                : looking(
                        "calibrate",
                        predictor,
                        videos,
                        clips -> student.quantize(clips, predictor.masking(), masks.seed()));
    }

    private Agreement compared(Predictor predictor, Student made, List<Path> videos) {
        return looking(
                "compare",
                predictor,
                videos,
                clips -> Agreement.of(predictor.student(), made, clips, predictor.masking(), masks.seed()));
    }

    private <T> T looking(String title, Predictor predictor, List<Path> videos, Function<VideoBatches, T> work) {
        ClipCut cut = cutting.cut(predictor.student().config().input());
        try (Task task = Task.begin(progress.listener(), title, Task.Unit.VIDEOS, 0, videos.size());
                VideoBatches clips = new VideoBatches(predictor, videos, cut, BATCH, task::advance)) {
            return work.apply(clips);
        }
    }

    /** Refuses what would be ignored. */
    private void requireNoClipOptions() {
        ParseResult given = given();
        OF_CLIPS.stream()
                .flatMap(mixin -> Objects.requireNonNull(spec().mixins().get(mixin), mixin).options().stream())
                .filter(given::hasMatchedOption)
                .findFirst()
                .ifPresent(option -> {
                    throw new IllegalArgumentException(option.longestName()
                            + " says how clips are looked at but none are,"
                            + " because nothing is calibrated or checked; add --calibrate DIR or --check DIR, or leave "
                            + option.longestName() + " away");
                });
    }

    private static long size(Path file) {
        try {
            return Files.size(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /**
     * @param calibratedOn how many videos
     * @param checkedOn how many others
     * @param agreement with the student on the clips of these, or null without any
     */
    private record Answer(
            Path student,
            long bytesBefore,
            long bytes,
            int calibratedOn,
            int checkedOn,
            @Nullable Agreement agreement) {}

    private void tell(Answer answer) {
        print(answer, to -> {
            to.printf("%s: int8, %,d bytes of %,d%n", answer.student, answer.bytes, answer.bytesBefore);
            Agreement agreement = answer.agreement;
            if (agreement != null) {
                to.printf(
                        "  %d clips of %d %s not calibrated on: the cosine of its features with the student's is %.4f in the mean"
                                + " and %.4f at least%n",
                        agreement.clips(),
                        answer.checkedOn,
                        answer.checkedOn == 1 ? "video that was" : "videos that were",
                        agreement.meanCosine(),
                        agreement.leastCosine());
                same(to, agreement, agreement.sameLabel(), "get the same label");
                same(to, agreement, agreement.sameNearest(), "have the same nearest other clip");
            } else if (answer.calibratedOn > 0) {
                to.println(
                        "  the only video was calibrated on; --check DIR with others tells how far it agrees with the"
                                + " student");
            }
        });
    }

    private static void same(PrintWriter to, Agreement agreement, @Nullable Integer same, String what) {
        if (same != null) {
            to.printf("  %d of %d %s%n", same, agreement.clips(), what);
        }
    }
}
