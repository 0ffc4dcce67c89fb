package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.kernels.NativeReport;

/** What doctor says of systems that this one is not. */
class DoctorTest {
    @Test
    void aSystemWithoutGlibcIsTold(@TempDir Path root) throws Exception {
        String told = Doctor.system("linux-x86_64", root);
        assertTrue(told.contains(" without /lib64/ld-linux-x86-64.so.2: "), told);
        assertTrue(told.contains("glibc") && told.contains("install FFmpeg"), told);
        String name = System.getProperty("os.name") + " " + System.getProperty("os.arch");
        assertEquals(name, Doctor.system("linux-arm64", root), "nothing is carried for it");
        Files.createFile(Files.createDirectory(root.resolve("lib64")).resolve("ld-linux-x86-64.so.2"));
        assertEquals(name, Doctor.system("linux-x86_64", root));
    }

    /** Fewer than the processor has, as the environment asks of oneDNN. */
    @Test
    void theInstructionsOfProductsAreTold(@TempDir Path temp) throws Exception {
        assumeTrue(NativeReport.cpuKernels().endsWith("by oneDNN"), "there is no oneDNN for this processor");
        assumeTrue(System.getProperty("os.arch").matches("amd64|x86_64"), "this is no x86 processor");
        String said = ChildJava.run(
                temp,
                List.of("--add-modules=jdk.incubator.vector", "-XX:-UseFMA"),
                Map.of("ONEDNN_MAX_CPU_ISA", "SSE41"),
                120,
                Told.class);
        assertTrue(said.contains(", with instructions up to SSE4.1\n"), said);
        assertTrue(said.contains("cpu kernels  plain loops; matrix products by oneDNN\n"), said);
    }

    /** Runs doctor. */
    static final class Told {
        private Told() {}

        public static void main(String[] none) {
            System.out.println(Shell.succeed("doctor"));
        }
    }
}
