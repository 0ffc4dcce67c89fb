package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.report.Json;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** {@code evaluate} and {@code fewshot} on clips that do not fit into memory: the same answers, and memory of a bounded size. */
class EvaluationMemoryTest {
    private static final int CLIPS = 12;
    /** Clips have 4 frames of 32 x 32 pixels: less than three of them. */
    private static final String LITTLE = "--clip-memory=30k";

    @TempDir
    private Path folder;

    private Path data;
    private Path student;

    @BeforeEach
    void write() throws IOException {
        data = write(folder.resolve("data"), CLIPS, 32);
        student = TinyStudent.write(folder.resolve("student.safetensors"));
    }

    /** Clips of the student's three labels, four frames each. */
    private static Path write(Path root, int clips, int side) throws IOException {
        byte[] rgb = new byte[4 * side * side * 3];
        List<String> labels = List.of("open", "cut", "pour");
        for (int i = 0; i < clips; i++) {
            new Random(i).nextBytes(rgb);
            Path label = Files.createDirectories(root.resolve("rgb").resolve(labels.get(i % 3)));
            Npy.write(label.resolve("clip%03d.npy".formatted(i / 3)), ArrayData.of("rgb", rgb, 4, side, side, 3));
        }
        return root;
    }

    private Object[] evaluate(Object... more) {
        return words(List.of("evaluate", "--student", student, "--clips", data, "--views=2x1"), more);
    }

    private Object[] fewShot(Object... more) {
        return words(
                List.of(
                        "fewshot",
                        "--student",
                        student,
                        "--clips",
                        data,
                        "--ways=3",
                        "--shots=1",
                        "--queries=2",
                        "--episodes=6"),
                more);
    }

    private static Object[] words(List<Object> first, Object... more) {
        List<Object> words = new ArrayList<>(first);
        words.addAll(List.of("--mask-ratio=0.5", "--ensemble=2", "--quiet", "--json"));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static Map<String, Object> answer(Object... words) {
        Shell.Outcome outcome = Shell.run(words);
        assertEquals(0, outcome.code(), outcome.err());
        Map<String, Object> answer = new TreeMap<>();
        Json.object(outcome.out()).forEach((name, value) -> answer.put(name, value == null ? "none" : value));
        return answer;
    }

    @Test
    void answersDoNotDependOnMemory() {
        assertEquals(answer(evaluate()), answer(evaluate(LITTLE, "--readers=2")));
        assertEquals(answer(fewShot()), answer(fewShot(LITTLE, "--readers=2")));
        assertEquals(answer(fewShot("--redraw")), answer(fewShot("--redraw", LITTLE)));
        Shell.refuse(List.of("less than one of them"), evaluate("--clip-memory=1k"));
        Shell.refuse(List.of("--clip-memory is much"), fewShot("--clip-memory=much"));
    }

    /** Masks depend on which clips there are, so that broken ones are known before the first is looked at. */
    @Test
    void brokenClipsAreLeftOutAlike() throws IOException {
        Files.delete(data.resolve("rgb/cut/clip001.npy"));
        Path broken = Files.createDirectories(data.resolve("rgb/cut/clip001"));
        for (int frame = 1; frame <= 4; frame++) {
            ImageIO.write(
                    new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB),
                    "png",
                    broken.resolve("0000" + frame + ".png").toFile());
        }
        // Nothing but decoding tells.
        Files.writeString(broken.resolve("00003.png"), "no picture");
        for (String memory : List.of("--clip-memory=1g", LITTLE)) {
            Shell.Outcome refused = Shell.run(evaluate(memory));
            assertEquals(2, refused.code(), refused.err());
            assertTrue(refused.err().contains("00003.png"), refused.err());
        }
        Map<String, Object> known = answer(evaluate("--skip-broken", "--clip-memory=1g"));
        assertEquals(List.of("cut/clip001"), known.get("leftOut"));
        assertEquals(known, answer(evaluate("--skip-broken", LITTLE)));
        assertEquals(answer(fewShot("--skip-broken", "--clip-memory=1g")), answer(fewShot("--skip-broken", LITTLE)));
    }

    /** In a process whose heap is a third of the folder; its memory hardly grows from few clips to many. */
    @Test
    void aFolderLargerThanTheHeapIsJudged() throws Exception {
        int side = 224;
        Path large = TinyStudent.write(folder.resolve("large.safetensors"), side);
        // 0.6 MB each.
        Path few = write(folder.resolve("few"), 16, side);
        Path many = write(folder.resolve("many"), 240, side);
        String said = ChildJava.run(
                folder,
                List.of("--add-modules=jdk.incubator.vector", "-Xmx48m", "-XX:+UseSerialGC", "-Dtessera.threads=1"),
                Map.of(),
                300,
                SmallHeap.class,
                large.toString(),
                few.toString(),
                many.toString());
        assertTrue(said.contains("judged 240 clips twice"), said);
    }

    /** Judges few clips and then many, by both commands. */
    static final class SmallHeap {
        private static final long BOUND = 24 << 20;

        private SmallHeap() {}

        public static void main(String[] arguments) throws IOException {
            judge(arguments[0], arguments[1]);
            long before = peak();
            judge(arguments[0], arguments[2]);
            long grown = peak() - before;
            // All clips are 144 MB; the heap may grow to its 48 MB meanwhile, and what is compiled comes to that.
            assertTrue(grown < 4 * BOUND, "memory grew by " + grown + " bytes");
            ModalityFolders folders = ModalityFolders.open(Path.of(arguments[2]), Set.of(Modality.RGB), null);
            try (ClipSet clips = folders.forEvaluation(done -> {}, note -> {})) {
                assertTrue(clips.isRead() && clips.heldBytes() <= BOUND, clips.heldBytes() + " bytes are held");
                System.out.println("judged " + clips.size() + " clips twice");
            }
        }

        private static void judge(String student, String clips) {
            List<String> last =
                    List.of("--student", student, "--clips", clips, "--mask-ratio=0.9", "--quiet", "--json");
            for (List<String> first : List.of(
                    List.of("evaluate"), List.of("fewshot", "--ways=3", "--shots=1", "--queries=3", "--episodes=2"))) {
                List<String> words = new ArrayList<>(first);
                words.addAll(last);
                StringWriter err = new StringWriter();
                int code = Main.run(words, new PrintWriter(new StringWriter()), new PrintWriter(err));
                assertEquals(0, code, err.toString());
            }
        }

        /** The most memory that the process had, in bytes; 0 where the system does not tell. */
        private static long peak() throws IOException {
            Path status = Path.of("/proc/self/status");
            return !Files.exists(status)
                    ? 0
                    : Files.readAllLines(status).stream()
                            .filter(line -> line.startsWith("VmHWM:"))
                            .mapToLong(line -> 1024 * Long.parseLong(line.replaceAll("\\D", "")))
                            .sum();
        }
    }
}
