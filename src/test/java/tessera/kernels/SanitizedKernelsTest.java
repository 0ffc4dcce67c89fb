package tessera.kernels;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
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
 * The kernels under AddressSanitizer and UBSan, which see every access outside an allocation or a shared array to the byte, every
 * misaligned one and every overflow.
 */
@Tag(FakeCuda.TAG)
class SanitizedKernelsTest {
    private static Path folder;
    private static String library;

    @BeforeAll
    static void build() throws Exception {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        folder = Path.of(System.getProperty("tessera.cuda.dir")).resolveSibling("fake-cuda-sanitized");
        library = FakeCudaBuilder.sanitizerLibrary();
        assumeTrue(Files.exists(Path.of(library)), "the compiler has no AddressSanitizer");
        String reason = FakeCudaBuilder.buildSanitized(folder);
        assumeTrue(reason.isEmpty(), reason);
    }

    @TempDir
    Path temp;

    private String run(Class<?> main, String... arguments) throws Exception {
        return ChildJava.runKernels(
                temp,
                folder,
                Map.of(
                        "LD_PRELOAD",
                        library,
                        // Java handles signals itself and never frees all it has.
                        "ASAN_OPTIONS",
                        "detect_leaks=0:detect_stack_use_after_return=0:handle_segv=0:handle_sigfpe=0:use_sigaltstack=0"
                                + ":allow_user_segv_handler=1:alloc_dealloc_mismatch=0",
                        "UBSAN_OPTIONS",
                        "print_stacktrace=1:halt_on_error=1"),
                main,
                arguments);
    }

    @Test
    void noKernelAccessesWhatItMustNot() throws IOException {
        SanitizedKernels.unusualAttention(temp);
        for (String output : SanitizedKernels.parts(part -> run(SanitizedKernels.class, part))) {
            assertTrue(output.contains("sanitized: "), output);
            assertTrue(!output.contains("runtime error") && !output.contains("AddressSanitizer:"), output);
        }
    }

    @Test
    void aWriteBehindMemoryIsSeen() {
        AssertionError e =
                assertThrows(AssertionError.class, () -> run(Misbehave.class, String.valueOf(Misbehave.WRITE_BEHIND)));
        String output = String.valueOf(e.getMessage());
        assertTrue(output.contains("AddressSanitizer: use-after-poison") && output.contains("misbehave.cu"), output);
    }
}
