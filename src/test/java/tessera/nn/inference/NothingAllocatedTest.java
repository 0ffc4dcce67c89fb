package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.nn.videomae.VideoMaeConfig;

/** Recorded calls of a session allocate next to nothing on the Java heap, on any of their threads. */
class NothingAllocatedTest {
    /**
     * Bytes a call: 48 of the seed's {@code Variables}, 72 of a mask's {@code RandomStream} and the loop that draws it, and some for what the
     * compiler leaves of the Vector API's masks.
     */
    private static final double MOST = 256;

    private static final int CALLS = 100;
    /** The Vector API makes objects until its loops are compiled, so calls are made until they are. */
    private static final int ROUNDS = 1000;

    /** Of tokens, a whole number of vectors as in models that are used. */
    private static final int WIDTH = 64;

    /** In a process of its own, whose compiler has seen nothing else. */
    @Test
    void recordedCallsAllocateNothing(@TempDir Path folder) throws Exception {
        List<String> options = List.of("--add-modules", "jdk.incubator.vector", "-Xmx1g");
        String told = ChildJava.run(folder, options, Map.of(), 900, Calls.class, folder.toString());
        List<String> lines =
                told.lines().filter(line -> line.endsWith(" bytes a call")).toList();
        assertTrue(lines.size() >= 6, told);
        for (String line : lines) {
            String[] words = line.split(" ", -1);
            double bytes = Double.parseDouble(words[words.length - 4]);
            assertTrue(bytes <= MOST, line + ", of which " + MOST + " are explained");
            assertFalse(bytes < 0, line);
        }
    }

    /** Prints what each kind of call allocates. */
    static final class Calls {
        private final String name;
        private final Student.Session session;
        private final float[] features;
        /** Bytes of the round with the fewest. */
        private double least = Double.POSITIVE_INFINITY;

        private Calls(String name, Student student, Masking masking) {
            this.name = name;
            this.session = student.session(1, masking);
            this.features = new float[student.featureWidth()];
            byte[] pixels = new byte[(int) session.input().byteSize()];
            new Random(3).nextBytes(pixels);
            session.input().asByteBuffer().put(pixels);
        }

        public static void main(String[] arguments) {
            VideoMaeConfig config =
                    new VideoMaeConfig(Toy.CONFIG.patches(), 4, 16, 16, WIDTH, 2, 4, 16, 1, 2, 1e-5, 1e-5, true, false);
            Path file = Toy.student(Path.of(arguments[0]).resolve("student.safetensors"), config, 5);
            List<Calls> all = new ArrayList<>();
            for (int threads = 1; threads <= 2; threads++) {
                Device device = Device.cpu(threads);
                for (DType precision : List.of(DType.F32, DType.BF16)) {
                    if (precision == DType.BF16 && device.bf16().isEmpty()) {
                        continue;
                    }
                    String name = precision + ", " + threads + " threads, ";
                    Student videoMae = Student.load(file, device, precision);
                    add(all, name + "VideoMAE", videoMae);
                    all.add(new Calls(name + "VideoMAE masked", videoMae, Masking.of(.5, 1)));
                }
                if (device.int8().isPresent()) {
                    Student bytes = Student.load(file, device).quantize();
                    add(all, "int8, " + threads + " threads, VideoMAE", bytes);
                    all.add(new Calls("int8, " + threads + " threads, VideoMAE masked", bytes, Masking.of(.5, 1)));
                    add(all, "int8, " + threads + " threads, Swin", swin(device).quantize());
                }
                add(all, "f32, " + threads + " threads, Swin", swin(device));
            }
            for (int round = 0; round < ROUNDS && !all.stream().allMatch(calls -> calls.least <= MOST); round++) {
                all.forEach(Calls::round);
            }
            all.forEach(calls -> System.out.println(calls.name + " " + calls.least + " bytes a call"));
        }

        private static void add(List<Calls> all, String name, Student student) {
            all.add(new Calls(name, student, Masking.none()));
        }

        private static Student swin(Device device) {
            SwinConfig config = new SwinConfig(
                    Toy.CONFIG.patches(), 4, 32, 32, WIDTH, List.of(2, 2), List.of(2, 4), new TokenGrid(2, 4, 4), 1e-5);
            Params params = Params.random(device, DType.F32, 6);
            new SwinModel(params, config, 0).close();
            return Student.of(params.all(), config, device);
        }

        private void round() {
            if (least <= MOST) {
                return;
            }
            ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
            session.features(0, features);
            long own = Thread.currentThread().threadId();
            long[] ids = Thread.getAllStackTraces().keySet().stream()
                    .filter(thread -> thread.getName().startsWith("tessera-worker"))
                    .mapToLong(Thread::threadId)
                    .toArray();
            long[] before = threads.getThreadAllocatedBytes(ids);
            long bytes = -threads.getThreadAllocatedBytes(own);
            for (int i = 0; i < CALLS; i++) {
                session.features(i, features);
            }
            bytes += threads.getThreadAllocatedBytes(own);
            long[] after = threads.getThreadAllocatedBytes(ids);
            for (int i = 0; i < ids.length; i++) {
                bytes += after[i] - before[i];
            }
            least = Math.min(least, bytes / (double) CALLS);
        }
    }
}
