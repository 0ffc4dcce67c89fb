package tessera.distill.train;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32;
import tessera.natives.NativeLibraries;
import tessera.tensor.io.AtomicFile;
import tessera.tensor.io.Sha256;
import tessera.tensor.io.WriteFailure;

/**
 * The student that comes with Tessera: a small RGB model (16 frames of 84 x 84 pixels) that all stages of MM-CDFSL trained on the
 * built-in benchmark, version 2 of EgoSim. It stands where the papers have weights of Kinetics: to begin with, and to {@linkplain Pretraining adapt}.
 * {@code tessera demo --plan warm-start} trains it anew.
 *
 * <p>Thread-safe, also between processes.
 */
public final class WarmStart {
    /** Beside this class: resources of a module are for the module alone. */
    private static final String RESOURCE = "warm-start.safetensors";

    /** Digits of the checksum that are enough to tell the few contents apart that there ever are. */
    private static final int HASH = 16;

    private WarmStart() {}

    /**
     * The student's file, which is unpacked into the user's cache once for each content, beside {@link NativeLibraries#defaultCache}; one
     * that was damaged there is replaced.
     *
     * @return a safetensors file that belongs to all processes of the user: only to be read
     * @throws UncheckedIOException if the cache cannot be written
     * @throws IllegalStateException if this build of Tessera comes without
     */
    public static Path file() {
        byte[] bytes = bytes();
        Path folder =
                NativeLibraries.defaultCache(System.getenv()).resolveSibling("").toAbsolutePath();
        try {
            long crc = crc(bytes);
            Path file = folder.resolve("warm-start-" + Long.toHexString(crc) + "-" + bytes.length + ".safetensors");
            if (!Files.isRegularFile(file) || crc(Files.readAllBytes(file)) != crc) {
                Files.createDirectories(folder);
                AtomicFile.write(file, out -> out.write(bytes));
            }
            return file;
        } catch (IOException e) {
            throw WriteFailure.of(folder, e);
        }
    }

    /**
     * The beginning of the student's SHA-256 in hexadecimal digits, by which runs note from which they started.
     *
     * @throws IllegalStateException if this build of Tessera comes without
     */
    public static String checksum() {
        return Sha256.of(bytes()).substring(0, HASH);
    }

    private static byte[] bytes() {
        try (InputStream in = WarmStart.class.getResourceAsStream(RESOURCE)) {
            if (in == null) {
                throw new IllegalStateException(
                        "this build comes without the student of a warm start; name one of your own");
            }
            return in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException("cannot unpack the student of a warm start", e);
        }
    }

    /** At once where Java still interprets, which a SHA-256 or a comparison is not: every start has one. */
    private static long crc(byte[] bytes) {
        CRC32 crc = new CRC32();
        crc.update(bytes);
        return crc.getValue();
    }
}
