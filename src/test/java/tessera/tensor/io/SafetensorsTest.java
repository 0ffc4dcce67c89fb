package tessera.tensor.io;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Golden;

class SafetensorsTest {
    @TempDir
    Path directory;

    /** The bytes of a file with this header text and this many data bytes. */
    static byte[] file(byte[] header, int dataBytes) {
        return ByteBuffer.allocate(Long.BYTES + header.length + dataBytes)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(header.length)
                .put(header)
                .array();
    }

    static byte[] file(String header, int dataBytes) {
        return file(header.getBytes(StandardCharsets.UTF_8), dataBytes);
    }

    private Path save(byte[] bytes) throws IOException {
        return Files.write(directory.resolve("x.safetensors"), bytes);
    }

    private void assertRefused(byte[] bytes, String reason) throws IOException {
        Path path = save(bytes);
        for (boolean copied : new boolean[] {false, true}) {
            TensorFileException refusal = assertThrows(
                    TensorFileException.class,
                    () -> (copied ? Safetensors.read(path) : Safetensors.open(path)).close());
            String message = requireNonNull(refusal.getMessage());
            assertTrue(message.startsWith(path + ": "), message);
            assertTrue(message.contains(reason), () -> "expected '" + reason + "' in: " + message);
            assertEquals(1, message.lines().count(), message);
        }
    }

    static List<Object[]> badHeaders() {
        String f32 = "\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":";
        List<Object[]> cases = new ArrayList<>();
        add(cases, "", 0, "claims a header of 0 bytes");
        add(cases, "[]", 0, "does not begin with {");
        add(cases, " {}", 0, "does not begin with {");
        add(cases, "{}x", 0, "not the JSON it must be");
        add(cases, "{}{}", 0, "text follows the header");
        add(cases, "{} []", 0, "text follows the header");
        add(cases, "{\"a\":{", 0, "not the JSON it must be");
        add(cases, "{\"a\":1}", 0, "must be a JSON object, not a whole number");
        add(cases, "{\"a\":null}", 0, "must be a JSON object, not null");
        add(cases, "{'a':{}}", 0, "not the JSON it must be");
        add(cases, "{/**/}", 0, "not the JSON it must be");
        add(cases, "{\"a\":{" + f32 + "[0,8],}}", 8, "not the JSON it must be");
        add(cases, "{\"a\":{}}", 0, "needs a dtype, a shape and two data_offsets");
        add(cases, "{\"a\":{" + f32 + "[0]}}", 8, "two data_offsets");
        add(cases, "{\"a\":{" + f32 + "[0,8,8]}}", 8, "more than 2 numbers");
        add(cases, "{\"a\":{" + f32 + "[0,8],\"extra\":1}}", 8, "unknown field 'extra'");
        add(cases, "{\"a\":{" + f32 + "[0,8],\"shape\":[2]}}", 8, "uplicate");
        add(cases, "{\"a\":{" + f32 + "[0,8]},\"a\":{" + f32 + "[8,16]}}", 16, "uplicate");
        add(cases, "{\"a\":{" + f32 + "[0,8]},\"\\u0061\":{" + f32 + "[8,16]}}", 16, "uplicate");
        add(cases, "{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "uplicate");
        add(cases, "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "uplicate");
        add(cases, "{\"__metadata__\":{\"a\":1}}", 0, "metadata 'a' must be a string");
        add(cases, "{\"__metadata__\":{\"a\":{}}}", 0, "metadata 'a' must be a string");
        add(cases, "{\"__metadata__\":[]}", 0, "__metadata__ must be a JSON object");
        add(cases, "{\"\\ud800\":{" + f32 + "[0,8]}}", 8, "surrogate");
        add(cases, "{\"__metadata__\":{\"k\":\"\\udc00\"}}", 0, "surrogate");
        add(cases, "{\"a\":{" + f32 + "[8,0]}}", 8, "claims bytes 8 to 0");
        add(cases, "{\"a\":{" + f32 + "[0,8]}}", 7, "is the file truncated?");
        add(cases, "{\"a\":{" + f32 + "[0,8]}}", 9, "1 bytes follow the last tensor");
        add(cases, "{}", 1, "1 bytes follow the last tensor");
        add(cases, "{\"a\":{" + f32 + "[4,12]}}", 12, "(a gap)");
        add(cases, "{\"a\":{" + f32 + "[0,8]},\"b\":{" + f32 + "[12,20]}}", 20, "(a gap)");
        add(cases, "{\"a\":{" + f32 + "[0,8]},\"b\":{" + f32 + "[4,12]}}", 12, "(they overlap)");
        add(cases, "{\"a\":{" + f32 + "[0,8]},\"b\":{" + f32 + "[0,8]}}", 8, "(they overlap)");
        add(cases, "{\"a\":{" + f32 + "[0,4]}}", 4, "takes 8 bytes, but has 4");
        add(cases, "{\"a\":{" + f32 + "[0,12]}}", 12, "takes 8 bytes, but has 12");
        add(cases, "{\"a\":{" + f32 + "[-8,0]}}", 8, "negative number -8");
        add(cases, "{\"a\":{" + f32 + "[0.0,8]}}", 8, "must be a whole number, not a fraction");
        add(cases, "{\"a\":{" + f32 + "[\"0\",8]}}", 8, "must be a whole number, not a string");
        add(cases, "{\"a\":{" + f32 + "[0,9223372036854775808]}}", 8, "out of range");
        add(cases, "{\"a\":{" + f32 + "[0,1e99]}}", 8, "must be a whole number");
        add(cases, "{\"a\":{" + f32 + "[0," + "9".repeat(5000) + "]}}", 8, "not the JSON it must be");
        add(cases, tensor("F32", "[-1,-2]", 8), 8, "negative number -1");
        add(cases, tensor("F32", "[[2]]", 8), 8, "nesting depth");
        add(cases, tensor("F32", "2", 8), 8, "must be a JSON array");
        add(cases, tensor("F32", "[9223372036854775807]", 8), 8, "more bytes than fit in 63 bits");
        add(cases, tensor("U8", "[4294967296,2147483648]", 8), 8, "more bytes than fit in 63 bits");
        add(cases, tensor("F32", "[4611686018427387904]", 0), 0, "more bytes than fit in 63 bits");
        add(cases, tensor("F64", "[2305843009213693951,9]", 8), 8, "more bytes than fit in 63 bits");
        add(cases, tensor("F32", "[0,4611686018427387904,4]", 0), 0, "more bytes than fit in 63 bits");
        add(cases, tensor("F32", ones(65), 4), 4, "more than 64 numbers");
        add(cases, tensor("F4", "[2]", 1), 1, "unsupported dtype 'F4'");
        add(cases, tensor("F6_E2M3", "[4]", 3), 3, "unsupported dtype 'F6_E2M3'");
        add(cases, tensor("f32", "[2]", 8), 8, "unsupported dtype 'f32'");
        add(cases, tensor("F\\n32", "[2]", 8), 8, "unsupported dtype");
        add(cases, "{\"a\":" + "{\"b\":".repeat(5000) + "1" + "}".repeat(5001), 0, "x.safetensors");
        return cases;
    }

    private static void add(List<Object[]> cases, String header, int dataBytes, String reason) {
        cases.add(new Object[] {header, dataBytes, reason});
    }

    private static String tensor(String dtype, String shape, int bytes) {
        return "{\"a\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":[0," + bytes + "]}}";
    }

    private static String ones(int rank) {
        return IntStream.range(0, rank).mapToObj(i -> "1").collect(Collectors.joining(",", "[", "]"));
    }

    @ParameterizedTest
    @MethodSource("badHeaders")
    void refusesBadHeader(String header, int dataBytes, String reason) throws IOException {
        assertRefused(file(header, dataBytes), reason);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7})
    void refusesFileTooShortForALength(int bytes) throws IOException {
        assertRefused(new byte[bytes], "too few for a header length");
    }

    @ParameterizedTest
    @ValueSource(longs = {-1, Long.MIN_VALUE, Long.MAX_VALUE, 100_000_001, 3, 1, 0})
    void refusesImpossibleHeaderLength(long length) throws IOException {
        byte[] bytes = file("{}", 0);
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(0, length);
        assertRefused(bytes, "claims a header of " + Long.toUnsignedString(length) + " bytes");
    }

    @Test
    void refusesHeaderOverTheFormatsBoundEvenWhenTheFileIsLongEnough() throws IOException {
        Path path = save(ByteBuffer.allocate(8)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(100_000_001)
                .array());
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            file.setLength(200_000_000);
        }
        TensorFileException refusal = assertThrows(TensorFileException.class, () -> Safetensors.open(path));
        assertTrue(requireNonNull(refusal.getMessage()).contains("2 to 100000000 are possible"), refusal.getMessage());
    }

    @ParameterizedTest
    @CsvSource({"C3,28", "C0,AF", "FF,FE", "ED,A0", "E2,82"})
    void refusesHeaderThatIsNotUtf8(String first, String second) throws IOException {
        byte[] header = "{\"__metadata__\":{\"a\":\"??\"}}".getBytes(StandardCharsets.UTF_8);
        int at = new String(header, StandardCharsets.UTF_8).indexOf('?');
        header[at] = (byte) Integer.parseInt(first, 16);
        header[at + 1] = (byte) Integer.parseInt(second, 16);
        assertRefused(file(header, 0), "not UTF-8");
    }

    /** The reference declares it optional. */
    @ParameterizedTest
    @ValueSource(strings = {"{}", "{\"__metadata__\":null}", "{\"__metadata__\":{}}"})
    void takesNullMetadataAsAbsent(String header) throws IOException {
        Path path = save(file(header, 0));
        try (SafetensorsFile file = Safetensors.open(path)) {
            assertEquals(Map.of(), file.metadata());
            assertEquals(Set.of(), file.names());
        }
    }

    @Test
    void refusesByteOrderMarkAndOtherEncodings() throws IOException {
        assertRefused(file("\uFEFF{}", 0), "does not begin with {");
        assertRefused(file("{}".getBytes(StandardCharsets.UTF_16LE), 0), "not the JSON it must be");
    }

    @Test
    void namesTheFilesOftenMistakenForSafetensors() throws IOException {
        assertRefused("version https://git-lfs.github.com/spec/v1".getBytes(StandardCharsets.UTF_8), "git lfs pull");
        assertRefused("PK\3\4 something longer".getBytes(StandardCharsets.ISO_8859_1), "PyTorch checkpoint");
        assertRefused(new byte[] {(byte) 0x80, 2, 'c', 'x', 'x', 'x', 'x', 'x', 'x'}, "pickle");
    }

    @Test
    void refusesMissingFileAndDirectory() {
        Path missing = directory.resolve("missing.safetensors");
        String message = requireNonNull(assertThrows(TensorFileException.class, () -> Safetensors.open(missing))
                .getMessage());
        assertEquals(missing + ": no such file; check the path", message);
        message = requireNonNull(assertThrows(TensorFileException.class, () -> Safetensors.open(directory))
                .getMessage());
        assertTrue(message.contains("is no ordinary file"), message);
    }

    @Test
    void acceptsEmptyRankZeroAndPaddedFiles() throws IOException {
        String header = "{\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                + "\"e\":{\"data_offsets\":[4,4],\"shape\":[3,0,2],\"dtype\":\"I64\"},"
                + "\"f\":{\"data_offsets\":[0,0],\"shape\":[0],\"dtype\":\"F8_E4M3\"}}   ";
        try (SafetensorsFile file = Safetensors.open(save(file(header, 4)))) {
            assertEquals(List.of("f", "s", "e"), List.copyOf(file.names()));
            assertArrayEquals(new float[] {0}, file.floats("s"));
            assertEquals(0, file.entry("s").shape().length);
            assertArrayEquals(new long[] {3, 0, 2}, file.entry("e").shape());
            assertEquals(0, file.ints("e").length);
        }
        try (SafetensorsFile file = Safetensors.read(save(file("{}", 0)))) {
            assertTrue(file.names().isEmpty());
        }
    }

    /** Types of less than a byte, or newer than this: they hide themselves alone. */
    @Test
    void anUnknownTypeHidesNoOtherTensor() throws IOException {
        String header = "{\"half\":{\"dtype\":\"F4\",\"shape\":[6],\"data_offsets\":[0,3]},"
                + "\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]},"
                + "\"new\":{\"dtype\":\"I4\",\"shape\":[],\"data_offsets\":[5,6]}}";
        Path path = save(file(header, 6));
        for (boolean copied : new boolean[] {false, true}) {
            try (SafetensorsFile file = copied ? Safetensors.read(path) : Safetensors.open(path)) {
                assertEquals(List.of("x"), List.copyOf(file.names()));
                assertEquals(2, file.ints("x").length);
                assertEquals(
                        List.of("half", "new"), List.copyOf(file.unreadable().keySet()));
                String message = requireNonNull(assertThrows(TensorFileException.class, () -> file.entry("half"))
                        .getMessage());
                assertTrue(message.startsWith(path + ": tensor 'half' has the unsupported dtype 'F4'"), message);
            }
        }
        FileSummary summary = FileSummary.of(path);
        assertEquals("[x: u8[2]]", summary.arrays().toString());
        assertEquals(List.of("half", "new"), List.copyOf(summary.unreadable().keySet()));
    }

    @Test
    void refusesToReadAFileShortenedAfterOpening() throws IOException {
        Path path = directory.resolve("short.safetensors");
        Safetensors.write(path, List.of(ArrayData.of("x", new float[100_000], 100_000)), Map.of());
        try (SafetensorsFile mapped = Safetensors.open(path);
                SafetensorsFile copied = Safetensors.read(path)) {
            ArrayData held = mapped.entry("x");
            try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
                file.setLength(5000);
            }
            String message = requireNonNull(assertThrows(TensorFileException.class, () -> mapped.floats("x"))
                    .getMessage());
            assertTrue(message.contains("was shortened"), message);
            message = requireNonNull(
                    assertThrows(TensorFileException.class, held::floats).getMessage());
            assertTrue(message.contains("was shortened"), message);
            assertEquals(100_000, copied.floats("x").length);
        }
    }

    @Test
    void handsOutReadOnlyMemoryThatEndsWithTheFile() throws IOException {
        Path path = directory.resolve("x.safetensors");
        Safetensors.write(path, List.of(ArrayData.of("x", new int[] {7}, 1)), Map.of());
        SafetensorsFile file = Safetensors.open(path);
        MemorySegment data = file.entry("x").data();
        assertTrue(data.isReadOnly());
        file.close();
        file.close();
        assertThrows(IllegalStateException.class, () -> data.get(ValueLayout.JAVA_BYTE, 0));
        String message = requireNonNull(
                assertThrows(IllegalStateException.class, () -> file.entry("x")).getMessage());
        assertTrue(message.contains("is closed"), message);
    }

    @Test
    void namesAnUnknownTensor() throws IOException {
        Path path = directory.resolve("x.safetensors");
        Safetensors.write(path, List.of(ArrayData.of("head.weight", new int[] {7}, 1)), Map.of());
        try (SafetensorsFile file = Safetensors.open(path)) {
            String message = assertThrows(TensorFileException.class, () -> file.floats("head\n"))
                    .getMessage();
            assertEquals(
                    path + ": has no tensor 'head\uFFFD' (it holds 1: 'head.weight'); ask for one of names()", message);
        }
    }

    private static ArrayData raw(StoredType type, int... bytes) {
        byte[] data = new byte[bytes.length];
        for (int i = 0; i < data.length; i++) {
            data[i] = (byte) bytes[i];
        }
        return new ArrayData("x", type, new long[] {data.length / type.bytes()}, MemorySegment.ofArray(data));
    }

    @Test
    void widensExactly() {
        assertArrayEquals(
                new float[] {1, -2},
                raw(StoredType.BF16, 0x80, 0x3f, 0x00, 0xc0).floats());
        assertArrayEquals(
                new double[] {1, -2},
                raw(StoredType.BF16, 0x80, 0x3f, 0x00, 0xc0).doubles());
        assertArrayEquals(
                new float[] {1, 0x1p-24f},
                raw(StoredType.F16, 0x00, 0x3c, 0x01, 0x00).floats());
        assertArrayEquals(
                new double[] {1, 0x1p-24},
                raw(StoredType.F16, 0x00, 0x3c, 0x01, 0x00).doubles());
        assertArrayEquals(new float[] {255, 1}, raw(StoredType.U8, 255, 1).floats());
        assertArrayEquals(new int[] {255, 1}, raw(StoredType.U8, 255, 1).ints());
        assertArrayEquals(new int[] {-1, 1}, raw(StoredType.I8, 255, 1).ints());
        assertArrayEquals(new int[] {1, 0, 1}, raw(StoredType.BOOL, 1, 0, 2).ints());
        assertArrayEquals(new int[] {-1}, raw(StoredType.I16, 255, 255).ints());
        assertArrayEquals(new double[] {65535}, raw(StoredType.U16, 255, 255).doubles());
        assertArrayEquals(
                new double[] {4294967295.0},
                raw(StoredType.U32, 255, 255, 255, 255).doubles());
        assertArrayEquals(
                new double[] {-1}, raw(StoredType.I32, 255, 255, 255, 255).doubles());
        assertArrayEquals(
                new int[] {-2},
                raw(StoredType.I64, 254, 255, 255, 255, 255, 255, 255, 255).ints());
        assertArrayEquals(
                new double[] {-2},
                raw(StoredType.I64, 254, 255, 255, 255, 255, 255, 255, 255).doubles());
        assertArrayEquals(
                new int[] {258}, raw(StoredType.U64, 2, 1, 0, 0, 0, 0, 0, 0).ints());
        assertArrayEquals(
                new double[] {1.5}, ArrayData.of("x", new float[] {1.5f}).doubles());
        assertArrayEquals(
                new double[] {Math.PI},
                ArrayData.of("x", new double[] {Math.PI}).doubles());
    }

    static Stream<ArrayData> lossyAsFloats() {
        return Stream.of(
                        StoredType.F64,
                        StoredType.I32,
                        StoredType.U32,
                        StoredType.I64,
                        StoredType.U64,
                        StoredType.C64,
                        StoredType.F8_E5M2)
                .map(type -> raw(type, new int[type.bytes()]));
    }

    @ParameterizedTest
    @MethodSource("lossyAsFloats")
    void refusesLossyFloats(ArrayData array) {
        String message = requireNonNull(
                assertThrows(TensorFileException.class, array::floats).getMessage());
        assertTrue(message.contains(array.type() + " cannot become a float[] without loss"), message);
    }

    @Test
    void refusesWhatDoesNotFit() {
        ArrayData large = raw(StoredType.I64, 1, 0, 0, 0, 0, 0, 0x20, 0);
        assertRefusal("holds 9007199254740993 at element 0", large::doubles);
        assertRefusal("holds 9007199254740993 at element 0", large::ints);
        assertRefusal(
                "holds 18446744073709551615 at element 0",
                raw(StoredType.U64, 255, 255, 255, 255, 255, 255, 255, 255)::ints);
        assertRefusal("holds 4294967295 at element 0", raw(StoredType.U32, 255, 255, 255, 255)::ints);
        assertRefusal("without loss", ArrayData.of("x", new float[] {1})::ints);
        assertRefusal("without loss", raw(StoredType.U64, 1, 0, 0, 0, 0, 0, 0, 0)::doubles);
    }

    private static void assertRefusal(String reason, Runnable conversion) {
        String message = requireNonNull(
                assertThrows(TensorFileException.class, conversion::run).getMessage());
        assertTrue(message.contains(reason), message);
    }

    @Test
    void refusesMemoryOfTheWrongSize() {
        String message = requireNonNull(assertThrows(
                        IllegalArgumentException.class, () -> ArrayData.of("x", new float[] {1, 2, 3}, 2))
                .getMessage());
        assertTrue(message.contains("F32[2] takes 8 bytes but the memory given has 12"), message);
    }

    @Test
    void writesTheSameBytesWhateverTheMapOrder() throws IOException {
        List<ArrayData> arrays =
                List.of(ArrayData.of("b", new byte[] {1, 2, 3}, 3), ArrayData.of("é\n", new double[] {1}));
        Path first = directory.resolve("first.safetensors");
        Path second = directory.resolve("second.safetensors");
        Safetensors.write(first, arrays, Map.of("k", "1", "j", "2", "i", "\u0007\"\\"));
        Map<String, String> ordered = new LinkedHashMap<>();
        ordered.put("k", "1");
        ordered.put("i", "\u0007\"\\");
        ordered.put("j", "2");
        Safetensors.write(second, arrays, ordered);
        byte[] bytes = Files.readAllBytes(first);
        assertArrayEquals(bytes, Files.readAllBytes(second));
        assertEquals(0, ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getLong(0) % 8);
        try (SafetensorsFile file = Safetensors.open(first)) {
            assertEquals(List.of("b", "é\n"), List.copyOf(file.names()));
            assertEquals(ordered, file.metadata());
            assertArrayEquals(new int[] {1, 2, 3}, file.ints("b"));
        }
    }

    @Test
    void leavesTheOldFileAndNoOtherWhenWritingFails() throws IOException {
        Path path = directory.resolve("kept.safetensors");
        Safetensors.write(path, List.of(ArrayData.of("x", new int[] {7}, 1)), Map.of());
        ArrayData one = ArrayData.of("y", new int[] {1}, 1);
        assertThrows(TensorFileException.class, () -> Safetensors.write(path, List.of(one, one), Map.of()));
        MemorySegment closed;
        try (var arena = Arena.ofConfined()) {
            closed = arena.allocate(4);
        }
        ArrayData dead = new ArrayData("z", StoredType.I32, new long[] {1}, closed);
        assertThrows(IllegalStateException.class, () -> Safetensors.write(path, List.of(one, dead), Map.of()));
        assertThrows(
                TensorFileException.class,
                () -> Safetensors.write(directory.resolve("no/such.safetensors"), List.of(one), Map.of()));
        assertThrows(TensorFileException.class, () -> Safetensors.write(directory, List.of(one), Map.of()));
        try (Stream<Path> files = Files.list(directory)) {
            assertEquals(List.of(path), files.toList());
        }
        try (SafetensorsFile file = Safetensors.open(path)) {
            assertArrayEquals(new int[] {7}, file.ints("x"));
        }
    }

    @Test
    void replacesAFileThatIsOpen() throws IOException {
        Path path = directory.resolve("x.safetensors");
        Safetensors.write(path, List.of(ArrayData.of("x", new int[] {7}, 1)), Map.of());
        try (SafetensorsFile old = Safetensors.open(path)) {
            Safetensors.write(path, List.of(ArrayData.of("x", new int[] {8}, 1)), Map.of());
            assertArrayEquals(new int[] {7}, old.ints("x"));
        }
        try (SafetensorsFile file = Safetensors.open(path)) {
            assertArrayEquals(new int[] {8}, file.ints("x"));
        }
    }

    @Test
    void worksUnderAnInterruptedThread() throws IOException {
        Path path = directory.resolve("x.safetensors");
        Thread.currentThread().interrupt();
        Safetensors.write(path, List.of(ArrayData.of("x", new int[] {7}, 1)), Map.of());
        assertTrue(Thread.interrupted());
        try (SafetensorsFile file = Safetensors.open(path)) {
            Thread.currentThread().interrupt();
            assertArrayEquals(new int[] {7}, file.ints("x"));
            assertTrue(Thread.interrupted());
        }
    }

    @Test
    void refusesReservedAndBrokenNames() {
        Path path = directory.resolve("x.safetensors");
        ArrayData reserved = ArrayData.of("__metadata__", new int[] {1}, 1);
        assertRefusal("is reserved", () -> Safetensors.write(path, List.of(reserved), Map.of()));
        ArrayData broken = ArrayData.of("\uD800", new int[] {1}, 1);
        assertRefusal("surrogate", () -> Safetensors.write(path, List.of(broken), Map.of()));
        assertRefusal("surrogate", () -> Safetensors.write(path, List.of(), Map.of("k", "\uDC00")));
    }

    @Test
    void mapsFilesOverTwoGibibytes() throws IOException {
        long big = 3L << 30;
        String header = "{\"big\":{\"dtype\":\"U8\",\"shape\":[3,1073741824],\"data_offsets\":[0," + big + "]},"
                + "\"last\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[" + big + "," + (big + 8) + "]}}";
        byte[] start = file(header, 0);
        Path path = save(start);
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            file.seek(start.length + big);
            file.write(ByteBuffer.allocate(8)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putFloat(1.5f)
                    .putFloat(-2)
                    .array());
            file.seek(start.length + big - 1);
            file.write(42);
        }
        try (SafetensorsFile file = Safetensors.open(path)) {
            assertEquals(42, file.entry("big").data().get(ValueLayout.JAVA_BYTE, big - 1));
            assertArrayEquals(new float[] {1.5f, -2}, file.floats("last"));
            assertRefusal("has 3221225472 elements, more than a Java array", () -> file.ints("big"));
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "fewshot-logistic",
                "hf-videomae-classify",
                "hf-videomae-pretrain",
                "losses-schedules",
                "mmcdfsl-distill",
                "mmcdfsl-pretrain-flow",
                "mmcdfsl-pretrain-pose",
                "mmcdfsl-pretrain-rgb",
                "ops-float64"
            })
    void readsGoldenFilesAsAnIndependentReaderDoes(String name) throws Exception {
        Golden golden = Golden.open(name);
        Path path = Path.of(SafetensorsTest.class
                .getResource("/golden/" + name + ".safetensors")
                .toURI());
        try (SafetensorsFile file = Safetensors.open(path)) {
            assertEquals(golden.keys(), file.names());
            for (String key : golden.keys()) {
                assertArrayEquals(golden.doubles(key), file.doubles(key), key);
            }
            List<ArrayData> arrays = file.names().stream().map(file::entry).toList();
            Path copy = directory.resolve("copy.safetensors");
            Safetensors.write(copy, arrays, file.metadata());
            try (SafetensorsFile again = Safetensors.read(copy)) {
                assertEquals(file.metadata(), again.metadata());
                for (String key : file.names()) {
                    assertEquals(
                            -1, file.entry(key).data().mismatch(again.entry(key).data()), key);
                }
            }
        }
    }
}
