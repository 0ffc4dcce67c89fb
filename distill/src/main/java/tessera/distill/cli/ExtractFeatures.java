package tessera.distill.cli;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.LongStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.evaluation.FeatureExtraction;
import tessera.distill.train.Task;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.ClipShape;
import tessera.nn.inference.Predictor;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.FileSummary;
import tessera.tensor.io.Npy;
import tessera.tensor.io.Npz;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;
import tessera.tensor.io.StoredType;

/** {@code tessera features}: a student's features of an array of clips. */
@Command(
        name = "features",
        description = {
            "Compute a student's features of clips and write them as f32 [ensemble, clips, width].",
            "The format of --out follows its name: .npy, .npz or .safetensors; the array is called features."
        })
final class ExtractFeatures extends ToolCommand {
    private static final int BATCH = 8;
    private static final String CLIPS = "clips";
    private static final String FEATURES = "features";

    @Mixin
    private StudentOptions student;

    @Option(
            names = "--clips",
            required = true,
            paramLabel = "FILE",
            description =
                    "npy, or safetensors with one array or one called clips: u8 or f32 [B,T,H,W,C], f32 in the units of"
                            + " u8 pictures (0 to 255).")
    private Path clips = Path.of("");

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "Where the features go.")
    private Path out = Path.of("");

    @Mixin
    private ProgressOption progress;

    @Override
    void run() {
        Outputs.requireFile(out);
        String extension = extension();
        List<Long> shape;
        try (Arena arena = Arena.ofConfined();
                Predictor predictor = student.open()) {
            ArrayData array = read(arena);
            requireFit(array, predictor.student().config().input());
            ArrayData result = compute(predictor, array);
            shape = LongStream.of(result.shape()).boxed().toList();
            switch (extension) {
                case "npy" -> Npy.write(out, result);
                case "npz" -> Npz.write(out, List.of(result));
                default -> Safetensors.write(out, List.of(result), Map.of());
            }
        }
        print(new Answer(out, shape), to -> to.println(out + ": f32" + shape));
    }

    private record Answer(Path features, List<Long> shape) {}

    private String extension() {
        String name = out.toString().toLowerCase(Locale.ROOT);
        String extension = name.substring(name.lastIndexOf('.') + 1);
        if (!List.of("npy", "npz", "safetensors").contains(extension)) {
            throw new IllegalArgumentException(
                    "--out " + out + " names no format; end it in .npy, .npz or .safetensors");
        }
        return extension;
    }

    private ArrayData read(Arena arena) {
        FileSummary summary = FileSummary.of(clips);
        return switch (summary.format()) {
            case NPY -> Npy.map(clips, arena);
            case NPZ -> throw new IllegalArgumentException(clips + " is npz; save the one array of clips as npy");
            case SAFETENSORS -> {
                try (SafetensorsFile file = Safetensors.open(clips)) {
                    if (file.names().size() != 1 && !file.names().contains(CLIPS)) {
                        throw new IllegalArgumentException(
                                clips + " holds " + file.names().size()
                                        + " arrays, none of them called clips; save the clips alone or under that"
                                        + " name");
                    }
                    ArrayData entry = file.entry(
                            file.names().contains(CLIPS) ? CLIPS : file.names().getFirst());
                    MemorySegment own =
                            arena.allocate(entry.data().byteSize(), 64).copyFrom(entry.data());
                    yield new ArrayData(entry.name(), entry.type(), entry.shape(), own);
                }
            }
        };
    }

    private void requireFit(ArrayData array, ClipShape input) {
        long[] shape = array.shape();
        long[] needed = {input.frames(), input.height(), input.width(), input.channels()};
        boolean typed = array.type() == StoredType.U8 || array.type() == StoredType.F32;
        if (!typed || shape.length != 5 || shape[0] < 1 || !Arrays.equals(Arrays.copyOfRange(shape, 1, 5), needed)) {
            throw new IllegalArgumentException(
                    clips + " is " + array.type().name().toLowerCase(Locale.ROOT)
                            + Arrays.toString(shape) + " but the student takes u8 or f32 [clips, " + needed[0] + ", "
                            + needed[1]
                            + ", " + needed[2] + ", " + needed[3] + "]; sample and resize the clips to that size");
        }
    }

    private ArrayData compute(Predictor predictor, ArrayData array) {
        long[] shape = array.shape();
        int count = Math.toIntExact(shape[0]);
        int width = predictor.student().config().featureWidth();
        long clipBytes = array.data().byteSize() / count;
        DType type = array.type() == StoredType.U8 ? DType.U8 : DType.F32;
        int ensemble = predictor.masking().ensemble();
        FloatBuffer flat = FloatBuffer.allocate(Math.multiplyExact(Math.multiplyExact(ensemble, count), width));
        double[][][] features;
        try (Task task = progress.context(student.compute()).task(FEATURES, Task.Unit.CLIPS, count)) {
            features = FeatureExtraction.extract(
                    predictor,
                    count,
                    BATCH,
                    (from, batch) -> {
                        Tensor input = Tensor.empty(
                                Device.cpu(), type, Shape.of(batch, shape[1], shape[2], shape[3], shape[4]));
                        MemorySegment.copy(array.data(), from * clipBytes, input.segment(), 0, batch * clipBytes);
                        return input;
                    },
                    task::advance);
        }
        for (double[][] pass : features) {
            for (double[] clip : pass) {
                for (double number : clip) {
                    flat.put((float) number);
                }
            }
        }
        return ArrayData.of(FEATURES, flat.array(), ensemble, count, width);
    }
}
