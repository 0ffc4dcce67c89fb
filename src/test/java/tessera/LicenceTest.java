package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.jar.JarFile;
import org.junit.jupiter.api.Test;

/** Whoever gets a jar of the project gets its licence with it. */
class LicenceTest {
    @Test
    void everyJarCarriesLicenceAndNotice() throws IOException {
        List<Path> jars = ModulePath.of("tessera.distill").stream()
                .filter(Files::isRegularFile)
                .filter(place -> place.getFileName().toString().startsWith("tessera-"))
                .toList();
        assumeFalse(jars.isEmpty(), "the modules are folders of classes");
        assertEquals(5, jars.size(), jars.toString());
        for (Path place : jars) {
            try (JarFile jar = new JarFile(place.toFile())) {
                for (String name : List.of("LICENSE", "NOTICE")) {
                    var entry = jar.getEntry("META-INF/" + name);
                    assertTrue(entry != null, place + " lacks META-INF/" + name);
                    try (var in = jar.getInputStream(entry)) {
                        String expected = Files.readString(SourceTree.root().resolve(name));
                        assertEquals(expected, new String(in.readAllBytes(), StandardCharsets.UTF_8), place.toString());
                    }
                }
            }
        }
    }
}
