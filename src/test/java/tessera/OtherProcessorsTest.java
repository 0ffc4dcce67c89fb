package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.kernels.Device;
import tessera.kernels.NativeReport;

/**
 * Published models' outputs and gradients on lesser processors, as far as this one can be made one: in processes of their own, with
 * instructions and libraries left away. What a feature decides is said by {@code doctor} too.
 */
class OtherProcessorsTest {
    private static final String VECTORS = "--add-modules=jdk.incubator.vector";
    private static final String NO_LIBRARY = "-Dtessera.native=off";
    private static final Map<String, String> NARROW = Map.of("ONEDNN_MAX_CPU_ISA", "AVX2");
    private static final List<String> GOLDEN = List.of(
            "tessera.tensor.GoldenOpsTest",
            "tessera.nn.videomae.GoldenModelsTest",
            "tessera.nn.swin.GoldenSwinTest",
            "tessera.nn.stlt.GoldenStltTest");
    private static final List<String> ON_BYTES = List.of(
            "tessera.kernels.cpu.OneDnnInt8Test",
            "tessera.kernels.cpu.vector.Int8KernelsTest",
            "tessera.nn.inference.Int8StudentTest");
    private static final String VECTOR_KERNELS = "tessera.kernels.cpu.vector.VectorKernelsTest";

    @TempDir
    private Path folder;

    private void passes(String path, List<String> options, Map<String, String> environment, String... more)
            throws Exception {
        passes(path, false, options, environment, List.of(more));
    }

    private void passes(
            String path, boolean int8, List<String> options, Map<String, String> environment, List<String> more)
            throws Exception {
        List<String> all = new ArrayList<>(List.of("-XX:+IgnoreUnrecognizedVMOptions", "-Xmx1g"));
        all.addAll(options);
        List<String> classes = new ArrayList<>(GOLDEN);
        classes.addAll(more);
        classes.addFirst(folder.resolve("tests.log").toString());
        String said =
                ChildJava.run(folder, all, environment, 300, OnThisProcessor.class, classes.toArray(String[]::new));
        assertTrue(said.contains("kernels: " + path + "\n"), said);
        assertTrue(said.contains("int8 " + int8 + ", bf16 false\n"), said);
        assertTrue(said.endsWith(classes.size() - 1 + " classes passed\n"), said);
    }

    /** What is left away is what x86 processors have. */
    private static void needsX86() {
        assumeTrue(System.getProperty("os.arch").matches("amd64|x86_64"), "this is no x86 processor");
    }

    private static void needsOneDnn() {
        assumeTrue(NativeReport.cpuKernels().endsWith("by oneDNN"), "there is no oneDNN for this processor");
    }

    @Test
    void avx2() throws Exception {
        needsOneDnn();
        List<String> more = new ArrayList<>(ON_BYTES);
        more.add(VECTOR_KERNELS);
        passes(
                "the Vector API, 8 f32 at a time; matrix products by oneDNN",
                true,
                List.of(VECTORS, "-XX:UseAVX=2"),
                NARROW,
                more);
    }

    /** AVX-512 that multiplies no bytes in one instruction, where this processor has any. */
    @Test
    void avx512WithoutVnni() throws Exception {
        needsOneDnn();
        passes(
                NativeReport.cpuKernels(),
                Device.cpu().int8().isPresent(),
                List.of(VECTORS),
                Map.of("ONEDNN_MAX_CPU_ISA", "AVX512_CORE"),
                ON_BYTES);
    }

    /** Of 128 bits, with products in Java: what is left on aarch64. */
    @Test
    void neon() throws Exception {
        passes(
                "the Vector API, 4 f32 at a time; matrix products by Java",
                List.of(VECTORS, NO_LIBRARY, "-XX:MaxVectorSize=16"),
                Map.of(),
                VECTOR_KERNELS);
    }

    /** Of x86 processors before AVX2, on which Java would multiply and add some thousand times slower. */
    @Test
    void noFusedMultiplyAdd() throws Exception {
        needsX86();
        passes("plain loops; matrix products by Java", List.of(VECTORS, NO_LIBRARY, "-XX:-UseFMA"), Map.of());
    }

    @Test
    void noVectorApi() throws Exception {
        needsOneDnn();
        passes("plain loops; matrix products by oneDNN", List.of(), Map.of());
    }

    @Test
    void javaAlone() throws Exception {
        passes("plain loops; matrix products by Java", List.of(NO_LIBRARY), Map.of());
    }

    /** Runs classes of tests and says on what. */
    static final class OnThisProcessor {
        private OnThisProcessor() {}

        public static void main(String[] arguments) throws IOException {
            System.out.println("kernels: " + NativeReport.cpuKernels());
            Device cpu = Device.cpu();
            System.out.println(
                    "int8 " + cpu.int8().isPresent() + ", bf16 " + cpu.bf16().isPresent());
            for (int i = 1; i < arguments.length; i++) {
                assertEquals(0, ParitySuite.run(arguments[i], Path.of(arguments[0]), System.out), arguments[i]);
            }
            System.out.println(arguments.length - 1 + " classes passed");
        }
    }
}
