package tessera.distill.train;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import tessera.tensor.io.Sha256;
import tessera.tensor.io.WriteFailure;

/**
 * What a frozen teacher made of clips, on disk: the logits of its heads and its feature for each view of each clip.
 *
 * <p>One file for each teacher. Its name is a SHA-256 of what it was made of, so that another teacher, other clips or other views
 * never meet it. It begins with a head of 48 bytes (the text {@code TESSTCH1}, the SHA-256, the number of values of an entry as
 * i32, a CRC-32 of these), then has a place of fixed size for each entry: a CRC-32 of the entry's number and values, and the
 * values as f32, all in little-endian order. Entries are written one by one as they are computed, in any order. An entry that is not
 * there, or not as it was written, is absent and can be computed again; so a process may end at any moment. Processes that write
 * the same file at the same time write the same.
 *
 * <p>Not thread-safe.
 */
public final class TeacherCache implements AutoCloseable {
    private static final byte[] MAGIC = "TESSTCH1".getBytes(StandardCharsets.US_ASCII);
    private static final int HEAD = 48;
    private static final int CHECK = Integer.BYTES;

    private final Path file;
    private final int values;
    /** No channel: that would close itself under an interrupted thread. */
    private final RandomAccessFile open;

    private final boolean beganAgain;

    private TeacherCache(Path file, int values, RandomAccessFile open, boolean beganAgain) {
        this.file = file;
        this.values = values;
        this.open = open;
        this.beganAgain = beganAgain;
    }

    /**
     * Opens a teacher's cache or makes it; a file that is damaged where it says what it is begins again.
     *
     * @param folder of the caches, made where it is missing
     * @param teacher begins the file's name, for people
     * @param madeOf everything that determines the values, by name
     * @param values numbers of an entry
     */
    public static TeacherCache open(Path folder, String teacher, Map<String, String> madeOf, int values) {
        byte[] key = Sha256.digest()
                .digest(Map.copyOf(madeOf).entrySet().stream()
                        .sorted(Map.Entry.comparingByKey())
                        .map(Map.Entry::toString)
                        .reduce("", (all, one) -> all + one + "\n")
                        .getBytes(StandardCharsets.UTF_8));
        String name = teacher + "-" + HexFormat.of().formatHex(key) + ".teacher";
        try {
            Files.createDirectories(folder);
            Path file = folder.resolve(name);
            boolean existed = Files.exists(file);
            RandomAccessFile open = new RandomAccessFile(file.toFile(), "rw");
            try {
                return new TeacherCache(file, values, open, begin(open, key, values) && existed);
            } catch (IOException e) {
                open.close();
                throw e;
            }
        } catch (IOException e) {
            throw WriteFailure.of(folder.resolve(name), e);
        }
    }

    /** Writes what the file says it is, unless it says so. */
    private static boolean begin(RandomAccessFile open, byte[] key, int values) throws IOException {
        byte[] head = new byte[HEAD];
        ByteBuffer parts = little(head).put(MAGIC).put(key).putInt(values);
        parts.putInt(crc(head, HEAD - CHECK));
        byte[] found = new byte[HEAD];
        read(open, found, 0);
        if (Arrays.equals(head, found)) {
            return false;
        }
        open.setLength(0);
        write(open, head, 0);
        return true;
    }

    /** Its file. */
    public Path file() {
        return file;
    }

    /**
     * An entry.
     *
     * @param number of the entry, from 0
     * @return its values, or an empty array if it is absent or damaged
     */
    public float[] read(long number) {
        byte[] entry = new byte[CHECK + Float.BYTES * values];
        ByteBuffer parts = little(entry);
        try {
            if (read(open, entry, place(number)) < entry.length || parts.getInt() != check(number, entry)) {
                return new float[0];
            }
        } catch (IOException e) {
            throw new UncheckedIOException("the teacher cache " + file + " cannot be read", e);
        }
        float[] read = new float[values];
        parts.asFloatBuffer().get(read);
        return read;
    }

    /**
     * What was found damaged, in one line for people.
     *
     * @param absent entries that {@link #read} did not find
     * @return an empty text if they were never written
     */
    String damage(List<Long> absent) {
        if (beganAgain) {
            return file + " was damaged where it says what it is; all of it is made anew";
        }
        List<Long> damaged = absent.stream().filter(this::isWritten).sorted().toList();
        return damaged.isEmpty()
                ? ""
                : file + " was damaged; entries made anew: " + damaged.size() + ", the first is entry "
                        + damaged.getFirst();
    }

    /** Places between entries that were written hold zeros. */
    private boolean isWritten(long number) {
        byte[] entry = new byte[CHECK + Float.BYTES * values];
        try {
            int held = read(open, entry, place(number));
            return IntStream.range(0, held).anyMatch(i -> entry[i] != 0);
        } catch (IOException e) {
            throw new UncheckedIOException("the teacher cache " + file + " cannot be read", e);
        }
    }

    /** Writes an entry, over what was there. */
    public void write(long number, float[] entry) {
        if (entry.length != values) {
            throw new IllegalArgumentException(
                    "an entry of " + entry.length + " values for a cache of " + values + "; pass all of them");
        }
        byte[] bytes = new byte[CHECK + Float.BYTES * values];
        ByteBuffer parts = little(bytes).position(CHECK);
        parts.asFloatBuffer().put(entry);
        parts.putInt(0, check(number, bytes));
        try {
            write(open, bytes, place(number));
        } catch (IOException e) {
            throw WriteFailure.of(file, e);
        }
    }

    private long place(long number) {
        return HEAD + number * (CHECK + (long) Float.BYTES * values);
    }

    /** How many bytes the file holds there; the others stay 0. */
    private static int read(RandomAccessFile open, byte[] bytes, long from) throws IOException {
        open.seek(from);
        int held = 0;
        int more = 0;
        while (held < bytes.length && more >= 0) {
            held += more;
            more = open.read(bytes, held, bytes.length - held);
        }
        return held;
    }

    private static void write(RandomAccessFile open, byte[] bytes, long to) throws IOException {
        open.seek(to);
        open.write(bytes);
    }

    private static ByteBuffer little(byte[] bytes) {
        return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    }

    private static int check(long number, byte[] entry) {
        CRC32 crc = new CRC32();
        byte[] place = new byte[Long.BYTES];
        little(place).putLong(number);
        crc.update(place);
        crc.update(entry, CHECK, entry.length - CHECK);
        return (int) crc.getValue();
    }

    private static int crc(byte[] bytes, int length) {
        CRC32 crc = new CRC32();
        crc.update(bytes, 0, length);
        return (int) crc.getValue();
    }

    /** SHA-256 of a teacher's file. */
    static String checksum(Path file) {
        try {
            return Sha256.of(file);
        } catch (IOException e) {
            throw new UncheckedIOException("the teacher " + file + " cannot be read", e);
        }
    }

    @Override
    public void close() {
        try {
            open.close();
        } catch (IOException e) {
            throw new UncheckedIOException("the teacher cache " + file + " cannot be closed", e);
        }
    }

    /** What a cache of a teacher is made of, in a map of one's own. */
    static Map<String, String> madeOf(String teacher, String clips, String views, String heads, String compute) {
        Map<String, String> parts = new LinkedHashMap<>();
        parts.put("teacher", teacher);
        parts.put("clips", clips);
        parts.put("views", views);
        parts.put("heads", heads);
        parts.put("compute", compute);
        return parts;
    }
}
