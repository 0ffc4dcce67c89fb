package tessera.distill.cli;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.video.ClipCut;
import tessera.distill.video.ClipFolder;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.inference.Agreement;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;

/** {@code tessera quantize}: a student whose linear layers are on bytes. */
@Command(
        name = "quantize",
        description = {
            "Make a student that computes its linear layers on bytes (int8): two to three times as fast on a CPU with VNNI or"
                    + " AMX, and a quarter of the size.",
            "Weights get a scale for each output. Inputs get one for each token as they come; with --calibrate each layer's"
                    + " range is measured on clips and kept. Heads of the file are kept, and heads that were learned with the"
                    + " student serve the new one too."
        })
final class Quantize extends ToolCommand {
    private static final int BATCH = 4;
    /** The mixins of what only calibration needs. */
    private static final List<String> CALIBRATION = List.of("masks", "cutting");

    @Option(names = "--student", required = true, paramLabel = "FILE", description = "The student's safetensors file.")
    private Path file = Path.of("");

    @Option(
            names = "--calibrate",
            paramLabel = "DIR",
            description =
                    "A folder with one folder of videos for each label, as learn takes; ranges are the least and the"
                            + " largest value seen, and the agreement with the student is told.")
    private @Nullable Path calibrate;

    @Mixin
    private MaskOptions masks;

    @Mixin
    private CutOptions cutting;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "The student to write.")
    private Path out = Path.of("");

    @Override
    void run() {
        Path videos = calibrate;
        if (videos == null) {
            requireNoneOfCalibration();
        }
        masks.masking();
        cutting.check();
        Outputs.requireFile(out);
        Predictor.Options options = new Predictor.Options(Device.cpu(), DType.F32, masks.masking(), masks.seed());
        try (Scope scope = Scope.open();
                Predictor predictor = Predictor.open(options, file)) {
            Student student = predictor.student();
            masks.check(student);
            if (videos == null) {
                save(student.quantize(), made -> null);
                return;
            }
            Masking masking = predictor.masking();
            try (VideoBatches clips = clips(predictor, videos)) {
                save(
                        student.quantize(clips, masking, masks.seed()),
                        made -> Agreement.of(student, made, clips, masking, masks.seed()));
            }
        }
    }

    /** Refuses what would be ignored. */
    private void requireNoneOfCalibration() {
        ParseResult given = spec().commandLine().getParseResult();
        CALIBRATION.stream()
                .flatMap(mixin -> Objects.requireNonNull(spec().mixins().get(mixin), mixin).options().stream())
                .filter(given::hasMatchedOption)
                .findFirst()
                .ifPresent(option -> {
                    throw new IllegalArgumentException(option.longestName()
                            + " says how clips are looked at but none are,"
                            + " because nothing is calibrated; add --calibrate DIR, or leave " + option.longestName()
                            + " away");
                });
    }

    private VideoBatches clips(Predictor predictor, Path folder) {
        Clips.requireRgb(predictor.student().config().input(), file);
        ClipCut cut = cutting.cut(predictor.student().config().input());
        return new VideoBatches(predictor, ClipFolder.open(folder), cut, BATCH);
    }

    /** Writes a student, which is closed then. */
    private void save(Student quantized, Function<Student, @Nullable Agreement> agreement) {
        try (Student made = quantized) {
            made.save(out);
            tell(new Answer(out, size(file), size(out), agreement.apply(made)));
        }
    }

    private static long size(Path file) {
        try {
            return Files.size(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** @param agreement with the student on the clips, or null without any */
    private record Answer(
            Path student,
            long bytesBefore,
            long bytes,
            @Nullable Agreement agreement) {}

    private void tell(Answer answer) {
        print(answer, to -> {
            to.printf("%s: int8, %,d bytes of %,d%n", answer.student, answer.bytes, answer.bytesBefore);
            Agreement agreement = answer.agreement;
            if (agreement != null) {
                to.printf(
                        "  %d clips: the cosine of its features with the student's is %.4f in the mean and %.4f at least%n",
                        agreement.clips(), agreement.meanCosine(), agreement.leastCosine());
                if (agreement.sameLabel() != null) {
                    to.printf("  %d of them get the same label%n", agreement.sameLabel());
                }
            }
        });
    }
}
