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
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;

/** {@code --precision bf16} without a GPU, on a CPU that has it and on one that has not. */
class Bf16OnCpuTest {
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 8, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            4,
            32,
            32,
            64,
            2,
            4,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);

    @TempDir
    private Path folder;

    private Path student() {
        Path file = folder.resolve("student.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, CONFIG, 0).close();
            Student.save(file, params.all(), CONFIG, Map.of());
        }
        return file;
    }

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
        String said = ChildJava.run(
                folder,
                List.of("--add-modules=jdk.incubator.vector"),
                Map.of("ONEDNN_MAX_CPU_ISA", "AVX512_CORE"),
                120,
                Refused.class,
                student().toString());
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
