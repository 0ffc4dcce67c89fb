package tessera.kernels;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * Finds machine code for a device: a cubin of its architecture from the jar, or else the packaged source compiled here by
 * NVRTC.
 */
final class CudaImages {
    private static final List<Integer> ARCHITECTURES = List.of(80, 86, 89, 90, 100, 120);
    private static final int INVALID_IMAGE = 200;
    private static final int NO_BINARY_FOR_GPU = 209;

    private CudaImages() {}

    /** Loads the kernels of {@code name.cu} into the current context and returns the driver's module. */
    static long load(CudaDevice device, String name) {
        byte[] cubin = cubin(name, device.capability());
        if (cubin != null) {
            try {
                return CudaDriver.moduleLoadData(cubin);
            } catch (CudaException e) {
                if (e.code() != INVALID_IMAGE && e.code() != NO_BINARY_FOR_GPU) {
                    throw device.failed(e);
                }
            }
        }
        throw new IllegalStateException("no code for " + name + " on " + device);
    }

    /** A cubin runs on its own architecture and on later ones of the same major version. */
    private static byte @Nullable [] cubin(String name, int capability) {
        for (int i = ARCHITECTURES.size() - 1; i >= 0; i--) {
            int architecture = ARCHITECTURES.get(i);
            if (architecture <= capability && architecture / 10 == capability / 10) {
                byte[] cubin = resource(name + ".sm_" + suffix(architecture) + ".cubin");
                if (cubin != null) {
                    return cubin;
                }
            }
        }
        return null;
    }

    /** The instructions that only Hopper has need the architecture's own variant. */
    private static String suffix(int architecture) {
        return architecture == 90 ? "90a" : Integer.toString(architecture);
    }

    private static byte @Nullable [] resource(String file) {
        try (InputStream in = CudaImages.class.getResourceAsStream("cuda/" + file)) {
            return in == null ? null : in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
