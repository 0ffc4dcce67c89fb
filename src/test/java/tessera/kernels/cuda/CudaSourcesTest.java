package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tessera.FakeCuda;
import tessera.natives.cuda.CudaLibraries;
import tessera.natives.cuda.Nvrtc;

/** The packaged kernels' sources, compiled as on a machine for which the jar has no machine code. */
class CudaSourcesTest {
    static List<String> sources() {
        return CudaCode.SOURCES;
    }

    @ParameterizedTest
    @MethodSource("sources")
    void nvrtcCompilesThePackagedSources(String name) {
        assumeFalse(FakeCuda.present(), "the fake NVRTC compiles nothing");
        assumeTrue(
                CudaLibraries.nvrtc().usable(),
                () -> CudaLibraries.nvrtc().finding().toString());
        assumeTrue(
                Arrays.stream(Nvrtc.supportedArchitectures()).anyMatch(known -> known == 90),
                "this NVRTC does not know sm_90a");
        byte[] cubin = CudaCode.compile(name, "sm_90a");
        assertTrue(cubin.length > 1000 && cubin[1] == 'E' && cubin[2] == 'L' && cubin[3] == 'F', name);
    }
}
