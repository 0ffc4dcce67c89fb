package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.SanitizedKernels;

/** Every kernel's struct is read as the compiler lays it out, and its writer in Java was seen to write it. */
@Tag(FakeCuda.TAG)
class WatchedLaunchesTest {
    @BeforeEach
    void needsFake() {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
    }

    @TempDir
    private Path temp;

    @Test
    void structsAreReadAsTheyAreCompiled() {
        KernelStructs structs = KernelStructs.packaged();
        Map<String, Integer> compiled = new TreeMap<>();
        Map<String, Integer> read = new TreeMap<>();
        WatchedLaunches.kernels().forEach((name, kernel) -> {
            compiled.put(name, kernel.bytes());
            read.put(name, structs.struct(kernel.source(), kernel.struct()).bytes());
        });
        assertTrue(compiled.size() > 200, compiled::toString);
        assertEquals(compiled, read);
    }

    @Test
    void argumentsInAnotherOrderFail() {
        CudaDevice device = (CudaDevice) Device.cuda(0);
        CudaFunction fill = new CudaModule(device, "elementwise").function("fill_4");
        try (Buffer y = device.allocate(DType.F32, 4)) {
            CudaLaunch launch = fill.begin().i64(4).buffer(y).i32(0);
            assertEquals(
                    "the arguments of fill_4 were written as l0 p8 i16 but FillArgs in elementwise.cu is [p0 y, l8 n, i16 bits]",
                    assertThrows(AssertionError.class, () -> launch.launch(1, 32, 0))
                            .getMessage());
            fill.begin().buffer(y).i64(4).i32(0).launch(1, 32, 0);
        }
        assertTrue(WatchedLaunches.launched().contains("fill_4"));
    }

    @Test
    void everyKernelIsLaunchedWithItsStruct() throws Exception {
        Set<String> launched = new TreeSet<>();
        for (String capability : List.of("80", "90")) {
            Path cache = Files.createDirectory(temp.resolve(capability));
            SanitizedKernels.unusualAttention(cache);
            String output = ChildJava.runKernels(
                    cache,
                    Path.of(System.getProperty("tessera.cuda.dir")),
                    Map.of("TESSERA_FAKE_CAPABILITY", capability),
                    EveryKernel.class);
            output.lines()
                    .filter(line -> line.startsWith(EveryKernel.LAUNCHED))
                    .forEach(line -> launched.addAll(List.of(
                            line.substring(EveryKernel.LAUNCHED.length()).split(" ", -1))));
        }
        Set<String> missing = new TreeSet<>(WatchedLaunches.kernels().keySet());
        missing.removeAll(launched);
        assertEquals(Set.of(), missing, "launch them in SanitizedKernels or EveryKernel");
    }
}
