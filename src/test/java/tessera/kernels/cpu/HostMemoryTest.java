package tessera.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.kernels.DeviceException;

/** Memory that runs out, in a process that may have little of it. */
class HostMemoryTest {
    @Test
    void smallAndLargeBlocksAreRefusedAlike(@TempDir Path temp) throws Exception {
        String output = ChildJava.run(temp, "-XX:MaxDirectMemorySize=512k", HostMemoryTest.class);
        for (String bytes : new String[] {"40", "2000000"}) {
            String line = "true cpu: cannot allocate " + bytes + " bytes; 0 bytes are live in 0 buffers";
            assertTrue(output.lines().anyMatch(said -> said.startsWith(line)), output);
        }
    }

    public static void main(String[] args) {
        HostMemory memory = new HostMemory();
        for (long bytes : new long[] {40, 2_000_000}) {
            try {
                memory.allocate(bytes).free();
            } catch (DeviceException e) {
                System.out.println(e.outOfMemory() + " " + e.getMessage());
            }
        }
    }
}
