package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

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
}
