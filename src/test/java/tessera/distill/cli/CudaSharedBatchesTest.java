package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.refuse;
import static tessera.distill.cli.Shell.succeed;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.FakeCuda;
import tessera.kernels.NativeReport;
import tessera.tensor.TestDevices;

/** Training on several GPUs by the command line. */
@Tag(FakeCuda.TAG)
class CudaSharedBatchesTest {
    @TempDir
    private Path folder;

    @BeforeEach
    void start() {
        TestDevices.two();
    }

    @AfterEach
    void end() {
        if (FakeCuda.present()) {
            FakeCuda.reset();
        }
    }

    private Object[] pretrain(Path data, String... more) {
        List<Object> words = new ArrayList<>(List.of(
                "pretrain",
                "--modality=rgb",
                "--source=" + data,
                "--target=" + data,
                "--dim=16",
                "--depth=1",
                "--heads=2",
                "--grid=2",
                "--mask-ratio=0.5",
                "--steps=3",
                "--quiet",
                "--out=" + folder.resolve("run")));
        words.addAll(List.of(more));
        return words.toArray();
    }

    @Test
    void severalDevicesTrain() throws IOException {
        Path data = OwnClips.write(folder.resolve("data"), 4, "dark", "bright");
        refuse(
                List.of("--batch is 3 but 2 devices share each batch evenly; pass a multiple of 2, or fewer devices"),
                pretrain(data, "--batch=3", "--device=cuda:0,cuda:1"));
        refuse(
                List.of("device cuda:5 is not available: the driver sees 2 devices"),
                pretrain(data, "--batch=2", "--device=cuda:0,cuda:5"));
        refuse(
                List.of("devices cpu,cpu are no group; name two or more devices, each once"),
                pretrain(data, "--batch=2", "--device=cpu,cpu"));
        String model = succeed(pretrain(data, "--batch=2", "--device=cuda:0,cuda:1", "--precision=bf16"))
                .strip();
        assertTrue(Files.exists(Path.of(model)), model);
        assertTrue(FakeCuda.calls("ncclAllReduce") > 0, "nothing was added up");
        assertEquals(
                3,
                Files.readAllLines(folder.resolve("run").resolve("metrics.jsonl"))
                        .size());
        refuse(
                List.of("--device names cuda:0,cuda:1 but this command computes on one device; pass one of them"),
                "demo",
                "--out=" + folder.resolve("demo"),
                "--device=cuda:0,cuda:1");
        String nccl = NativeReport.findings().get("NCCL");
        assertTrue(String.valueOf(nccl).endsWith("libnccl.so.2, version 2.27.3"), nccl);
    }
}
