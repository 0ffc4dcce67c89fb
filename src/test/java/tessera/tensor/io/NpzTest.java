package tessera.tensor.io;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NpzTest {
    @TempDir
    Path directory;

    private static final List<ArrayData> ARRAYS = List.of(
            ArrayData.of("a", new float[] {1, 2, 3, 4}, 2, 2),
            ArrayData.of("nested/é", new int[] {7}),
            ArrayData.of("empty", new double[0], 0, 3));

    private static void assertRefused(Path path, String reason) {
        String message = requireNonNull(
                assertThrows(TensorFileException.class, () -> Npz.open(path).close())
                        .getMessage());
        assertTrue(message.startsWith(path.toString()), message);
        assertTrue(message.contains(reason), () -> "expected '" + reason + "' in: " + message);
        assertEquals(1, message.lines().count(), message);
    }

    /** An archive of one deflated entry. */
    private Path archive(String entry, byte[] content) throws IOException {
        Path path = directory.resolve("x.npz");
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(path))) {
            zip.putNextEntry(new ZipEntry(entry));
            zip.write(content);
            zip.closeEntry();
        }
        return path;
    }

    /** Overwrites the four bytes at {@code offset} of the only entry's record in the archive's directory. */
    private static void editDirectory(Path path, int offset, int value) throws IOException {
        byte[] bytes = Files.readAllBytes(path);
        int at = new String(bytes, StandardCharsets.ISO_8859_1).indexOf("PK\1\2");
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putInt(at + offset, value);
        Files.write(path, bytes);
    }

    @Test
    void readsWhatItWrites() throws IOException {
        Path stored = directory.resolve("stored.npz");
        Path deflated = directory.resolve("deflated.npz");
        Npz.write(stored, ARRAYS);
        Npz.writeCompressed(deflated, ARRAYS);
        for (Path path : List.of(stored, deflated)) {
            try (NpzFile file = Npz.open(path);
                    Arena arena = Arena.ofConfined()) {
                assertEquals(List.of("a", "nested/é", "empty"), List.copyOf(file.names()));
                assertEquals("a: f32[2, 2]", file.infos().getFirst().toString());
                for (ArrayData array : ARRAYS) {
                    ArrayData again = file.read(array.name(), arena);
                    assertEquals(array.type(), again.type());
                    assertArrayEquals(array.shape(), again.shape());
                    assertEquals(-1, array.data().mismatch(again.data()));
                }
                String message = requireNonNull(assertThrows(TensorFileException.class, () -> file.read("b", arena))
                        .getMessage());
                assertTrue(message.contains("has no array 'b' (it holds 3)"), message);
            }
        }
    }

    @Test
    void writesTheSameBytesEachTime() throws IOException {
        Path first = directory.resolve("first.npz");
        Path second = directory.resolve("second.npz");
        Npz.writeCompressed(first, ARRAYS);
        Npz.writeCompressed(second, ARRAYS);
        assertArrayEquals(Files.readAllBytes(first), Files.readAllBytes(second));
    }

    @Test
    void refusesWhatIsNoArchiveOfArrays() throws IOException {
        assertRefused(Files.writeString(directory.resolve("text.npz"), "some text"), "archive cannot be read");
        assertRefused(directory.resolve("missing.npz"), "no such file");
        assertRefused(archive("archive/data.pkl", new byte[3]), "'archive/data.pkl' is no .npy array");
        assertRefused(archive("archive/data.pkl", new byte[3]), "of a PyTorch checkpoint: convert it to safetensors");
        assertRefused(archive("x.npy", new byte[3]), "does not begin with");
        String pickle = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }";
        assertRefused(archive("x.npy", NpyTest.npy(1, pickle, new byte[8])), "Python objects (a pickle)");
        String four = "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }";
        assertRefused(archive("x.npy", NpyTest.npy(1, four, new byte[3])), "takes 4 bytes, but 3 follow");
        assertRefused(archive("x.npy", NpyTest.npy(1, four, new byte[5])), "takes 4 bytes, but 5 follow");
    }

    @Test
    void saysWhereAnEntryIsPackedAsNumPyDoesNot() throws IOException {
        byte[] npy = NpyTest.npy(1, "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }", new byte[1]);
        Path encrypted = archive("x.npy", npy);
        editDirectory(encrypted, 8, 1 | ZipEntry.DEFLATED << 16);
        assertRefused(encrypted, "an entry is encrypted, or packed in another way than numpy.savez");
        Path bzip2 = archive("x.npy", npy);
        editDirectory(bzip2, 8, 12 << 16);
        assertRefused(bzip2, "an entry is encrypted, or packed in another way than numpy.savez");
    }

    /** Texts, dates, objects, what is no array, a broken one and one that is there twice: each hides itself alone. */
    @Test
    void oneUnreadableMemberHidesNoOther() throws IOException {
        Path path = directory.resolve("mixed.npz");
        String good = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
        Map<String, byte[]> members = new LinkedHashMap<>();
        members.put("y.npy", NpyTest.npy(1, good.replace("|u1", "<U5"), new byte[40]));
        members.put("when.npy", NpyTest.npy(1, good.replace("|u1", "<M8[D]"), new byte[16]));
        members.put("what.npy", NpyTest.npy(1, good.replace("|u1", "|O"), new byte[16]));
        members.put("short.npy", NpyTest.npy(1, good, new byte[1]));
        members.put("x.npy", NpyTest.npy(1, good, new byte[] {1, 2}));
        members.put("notes.txt", new byte[9]);
        members.put("folder/", new byte[0]);
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(path))) {
            for (Map.Entry<String, byte[]> member : members.entrySet()) {
                zip.putNextEntry(new ZipEntry(member.getKey()));
                zip.write(member.getValue());
                zip.closeEntry();
            }
        }
        try (NpzFile file = Npz.open(path);
                Arena arena = Arena.ofConfined()) {
            assertEquals(List.of("x"), List.copyOf(file.names()));
            assertArrayEquals(new int[] {1, 2}, file.read("x", arena).ints());
            assertEquals(
                    List.of("y", "when", "what", "short", "notes.txt"),
                    List.copyOf(file.unreadable().keySet()));
            String message = requireNonNull(assertThrows(TensorFileException.class, () -> file.read("y", arena))
                    .getMessage());
            assertTrue(message.startsWith(path + " ('y'): holds the dtype '<U5'"), message);
            assertEquals(1, message.lines().count(), message);
            assertThrows(TensorFileException.class, () -> file.read("short", arena));
        }
        FileSummary summary = FileSummary.of(path);
        assertEquals("[x: u8[2]]", summary.arrays().toString());
        assertEquals(5, summary.unreadable().size());
        assertTrue(
                requireNonNull(summary.unreadable().get("what"), "what").contains("Python objects (a pickle)"),
                summary::toString);
    }

    @Test
    void refusesADirectoryThatLies() throws IOException {
        String four = "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }";
        byte[] npy = NpyTest.npy(1, four, new byte[4]);
        int sizeField = 24;
        editDirectory(archive("x.npy", npy), sizeField, 2_000_000_000);
        assertRefused(directory.resolve("x.npz"), "claims 2000000000 bytes");
        editDirectory(archive("x.npy", npy), sizeField, npy.length + 1);
        assertRefused(directory.resolve("x.npz"), "takes 4 bytes, but 5 follow");
        int compressedField = 20;
        editDirectory(archive("x.npy", npy), compressedField, 1_000_000);
        assertRefused(directory.resolve("x.npz"), "");
    }

    @Test
    void refusesAClaimThatItsBytesDoNotKeep() throws IOException {
        // The header and the directory agree on 50 000 bytes; the deflated stream ends after 4.
        String many = "{'descr': '|u1', 'fortran_order': False, 'shape': (50000,), }";
        byte[] npy = NpyTest.npy(1, many, new byte[4]);
        Path path = archive("x.npy", npy);
        editDirectory(path, 24, npy.length - 4 + 50_000);
        try (NpzFile file = Npz.open(path);
                Arena arena = Arena.ofConfined()) {
            assertThrows(TensorFileException.class, () -> file.read("x", arena));
        }
    }

    @Test
    void refusesArraysOverTheBound() throws IOException {
        Path path = directory.resolve("zeros.npz");
        Npz.writeCompressed(path, List.of(ArrayData.of("x", new double[1 << 20], 1 << 20)));
        assertTrue(Files.size(path) < 20_000);
        String message = requireNonNull(assertThrows(TensorFileException.class, () -> Npz.open(path, 1 << 20))
                .getMessage());
        assertTrue(message.contains("would take 8388608 bytes, more than the bound of 1048576"), message);
        assertTrue(message.contains("pass a larger bound"), message);
        try (NpzFile file = Npz.open(path, 8 << 20);
                Arena arena = Arena.ofConfined()) {
            assertEquals(1 << 20, file.read("x", arena).count());
        }
    }

    @Test
    void noticesDamagedBytes() throws IOException {
        Path path = directory.resolve("x.npz");
        Npz.write(path, List.of(ArrayData.of("x", new int[] {0x12345678}, 1)));
        byte[] bytes = Files.readAllBytes(path);
        int at = new String(bytes, StandardCharsets.ISO_8859_1).indexOf("xV4\u0012");
        bytes[at] ^= 1;
        Files.write(path, bytes);
        try (NpzFile file = Npz.open(path);
                Arena arena = Arena.ofConfined()) {
            String message = requireNonNull(assertThrows(TensorFileException.class, () -> file.read("x", arena))
                    .getMessage());
            assertTrue(message.contains("do not match their checksum"), message);
        }
    }

    @Test
    void writesNothingOnBadNames() throws IOException {
        ArrayData one = ArrayData.of("x", new int[] {1}, 1);
        Path path = directory.resolve("x.npz");
        assertThrows(TensorFileException.class, () -> Npz.write(path, List.of(one, one)));
        ArrayData unnamed = ArrayData.of("", new int[] {1}, 1);
        assertThrows(TensorFileException.class, () -> Npz.write(path, List.of(unnamed)));
        try (Stream<Path> files = Files.list(directory)) {
            assertEquals(0, files.count());
        }
    }

    @Test
    void summarisesEveryFormatByItsBytes() throws IOException {
        Path path = directory.resolve("file.dat");
        Npz.write(path, ARRAYS);
        FileSummary summary = FileSummary.of(path);
        assertEquals(FileSummary.Format.NPZ, summary.format());
        assertEquals(
                "[a: f32[2, 2], nested/é: i32[], empty: f64[0, 3]]",
                summary.arrays().toString());

        Safetensors.write(path, ARRAYS, Map.of("k", "v"));
        summary = FileSummary.of(path);
        assertEquals(FileSummary.Format.SAFETENSORS, summary.format());
        assertEquals(Map.of("k", "v"), summary.metadata());
        assertEquals(4 * 4, summary.arrays().getFirst().bytes());

        Npy.write(path, ARRAYS.getFirst());
        summary = FileSummary.of(path);
        assertEquals(FileSummary.Format.NPY, summary.format());
        assertEquals("[file.dat: f32[2, 2]]", summary.arrays().toString());

        Files.writeString(path, "hello");
        String refusal = String.valueOf(assertThrows(TensorFileException.class, () -> FileSummary.of(path))
                .getMessage());
        assertTrue(refusal.startsWith(path + ": is neither safetensors, npy nor npz; "), refusal);
    }

    @Test
    void leavesTheOldFileWhenItsContentFails() throws IOException {
        Path path = Files.writeString(directory.resolve("kept.txt"), "old");
        assertThrows(
                UncheckedIOException.class,
                () -> AtomicFile.write(path, (OutputStream out) -> {
                    out.write(new byte[100_000]);
                    throw new IOException("disk full");
                }));
        assertEquals("old", Files.readString(path));
        try (Stream<Path> files = Files.list(directory)) {
            assertEquals(List.of(path), files.toList());
        }
    }
}
