package tessera.nn.videomae;

import static org.junit.jupiter.api.Assumptions.assumeFalse;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import tessera.FakeCuda;
import tessera.kernels.Device;
import tessera.tensor.TestDevices;

/** The models of {@link GoldenModelsTest} on a CUDA device, real or fake. */
@Tag(FakeCuda.TAG)
class GoldenModelsOnCudaTest extends GoldenModelsTest {
    @BeforeEach
    void needsDevice() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
    }

    @Override
    Device device() {
        return Device.cuda(0);
    }
}
