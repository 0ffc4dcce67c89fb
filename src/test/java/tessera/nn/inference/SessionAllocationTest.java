package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.ChildJava;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskStrategy;
import tessera.nn.videomae.VideoMaeConfig;

/** What the calls of a session leave behind on the Java heap, and that recorded calls answer as unrecorded ones do. */
class SessionAllocationTest {
    /** What tensors and operations of a call of a student of two blocks take, which a recorded one has none of. */
    private static final long SPARED = 8_000;

    private static final int WARM = 3;
    private static final int CALLS = 1;

    @TempDir
    private Path folder;

    /** Tubes, by a strategy of one's own that is not recorded. */
    private static Masking unrecorded(double ratio) {
        MaskStrategy tubes = MaskStrategy.tubes();
        return Masking.of(ratio, 1).withStrategy(context -> tubes.draw(context));
    }

    private Student student(String precision) {
        return student(precision, folder);
    }

    private static Student student(String precision, Path folder) {
        Path file = Toy.student(folder.resolve("student.safetensors"), Toy.CONFIG, 5);
        // One thread: allocations of the calling thread are all there are.
        Device device = Device.cpu(1);
        assumeTrue(!precision.equals("bf16") || device.bf16().isPresent(), "this processor multiplies no bf16");
        assumeTrue(!precision.equals("int8") || device.int8().isPresent(), "this processor multiplies no bytes");
        Student loaded = Student.load(file, device, precision.equals("bf16") ? DType.BF16 : DType.F32);
        Student student = precision.equals("int8") ? loaded.quantize() : loaded;
        return student.withHead(Toy.head(2, "pour", "stir"));
    }

    private static void fill(Student.Session session) {
        byte[] pixels = new byte[(int) session.input().byteSize()];
        new Random(3).nextBytes(pixels);
        session.input().asByteBuffer().put(pixels);
    }

    /**
     * The kernels of both sessions are the same, and so is what they allocate, in a process without a compiler, which would spare some
     * objects of either sooner or later.
     */
    @ParameterizedTest
    @CsvSource({"f32, 0", "f32, .5", "int8, .5", "bf16, .5"})
    void recordedCallsAllocateNeitherTensorsNorOperations(String precision, double ratio) throws Exception {
        student(precision).close(); // passes over what this processor does not have
        String told = ChildJava.run(
                folder,
                List.of("-Xint", "--add-modules", "jdk.incubator.vector"),
                Map.of(),
                300,
                Calls.class,
                precision,
                String.valueOf(ratio),
                folder.toString());
        String[] bytes =
                told.strip().substring(told.strip().lastIndexOf('\n') + 1).split(" ", -1);
        long recorded = Long.parseLong(bytes[0]);
        long other = Long.parseLong(bytes[1]);
        assertTrue(recorded + SPARED <= other, recorded + " bytes a call, of " + other + " unrecorded");
    }

    /** Prints the bytes of a recorded call and of another. */
    static final class Calls {
        private Calls() {}

        public static void main(String[] arguments) {
            double ratio = Double.parseDouble(arguments[1]);
            try (Student student = student(arguments[0], Path.of(arguments[2]));
                    Student.Session recorded = student.session(1, Masking.of(ratio, 1));
                    Student.Session other = student.session(1, unrecorded(ratio))) {
                fill(recorded);
                fill(other);
                for (int i = 0; i < WARM; i++) {
                    bytesPerCall(recorded);
                    bytesPerCall(other);
                }
                System.out.println(bytesPerCall(recorded) + " " + bytesPerCall(other));
            }
        }
    }

    private static long bytesPerCall(Student.Session session) {
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        float[] probabilities = new float[2];
        float[] features = new float[24];
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < CALLS; i++) {
            session.predict(i, probabilities);
            session.features(i, features);
        }
        return (threads.getCurrentThreadAllocatedBytes() - before) / (2 * CALLS);
    }

    @ParameterizedTest
    @CsvSource({"f32", "int8", "bf16"})
    void recordedCallsAnswerAsOthersDo(String precision) {
        Student student = student(precision);
        try (Student.Session recorded = student.session(2, Masking.of(.5, 1));
                Student.Session other = student.session(2, unrecorded(.5))) {
            fill(recorded);
            fill(other);
            float[] into = new float[4];
            for (long seed : new long[] {3, 3, 8, 3, -1, 1L << 40}) {
                float[] expected = other.predict(seed);
                assertArrayEquals(expected, recorded.predict(seed), "seed " + seed);
                recorded.predict(seed, into);
                assertArrayEquals(expected, into, "seed " + seed);
                assertArrayEquals(other.features(seed), recorded.features(seed), "seed " + seed);
            }
        }
    }

    @Test
    void anArrayOfAnotherLengthAndAClosedStudentAreRefused() {
        Student student = student("f32");
        Student.Session session = student.session(1, Masking.of(.5, 1));
        for (int call = 0; call < 3; call++) {
            String message = assertThrows(IllegalArgumentException.class, () -> session.predict(1, new float[3]))
                    .getMessage();
            assertEquals(
                    "'predict' has 1 result of 2 values but an array of 3 was given; pass one of 2 values", message);
        }
        student.close();
        assertEquals(
                "the student of this session was closed; close the session before it",
                assertThrows(IllegalStateException.class, () -> session.predict(1))
                        .getMessage());
        session.close();
    }

    private static long keptBytes(Device device, Path folder, int depth) {
        VideoMaeConfig c = Toy.CONFIG;
        VideoMaeConfig deep = new VideoMaeConfig(
                c.patches(),
                c.frames(),
                c.height(),
                c.width(),
                c.embedDim(),
                depth,
                c.heads(),
                c.decoderDim(),
                c.decoderDepth(),
                c.decoderHeads(),
                c.layerNormEps(),
                c.outputNormEps(),
                c.encoderNorm(),
                c.keyBias());
        Path file = Toy.student(folder.resolve(depth + ".safetensors"), deep, 5);
        try (Student student = Student.load(file, device)) {
            long before = device.memory().live();
            long kept;
            try (Student.Session session = student.session(1, Masking.of(.5, 1))) {
                fill(session);
                for (int call = 0; call < 4; call++) {
                    session.features(call);
                }
                kept = device.memory().live() - before;
            }
            assertEquals(before, device.memory().live(), "a closed session gives everything back");
            return kept;
        }
    }

    /** The tensors of a recorded pass follow each other in the same memory, as those of others do. */
    @Test
    void aDeeperModelKeepsNoMoreMemory() {
        Device device = Device.cpu(1);
        assertEquals(keptBytes(device, folder, 2), keptBytes(device, folder, 8));
    }
}
