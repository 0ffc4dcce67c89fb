package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static tessera.distill.cli.Shell.succeed;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.kernels.Device;

/** {@code --precision bf16} without a GPU, on a CPU that has it and on one that has not. */
class Bf16OnCpuTest {
    @TempDir
    private Path folder;

    @Test
    void aProcessorThatHasItComputesInIt() throws Exception {
        assumeTrue(Device.cpu().bf16().isPresent(), "this processor multiplies no bf16");
        assertTrue(succeed("doctor").contains("--precision bf16 works on the CPU"));
        Path data = OwnClips.write(folder.resolve("data"), 2, "open", "cut");
        Path out = folder.resolve("run");
        Object[] line = OwnClips.pretraining("rgb", data, out, 2, "--device=cpu", "--precision=bf16");
        succeed(line);
    }

    @Test
    void aProcessorThatHasItNotIsRefused() throws Exception {
        refused(List.of("--add-modules=jdk.incubator.vector"), Map.of("ONEDNN_MAX_CPU_ISA", "AVX512_CORE"));
    }

    @Test
    void aProcessWithoutOneDnnOrTheVectorApiIsRefused() throws Exception {
        refused(List.of("--add-modules=jdk.incubator.vector", "-Dtessera.native=off"), Map.of());
        refused(List.of(), Map.of());
    }

    private void refused(List<String> options, Map<String, String> environment) throws Exception {
        String said = ChildJava.run(
                folder,
                options,
                environment,
                120,
                Refused.class,
                TinyStudent.write(folder.resolve("student.safetensors")).toString());
        assertTrue(said.contains("--precision bf16 needs a GPU\n"), said);
        assertTrue(
                said.contains("code 2: tessera: error: --precision bf16 needs a GPU, or a CPU with AVX512_BF16 or AMX,"
                        + " oneDNN and the Vector API, but the device is a CPU that lacks one of them (see tessera"
                        + " doctor); pass --device cuda:0, or f32"),
                said);
    }

    /** Runs on a processor that the environment makes an older one. */
    static final class Refused {
        private Refused() {}

        public static void main(String[] arguments) {
            assertEquals(true, Device.cpu().bf16().isEmpty());
            System.out.println(succeed("doctor"));
            Shell.Outcome outcome = Shell.run(
                    "predict", "--device=cpu", "--precision=bf16", "--student", arguments[0], "--video", arguments[0]);
            System.out.println("code " + outcome.code() + ": " + outcome.err());
        }
    }
}
