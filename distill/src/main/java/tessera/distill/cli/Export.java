package tessera.distill.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.video.ClipFolder;
import tessera.kernels.DType;
import tessera.nn.export.HuggingFaceModel;
import tessera.nn.export.OnnxModel;
import tessera.nn.export.StudentWeights;
import tessera.nn.inference.Head;
import tessera.tensor.io.Printable;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;
import tessera.tensor.io.TensorFileException;

/** {@code tessera export}: a student for other programs. */
@Command(
        name = "export",
        description = {
            "Write a VideoMAE student for other programs: hf, a folder that transformers loads and import takes back to the same"
                    + " bits, or onnx, a model for ONNX Runtime (operator set 17) that takes any number of clips.",
            "An ONNX model has its masks built in: those that a clip alone gets from --mask-ratio, --ensemble and --seed. It"
                    + " takes clips [batch, T, H, W, C] and gives features [batch, P, D] and, with heads, scores and"
                    + " probabilities [batch, classes]."
        })
final class Export extends ToolCommand {
    @Option(names = "--student", required = true, paramLabel = "FILE", description = "The student's safetensors file.")
    private Path file = Path.of("");

    @Option(
            names = "--head",
            split = ",",
            paramLabel = "HEAD",
            description = "Heads that learn wrote with this student; the first is the main one. Default: those in the"
                    + " student's file")
    private List<Path> heads = List.of();

    /** Who is to read it. */
    enum Format {
        HF,
        ONNX
    }

    @Option(names = "--format", required = true, paramLabel = "hf|onnx", description = "Who is to read it.")
    private Format format = Format.HF;

    /** Types of an ONNX model's clips. */
    enum Input {
        U8,
        F32
    }

    @Option(
            names = "--input",
            paramLabel = "u8|f32",
            description =
                    "What an ONNX model takes: pixels in bytes, or the same numbers in f32. Default: ${DEFAULT-VALUE}")
    private Input input = Input.U8;

    @Mixin
    private MaskOptions masks;

    @Option(
            names = "--out",
            required = true,
            paramLabel = "DIR|FILE",
            description = "The folder (hf) or the file (onnx) to write.")
    private Path out = Path.of("");

    /** @param notes what a user may want to know */
    private record Answer(Path out, String format, List<String> notes) {}

    @Override
    void run() {
        masks.masking();
        if (format == Format.HF) {
            requireNoneOf("--input", "--mask-ratio", "--ensemble", "--strategy", "--seed");
        }
        if (format == Format.HF) {
            Outputs.requireFolder(out);
            Path model = out.resolve("model.safetensors");
            Outputs.requireOther("--out", model, "--student", file);
            requireNoOther(model);
        } else {
            Outputs.requireFile(out, "onnx");
        }
        List<String> notes = new ArrayList<>();
        List<Head> read = heads.stream().map(Head::load).toList();
        try (StudentWeights student = StudentWeights.read(file, read)) {
            if (format == Format.HF) {
                HuggingFaceModel.write(out, student);
                tell(student, notes);
            } else {
                DType type = input == Input.U8 ? DType.U8 : DType.F32;
                OnnxModel.write(out, student, masks.masking(), masks.seed(), type);
            }
        }
        print(new Answer(out, EnumWords.of(format), notes), to -> {
            to.println(out);
            notes.forEach(note -> to.println("  note: " + note));
        });
    }

    private void requireNoneOf(String... ofOnnx) {
        for (String option : ofOnnx) {
            if (given().hasMatchedOption(option)) {
                throw new IllegalArgumentException(
                        option + " is built into models of --format onnx; leave it away for hf, which has no masks");
            }
        }
    }

    /** Refuses to write over weights that no export has written, or beside shards, which import would pass over for the new file. */
    private void requireNoOther(Path model) {
        if (Files.exists(model) && !isExport(model)) {
            throw new IllegalArgumentException("--out " + out
                    + " has a model.safetensors that is no export and would be lost; name another folder");
        }
        List<Path> weights = Files.isDirectory(out)
                ? ClipFolder.list(
                        out, file -> String.valueOf(file.getFileName()).contains(".safetensors"))
                : List.of();
        for (Path other : weights) {
            if (!other.equals(model)) {
                throw new IllegalArgumentException("--out " + out + " has weights already, "
                        + Printable.line(String.valueOf(other.getFileName()))
                        + ", beside which an export would be taken for the same model; name another folder");
            }
        }
    }

    /** Also of one that was stopped before its config.json was there. */
    private static boolean isExport(Path model) {
        try (SafetensorsFile file = Safetensors.open(model)) {
            // Every file of Hugging Face has the first, every file of Tessera the second.
            return "pt".equals(file.metadata().get("format")) && file.metadata().containsKey("tessera.embedDim");
        } catch (TensorFileException another) {
            return false;
        }
    }

    private static void tell(StudentWeights student, List<String> notes) {
        if (!HuggingFaceModel.isClassifier(student)) {
            notes.add(
                    "transformers loads it as VideoMAEModel; the feature is fc_norm of the mean of its tokens, and heads are"
                            + " linear layers on it");
        } else if (!HuggingFaceModel.hasItsEpsilon(student)) {
            notes.add(
                    "transformers adds 1e-5 to the variance in fc_norm and this student another epsilon, so their scores"
                            + " differ a little");
        }
    }
}
