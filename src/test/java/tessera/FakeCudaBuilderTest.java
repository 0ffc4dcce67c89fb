package tessera;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TestDevices;

/** The fake CUDA on machines other than the usual one: without a C++ compiler, and of another processor. */
@Tag(FakeCuda.TAG)
class FakeCudaBuilderTest {
    @TempDir
    Path temp;

    /** Prints what its process does not test. */
    static final class Absent {
        public static void main(String[] args) {
            System.out.println("absent: " + TestDevices.absent());
        }
    }

    @Test
    void withoutACompilerTheReasonIsSaidAndKeptForTheTests() throws Exception {
        Path folder = Files.createDirectory(temp.resolve("fake"));
        Path stale = Files.writeString(folder.resolve("libcuda.so.1"), "of an earlier build");
        Path empty = Files.createDirectory(temp.resolve("empty"));
        String built = ChildJava.run(
                temp,
                List.of(),
                Map.of("PATH", empty.toString(), "CXX", "absent-compiler"),
                60,
                FakeCudaBuilder.class,
                "../../kernels/src/main/cuda",
                "cuda",
                folder.toString());
        String reason = "there is no C++ compiler (g++, clang++ or the one that CXX names) in PATH";
        assertEquals("fake CUDA: not built, its tests are skipped: " + reason, built.strip());
        assertFalse(Files.exists(stale), "tests would take an old fake for the new one");
        String absent = ChildJava.run(temp, "-Dtessera.cuda.dir=" + folder, Absent.class);
        assertTrue(absent.contains("the fake CUDA device, because " + reason), absent);
    }

    /** Runs kernels with barriers and collectives on the fake and on the CPU. */
    static final class OnBoth {
        public static void main(String[] args) {
            Close.relative(run(Device.cuda(0)), run(Device.cpu()), 1e-5, "fake and CPU");
            System.out.println("agreed");
        }

        private static double[] run(Device device) {
            try (Scope scope = Scope.open()) {
                Tensor x = Tensor.normal(device, DType.F32, Shape.of(2, 37, 96), 3, 0, 0, 1)
                        .requiresGrad(true);
                Tensor ones = Tensor.full(device, DType.F32, Shape.of(96), 1);
                Tensor y = x.layerNorm(ones, ones, 1e-6).selfAttention(2).softmax();
                y.mul(y).sum().backward();
                return requireNonNull(x.grad()).toDoubles();
            }
        }
    }

    @Test
    void fibersSwitchWithoutAssemblerToo() throws Exception {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        Path usual = Path.of(System.getProperty("tessera.cuda.dir"));
        Path folder = usual.resolveSibling("fake-cuda-portable");
        assertEquals("", FakeCudaBuilder.buildPortable(folder, usual));
        String output = ChildJava.run(
                temp,
                List.of("-Dtessera.cuda.dir=" + folder, "-Dtessera.cuda.cache=" + temp),
                Map.of(),
                120,
                OnBoth.class);
        assertTrue(output.endsWith("agreed\n"), output);
    }
}
