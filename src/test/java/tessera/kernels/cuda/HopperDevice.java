package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.jspecify.annotations.Nullable;
import tessera.FakeCuda;
import tessera.kernels.Device;
import tessera.tensor.TestDevices;

/** The device for kernels of compute capability 9.0: a real one, or the fake one as it is when it has this capability. */
final class HopperDevice {
    static final int CAPABILITY = 90;

    /** The fake device once more; like any device never closed. */
    private static @Nullable CudaDevice fake;

    private HopperDevice() {}

    /** Before each test, which is skipped where there is none. */
    static void need() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
        if (FakeCuda.present()) {
            FakeCuda.set("capability", CAPABILITY);
            if (fake == null) {
                fake = CudaDevice.open(0);
            }
        }
        assumeTrue(get().capability() == CAPABILITY, "made for compute capability 9.0");
    }

    /** After each test. */
    static void giveBack() {
        if (FakeCuda.present()) {
            FakeCuda.reset();
        }
    }

    static CudaDevice get() {
        return fake != null ? fake : (CudaDevice) Device.cuda(0);
    }
}
