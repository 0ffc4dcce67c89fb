package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.ChildJava;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.nn.videomae.VideoMaeConfig;

/** Recorded calls of a session allocate nothing on the Java heap but what carries the seed, and nothing on threads that help. */
class NothingAllocatedTest {
    /** Bytes a call on the calling thread in f32, of which the seed's {@code Variables} take 48. */
    private static final double MOST = 64;
    /** In bf16 and int8, whose kernels leave some of the Vector API's objects to the compiler. */
    private static final double MOST_OF_NARROW_TYPES = 256;

    private static final int PROCESSES = 3;
    private static final int CALLS = 100;
    /** The Vector API makes objects until its loops are compiled, so calls are made until they are. */
    private static final int ROUNDS = 200;

    /** Of tokens, a whole number of vectors as in models that are used; the second is more than four of any length. */
    private static final int WIDTH = 64;

    private static final int WIDE = 192;

    /**
     * For each precision in a process of its own, whose compiler has seen nothing else. On bytes it is unlucky in one process of ten or so, and leaves
     * the exponentials of attention with an object for every vector; such a process is followed by another.
     */
    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"F32", "BF16", "U8"})
    void recordedCallsAllocateNothing(DType precision, @TempDir Path folder) throws Exception {
        Device device = Device.cpu();
        assumeTrue(precision != DType.BF16 || device.bf16().isPresent(), "this processor multiplies no bf16");
        assumeTrue(precision != DType.U8 || device.int8().isPresent(), "this processor multiplies no bytes");
        List<String> allocating = List.of();
        for (int process = 0;
                process < (precision == DType.U8 ? PROCESSES : 1) && (process == 0 || !allocating.isEmpty());
                process++) {
            List<String> options = List.of("--add-modules", "jdk.incubator.vector", "-Xmx1g");
            String told =
                    ChildJava.run(folder, options, Map.of(), 900, Calls.class, folder.toString(), precision.name());
            List<String> lines =
                    told.lines().filter(line -> line.endsWith(" by helpers")).toList();
            assertTrue(lines.size() >= 6, told);
            allocating = lines.stream()
                    .filter(line -> !isExplained(line, precision == DType.F32))
                    .toList();
        }
        assertEquals(List.of(), allocating);
    }

    private static boolean isExplained(String line, boolean exact) {
        String[] words = line.split(" ", -1);
        double own = Double.parseDouble(words[words.length - 7]);
        double helpers = Double.parseDouble(words[words.length - 3]);
        double most = exact ? MOST : MOST_OF_NARROW_TYPES;
        return own >= 0 && own <= most && helpers >= 0 && helpers <= (exact ? 0 : most);
    }

    /** Prints what each kind of call allocates. */
    static final class Calls {
        private final String name;
        private final Student.Session session;
        private final float[] features;
        /** Bytes of the round in which the calling thread, and those that help, had the fewest. */
        private double own = Double.POSITIVE_INFINITY;

        private double helpers = Double.POSITIVE_INFINITY;

        private Calls(String name, Student student, Masking masking) {
            this.name = name;
            this.session = student.session(1, masking);
            this.features = new float[student.featureWidth()];
            byte[] pixels = new byte[(int) session.input().byteSize()];
            new Random(3).nextBytes(pixels);
            session.input().asByteBuffer().put(pixels);
        }

        public static void main(String[] arguments) {
            Path folder = Path.of(arguments[0]);
            Path file = Toy.student(folder.resolve("student.safetensors"), videoMae(WIDTH), 5);
            Path wide = Toy.student(folder.resolve("wide.safetensors"), videoMae(WIDE), 5);
            List<Calls> all = new ArrayList<>();
            DType precision = DType.valueOf(arguments[1]);
            for (int threads = 1; threads <= 2; threads++) {
                Device device = Device.cpu(threads);
                String name = (precision == DType.U8 ? "int8" : precision) + ", " + threads + " threads, ";
                if (precision == DType.U8) {
                    Student bytes = Student.load(file, device).quantize();
                    add(all, name + "VideoMAE", bytes);
                    masked(all, name + "VideoMAE", bytes);
                    add(all, name + "Swin", swin(device).quantize());
                    continue;
                }
                Student videoMae = Student.load(file, device, precision);
                add(all, name + "VideoMAE", videoMae);
                masked(all, name + "VideoMAE", videoMae);
                masked(all, name + "wide VideoMAE", Student.load(wide, device, precision));
                if (precision == DType.F32) {
                    add(all, name + "Swin", swin(device));
                }
            }
            for (int round = 0; round < ROUNDS && !all.stream().allMatch(Calls::done); round++) {
                all.forEach(Calls::round);
            }
            all.forEach(calls -> System.out.println(
                    calls.name + " " + calls.own + " bytes a call, " + calls.helpers + " by helpers"));
        }

        private static VideoMaeConfig videoMae(int width) {
            return new VideoMaeConfig(Toy.CONFIG.patches(), 4, 16, 16, width, 2, 4, 16, 1, 2, 1e-5, 1e-5, true, false);
        }

        private static void add(List<Calls> all, String name, Student student) {
            all.add(new Calls(name, student, Masking.none()));
        }

        private static void masked(List<Calls> all, String name, Student student) {
            for (double ratio : new double[] {.5, .75}) {
                all.add(new Calls(name + " masked " + ratio, student, Masking.of(ratio, 1)));
            }
        }

        private boolean done() {
            return own <= MOST && helpers == 0;
        }

        private static Student swin(Device device) {
            SwinConfig config = new SwinConfig(
                    Toy.CONFIG.patches(), 4, 32, 32, WIDTH, List.of(2, 2), List.of(2, 4), new TokenGrid(2, 4, 4), 1e-5);
            Params params = Params.random(device, DType.F32, 6);
            new SwinModel(params, config, 0).close();
            return Student.of(params.all(), config, device);
        }

        private void round() {
            if (done()) {
                return;
            }
            ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
            session.features(0, features);
            long self = Thread.currentThread().threadId();
            long[] ids = Thread.getAllStackTraces().keySet().stream()
                    .filter(thread -> thread.getName().startsWith("tessera-worker"))
                    .mapToLong(Thread::threadId)
                    .toArray();
            long[] before = threads.getThreadAllocatedBytes(ids);
            long bytes = -threads.getThreadAllocatedBytes(self);
            for (int i = 0; i < CALLS; i++) {
                session.features(i, features);
            }
            bytes += threads.getThreadAllocatedBytes(self);
            long[] after = threads.getThreadAllocatedBytes(ids);
            long others = 0;
            for (int i = 0; i < ids.length; i++) {
                others += after[i] - before[i];
            }
            own = Math.min(own, bytes / (double) CALLS);
            helpers = Math.min(helpers, others / (double) CALLS);
        }
    }
}
