package tessera.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.kernels.DeviceException;

/** Memory that runs out, in a process that may have little of it. */
class HostMemoryTest {
    /** Only memory that the garbage collector frees, as that of small blocks, counts against the limit. */
    @Test
    void smallBlocksThatCannotBeHadAreRefusedWithTheRemedy(@TempDir Path temp) throws Exception {
        String output = ChildJava.run(temp, "-XX:MaxDirectMemorySize=512k", HostMemoryTest.class);
        String line = "true cpu: cannot allocate 40 bytes; 0 bytes are live in 0 buffers";
        assertTrue(output.lines().anyMatch(said -> said.startsWith(line)), output);
    }

    public static void main(String[] args) {
        try {
            new HostMemory().allocate(40).free();
        } catch (DeviceException e) {
            System.out.println(e.outOfMemory() + " " + e.getMessage());
        }
    }
}
