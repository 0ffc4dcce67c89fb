package tessera;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import tessera.kernels.Device;

/**
 * What this process uses at one time, for tests of long runs.
 *
 * @param device memory of the device asked for
 * @param resident bytes of the process that are in memory, 0 where the system does not tell
 */
public record MemoryNow(Device.MemoryUse device, long resident) {
    /** What the Java heap and its compiler may grow by meanwhile; 10 000 steps that each lost a tensor of 4 KB lost 40 MB. */
    private static final long GROWTH = 96L << 20;

    private static final Path STATM = Path.of("/proc/self/statm");

    /**
     * What is used now.
     *
     * @param device one of the test's own: on the shared one, what earlier tests lost is collected at any time
     */
    public static MemoryNow read(Device device) {
        try {
            return new MemoryNow(
                    device.memory(),
                    Files.exists(STATM)
                            ? 4096 * Long.parseLong(Files.readString(STATM).split(" ", -1)[1])
                            : 0);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Fails where the process has grown by more than its heap and compiler may since then. */
    public void requireNoGrowthSince(MemoryNow earlier) {
        assertTrue(resident - earlier.resident <= GROWTH, "from " + earlier.resident + " to " + resident + " bytes");
    }
}
