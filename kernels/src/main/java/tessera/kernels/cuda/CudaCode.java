package tessera.kernels.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DeviceException;
import tessera.natives.NativeLibraries;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;
import tessera.natives.cuda.CudaLibraries;
import tessera.natives.cuda.CudaLibrary;
import tessera.natives.cuda.Nvrtc;

/**
 * Finds machine code for a device: a cubin of its architecture from the jar, or else the packaged source, compiled here by
 * NVRTC and kept on disk for the next time.
 *
 * <p>What was compiled is kept in the user's cache folder, or in the folder that the system property {@value
 * #CACHE_PROPERTY} names, under a name made from the sources, the architecture and NVRTC's version.
 */
final class CudaCode {
    /** System property naming the folder for compiled kernels; empty for none. */
    static final String CACHE_PROPERTY = "tessera.cuda.cache";

    private static final System.Logger LOG = System.getLogger("tessera");
    private static final String HEADER = "tessera.cuh";
    private static final List<Integer> ARCHITECTURES = List.of(120, 100, 90, 89, 86, 80);

    private CudaCode() {}

    /** The compute capabilities that the jar has machine code for, ascending; all kernels have it or none. */
    static List<Integer> packaged() {
        return ARCHITECTURES.reversed().stream()
                .filter(architecture ->
                        CudaCode.class.getResource("elementwise." + code(architecture) + ".cubin") != null)
                .toList();
    }

    /**
     * Loads the kernels of {@code name.cu} into the current context and returns the driver's module.
     *
     * @throws DeviceException if there is neither a cubin nor a compiler for this device
     * @throws CudaException if the driver or the compiler fails
     */
    static long load(CudaDevice device, String name) {
        int capability = device.capability();
        String refusal = "the jar has no cubin of " + name + ".cu for compute capability " + capability / 10 + "."
                + capability % 10;
        for (int architecture : ARCHITECTURES) {
            // A cubin runs on its own architecture and on later ones of the same major version.
            byte[] cubin = architecture > capability || architecture / 10 != capability / 10
                    ? null
                    : resource(name + "." + code(architecture) + ".cubin");
            if (cubin != null) {
                try {
                    return CudaDriver.moduleLoadData(cubin);
                } catch (CudaException e) {
                    refusal = refused(e);
                    break;
                }
            }
        }
        CudaLibrary nvrtc = CudaLibraries.nvrtc();
        if (!nvrtc.usable()) {
            throw new DeviceException(
                    DeviceException.Reason.FAILED,
                    device.describe() + ": " + refusal + ", and there is no NVRTC to compile the source: "
                            + nvrtc.finding().detail(),
                    null);
        }
        return compiled(device, name, refusal);
    }

    /** What a driver said of an image that is too new or too old for it: another image may do. */
    private static String refused(CudaException e) {
        if (e.outOfMemory() || e.deviceLost()) {
            throw e;
        }
        return "the driver refuses the cubin in the jar (" + e.codeName() + ")";
    }

    private static long compiled(CudaDevice device, String name, String whyNoCubin) {
        String target = target(device.capability());
        int version = Nvrtc.version();
        Path kept = cacheFile(name + "." + target, hash(target, version, required(name + ".cu"), required(HEADER)));
        byte[] image = kept == null ? null : read(kept);
        if (image != null) {
            try {
                return CudaDriver.moduleLoadData(image);
            } catch (CudaException e) {
                LOG.log(Level.DEBUG, "compiling again: " + kept + " is damaged, " + refused(e));
            }
        }
        LOG.log(
                Level.INFO,
                "compiling " + name + ".cu for " + target + " by NVRTC " + CudaDevice.release(version) + ", once: "
                        + whyNoCubin);
        image = compile(name, target);
        long module = CudaDriver.moduleLoadData(image);
        if (kept != null) {
            write(kept, image);
        }
        return module;
    }

    /**
     * Compiles {@code name.cu} by NVRTC.
     *
     * @param target {@code sm_} for machine code or {@code compute_} for PTX
     */
    static byte[] compile(String name, String target) {
        long program = Nvrtc.createProgram(
                new String(required(name + ".cu"), StandardCharsets.UTF_8),
                name + ".cu",
                Map.of(HEADER, new String(required(HEADER), StandardCharsets.UTF_8)));
        try {
            Nvrtc.compileProgram(program, options(target));
            return target.startsWith("compute_") ? Nvrtc.ptx(program) : Nvrtc.cubin(program);
        } finally {
            Nvrtc.destroyProgram(program);
        }
    }

    private static List<String> options(String target) {
        return List.of("--gpu-architecture=" + target, "--std=c++17", "-default-device");
    }

    /** The device's own architecture, or PTX of the newest that an NVRTC older than the device knows. */
    private static String target(int capability) {
        int[] known = Nvrtc.supportedArchitectures();
        if (Arrays.stream(known).anyMatch(architecture -> architecture == capability)) {
            return code(capability);
        }
        int newest = Arrays.stream(known)
                .filter(architecture -> architecture < capability)
                .max()
                .orElse(capability);
        return "compute_" + newest;
    }

    /** Hopper's own instructions need its own variant. */
    private static String code(int architecture) {
        return architecture == 90 ? "sm_90a" : "sm_" + architecture;
    }

    // ------------------------------------------------------------------------------------------------------- files

    private static byte @Nullable [] resource(String file) {
        try (InputStream in = CudaCode.class.getResourceAsStream(file)) {
            return in == null ? null : in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read " + file + " in the jar of tessera.kernels", e);
        }
    }

    private static byte[] required(String file) {
        byte[] content = resource(file);
        if (content == null) {
            throw new IllegalStateException("the jar of tessera.kernels lacks " + file + "; build it again");
        }
        return content;
    }

    private static String hash(String target, int version, byte[]... sources) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            digest.update((options(target) + " " + version).getBytes(StandardCharsets.UTF_8));
            for (byte[] source : sources) {
                digest.update(source);
            }
            return HexFormat.of().formatHex(digest.digest(), 0, 16);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static @Nullable Path cacheFile(String stem, String hash) {
        return kept(stem + "." + hash + ".bin");
    }

    /** A file in the folder of what is kept, where it may or may not be; null where nothing is kept. */
    static @Nullable Path kept(String file) {
        String folder = System.getProperty(CACHE_PROPERTY);
        if (folder != null && folder.isEmpty()) {
            return null;
        }
        Path cache = folder != null
                ? Path.of(folder)
                : NativeLibraries.defaultCache(System.getenv()).resolveSibling("kernels");
        return cache.resolve(file);
    }

    private static byte @Nullable [] read(Path file) {
        try {
            return Files.exists(file) ? Files.readAllBytes(file) : null;
        } catch (IOException e) {
            return null;
        }
    }

    /** Moves a finished file into place, so that other processes see all of it or nothing. A full disk is no failure. */
    static void write(Path file, byte[] image) {
        Path made = null;
        try {
            Path folder = Files.createDirectories(file.toAbsolutePath().getParent());
            made = Files.createTempFile(folder, "kernels", ".tmp");
            Files.write(made, image);
            Files.move(made, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            LOG.log(Level.DEBUG, "compiled kernels are not kept: " + e);
            if (made != null) {
                made.toFile().delete();
            }
        }
    }
}
