package tessera.kernels;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.FakeCuda;
import tessera.FakeCudaBuilder;
import tessera.natives.Misbehave;

/**
 * The kernels where every access to shared and device memory is watched: two threads that nothing orders do not meet, so no barrier
 * is missing, whatever the order in which a GPU runs them.
 */
@Tag(FakeCuda.TAG)
class RacesTest {
    private static Path folder;

    @BeforeAll
    static void build() throws Exception {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        folder = Path.of(System.getProperty("tessera.cuda.dir")).resolveSibling("fake-cuda-races");
        String reason = FakeCudaBuilder.buildForRaces(folder);
        assumeTrue(reason.isEmpty(), reason);
    }

    @TempDir
    Path temp;

    private String run(Class<?> main, String... arguments) throws Exception {
        return ChildJava.runKernels(temp, folder, Map.of(), main, arguments);
    }

    @Test
    void noKernelRaces() throws IOException {
        SanitizedKernels.unusualAttention(temp);
        for (String output : SanitizedKernels.parts(part -> run(SanitizedKernels.class, part))) {
            assertTrue(output.contains("sanitized: ") && !output.contains("a race"), output);
        }
    }

    /** The misdeeds from 11 to 16, the last of which is none; see misbehave.cu. */
    @Test
    void racesAreSeen() throws Exception {
        String output = run(Misbehave.class, "0", "8", "11", "12", "13", "14", "15", "16");
        for (String innocent : List.of("0", "8", "16")) {
            assertTrue(output.contains("misdeed " + innocent + ": nothing"), output);
        }
        for (int what = 11; what <= 15; what++) {
            String race = what + ": kernel misbehave: a race: a thread ";
            assertTrue(output.contains("misdeed " + race), output);
        }
    }
}
