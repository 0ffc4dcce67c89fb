package tessera.tensor.io;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Seeded damage to valid files: a parser may read them or refuse them, and do nothing else. */
class FuzzTest {
    private static final int ROUNDS = 2000;

    /** A parse of these small files takes tens of kilobytes; a size taken from the file would take far more. */
    private static final long MAX_ALLOCATED = 8 << 20;

    private static final String[] JSON_PIECES = {
        "\"shape\":[0]",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "-1",
        "9223372036854775807",
        "18446744073709551615",
        "1e9",
        "null",
        "true",
        "\"F4\"",
        "\"U8\"",
        "__metadata__",
        "\\ud800",
        "\u00ff",
        "\"a\":1",
        "[0,0]",
        "4611686018427387904"
    };

    private static final String[] NPY_PIECES = {
        "(",
        ")",
        ",",
        "'",
        "\"",
        "{",
        "}",
        "True",
        "'|O'",
        "'<f8'",
        "-1",
        "9223372036854775807",
        "4294967296,",
        "None",
        "'shape'",
        "'>i2'",
        "\0",
        "[",
        "(0,)"
    };

    @TempDir
    Path directory;

    private interface Parser {
        void parse(Path path) throws IOException;
    }

    private static List<ArrayData> arrays() {
        return List.of(
                ArrayData.of("blocks.0.weight", new float[] {1, 2, 3, 4, 5, 6}, 2, 3),
                ArrayData.of("labels", new int[] {1, 2}, 2),
                ArrayData.of("empty", new double[0], 4, 0),
                ArrayData.of("bytes", new byte[] {1, 2, 3}, 3),
                ArrayData.of("scalar", new double[] {1}));
    }

    private void fuzz(byte[] valid, int textAt, int textLength, String[] pieces, long seed, Parser parser)
            throws IOException {
        SplittableRandom random = new SplittableRandom(seed);
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        Path path = directory.resolve("fuzzed");
        Files.write(path, valid);
        parser.parse(path);
        int refused = 0;
        for (int round = 0; round < ROUNDS; round++) {
            byte[] damaged = damage(valid, textAt, textLength, pieces, random);
            Files.write(path, damaged);
            long before = threads.getCurrentThreadAllocatedBytes();
            try {
                parser.parse(path);
            } catch (TensorFileException refusal) {
                refused++;
                assertEquals(1, requireNonNull(refusal.getMessage()).lines().count(), refusal.getMessage());
            } catch (Throwable other) {
                throw new AssertionError(
                        "round " + round + ": " + HexFormat.of().formatHex(damaged), other);
            }
            long allocated = threads.getCurrentThreadAllocatedBytes() - before;
            assertTrue(
                    allocated <= MAX_ALLOCATED,
                    () -> allocated + " bytes for " + HexFormat.of().formatHex(damaged));
        }
        assertTrue(refused > ROUNDS / 2, refused + " of " + ROUNDS + " refused");
    }

    private static byte[] damage(byte[] valid, int textAt, int textLength, String[] pieces, SplittableRandom random) {
        byte[] bytes = valid.clone();
        int edits = 1 + random.nextInt(3);
        for (int edit = 0; edit < edits && bytes.length > 0; edit++) {
            int at = random.nextInt(bytes.length);
            switch (random.nextInt(7)) {
                case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
                case 1 -> bytes = Arrays.copyOf(bytes, at);
                case 2 -> bytes[random.nextInt(Math.min(16, bytes.length))] = (byte) random.nextInt();
                case 3 -> bytes = splice(bytes, at, 0, new byte[1 + random.nextInt(9)]);
                case 4 -> bytes = splice(bytes, at, Math.min(bytes.length - at, 1 + random.nextInt(9)), new byte[0]);
                case 5 -> {
                    // A piece of syntax in place of as many bytes, so that the lengths around it stay true.
                    byte[] piece = piece(pieces, random);
                    int target = Math.min(bytes.length, textAt + random.nextInt(textLength));
                    bytes = splice(bytes, target, Math.min(piece.length, bytes.length - target), piece);
                }
                default -> {
                    int target = Math.min(bytes.length, textAt + random.nextInt(textLength));
                    int digit = target;
                    while (digit < bytes.length && !Character.isDigit(bytes[digit])) {
                        digit++;
                    }
                    if (digit < bytes.length) {
                        bytes[digit] = (byte) ('0' + random.nextInt(10));
                    }
                }
            }
        }
        return bytes;
    }

    private static byte[] piece(String[] pieces, SplittableRandom random) {
        return pieces[random.nextInt(pieces.length)].getBytes(StandardCharsets.ISO_8859_1);
    }

    private static byte[] splice(byte[] bytes, int at, int removed, byte[] inserted) {
        byte[] result = new byte[bytes.length - removed + inserted.length];
        System.arraycopy(bytes, 0, result, 0, at);
        System.arraycopy(inserted, 0, result, at, inserted.length);
        System.arraycopy(bytes, at + removed, result, at + inserted.length, bytes.length - at - removed);
        return result;
    }

    /** Touches every byte that was promised, and every conversion. */
    private static void use(ArrayData array) {
        assertEquals(array.type().byteSize(array.shape()), array.data().byteSize());
        array.data().toArray(ValueLayout.JAVA_BYTE);
        for (Runnable conversion : List.<Runnable>of(array::floats, array::doubles, array::ints)) {
            try {
                conversion.run();
            } catch (TensorFileException lossy) {
                assertTrue(requireNonNull(lossy.getMessage()).startsWith("array '"), lossy.getMessage());
            }
        }
    }

    private static void useAll(SafetensorsFile file) {
        for (String name : file.names()) {
            use(file.entry(name));
        }
    }

    @Test
    void safetensors() throws IOException {
        Path path = directory.resolve("valid");
        Safetensors.write(path, arrays(), Map.of("config", "{\"frames\": 16}", "é", "ü"));
        byte[] valid = Files.readAllBytes(path);
        int header = (int) ByteBuffer.wrap(valid).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
        fuzz(valid, 8, header, JSON_PIECES, 1, damaged -> {
            try (SafetensorsFile file = Safetensors.open(damaged)) {
                useAll(file);
            }
            FileSummary.of(damaged);
        });
        fuzz(valid, 8, header, JSON_PIECES, 2, damaged -> {
            try (SafetensorsFile file = Safetensors.read(damaged)) {
                useAll(file);
            }
        });
    }

    @Test
    void safetensorsHeaderOfTheRightLength() throws IOException {
        // Here the length field always matches, so that the damage reaches the JSON and the rules behind it.
        Path path = directory.resolve("valid");
        Safetensors.write(path, arrays(), Map.of("config", "x"));
        byte[] valid = Files.readAllBytes(path);
        int length = (int) ByteBuffer.wrap(valid).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
        byte[] header = Arrays.copyOfRange(valid, 8, 8 + length);
        fuzz(header, 0, length, JSON_PIECES, 3, damaged -> {
            byte[] text = Files.readAllBytes(damaged);
            Files.write(damaged, SafetensorsTest.file(text, valid.length - 8 - length));
            try (SafetensorsFile file = Safetensors.open(damaged)) {
                useAll(file);
            }
        });
    }

    @Test
    void npy() throws IOException {
        Path path = directory.resolve("valid");
        Npy.write(path, arrays().getFirst());
        byte[] valid = Files.readAllBytes(path);
        fuzz(valid, 10, 60, NPY_PIECES, 4, damaged -> {
            try (Arena arena = Arena.ofConfined()) {
                use(Npy.map(damaged, arena));
                use(Npy.read(damaged, arena));
            }
            FileSummary.of(damaged);
        });
    }

    @Test
    void npz() throws IOException {
        Path path = directory.resolve("valid");
        for (int seed = 5; seed <= 6; seed++) {
            if (seed == 5) {
                Npz.write(path, arrays());
            } else {
                Npz.writeCompressed(path, arrays());
            }
            byte[] valid = Files.readAllBytes(path);
            fuzz(valid, 0, valid.length, NPY_PIECES, seed, damaged -> {
                try (NpzFile file = Npz.open(damaged, 1 << 20);
                        Arena arena = Arena.ofConfined()) {
                    for (String name : file.names()) {
                        use(file.read(name, arena));
                    }
                }
                FileSummary.of(damaged);
            });
        }
    }

    /** Random valid arrays come back bit for bit from every format that can hold them. */
    @Test
    void roundTrip() throws IOException {
        SplittableRandom random = new SplittableRandom(7);
        Path path = directory.resolve("round");
        for (int round = 0; round < 40; round++) {
            List<ArrayData> arrays = new ArrayList<>();
            for (int i = random.nextInt(6); i > 0; i--) {
                arrays.add(randomArray(i, random));
            }
            Map<String, String> metadata = new TreeMap<>();
            for (int i = random.nextInt(3); i > 0; i--) {
                metadata.put("key" + i + randomText(random), randomText(random));
            }
            Safetensors.write(path, arrays, metadata);
            try (SafetensorsFile file = Safetensors.open(path)) {
                assertEquals(metadata, file.metadata());
                assertEquals(arrays.size(), file.names().size());
                for (ArrayData array : arrays) {
                    assertSame(array, file.entry(array.name()));
                }
            }
            List<ArrayData> writable = arrays.stream()
                    .filter(array -> array.type().npyCode() != null)
                    .toList();
            if (round % 2 == 0) {
                Npz.write(path, writable);
            } else {
                Npz.writeCompressed(path, writable);
            }
            try (NpzFile file = Npz.open(path);
                    Arena arena = Arena.ofConfined()) {
                for (ArrayData array : writable) {
                    assertSame(array, file.read(array.name(), arena));
                }
            }
        }
    }

    private static void assertSame(ArrayData expected, ArrayData actual) {
        assertEquals(expected.type(), actual.type());
        assertArrayEquals(expected.shape(), actual.shape());
        assertEquals(-1, expected.data().mismatch(actual.data()), expected.toString());
    }

    private static ArrayData randomArray(int number, SplittableRandom random) {
        StoredType[] types = StoredType.values();
        StoredType type = types[random.nextInt(types.length)];
        long[] shape = random.longs(random.nextInt(5), 0, 6).toArray();
        byte[] bytes = new byte[(int) type.byteSize(shape)];
        random.nextBytes(bytes);
        return new ArrayData(number + randomText(random), type, shape, MemorySegment.ofArray(bytes));
    }

    private static String randomText(SplittableRandom random) {
        StringBuilder text = new StringBuilder();
        for (int i = random.nextInt(8); i > 0; i--) {
            int point = random.nextInt(4) == 0 ? random.nextInt(1, 0x11_0000) : random.nextInt(1, 0x80);
            if (point < 0xD800 || point > 0xDFFF) {
                text.appendCodePoint(point);
            }
        }
        return text.toString();
    }
}
