package tessera.tensor.io;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.SequencedSet;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * An open npz archive. Opening reads the directory and each array's header; {@link #read} reads one array. A member that cannot be
 * read hides no other: it is {@link #unreadable}, and refused when it is asked for; only where nothing can be read is the archive.
 *
 * <p>Nothing is allocated for an array before its header, the archive's directory and the caller's bound agree on its
 * size, and the checksum of what was read is verified. All methods may be called from any thread.
 */
public final class NpzFile implements AutoCloseable {
    private static final long DEFAULT_BOUND = 1L << 30;
    private static final long DEFAULT_RATIO = 16;

    /** Deflate cannot expand a byte further than this; a directory that claims more is lying. */
    private static final long MAX_DEFLATE_RATIO = 1032;

    private static final int CHUNK = 1 << 16;

    private record Member(ZipEntry entry, ArrayInfo info) {}

    private final Path path;
    private final ZipFile zip;
    private final Map<String, Member> members = new LinkedHashMap<>();
    private final Map<String, TensorFileException> unreadable = new LinkedHashMap<>();

    private NpzFile(Path path, ZipFile zip) {
        this.path = path;
        this.zip = zip;
    }

    static NpzFile open(Path path) {
        long size = 0;
        try {
            size = Files.exists(path) ? Files.size(path) : 0;
        } catch (IOException failure) {
            throw TensorFileException.unreadable(path, failure);
        }
        return open(path, Math.max(DEFAULT_BOUND, Math.multiplyExact(DEFAULT_RATIO, size)));
    }

    static NpzFile open(Path path, long maxArrayBytes) {
        try {
            // Opened once only to refuse what is no ordinary file in the same words as the other formats.
            long archiveBytes;
            try (var file = Mapping.open(path)) {
                archiveBytes = file.length();
            }
            ZipFile zip = new ZipFile(path.toFile());
            try {
                NpzFile opened = new NpzFile(path, zip);
                opened.list(archiveBytes, maxArrayBytes);
                return opened;
            } catch (RuntimeException | Error failure) {
                zip.close();
                throw failure;
            }
        } catch (TensorFileException refused) {
            throw refused;
        } catch (IOException | IllegalArgumentException failure) {
            throw damaged(path.toString(), failure);
        }
    }

    /** Finds what the archive holds. What one member cannot be read for is kept for those who ask for it: the others are good. */
    private void list(long archiveBytes, long maxArrayBytes) {
        String file = path.toString();
        long compressed = 0;
        for (ZipEntry entry : Collections.list(zip.entries())) {
            // The sum is taken so that entries which share their bytes, the trick of the smallest zip bombs, exceed it.
            compressed += Math.max(0, entry.getCompressedSize());
            if (compressed < 0 || compressed > archiveBytes) {
                throw impossible(entry, archiveBytes);
            }
            if (entry.isDirectory()) {
                continue;
            }
            String name = name(entry);
            try {
                Member member = member(entry, name, archiveBytes, maxArrayBytes);
                if (members.remove(name) != null || unreadable.containsKey(name)) {
                    throw malformed(file, "the array " + TensorFileException.quote(name) + " occurs twice");
                }
                members.put(name, member);
            } catch (TensorFileException refused) {
                unreadable.put(name, refused);
            } catch (IOException | IllegalArgumentException failure) {
                unreadable.put(name, damaged(label(file, name), failure));
            }
        }
        if (members.isEmpty() && !unreadable.isEmpty()) {
            throw unreadable.values().iterator().next();
        }
    }

    private static String name(ZipEntry entry) {
        String name = entry.getName();
        return name.endsWith(Npy.SUFFIX) ? name.substring(0, name.length() - Npy.SUFFIX.length()) : name;
    }

    private Member member(ZipEntry entry, String name, long archiveBytes, long maxArrayBytes) throws IOException {
        String file = path.toString();
        if (!entry.getName().endsWith(Npy.SUFFIX)) {
            throw malformed(
                    file,
                    "its entry " + TensorFileException.quote(entry.getName()) + " is no .npy array"
                            + (entry.getName().endsWith(".pkl")
                                    ? " but a pickle, which is never read (of a PyTorch checkpoint: convert it to safetensors)"
                                    : ""));
        }
        long size = entry.getSize();
        long compressed = entry.getCompressedSize();
        boolean stored = entry.getMethod() == ZipEntry.STORED;
        if (size < 0 || compressed < 0 || (stored ? size != compressed : size / MAX_DEFLATE_RATIO > compressed)) {
            throw impossible(entry, archiveBytes);
        }
        NpyHeader header;
        try (InputStream in = zip.getInputStream(entry)) {
            header = NpyHeader.read(in, label(file, name));
        }
        Npy.checkSize(header, size - header.bytes(), label(file, name));
        if (header.dataBytes() > maxArrayBytes) {
            throw new TensorFileException(
                    label(file, name),
                    "would take " + header.dataBytes() + " bytes, more than the bound of " + maxArrayBytes,
                    "if you trust the file, pass a larger bound to Npz.open");
        }
        return new Member(entry, new ArrayInfo(name, header.type(), header.shape()));
    }

    private TensorFileException impossible(ZipEntry entry, long archiveBytes) {
        return malformed(
                path.toString(),
                "its entry " + TensorFileException.quote(entry.getName()) + " claims " + entry.getSize()
                        + " bytes from " + entry.getCompressedSize() + " in an archive of " + archiveBytes
                        + ", which cannot be");
    }

    /** Names of the arrays that can be read, without {@code .npy}, in the archive's order. */
    public SequencedSet<String> names() {
        return Collections.unmodifiableSequencedSet(new LinkedHashSet<>(members.keySet()));
    }

    /** Type and shape of each array that can be read, in the archive's order. */
    public List<ArrayInfo> infos() {
        return members.values().stream().map(Member::info).toList();
    }

    /**
     * Names of what else the archive holds, such as arrays of texts, dates or Python objects, damaged ones and files that are no
     * arrays, in the archive's order, with the reason.
     */
    public Map<String, String> unreadable() {
        Map<String, String> reasons = new LinkedHashMap<>();
        unreadable.forEach((name, refused) -> reasons.put(name, String.valueOf(refused.getMessage())));
        return Collections.unmodifiableMap(reasons);
    }

    /**
     * Reads one array, converted to little-endian row-major order, into 64-byte aligned memory of {@code arena}.
     *
     * @throws TensorFileException if there is no such array, or it is {@link #unreadable} or its bytes are damaged
     * @throws IllegalStateException if this file is closed
     */
    public ArrayData read(String name, Arena arena) {
        Member member = members.get(name);
        if (unreadable.containsKey(name)) {
            TensorFileException refused = unreadable.get(name);
            throw new TensorFileException(String.valueOf(refused.getMessage()), refused);
        }
        if (member == null) {
            throw new TensorFileException(
                    path.toString(),
                    "has no array " + TensorFileException.quote(name) + " (it holds " + members.size() + ")",
                    "ask for one of names()");
        }
        String file = label(path.toString(), name);
        try (CheckedInputStream in = new CheckedInputStream(zip.getInputStream(member.entry), new CRC32())) {
            NpyHeader header = NpyHeader.read(in, file);
            Npy.checkSize(header, member.entry.getSize() - header.bytes(), file);
            MemorySegment elements = arena.allocate(header.dataBytes(), 64);
            fill(elements, in);
            if (in.read() != -1 || in.getChecksum().getValue() != member.entry.getCrc()) {
                throw malformed(
                        path.toString(),
                        "the bytes of " + TensorFileException.quote(name) + " do not match their checksum");
            }
            return Npy.array(name, header, elements, arena);
        } catch (IOException failure) {
            throw damaged(file, failure);
        }
    }

    private static void fill(MemorySegment elements, InputStream in) throws IOException {
        byte[] chunk = new byte[CHUNK];
        long position = 0;
        while (position < elements.byteSize()) {
            int count = in.read(chunk, 0, (int) Math.min(CHUNK, elements.byteSize() - position));
            if (count < 0) {
                throw new EOFException("the array ends early");
            }
            MemorySegment.copy(chunk, 0, elements, ValueLayout.JAVA_BYTE, position, count);
            position += count;
        }
    }

    private static String label(String file, String name) {
        return file + " (" + TensorFileException.quote(name) + ")";
    }

    private static TensorFileException malformed(String file, String problem) {
        return TensorFileException.malformed(file, "npz", problem);
    }

    private static TensorFileException damaged(String file, Exception failure) {
        String reason = failure.getMessage() == null ? failure.getClass().getSimpleName() : failure.getMessage();
        if (reason.contains("encrypted") || reason.contains("compression method")) {
            return new TensorFileException(
                    file,
                    "an entry is encrypted, or packed in another way than numpy.savez and numpy.savez_compressed do ("
                            + TensorFileException.quote(reason) + ")",
                    "unpack it and save it with one of these",
                    failure);
        }
        return TensorFileException.malformed(
                file, "npz", "the archive cannot be read (" + TensorFileException.quote(reason) + ")", failure);
    }

    /** Closes the archive; arrays already read stay valid. Closing twice is allowed. */
    @Override
    public void close() {
        try {
            zip.close();
        } catch (IOException failure) {
            throw new UncheckedIOException(path + ": could not be closed (" + failure.getMessage() + ")", failure);
        }
    }
}
