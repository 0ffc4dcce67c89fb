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
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class NpyTest {
    @TempDir
    Path directory;

    /** An npy file of this version, header text and elements. */
    static byte[] npy(int version, String header, byte... elements) {
        byte[] text = header.getBytes(StandardCharsets.ISO_8859_1);
        ByteBuffer bytes = ByteBuffer.allocate(8 + (version == 1 ? 2 : 4) + text.length + elements.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .put(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', (byte) version, 0});
        if (version == 1) {
            bytes.putShort((short) text.length);
        } else {
            bytes.putInt(text.length);
        }
        return bytes.put(text).put(elements).array();
    }

    private static String header(String descr, boolean fortran, String shape) {
        return "{'descr': '" + descr + "', 'fortran_order': " + (fortran ? "True" : "False") + ", 'shape': " + shape
                + ", }  \n";
    }

    private Path save(byte[] bytes) throws IOException {
        return Files.write(directory.resolve("x.npy"), bytes);
    }

    private int[] ints(byte[] bytes) throws IOException {
        Path path = save(bytes);
        try (Arena arena = Arena.ofConfined()) {
            int[] read = Npy.read(path, arena).ints();
            assertArrayEquals(read, Npy.map(path, arena).ints());
            return read;
        }
    }

    private void assertRefused(byte[] bytes, String reason) throws IOException {
        Path path = save(bytes);
        try (Arena arena = Arena.ofConfined()) {
            for (boolean mapped : new boolean[] {false, true}) {
                String message = requireNonNull(assertThrows(TensorFileException.class, () -> {
                            if (mapped) {
                                Npy.map(path, arena);
                            } else {
                                Npy.read(path, arena);
                            }
                        })
                        .getMessage());
                assertTrue(message.startsWith(path + ": "), message);
                assertTrue(message.contains(reason), () -> "expected '" + reason + "' in: " + message);
                assertEquals(1, message.lines().count(), message);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void readsEveryVersion(int version) throws IOException {
        assertArrayEquals(
                new int[] {1, 2},
                ints(npy(version, header("<i4", false, "(2,)"), new byte[] {1, 0, 0, 0, 2, 0, 0, 0})));
    }

    @Test
    void acceptsOtherSpellingsOfTheHeader() throws IOException {
        String header = "{\"shape\":(2 , 1),\"fortran_order\":False,\"descr\":\"|u1\"}";
        assertArrayEquals(new int[] {1, 2}, ints(npy(1, header, new byte[] {1, 2})));
    }

    /** What numpy.dtype takes: the machine's own order, one letter, a name; not what means another size elsewhere. */
    @ParameterizedTest
    @CsvSource({
        "=f4, F32",
        "f4, F32",
        "|f4, F32",
        "f, F32",
        "float32, F32",
        "single, F32",
        "=f8, F64",
        "d, F64",
        "double, F64",
        "e, F16",
        "=u1, U8",
        "u1, U8",
        "<u1, U8",
        ">u1, U8",
        "B, U8",
        "uint8, U8",
        "b, I8",
        "?, BOOL",
        "|?, BOOL",
        "bool, BOOL",
        "=b1, BOOL",
        "i, I32",
        "<i, I32",
        "int32, I32",
        "q, I64",
        "int64, I64",
        "H, U16",
        "F, C64"
    })
    void acceptsOtherSpellingsOfATypeAsNumpyDoes(String descr, StoredType type) throws IOException {
        byte[] data = new byte[type.bytes()];
        data[0] = 1;
        Path file = save(npy(1, header(descr, false, "(1,)"), data));
        try (Arena arena = Arena.ofConfined()) {
            ArrayData read = Npy.read(file, arena);
            assertEquals(type, read.type());
            assertEquals(
                    1, read.data().get(ValueLayout.JAVA_BYTE, 0), "little end first on every machine this runs on");
        }
    }

    /** As Python 2 on Windows wrote them, and whatever else of spaces and quotes NumPy's reader takes; none of it in version 3. */
    @Test
    void acceptsWhatPython2Wrote() throws IOException {
        byte[] bytes = {1, 0, 2, 0};
        for (int version : new int[] {1, 2}) {
            for (String header : List.of(
                    "{'descr': '<i2', 'fortran_order': False, 'shape': (2L,), }\n",
                    "{'descr': '<i2', 'fortran_order': False, 'shape': (1L, 2L), }\n",
                    "{'descr': '<i2', 'fortran_order': False, 'shape': (2 L, 1), }",
                    "{u'descr': u'<i2', u'fortran_order': False, u'shape': (2L,)}        \n",
                    "{ U\"descr\" : u\"<i2\" ,'shape' :(2,1L,) , 'fortran_order':\tFalse }\n\n  \n")) {
                assertArrayEquals(new int[] {1, 2}, ints(npy(version, header, bytes)), header);
            }
        }
        String newer = "{u'descr': '<i2', 'fortran_order': False, 'shape': (2,), }";
        assertArrayEquals(new int[] {1, 2}, ints(npy(3, newer, bytes)));
        assertRefused(npy(3, "{'descr': '<i2', 'fortran_order': False, 'shape': (2L,), }", bytes), "needs ','");
        assertRefused(npy(1, "{'descr': '<i2', 'fortran_order': False, 'shape': (L,), }", bytes), "a whole number");
        assertRefused(npy(1, "{'descr': '<i2', 'fortran_order': False, 'shape': (2LL,), }", bytes), "needs ','");
    }

    @Test
    void acceptsRankZeroAndEmptyArrays() throws IOException {
        assertArrayEquals(new int[] {9}, ints(npy(1, header("|u1", false, "()"), new byte[] {9})));
        assertArrayEquals(new int[0], ints(npy(1, header(">i8", true, "(3, 0)"))));
    }

    @Test
    void convertsBigEndian() throws IOException {
        assertArrayEquals(new int[] {258}, ints(npy(1, header(">i2", false, "(1,)"), new byte[] {1, 2})));
        assertArrayEquals(new int[] {16909060}, ints(npy(1, header(">i4", false, "(1,)"), new byte[] {1, 2, 3, 4})));
        assertArrayEquals(
                new int[] {258}, ints(npy(1, header(">i8", false, "(1,)"), new byte[] {0, 0, 0, 0, 0, 0, 1, 2})));
    }

    @Test
    void convertsFortranOrder() throws IOException {
        byte[] columns = {1, 4, 2, 5, 3, 6};
        assertArrayEquals(new int[] {1, 2, 3, 4, 5, 6}, ints(npy(1, header("|u1", true, "(2, 3)"), columns)));
        // Element (i, j, k) of a [2, 3, 2] array stands at i + 2 j + 6 k.
        byte[] cube = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
        assertArrayEquals(
                new int[] {0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11}, ints(npy(1, header("|u1", true, "(2, 3, 2)"), cube)));
        assertArrayEquals(
                new int[] {1, 3, 2, 4},
                ints(npy(1, header(">i2", true, "(2, 2)"), new byte[] {0, 1, 0, 2, 0, 3, 0, 4})));
    }

    @ParameterizedTest
    @EnumSource(StoredType.class)
    void writesWhatItReads(StoredType type) throws IOException {
        byte[] bytes = new byte[6 * type.bytes()];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) (i * 37);
        }
        ArrayData array = new ArrayData("x", type, new long[] {2, 3}, MemorySegment.ofArray(bytes));
        Path path = directory.resolve("x.npy");
        if (type.npyCode() == null) {
            String message = requireNonNull(assertThrows(TensorFileException.class, () -> Npy.write(path, array))
                    .getMessage());
            assertTrue(message.contains("npy has no code for " + type), message);
            assertTrue(Files.notExists(path));
            return;
        }
        Npy.write(path, array);
        try (Arena arena = Arena.ofConfined()) {
            for (ArrayData again : List.of(Npy.read(path, arena), Npy.map(path, arena))) {
                assertEquals("x", again.name());
                assertEquals(type, again.type());
                assertArrayEquals(new long[] {2, 3}, again.shape());
                assertArrayEquals(bytes, again.data().toArray(ValueLayout.JAVA_BYTE));
                assertTrue(again.data().isReadOnly());
            }
        }
        assertEquals(0, (Files.size(path) - bytes.length) % 64);
    }

    @Test
    void writesTheHeaderNumPyWrites() {
        String header = new String(NpyHeader.format(StoredType.F32, new long[] {3}), StandardCharsets.ISO_8859_1);
        assertEquals(128, header.length());
        assertTrue(
                header.startsWith("\u0093NUMPY\1\0\166\0{'descr': '<f4', 'fortran_order': False, 'shape': (3,), } "));
        assertTrue(header.endsWith(" \n"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '~',
            quoteCharacter = '`',
            value = {
                "{'descr': '|O', 'fortran_order': False, 'shape': (1,), } ~ Python objects (a pickle)",
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), } ~ a structured dtype",
                "{'descr': '<U5', 'fortran_order': False, 'shape': (1,), } ~ the dtype '<U5'",
                "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1,), } ~ the dtype",
                "{'descr': '', 'fortran_order': False, 'shape': (1,), } ~ the dtype ''",
                "{'descr': '=x4', 'fortran_order': False, 'shape': (1,), } ~ the dtype '=x4'",
                "{'descr': '<float32', 'fortran_order': False, 'shape': (1,), } ~ the dtype '<float32'",
                "{'descr': 'l', 'fortran_order': False, 'shape': (1,), } ~ the dtype 'l'",
                "{'descr': '<i4', 'fortran_order': False, 'shape': (2), } ~ needs ',' at character",
                "{'descr': '<i4', 'fortran_order': False, 'shape': (-2,), } ~ whole number under 2^63",
                "{'descr': '<i4', 'fortran_order': False, 'shape': (9223372036854775808,), } ~ under 2^63",
                "{'descr': '<i4', 'fortran_order': False, 'shape': (9223372036854775807,), } ~ 63 bits",
                "{'descr': '<i4', 'fortran_order': False, 'shape': (4294967296, 4294967296), } ~ 63 bits",
                "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), } ~ takes 12 bytes, but 8 follow",
                "{'descr': '<i4', 'fortran_order': False, 'shape': (1,), } ~ takes 4 bytes, but 8 follow",
                "{'descr': '<i4', 'fortran_order': 0, 'shape': (2,), } ~ needs True or False",
                "{'descr': '<i4', 'fortran_order': False, 'shape': [2], } ~ needs '('",
                "{'descr': '<i4', 'fortran_order': False, } ~ needs the keys",
                "{'descr': '<i4', 'shape': (2,), 'shape': (2,), } ~ gives shape twice",
                "{'descr': '<i4', 'other': 1, } ~ unknown key 'other'",
                "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), } x ~ goes on after",
                "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), ~ needs a quoted string",
                "{'descr': '<i4 ~ a string without an end",
                "__import__('os') ~ needs '{'",
            })
    void refusesBadHeader(String header, String reason) throws IOException {
        assertRefused(npy(1, header, new byte[8]), reason);
    }

    @Test
    void refusesBadFrames() throws IOException {
        assertRefused(new byte[0], "does not begin with");
        assertRefused("\u0093NUMPX\1\0\0\0".getBytes(StandardCharsets.ISO_8859_1), "does not begin with");
        assertRefused(npy(4, "{}"), "npy version 4.0");
        assertRefused("\u0093NUMPY\1\0\5".getBytes(StandardCharsets.ISO_8859_1), "ends before the header's length");
        assertRefused("\u0093NUMPY\1\0\5\0{}".getBytes(StandardCharsets.ISO_8859_1), "ends within its header");
        byte[] huge = npy(2, "{}");
        ByteBuffer.wrap(huge).order(ByteOrder.LITTLE_ENDIAN).putInt(8, -1);
        assertRefused(huge, "claims a header of 4294967295 bytes");
        assertRefused(
                npy(1, header("|u1", false, "(" + "1,".repeat(65) + ")"), new byte[1]), "more than 64 dimensions");
    }

    @Test
    void mapsFilesOverTwoGibibytes() throws IOException {
        long count = 1L << 30;
        byte[] start = NpyHeader.format(StoredType.F32, new long[] {count});
        Path path = save(start);
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            file.seek(start.length + 4 * count - 4);
            file.write(ByteBuffer.allocate(4)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putFloat(1.5f)
                    .array());
        }
        try (Arena arena = Arena.ofConfined()) {
            ArrayData array = Npy.map(path, arena);
            assertEquals(count, array.count());
            assertEquals(1.5f, array.data().getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, count - 1));
        }
    }
}
