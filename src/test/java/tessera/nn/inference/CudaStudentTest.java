package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.cpu.scalar.PlainDevice;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.nn.Params;
import tessera.nn.Pooling;
import tessera.nn.TokenReduction;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TestDevices;
import tessera.tensor.TokenMask;

/** Students on a GPU against the CPU, call by call and as recorded graphs. */
@Tag(FakeCuda.TAG)
class CudaStudentTest {
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 4, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            4,
            16,
            16,
            32,
            2,
            2,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);
    private static final String BYTES = "tessera.cuda.int8";
    private static final List<String> LABELS = List.of("cut", "pour", "wipe");

    private Device gpu;
    private Scope scope;
    private Params params;
    private Student reference;

    @BeforeEach
    void open() {
        Assumptions.assumeFalse(
                TestDevices.cuda().isEmpty(), TestDevices.absent().toString());
        gpu = TestDevices.cuda().getFirst();
        scope = Scope.open();
        params = Params.random(Device.cpu(), DType.F32, 5);
        new VideoMaeClassifier(params, CONFIG, 0);
        reference = Student.of(params.all(), CONFIG, Device.cpu());
    }

    @AfterEach
    void close() {
        if (scope != null) {
            reference.close();
            scope.close();
        }
    }

    private static byte[] pixels(int batch, long seed) {
        byte[] pixels = new byte[batch * 4 * 16 * 16 * 3];
        new Random(seed).nextBytes(pixels);
        return pixels;
    }

    private static Tensor clips(int batch, long seed) {
        return Tensor.of(pixels(batch, seed), batch, 4, 16, 16, 3);
    }

    private static Head head() {
        double[][] weight = new double[3][32];
        Random random = new Random(8);
        for (double[] row : weight) {
            Arrays.setAll(row, i -> random.nextGaussian());
        }
        return Head.of(weight, new double[] {.1, -.2, 0}, LABELS);
    }

    private static double tolerance(DType compute) {
        return compute == DType.F32 ? 1e-4 : 3e-2;
    }

    @ParameterizedTest
    @CsvSource({"F32,0,1", "F32,.5,2", "F32,.75,3", "BF16,0,1", "BF16,.75,2"})
    void featuresEqualTheCpus(DType compute, double maskRatio, int ensemble) {
        try (Student student = Student.of(params.all(), CONFIG, gpu, compute)) {
            Tensor clips = clips(3, 1);
            float[] expected = reference
                    .features(clips, Masking.of(maskRatio, ensemble), 9)
                    .toFloats();
            float[] actual =
                    student.features(clips, Masking.of(maskRatio, ensemble), 9).toFloats();
            Close.relative(actual, expected, tolerance(compute), "features");
        }
    }

    /** Merging is matched on the host by what the GPU computed; in bf16 other tokens may be the most alike ones. */
    @ParameterizedTest
    @CsvSource({"F32,merging,0", "F32,merging,.5", "F32,runs,0", "F32,runs,.5", "BF16,runs,.5"})
    void reducedFeaturesEqualTheCpus(DType compute, String how, double maskRatio) {
        TokenReduction reduction = how.equals("merging") ? TokenReduction.merging(3) : TokenReduction.runLengths(0);
        Masking masking = Masking.of(maskRatio, 2).withReduction(reduction);
        byte[] still = pixels(3, 6);
        System.arraycopy(still, 0, still, 2 * 16 * 16 * 3, 2 * 16 * 16 * 3); // slot 1 of the first clip is its slot 0
        Tensor clips = Tensor.of(still, 3, 4, 16, 16, 3);
        try (Student student = Student.of(params.all(), CONFIG, gpu, compute)) {
            float[] expected = reference.features(clips, masking, 9).toFloats();
            float[] actual = student.features(clips, masking, 9).toFloats();
            Close.relative(actual, expected, tolerance(compute), "features");
        }
    }

    /** Pooling consists of operations alone, so a recording holds it; masks of which nobody knows that they are tubes are looked at. */
    @ParameterizedTest
    @CsvSource({"F32,0", "F32,.5", "BF16,.75"})
    void pooledFeaturesEqualTheCpusAndAreRecorded(DType compute, double maskRatio) {
        Pooling pooling = Pooling.of("mean+motion:2+grid:2@1");
        Masking masking = Masking.of(maskRatio, 2);
        MaskStrategy own = new MaskStrategy() {
            @Override
            public TokenMask draw(MaskContext context) {
                return MaskStrategy.pairs().draw(context);
            }

            @Override
            public boolean recordable() {
                return true;
            }
        };
        try (Student plain = Student.of(params.all(), CONFIG, gpu, compute);
                Student student = plain.pooled(pooling);
                Student expecting = reference.pooled(pooling);
                Student.Session session = student.session(3, masking);
                Student.Session looking = student.session(3, masking.withStrategy(own))) {
            for (int call = 0; call < 4; call++) {
                Tensor clips = clips(3, call);
                float[] expected = expecting.features(clips, masking, 9 + call).toFloats();
                for (Student.Session one : List.of(session, looking)) {
                    MemorySegment.copy(
                            clips.segment(), 0, one.input(), 0, one.input().byteSize());
                    Close.relative(one.features(9 + call), expected, tolerance(compute), "call " + call);
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void aSessionGivesWhatSingleCallsGiveForEverySeedAndClip(DType compute) {
        Head head = head();
        try (Student plain = Student.of(params.all(), CONFIG, gpu, compute);
                Student student = plain.withHead(head);
                Student.Session session = student.session(2, Masking.of(.75, 2))) {
            for (long call = 0; call < 4; call++) {
                byte[] pixels = pixels(2, call);
                MemorySegment.copy(MemorySegment.ofArray(pixels), 0, session.input(), 0, pixels.length);
                Tensor clips = clips(2, call);
                long seed = 40 - call;
                assertArrayEquals(
                        student.predict(clips, Masking.of(.75, 2), seed).toFloats(), session.predict(seed));
                assertArrayEquals(
                        student.features(clips, Masking.of(.75, 2), seed).toFloats(), session.features(seed));
            }
        }
    }

    /** The graph copies clips and results; beside it there are the seed's kernel and the wait. */
    @Test
    void aCallOfASessionCallsTheDriverThreeTimes() {
        Assumptions.assumeTrue(FakeCuda.present(), FakeCuda::absence);
        try (Student student = Student.of(params.all(), CONFIG, gpu);
                Student.Session session = student.session(1, Masking.of(.75, 1));
                Student.Session unmasked = student.session(1, Masking.none())) {
            for (Student.Session one : List.of(session, unmasked)) {
                one.features(1);
                one.features(2);
                assertEquals(
                        (one == session ? "cuLaunchKernel " : "") + "cuGraphLaunch cuStreamSynchronize",
                        FakeCuda.callsOf(() -> one.features(3)));
            }
        }
    }

    @Test
    void otherSeedsSeeOtherTokens() {
        try (Student student = Student.of(params.all(), CONFIG, gpu);
                Student.Session session = student.session(1, Masking.of(.75, 1))) {
            byte[] pixels = pixels(1, 3);
            MemorySegment.copy(MemorySegment.ofArray(pixels), 0, session.input(), 0, pixels.length);
            float[] first = session.features(1);
            assertFalse(Arrays.equals(first, session.features(2)));
            assertArrayEquals(first, session.features(1));
        }
    }

    @Test
    void closingFreesAllMemory() {
        gpu.trim();
        long before = gpu.memory().live();
        try (Student student = Student.of(params.all(), CONFIG, gpu);
                Student.Session session = student.session(2, Masking.of(.5, 2))) {
            session.features(1);
            assertTrue(gpu.memory().live() > before);
        }
        assertEquals(before, gpu.memory().live());
    }

    /** With its rounded weights in either type, and where there are kernels for it, and they are asked for, on bytes. */
    @ParameterizedTest
    @CsvSource({"F32,''", "F32,own", "BF16,''", "BF16,own", "BF16,e4m3"})
    void aStudentOnBytesComputesWithItsRoundedWeights(DType compute, String kernels, @TempDir Path folder) {
        Masking masking = Masking.of(.5, 2);
        Path file = folder.resolve("bytes.safetensors");
        System.setProperty(BYTES, kernels);
        try (Student bytes = reference.quantize()) {
            bytes.save(file);
            boolean own = !kernels.isEmpty() && gpu.architecture().equals("sm_90");
            assertEquals(own, gpu.int8().isPresent());
            try (Student student = Student.load(file, gpu, compute);
                    Student.Session session = student.session(3, masking)) {
                assertTrue(student.isInt8());
                Tensor clips = clips(3, 1);
                float[] expected = bytes.features(clips, masking, 9).toFloats();
                float[] actual = student.features(clips, masking, 9).toFloats();
                Close.relative(actual, expected, 5e-2, "features");
                MemorySegment.copy(
                        clips.segment(), 0, session.input(), 0, session.input().byteSize());
                assertArrayEquals(actual, session.features(9));
                Path again = folder.resolve("again.safetensors");
                student.save(again);
                assertArrayEquals(Files.readAllBytes(file), Files.readAllBytes(again));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } finally {
            System.clearProperty(BYTES);
        }
    }

    @Test
    void studentsAreQuantisedOnCpus() {
        try (Student wide = Student.of(params.all(), CONFIG, gpu)) {
            assertEquals(
                    "a student is quantised on a CPU but this one is on " + gpu
                            + "; load it on the CPU, quantise and save it, and load that file on " + gpu,
                    assertThrows(IllegalArgumentException.class, wide::quantize).getMessage());
        }
    }

    @Test
    void aCpuWithoutItsInstructionsDoesNotComputeInBf16() {
        Device plain = PlainDevice.withoutBf16();
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> Student.of(params.all(), CONFIG, plain, DType.BF16));
        assertEquals(
                "a model of f32 parameters cannot compute in bf16 on cpu; pass f32, or bf16 on a GPU or a CPU with AVX512_BF16"
                        + " or AMX",
                e.getMessage());
    }
}
