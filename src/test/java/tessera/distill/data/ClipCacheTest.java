package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.ChildJava;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** Clips that do not fit into memory are read when they are looked at: the same clips, in memory of a bounded size. */
class ClipCacheTest {
    private static final Geometry GEOMETRY = new Geometry(4, 16, 4);
    private static final Set<Modality> BOTH = Set.of(Modality.RGB, Modality.FLOW);
    private static final int CLIPS = 12;
    /** u8 pictures, and flow of two bf16. */
    private static final long CLIP_BYTES = 4 * 16 * 16 * (3 + 4);

    @TempDir
    private Path root;

    private final List<String> notes = Collections.synchronizedList(new ArrayList<>());

    @BeforeEach
    void write() throws IOException {
        for (int i = 0; i < CLIPS; i++) {
            Random random = new Random(i);
            byte[] rgb = new byte[4 * 16 * 16 * 3];
            random.nextBytes(rgb);
            float[] flow = new float[4 * 16 * 16 * 2];
            for (int k = 0; k < flow.length; k++) {
                flow[k] = random.nextFloat();
            }
            Npy.write(file(Modality.RGB, i), ArrayData.of("rgb", rgb, 4, 16, 16, 3));
            Npy.write(file(Modality.FLOW, i), ArrayData.of("flow", flow, 4, 16, 16, 2));
        }
    }

    /** Clips of three labels; the numbers are those of the set. */
    private Path file(Modality modality, int clip) throws IOException {
        Path folder = root.resolve(modality.id()).resolve("label" + clip / 4);
        return Files.createDirectories(folder).resolve("clip%02d.npy".formatted(clip));
    }

    private static ModalityFolders.Reading reading(double clips, int readers) {
        return ModalityFolders.Reading.DEFAULT
                .withMemory((long) (clips * CLIP_BYTES))
                .withReaders(readers);
    }

    private ClipSet open(ModalityFolders.Options options) {
        return ModalityFolders.open(root, BOTH, null, options).forTraining(done -> {}, notes::add);
    }

    private ClipSet open(double clips, int readers) {
        return open(ModalityFolders.Options.DEFAULT.withReading(reading(clips, readers)));
    }

    private ClipSet skipping(double share) {
        return open(ModalityFolders.Options.DEFAULT
                .withSkipBroken(true)
                .withMostBroken(share)
                .withReading(reading(3, 2)));
    }

    private static int[] all() {
        return IntStream.range(0, CLIPS).toArray();
    }

    private static ClipSet.Taken take(ClipSet set, int... clips) {
        return set.take(Device.cpu(), BOTH, clips, all(), GEOMETRY, null);
    }

    private static double[] values(ClipSet.Taken taken, Modality modality) {
        return requireNonNull(taken.samples().get(modality)).toDoubles();
    }

    private static void assertSame(ClipSet expected, ClipSet actual, int... clips) {
        Views views = Views.PUBLISHED;
        Geometry seen = new Geometry(2, 16, 4);
        for (Modality modality : BOTH) {
            try (Scope scope = Scope.open()) {
                assertArrayEquals(
                        expected.batch(modality, clips).toDoubles(),
                        actual.batch(modality, clips).toDoubles(),
                        modality.id());
                ViewOf random = (place, stored) -> views.train(stored, seen, 5, 7, place);
                Device host = Device.cpu();
                assertArrayEquals(
                        values(expected.take(host, BOTH, clips, all(), seen, random), modality),
                        values(actual.take(host, BOTH, clips, all(), seen, random), modality),
                        modality.id());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 4})
    void clipsAreTheSameWhateverTheMemoryAndTheReaders(int readers) {
        Random random = new Random(readers);
        try (ClipSet memory = open(CLIPS, 1)) {
            assertFalse(memory.isRead());
            assertEquals(CLIPS * CLIP_BYTES, memory.heldBytes());
            for (double clips : new double[] {1, 2.5, 7, CLIPS - .5}) {
                try (ClipSet read = open(clips, readers)) {
                    assertTrue(read.isRead());
                    assertEquals(0, read.heldBytes(), "nothing is read before it is looked at");
                    assertEquals(memory.names(), read.names());
                    assertArrayEquals(memory.labels(), read.labels());
                    assertEquals(memory.modalities(), read.modalities());
                    for (int i = 0; i < 20; i++) {
                        int[] chosen = random.ints(5, 0, CLIPS).toArray();
                        read.expect(random.ints(4, 0, CLIPS).toArray());
                        assertSame(memory, read, chosen);
                        assertTrue(read.heldBytes() <= clips * CLIP_BYTES, read.heldBytes() + " bytes of " + clips);
                    }
                    assertEquals(CLIP_BYTES * (long) clips, read.heldBytes(), "what may be held is used");
                }
            }
        }
    }

    @Test
    void severalThreadsTakeClipsOfOneSet() {
        try (ClipSet memory = open(CLIPS, 1);
                ClipSet read = open(2, 3)) {
            IntStream.range(0, 40)
                    .parallel()
                    .forEach(i -> assertSame(memory, read, i % CLIPS, (5 * i + 1) % CLIPS, i % 7));
        }
    }

    /** Every clip is looked at once in an epoch: what is there stays, so that the least has to be read again. */
    @Test
    void whatCameFirstIsNotReadAgain() throws IOException {
        try (ClipSet read = open(4, 1);
                Scope scope = Scope.open()) {
            take(read, 0, 1, 2);
            take(read, all());
            for (int i = 0; i < CLIPS; i++) {
                Files.delete(file(Modality.FLOW, i));
            }
            take(read, 0, 1, 2, 0);
            assertThrows(IllegalArgumentException.class, () -> take(read, 4));
        }
    }

    @Test
    void clipsThatAreExpectedAreReadAhead() throws IOException {
        try (ClipSet read = open(6, 1);
                Scope scope = Scope.open()) {
            read.expect(8, 9);
            take(read, 3); // by the only reader, which reads in the order in which it is asked
            Files.delete(file(Modality.RGB, 8));
            Files.delete(file(Modality.RGB, 9));
            take(read, 9, 8);
        }
    }

    @Test
    void memoryForNoClipIsRefused() {
        String message = requireNonNull(
                assertThrows(IllegalArgumentException.class, () -> open(.5, 1)).getMessage());
        assertTrue(message.contains("is less than one of them, " + CLIP_BYTES + " bytes"), message);
        assertThrows(IllegalArgumentException.class, () -> open(0, 1));
        assertThrows(IllegalArgumentException.class, () -> open(1, 0));
    }

    @Test
    void theFilesTellSetsApart() throws IOException {
        String before;
        try (ClipSet read = open(2, 1);
                ClipSet more = open(5, 2)) {
            before = read.checksum();
            assertEquals(before, more.checksum(), "whatever the memory");
        }
        assertTrue(before.startsWith(CLIPS + " clips by their files "), before);
        float[] flow = new float[4 * 16 * 16 * 2];
        Npy.write(file(Modality.FLOW, 5), ArrayData.of("flow", flow, 4, 16, 16, 2));
        try (ClipSet read = open(2, 1)) {
            assertNotEquals(before, read.checksum());
        }
    }

    private void breakClip(int clip) throws IOException {
        float[] flow = new float[4 * 16 * 16 * 2];
        flow[9] = Float.NaN;
        Npy.write(file(Modality.FLOW, clip), ArrayData.of("flow", flow, 4, 16, 16, 2));
    }

    @Test
    void aBrokenClipIsRefusedWhenItIsMet() throws IOException {
        breakClip(7);
        try (ClipSet read = open(3, 2);
                Scope scope = Scope.open()) {
            take(read, 6, 8);
            String message = requireNonNull(assertThrows(IllegalArgumentException.class, () -> take(read, 6, 7, 8))
                    .getMessage());
            assertTrue(message.startsWith(file(Modality.FLOW, 7) + " holds NaN"), message);
            assertTrue(message.endsWith("pass --skip-broken to let other clips stand in for such)"), message);
            take(read, 6, 8);
        }
    }

    @Test
    void anotherClipStandsInForABrokenOne() throws IOException {
        breakClip(7);
        breakClip(8);
        try (ClipSet read = skipping(.5);
                Scope scope = Scope.open()) {
            ClipSet.Taken taken = take(read, 6, 7, 8, 7);
            assertArrayEquals(new int[] {6, 9, 9, 9}, taken.clips(), "the next whole one");
            double[] rgb = values(taken, Modality.RGB);
            double[] whole = values(take(read, 6, 9, 9, 9), Modality.RGB);
            assertArrayEquals(whole, rgb);
            // Only those that are trained on stand in.
            int[] among = {0, 3, 7, 8};
            assertArrayEquals(
                    new int[] {0, 3},
                    read.take(Device.cpu(), BOTH, new int[] {7, 3}, among, GEOMETRY, null)
                            .clips());
            assertEquals(2, notes.size(), notes::toString);
            Collections.sort(notes);
            assertTrue(
                    notes.getFirst().matches("clip label1/clip07 left out, \\d of 12 so far: .* holds NaN .*"),
                    notes.getFirst());
            assertTrue(notes.getLast().startsWith("clip label2/clip08 left out, "), notes.getLast());
            assertThrows(IllegalArgumentException.class, () -> read.batch(Modality.FLOW, new int[] {7}));
        }
    }

    @Test
    void tooManyBrokenClipsAreRefused() throws IOException {
        breakClip(2);
        breakClip(5);
        breakClip(9);
        try (ClipSet read = skipping(2.0 / CLIPS);
                Scope scope = Scope.open()) {
            assertArrayEquals(new int[] {3, 6}, take(read, 2, 5).clips());
            String message = requireNonNull(assertThrows(IllegalArgumentException.class, () -> take(read, 9))
                    .getMessage());
            assertTrue(message.startsWith("3 of 12 clips are broken, more than the share of 0.16"), message);
            assertTrue(message.contains("holds NaN"), message);
        }
    }

    /** Opening and loading at once know the bound too. */
    @Test
    void tooManyAreRefusedInMemoryToo() throws IOException {
        breakClip(2);
        breakClip(3);
        ModalityFolders.Options skip = ModalityFolders.Options.DEFAULT.withSkipBroken(true);
        try (ClipSet set = open(skip)) {
            assertEquals(CLIPS - 2, set.size());
        }
        String message =
                requireNonNull(assertThrows(IllegalArgumentException.class, () -> open(skip.withMostBroken(.1)))
                        .getMessage());
        assertTrue(message.contains("2 broken clips of 12, more than the share of 0.1"), message);
    }

    /** In a process with a small heap more clips than half of it are read by themselves, and never more held. */
    @Test
    void aSmallHeapHoldsNoMore() throws Exception {
        Path large = root.resolve("large");
        byte[] rgb = new byte[16 * 112 * 112 * 3];
        for (int i = 0; i < 60; i++) {
            new Random(i).nextBytes(rgb);
            rgb[0] = (byte) i;
            Path folder = Files.createDirectories(large.resolve("rgb").resolve("label" + i % 2));
            Npy.write(folder.resolve("clip%02d.npy".formatted(i / 2)), ArrayData.of("x", rgb, 16, 112, 112, 3));
        }
        String said = ChildJava.run(
                root,
                List.of("--add-modules=jdk.incubator.vector", "-Xmx48m", "-XX:+UseSerialGC"),
                Map.of(),
                120,
                SmallHeap.class,
                large.toString());
        assertTrue(said.contains("two epochs, at most"), said);
    }

    /** Looks at all clips twice. */
    static final class SmallHeap {
        private SmallHeap() {}

        public static void main(String[] arguments) {
            ModalityFolders folders = ModalityFolders.open(Path.of(arguments[0]), Set.of(Modality.RGB), null);
            long bound = Runtime.getRuntime().maxMemory() / 2;
            long most = 0;
            try (ClipSet clips = folders.forTraining(done -> {}, note -> {})) {
                assertTrue(clips.isRead(), bound + " bytes hold all clips");
                EpochOrder order = new EpochOrder(clips.size(), 3);
                for (int step = 0; step < 30; step++) {
                    clips.expect(order.batch(step + 1, 4));
                    int[] chosen = order.batch(step, 4);
                    try (Scope scope = Scope.open()) {
                        Tensor batch = clips.batch(Modality.RGB, chosen);
                        int[] values = batch.toInts();
                        for (int i = 0; i < 4; i++) {
                            // Sorted by label: the first half are the even ones.
                            assertEquals(
                                    chosen[i] < 30 ? 2 * chosen[i] : 2 * (chosen[i] - 30) + 1,
                                    values[i * values.length / 4]);
                        }
                    }
                    most = Math.max(most, clips.heldBytes());
                }
            }
            assertTrue(most <= bound, most + " bytes are held");
            System.out.println("two epochs, at most " + most + " bytes of " + bound);
        }
    }
}
