package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The list of sources that are packaged and compiled; apart from {@link CudaSourcesTest}, which runs where the sources' folder is not. */
class CudaSourceNamesTest {
    @Test
    void everySourceIsNamed() throws IOException {
        try (Stream<Path> files = Files.list(Path.of("../../kernels/src/main/cuda"))) {
            assertEquals(
                    CudaCode.SOURCES,
                    files.map(file -> file.getFileName().toString())
                            .filter(file -> file.endsWith(".cu"))
                            .map(file -> file.substring(0, file.length() - 3))
                            .sorted()
                            .toList());
        }
    }
}
