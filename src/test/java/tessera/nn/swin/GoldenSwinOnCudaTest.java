package tessera.nn.swin;

import static org.junit.jupiter.api.Assumptions.assumeFalse;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import tessera.FakeCuda;
import tessera.kernels.Device;
import tessera.tensor.TestDevices;

/** The models of {@link GoldenSwinTest} on a CUDA device, real or fake. */
@Tag(FakeCuda.TAG)
class GoldenSwinOnCudaTest extends GoldenSwinTest {
    @BeforeEach
    void needsDevice() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
    }

    @Override
    Device device() {
        return Device.cuda(0);
    }
}
