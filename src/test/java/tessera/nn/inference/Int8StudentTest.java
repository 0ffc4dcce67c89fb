package tessera.nn.inference;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.cpu.scalar.PlainDevice;
import tessera.nn.Checkpoint;
import tessera.nn.ModelConfig;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaeNames;
import tessera.tensor.PackedLinear;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;
import tessera.tensor.io.StoredType;

/** Students whose linear layers are on bytes: how near they are to f32, and their files. */
class Int8StudentTest {
    private static final Patches PIXELS =
            new Patches(3, 2, 4, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2});
    private static final VideoMaeConfig VIDEO_MAE =
            new VideoMaeConfig(PIXELS, 4, 32, 32, 96, 4, 6, 16, 1, 2, 1e-5, 1e-5, true, false);
    private static final SwinConfig SWIN =
            new SwinConfig(PIXELS, 4, 32, 32, 32, List.of(2, 2), List.of(2, 4), new TokenGrid(2, 4, 4), 1e-5);
    private static final double[] MEAN = {.485, .456, .406};
    private static final double[] STD = {.229, .224, .225};
    private static final Masking MASKING = Masking.of(.5, 2);

    @TempDir
    private Path folder;

    private Scope scope;
    private Student student;
    private Student swin;

    @BeforeEach
    void open() {
        scope = Scope.open();
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        new VideoMaeClassifier(params, VIDEO_MAE, 0).close();
        student = Student.of(params.all(), VIDEO_MAE, Device.cpu());
        Params ofSwin = Params.random(Device.cpu(), DType.F32, 6);
        new SwinModel(ofSwin, SWIN, 0).close();
        swin = Student.of(ofSwin.all(), SWIN, Device.cpu());
    }

    @AfterEach
    void close() {
        student.close();
        swin.close();
        scope.close();
    }

    private static Tensor clips(int batch) {
        byte[] pixels = new byte[batch * 4 * 32 * 32 * 3];
        new Random(3).nextBytes(pixels);
        // Clips that differ in more than noise.
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) ((pixels[i] & 127) + 127.0 * i / pixels.length);
        }
        return Tensor.of(pixels, batch, 4, 32, 32, 3);
    }

    private static Head head(int width) {
        double[][] weight = new double[5][width];
        Random random = new Random(4);
        for (double[] row : weight) {
            for (int j = 0; j < row.length; j++) {
                row[j] = random.nextGaussian();
            }
        }
        return Head.of(weight, new double[5], List.of("a", "b", "c", "d", "e"));
    }

    private static double cosine(Tensor a, Tensor b) {
        float[] x = a.toFloats();
        float[] y = b.toFloats();
        int width = (int) a.size(-1);
        double least = 1;
        for (int row = 0; row < x.length; row += width) {
            double dot = 0;
            double xx = 0;
            double yy = 0;
            for (int i = row; i < row + width; i++) {
                dot += (double) x[i] * y[i];
                xx += (double) x[i] * x[i];
                yy += (double) y[i] * y[i];
            }
            least = Math.min(least, dot / Math.sqrt(xx * yy));
        }
        return least;
    }

    private static void agree(Student exact, Masking masking, double cosine) {
        Tensor clips = clips(16);
        try (Student bytes = exact.quantize();
                Student fixed = exact.quantize(List.of(clips), masking, 2)) {
            assertTrue(bytes.isInt8() && !exact.isInt8());
            Tensor features = exact.features(clips, masking, 2);
            double dynamic = cosine(bytes.features(clips, masking, 2), features);
            double calibrated = cosine(fixed.features(clips, masking, 2), features);
            assertTrue(dynamic > cosine && dynamic < 1, "cosine with rows looked at: " + dynamic);
            assertTrue(calibrated > cosine && calibrated < 1, "cosine with calibrated ranges: " + calibrated);
            Head head = head(exact.config().featureWidth());
            float[] a = exact.withHead(head).predict(clips, masking, 2).toFloats();
            float[] b = bytes.withHead(head).predict(clips, masking, 2).toFloats();
            int same = 0;
            for (int i = 0; i < 16; i++) {
                same += best(a, i) == best(b, i) ? 1 : 0;
            }
            assertTrue(same >= 15, same + " of 16 clips have the same class");
        }
    }

    private static int best(float[] p, int row) {
        int best = 0;
        for (int i = 1; i < 5; i++) {
            best = p[row * 5 + i] > p[row * 5 + best] ? i : best;
        }
        return best;
    }

    @Test
    void aVideoMaeAgreesWithItself() {
        agree(student, MASKING, .998);
    }

    @Test
    void aSwinAgreesWithItself() {
        agree(swin, Masking.none(), .998);
    }

    @Test
    void aPublishedCodesClassifierGivesItsLogits() {
        Golden golden = Golden.open("hf-videomae-classify");
        VideoMaeConfig config = new VideoMaeConfig(
                new Patches(3, 2, 8, 1, MEAN, STD), 8, 32, 32, 64, 2, 4, 32, 1, 2, 1e-6, 1e-5, false, true);
        Map<String, Tensor> weights = VideoMaeNames.translate(GoldenTensors.below(golden, "param.", DType.F32));
        Tensor weight = requireNonNull(weights.remove("head.weight"));
        Tensor bias = requireNonNull(weights.remove("head.bias"));
        List<String> labels = IntStream.range(0, 10).mapToObj(i -> "class " + i).toList();
        Tensor clips = GoldenTensors.tensor(golden, "input.pixel_values_BTCHW", DType.F32, Device.cpu())
                .mul(Tensor.of(new float[] {.229f, .224f, .225f}, 3, 1, 1))
                .add(Tensor.of(new float[] {.485f, .456f, .406f}, 3, 1, 1))
                .permute(0, 1, 3, 4, 2)
                .contiguous();
        try (Student exact = Student.of(weights, config, Device.cpu());
                Student bytes = exact.quantize()) {
            Student headed = bytes.withHead(Head.of("action", weight, bias, labels, null));
            GoldenTensors.close(
                    headed.logits(clips, Masking.none(), 1), golden.doubles("out.logits"), .03, "logits on bytes");
        }
    }

    private void returns(Student exact, ModelConfig config, Masking masking, boolean calibrated) throws IOException {
        Path plain = folder.resolve("plain.safetensors");
        Path file = folder.resolve("bytes.safetensors");
        Tensor clips = clips(2);
        Student headed = exact.withHead(head(config.featureWidth()));
        headed.save(plain);
        try (Student bytes = calibrated ? headed.quantize(List.of(clips), masking, 1) : headed.quantize()) {
            bytes.save(file);
            assertTrue(Files.size(file) < .45 * Files.size(plain), Files.size(file) + " of " + Files.size(plain));
            try (Student read = Student.load(file, Device.cpu());
                    Student same = Student.load(plain, Device.cpu())) {
                assertTrue(read.isInt8() && !same.isInt8());
                assertEquals(config.toMetadata(), read.config().toMetadata());
                assertEquals(bytes.checksum(), read.checksum());
                assertEquals(exact.checksum(), same.checksum());
                assertArrayEquals(
                        bytes.features(clips, masking, 3).toFloats(),
                        read.features(clips, masking, 3).toFloats());
                assertArrayEquals(
                        bytes.predict(clips, masking, 3).toFloats(),
                        read.predict(clips, masking, 3).toFloats());
                Path again = folder.resolve("again.safetensors");
                read.save(again);
                assertArrayEquals(Files.readAllBytes(file), Files.readAllBytes(again));
            }
        }
    }

    @Test
    void aFileGivesTheSameStudent() throws IOException {
        returns(student, VIDEO_MAE, MASKING, false);
        returns(swin, SWIN, Masking.none(), false);
    }

    @Test
    void calibratedRangesAreInTheFile() throws IOException {
        returns(student, VIDEO_MAE, MASKING, true);
        returns(swin, SWIN, Masking.none(), true);
    }

    @Test
    void weightsInAFileAreBytesWithScales() {
        Path file = folder.resolve("bytes.safetensors");
        try (Student bytes = student.quantize()) {
            bytes.save(file);
        }
        String name = "encoder.blocks.1.mlp.fc1.weight";
        try (SafetensorsFile stored = Safetensors.open(file);
                Checkpoint read = Checkpoint.read(file)) {
            assertEquals(StoredType.I8, stored.entry(name).type());
            assertEquals(
                    StoredType.I8,
                    stored.entry("encoder.patch_embed.proj.weight").type());
            assertEquals(
                    StoredType.I8,
                    stored.entry("encoder.blocks.0.attn.qkv.weight").type());
            assertEquals(
                    StoredType.F32,
                    stored.entry("encoder.blocks.0.norm1.weight").type());
            assertEquals("int8", stored.metadata().get("tessera.precision"));
            assertEquals(student.checksum(), stored.metadata().get("tessera.quantizedFrom"));
            int[] q = stored.ints(name);
            float[] scales = stored.floats(name + ".scale");
            float[] values = requireNonNull(read.tensors().get(name)).toFloats();
            assertFalse(read.tensors().containsKey(name + ".scale"));
            assertEquals(384, scales.length);
            for (int i = 0; i < q.length; i++) {
                assertEquals(q[i] * scales[i / 96], values[i], "weight " + i);
            }
        }
    }

    @Test
    void headsOfTheStudentItWasMadeFromAreTaken() {
        Path file = folder.resolve("head.safetensors");
        Head fitted = head(96).fittedOn(student.checksum());
        fitted.save(file);
        try (Student bytes = student.quantize()) {
            assertEquals(5, bytes.withHead(Head.load(file)).labels().size());
            assertThrows(IllegalArgumentException.class, () -> swin.withHead(Head.load(file)));
        }
    }

    private static String refusal(Runnable call) {
        return requireNonNull(
                assertThrows(IllegalArgumentException.class, call::run).getMessage());
    }

    @Test
    void misuseIsRefusedWithTheReason() {
        Path file = folder.resolve("bytes.safetensors");
        try (Student bytes = student.quantize()) {
            bytes.save(file);
            assertEquals(
                    "the student's weights are int8 already; pass the student that it was made from",
                    refusal(bytes::quantize));
            assertEquals(
                    "the student's weights are int8 already; pass the student that it was made from",
                    refusal(() -> bytes.quantize(List.of(clips(1)), MASKING, 1)));
        }
        assertEquals(
                "no clips given to calibrate on; pass one or more, or none at all",
                refusal(() -> student.quantize(List.of(), MASKING, 1)));
        assertEquals(
                "the student's weights are int8 and bf16 is asked for; pass f32, in which everything but its linear"
                        + " layers is computed, or the student that it was made from",
                refusal(() -> Student.load(file, Device.cpu(), DType.BF16)));
        float[] bad = new float[4 * 32 * 32 * 3];
        bad[100] = Float.NaN;
        assertTrue(refusal(() -> student.quantize(List.of(Tensor.of(bad).reshape(1, 4, 32, 32, 3)), Masking.none(), 1))
                .startsWith("int8: the input of encoder.patch_embed.proj.weight holds NaN; calibrate on clips"));
    }

    private Path broken(Consumer<Map<String, ArrayData>> arrays, Map<String, String> entries) {
        Path file = folder.resolve("bytes.safetensors");
        Path broken = folder.resolve("broken.safetensors");
        try (Student bytes = student.quantize()) {
            bytes.save(file);
        }
        try (SafetensorsFile stored = Safetensors.open(file)) {
            Map<String, ArrayData> all = new LinkedHashMap<>();
            stored.names().forEach(name -> all.put(name, stored.entry(name)));
            arrays.accept(all);
            Map<String, String> metadata = new LinkedHashMap<>(stored.metadata());
            metadata.putAll(entries);
            Safetensors.write(broken, List.copyOf(all.values()), metadata);
        }
        return broken;
    }

    @Test
    void brokenFilesAreRefusedWithTheReason() {
        String weight = "encoder.blocks.0.attn.proj.weight";
        String scale = weight + ".scale";
        String missing = refusal(() -> Student.load(broken(all -> all.remove(scale), Map.of()), Device.cpu()));
        assertTrue(
                missing.endsWith(weight + " is int8 but " + scale + " is missing; use the file as it was written"),
                missing);
        String few = refusal(() -> Student.load(
                broken(all -> all.put(scale, ArrayData.of(scale, new float[3], 3)), Map.of()), Device.cpu()));
        assertTrue(few.contains(weight + " is int8[96, 96] but has 3 scales"), few);
        float[] scales = new float[96];
        scales[5] = Float.NaN;
        String nan = refusal(() ->
                Student.load(broken(all -> all.put(scale, ArrayData.of(scale, scales, 96)), Map.of()), Device.cpu()));
        assertTrue(nan.contains(weight + " has the scale NaN"), nan);
        String precision =
                refusal(() -> Student.load(broken(all -> {}, Map.of("tessera.precision", "int4")), Device.cpu()));
        assertTrue(precision.contains("precision is 'int4' but known is int8"), precision);
        for (String ranges : new String[] {"", "[]", "{\"a\": [1, 2]}", "{\"a\": [-1]}", "{\"a\": [-1, \"x\"]}"}) {
            String message =
                    refusal(() -> Student.load(broken(all -> {}, Map.of("tessera.inputRanges", ranges)), Device.cpu()));
            assertTrue(message.contains("tessera.inputRanges is no JSON object"), message);
        }
    }

    @Test
    void roundedWeightsAreWhatIsComputedWith() {
        try (Student bytes = student.quantize();
                Student again = Student.of(rounded(bytes), VIDEO_MAE, Device.cpu())) {
            assertEquals(bytes.checksum(), again.checksum());
            double cosine = cosine(bytes.features(clips(2), MASKING, 1), again.features(clips(2), MASKING, 1));
            double before = cosine(bytes.features(clips(2), MASKING, 1), student.features(clips(2), MASKING, 1));
            assertTrue(cosine > before, "cosine " + cosine + ", of the student before " + before);
        }
    }

    @Test
    void aCpuWithoutTheInstructionsComputesWithTheRoundedWeightsInF32() {
        Device plain = PlainDevice.withoutBf16();
        Tensor clips = clips(2);
        try (Student bytes = student.quantize();
                Student same = Student.of(rounded(bytes), VIDEO_MAE, plain);
                Student read = Student.load(folder.resolve("bytes.safetensors"), plain)) {
            assertTrue(read.isInt8());
            assertArrayEquals(
                    same.features(clips, MASKING, 1).toFloats(),
                    read.features(clips, MASKING, 1).toFloats());
        }
        Tensor weight = Tensor.full(plain, DType.F32, Shape.of(2, 2), 1);
        assertEquals(
                "int8: the device cpu multiplies no bytes faster than floats; compute in f32, or on an x86 CPU with AVX2, VNNI or AMX",
                refusal(() -> PackedLinear.int8(weight, null, null)));
    }

    private Map<String, Tensor> rounded(Student bytes) {
        Path file = folder.resolve("bytes.safetensors");
        bytes.save(file);
        Map<String, Tensor> weights = new LinkedHashMap<>();
        try (Checkpoint read = Checkpoint.read(file)) {
            read.tensors().forEach((name, tensor) -> {
                Tensor copy = Tensor.empty(
                        Device.cpu(), DType.F32, Shape.of(tensor.shape().toArray()));
                copy.copyFrom(tensor);
                weights.put(name, copy);
            });
        }
        return weights;
    }
}
