package tessera.distill.cli;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SequencedSet;
import java.util.Set;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.data.Modality;
import tessera.distill.evaluation.FeatureExtraction;
import tessera.distill.evaluation.ReducedCost;
import tessera.distill.train.Task;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.ClipShape;
import tessera.nn.Pooling;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.tensor.CostMeter;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.FileSummary;
import tessera.tensor.io.Npy;
import tessera.tensor.io.Npz;
import tessera.tensor.io.NpzFile;
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
final class Features extends ToolCommand {
    private static final int BATCH = 8;
    private static final int RGB = 3;
    private static final String POOLING = "--pooling";
    private static final String CLIPS = "clips";
    private static final String FEATURES = "features";
    private static final Set<StoredType> TYPES =
            Set.of(StoredType.U8, StoredType.F16, StoredType.BF16, StoredType.F32, StoredType.F64);
    private static final ValueLayout.OfShort F16 = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfDouble F64 =
            ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    @Mixin
    private StudentOptions student;

    @Option(
            names = "--clips",
            required = true,
            paramLabel = "FILE",
            description =
                    "npy, or npz or safetensors with one array or one called clips: u8, f16, f32 or f64 [B,T,H,W,C],"
                            + " or [T,H,W,C] of a clip alone, floats in the units of u8 pictures (0 to 255).")
    private Path clips = Path.of("");

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "Where the features go.")
    private Path out = Path.of("");

    @Option(
            names = POOLING,
            paramLabel = "WORD",
            description =
                    "How tokens become a feature, as for learn, but neither auto nor attentive. Default: ${DEFAULT-VALUE}")
    private String pooling = Pooling.MEAN.toString();

    @Mixin
    private TimingOption timing;

    @Mixin
    private ProgressOption progress;

    /** Whether 255 stands for 1 in what the student sees; flow, sound and boxes are as they are. */
    private boolean levels;

    /** Of the pictures in floats that were read. */
    private float low;

    private float high;

    /** Nanoseconds in which clips were read, and in which features were computed of them. */
    private long preparing;

    private long computing;

    @Override
    void run() {
        String extension = extension();
        Outputs.requireFile(out, extension);
        Pooling by = UsageErrors.naming(() -> Pooling.of(pooling), POOLING);
        if (by.needsQuery()) {
            throw new IllegalArgumentException(
                    POOLING + " " + by + " has a query that is fitted with a head, and features"
                            + " fits none; pass mean, grid:G or motion:G, or learn a head by it");
        }
        List<Long> shape;
        ReducedCost cost;
        TimingOption.Times times;
        try (Arena arena = Arena.ofConfined();
                Predictor opened = student.open();
                Student pooled = UsageErrors.naming(() -> opened.student().pooled(by), POOLING);
                Predictor predictor = Predictor.of(pooled, opened.masking(), opened.seed());
                Input read = read(arena);
                CostMeter meter = CostMeter.open()) {
            student.requireReducible(pooled);
            timing.started();
            ClipShape input = predictor.student().config().input();
            ArrayData array = batch(read.array, input);
            requireFit(array, input);
            levels = Modality.KNOWN.stream()
                    .map(Modality::layout)
                    .noneMatch(seen ->
                            seen.channels() == input.channels() && seen.values().scale() == 1);
            ArrayData result = compute(predictor, array);
            cost = ReducedCost.of(meter, array.shape()[0], pooled, opened.masking());
            long count = array.shape()[0];
            times = timing.times(
                    Duration.ofNanos(preparing), Duration.ofNanos(computing), count, count * array.shape()[1]);
            shape = LongStream.of(result.shape()).boxed().toList();
            switch (extension) {
                case "npy" -> Npy.write(out, result);
                case "npz" -> Npz.write(out, List.of(result));
                default -> Safetensors.write(out, List.of(result), Map.of());
            }
        }
        List<String> notes = notes();
        print(new Answer(out, shape, cost, notes, times), to -> {
            to.println(out + ": f32" + shape);
            notes.forEach(note -> to.println("  note: " + note));
            if (cost != null) {
                to.println("  " + cost.text());
            }
            if (times != null) {
                to.println("  " + times.text());
            }
        });
    }

    private record Answer(
            Path features,
            List<Long> shape,
            @Nullable ReducedCost reduced,
            List<String> notes,
            TimingOption.@Nullable Times timing) {}

    /** What floats that are no levels of pictures probably are. */
    private List<String> notes() {
        if (!levels || (low >= 0 && high <= 255 && (high > 1 || high <= 0))) {
            return List.of();
        }
        String range = clips + " has floats from " + low + " to " + high + ", but pixels go from 0 to 255; ";
        return List.of(range
                + (low >= 0 && high <= 1
                        ? "if white is 1 there, multiply by 255"
                        : "if they are normalised already, undo that, for the student does it itself"));
    }

    private String extension() {
        String name = out.toString().toLowerCase(Locale.ROOT);
        String extension = name.substring(name.lastIndexOf('.') + 1);
        if (!List.of("npy", "npz", "safetensors").contains(extension)) {
            throw new IllegalArgumentException(
                    "--out " + out + " names no format; end it in .npy, .npz or .safetensors");
        }
        return extension;
    }

    /**
     * The clips, mapped where their format allows it, so that there may be more than fit into memory.
     *
     * @param file that they are a part of, or null where they are in the arena
     */
    private record Input(ArrayData array, @Nullable SafetensorsFile file) implements AutoCloseable {
        @Override
        public void close() {
            if (file != null) {
                file.close();
            }
        }
    }

    private Input read(Arena arena) {
        if (Files.isDirectory(clips)) {
            throw new IllegalArgumentException(
                    clips + " is a folder; name one array of clips in an npy, npz or safetensors"
                            + " file, or give videos to learn and predict, which take them as they are");
        }
        FileSummary summary = FileSummary.of(clips);
        return switch (summary.format()) {
            case NPY -> new Input(Npy.map(clips, arena), null);
            case NPZ -> {
                try (NpzFile file = Npz.open(clips)) {
                    String name = file.unreadable().containsKey(CLIPS) ? CLIPS : chosen(file.names());
                    yield new Input(file.read(name, arena), null);
                }
            }
            case SAFETENSORS -> {
                SafetensorsFile file = Safetensors.open(clips);
                try {
                    yield new Input(file.entry(chosen(file.names())), file);
                } catch (RuntimeException e) {
                    file.close();
                    throw e;
                }
            }
        };
    }

    private String chosen(SequencedSet<String> names) {
        if (names.isEmpty()) {
            throw new IllegalArgumentException(clips + " holds no clips and no other array; save one or more");
        }
        if (names.size() != 1 && !names.contains(CLIPS)) {
            throw new IllegalArgumentException(clips + " holds " + names.size()
                    + " arrays, none of them called clips; save the clips alone or under that name");
        }
        return names.contains(CLIPS) ? CLIPS : names.getFirst();
    }

    /** A clip alone, such as extract writes them, is a batch of one. */
    private static ArrayData batch(ArrayData array, ClipShape input) {
        long[] alone = {input.frames(), input.height(), input.width(), input.channels()};
        return Arrays.equals(array.shape(), alone)
                ? new ArrayData(
                        array.name(),
                        array.type(),
                        new long[] {1, alone[0], alone[1], alone[2], alone[3]},
                        array.data())
                : array;
    }

    private void requireFit(ArrayData array, ClipShape input) {
        long[] shape = array.shape();
        long[] needed = {input.frames(), input.height(), input.width(), input.channels()};
        String given = array.type().name().toLowerCase(Locale.ROOT) + Arrays.toString(shape);
        if (array.count() == 0 && (shape.length < 5 || shape[0] == 0)) {
            throw new IllegalArgumentException(clips + " is " + given + ", which holds no clips; save one or more");
        }
        boolean fits = shape.length == 5 && Arrays.equals(Arrays.copyOfRange(shape, 1, 5), needed);
        if (!fits && shape.length == 4) {
            throw new IllegalArgumentException(clips + " is " + given + ", one clip, but the student takes clips of ["
                    + needed[0] + ", " + needed[1] + ", " + needed[2] + ", " + needed[3]
                    + "] [frames, height, width, channels]; sample and resize the clip to that size");
        }
        if (!fits && shape.length == 5 && Arrays.equals(sorted(Arrays.copyOfRange(shape, 1, 5)), sorted(needed))) {
            throw new IllegalArgumentException(
                    clips + " is " + given + " but the student takes " + "[clips, frames, height,"
                            + " width, channels] = [clips, " + needed[0] + ", " + needed[1] + ", " + needed[2] + ", "
                            + needed[3]
                            + "]; bring the axes into this order (numpy.moveaxis)");
        }
        if (!fits) {
            throw new IllegalArgumentException(
                    clips + " is " + given + " but the student takes u8 or f32 [clips, " + needed[0] + ", "
                            + needed[1]
                            + ", " + needed[2] + ", " + needed[3] + "]; sample and resize the clips to that size");
        }
        if (!TYPES.contains(array.type())) {
            throw new IllegalArgumentException(clips + " is " + given
                    + " but the student takes u8 or f32; convert to u8 or f32 (f16 and f64 do too)");
        }
    }

    private static long[] sorted(long[] sizes) {
        long[] sorted = sizes.clone();
        Arrays.sort(sorted);
        return sorted;
    }

    private Tensor timed(ArrayData array, int from, int count) {
        long begun = System.nanoTime();
        Tensor batch = batch(array, from, count);
        if (array.data().isMapped()) {
            array.data().unload(); // or all that was read would count as memory of this process
        }
        preparing += System.nanoTime() - begun;
        return batch;
    }

    /** Some of the clips; floats of any width become f32. */
    private Tensor batch(ArrayData array, int from, int count) {
        long[] shape = array.shape();
        long each = shape[1] * shape[2] * shape[3] * shape[4];
        DType type = array.type() == StoredType.U8 ? DType.U8 : DType.F32;
        Tensor input = Tensor.empty(Device.cpu(), type, Shape.of(count, shape[1], shape[2], shape[3], shape[4]));
        if (type == DType.U8) {
            MemorySegment.copy(array.data(), from * each, input.segment(), 0, count * each);
            return input;
        }
        for (long i = 0; i < count * each; i++) {
            long at = from * each + i;
            double stored = switch (array.type()) {
                case F16 -> Float.float16ToFloat(array.data().getAtIndex(F16, at));
                case BF16 -> Float.intBitsToFloat(array.data().getAtIndex(F16, at) << 16);
                case F64 -> array.data().getAtIndex(F64, at);
                default -> array.data().getAtIndex(F32, at);
            };
            float value = (float) stored;
            if (!Float.isFinite(value)) {
                throw new IllegalArgumentException(clips + " holds " + stored + " in clip " + (from + i / each)
                        + " (counted from 0)" + (Double.isFinite(stored) ? ", which is beyond f32" : "")
                        + "; pixels must be finite, from 0 to 255: mend the clip or leave it out");
            }
            if (shape[4] == RGB) {
                low = Math.min(low, value);
                high = Math.max(high, value);
            }
            input.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, value);
        }
        return input;
    }

    private ArrayData compute(Predictor predictor, ArrayData array) {
        long[] shape = array.shape();
        int count = Math.toIntExact(shape[0]);
        int size = predictor.student().featureWidth();
        int ensemble = predictor.masking().ensemble();
        float[] features = new float[Math.multiplyExact(Math.multiplyExact(ensemble, count), size)];
        try (Task task = progress.context(student.compute()).task(FEATURES, Task.Unit.CLIPS, count)) {
            long begun = System.nanoTime();
            FeatureExtraction.extract(
                    predictor,
                    count,
                    BATCH,
                    (from, batch) -> timed(array, from, batch),
                    (pass, clip, values, at, width) -> {
                        int to = (pass * count + clip) * width;
                        for (int i = 0; i < width; i++) {
                            requireFinite(clip, values[at + i]);
                            features[to + i] = (float) values[at + i];
                        }
                    },
                    task::advance);
            computing = System.nanoTime() - begun - preparing;
        }
        return ArrayData.of(FEATURES, features, ensemble, count, size);
    }

    private static void requireFinite(int clip, double number) {
        if (!Double.isFinite(number)) {
            throw new IllegalArgumentException("the student gives clip " + clip + " (counted from 0) the feature "
                    + number + "; check the student's weights");
        }
    }
}
