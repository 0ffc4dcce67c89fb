package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a user is told when a GPU fails, each in a process of its own; afterwards memory is free and the CPU works. */
@Tag(FakeCuda.TAG)
class CudaFaultsTest {
    @TempDir
    Path temp;

    @BeforeAll
    static void needsFake() {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
    }

    private String run(String fault, Map<String, String> environment) throws Exception {
        return run(fault, System.getProperty("tessera.cuda.dir"), environment);
    }

    private String run(String fault, String libraries, Map<String, String> environment) throws Exception {
        String output = ChildJava.run(
                temp,
                List.of("-Dtessera.cuda.dir=" + libraries, "-Dtessera.cuda.cache=" + temp),
                environment,
                120,
                CudaFaults.class,
                fault);
        assertTrue(output.contains("\ncpu: ") || output.startsWith("cpu: "), output);
        assertFalse(output.contains("unexpected") || output.contains("not refused"), output);
        return output;
    }

    /**
     * Every call that opens a device, records a session, trains or multiplies fails once. Each failure is told with the call and
     * what to do; memory, handles and descriptors are released; afterwards GPU and CPU agree.
     */
    @ParameterizedTest
    @ValueSource(strings = {"session", "training", "products"})
    void everyCallFailsOnce(String operation) throws Exception {
        String output = ChildJava.run(
                temp,
                List.of("-Dtessera.cuda.dir=" + System.getProperty("tessera.cuda.dir"), "-Dtessera.cuda.cache=" + temp),
                // The jar never has machine code for it, so the calls are the same whether the build found nvcc or not.
                Map.of("TESSERA_FAKE_CAPABILITY", "110"),
                300,
                CudaSweep.class,
                operation);
        assertFalse(output.contains("unexpected"), output);
        tells(
                output,
                "told: [",
                "cuInit",
                "cuMemAllocFromPoolAsync",
                "cuLaunchKernel",
                "cublasLtMatmulAlgoGetHeuristic");
        // Waiting before something is closed may fail, as closing never does. A bias's gradient that the library
        // does not know is summed by a kernel of ours.
        String untold = output.replaceFirst("(?s).*\ndone without: \\[(.*?)].*", "$1");
        assertEquals(
                Set.of(),
                Stream.of(untold.split(", "))
                        .filter(call -> !Set.of(
                                        "",
                                        "cuEventSynchronize",
                                        "cuStreamSynchronize",
                                        "cublasLtMatmulAlgoGetHeuristic")
                                .contains(call))
                        .collect(Collectors.toSet()));
    }

    private static void tells(String output, String... parts) {
        for (String part : parts) {
            assertTrue(output.contains(part), () -> "no '" + part + "' in: " + output);
        }
    }

    @Test
    void driverTooOld() throws Exception {
        tells(
                run("no device", Map.of("TESSERA_FAKE_DRIVER_VERSION", "11080")),
                "told: device cuda:0 is not available: ",
                "the driver knows CUDA 11.8 but 12.0 is needed",
                "update the NVIDIA driver");
    }

    @Test
    void noDevice() throws Exception {
        tells(
                run("no device", Map.of("TESSERA_FAKE_DEVICES", "0")),
                "told: device cuda:0 is not available: ",
                "CUDA_VISIBLE_DEVICES");
    }

    @Test
    void deviceTooOld() throws Exception {
        tells(
                run("no device", Map.of("TESSERA_FAKE_CAPABILITY", "75")),
                "has compute capability 7.5 but 8.0 (Ampere) or newer is needed");
    }

    @Test
    void outOfMemory() throws Exception {
        tells(
                run("out of memory", Map.of()),
                "told: cuda:0: cannot allocate 4194304 bytes; ",
                "bytes are live in ",
                "use a smaller batch",
                "live buffers: 0");
    }

    @Test
    void failedLaunch() throws Exception {
        tells(
                run("failed launch", Map.of()),
                "told: cuLaunchKernel of ",
                "CUDA_ERROR_LAUNCH_FAILED (719)",
                "-Dtessera.cuda.debug=true",
                "told: cuda:0, lost in cuLaunchKernel of ",
                "live buffers: 0");
    }

    @Test
    void failedKernel() throws Exception {
        tells(
                run("failed kernel", Map.of()),
                "CUDA_ERROR_ILLEGAL_ADDRESS (700)",
                "-Dtessera.cuda.debug=true",
                "told: cuda:0, lost in cu",
                "live buffers: 0");
    }

    @Test
    void lostDevice() throws Exception {
        tells(
                run("lost device", Map.of()),
                "CUDA_ERROR_DEVICE_UNAVAILABLE (46)",
                "fell off the bus; see nvidia-smi",
                "told: cuda:0, lost in cu",
                "live buffers: 0");
    }

    @Test
    void failedProduct() throws Exception {
        tells(
                run("failed product", Map.of()),
                "told: cublasLtMatmul failed: CUBLAS_STATUS_EXECUTION_FAILED (13)",
                "live buffers: 0");
    }

    @Test
    void missingCudnn() throws Exception {
        tells(run("no cudnn", Map.of()), "libcudnn.so.9", "gpu: ", "live buffers: 0");
    }

    @Test
    void missingNccl() throws Exception {
        Path without = Files.createDirectory(temp.resolve("without"));
        try (Stream<Path> files = Files.list(Path.of(System.getProperty("tessera.cuda.dir")))) {
            for (Path file :
                    files.filter(file -> !file.endsWith("libnccl.so.2")).toList()) {
                Files.copy(file, without.resolve(file.getFileName()));
            }
        }
        tells(
                run("no nccl", without.toString(), Map.of("TESSERA_FAKE_DEVICES", "2")),
                "told: devices cuda:0,cuda:1 cannot share work: NCCL is not used: -Dtessera.cuda.dir=" + without
                        + " holds no libnccl.so.2; ",
                "; or pass one device",
                "gpu: ");
    }

    /** No fault: opening another device leaves a thread's work where it was. */
    @Test
    void secondDevice() throws Exception {
        String output = run("second device", Map.of("TESSERA_FAKE_DEVICES", "2"));
        String cpu = output.replaceFirst("(?s).*\ncpu: (\\S+).*", "$1");
        tells(output, "context kept: true", "gpu: " + cpu + ", " + cpu);
    }
}
