package tessera.kernels.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.System.Logger.Level;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DeviceException;
import tessera.natives.NativeLibraries;
import tessera.natives.Partial;
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

    /** The kernels' sources, without {@code .cu}. */
    static final List<String> SOURCES = List.of(
            "attention",
            "attention_backward",
            "attention_wgmma",
            "elementwise",
            "graph",
            "losses",
            "matmul",
            "norms",
            "optimiser",
            "patches",
            "products",
            "products_int8",
            "random",
            "tokens");

    /** What a source may include. */
    static final List<String> HEADERS = List.of(
            "tessera.cuh", "mma.cuh", "wgmma.cuh", "tma.cuh", "attention.cuh", "product_shapes.cuh", "products.cuh");

    /** How long to wait for another process that compiles the same source: several times what that takes. */
    private static final Duration PATIENCE = Duration.ofMinutes(3);

    private static final Duration PAUSE = Duration.ofMillis(20);
    private static final System.Logger LOG = System.getLogger("tessera");
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
     * What was loaded.
     *
     * @param module the driver's handle
     * @param from {@code the jar}, {@code the cache}, or {@code NVRTC} where it was compiled now
     */
    record Loaded(long module, String from) {}

    /**
     * Loads the kernels of {@code name.cu} into the device's context.
     *
     * @throws DeviceException if there is neither a cubin nor a compiler for this device
     * @throws CudaException if the driver or the compiler fails
     */
    static Loaded load(CudaDevice device, String name) {
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
                    return new Loaded(module(device, cubin), "the jar");
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

    /** See {@link tessera.kernels.Device#prepare}. */
    static String prepare(CudaDevice device, Duration patience) {
        long start = System.nanoTime();
        Map<String, List<String>> sources = new TreeMap<>();
        for (String source : SOURCES) {
            String from = "left for its first use";
            if (System.nanoTime() - start < patience.toNanos()) {
                Loaded loaded = device.call(() -> load(device, source));
                device.run(() -> CudaDriver.moduleUnload(loaded.module));
                from = "from " + loaded.from;
            }
            sources.computeIfAbsent(from, key -> new ArrayList<>()).add(source);
        }
        return sources.entrySet().stream()
                .map(entry ->
                        (sources.size() == 1 ? "all" : String.join(", ", entry.getValue())) + " " + entry.getKey())
                .collect(Collectors.joining("; "));
    }

    /** What a driver said of an image that is too new or too old for it: another image may do. */
    private static String refused(CudaException e) {
        if (e.outOfMemory() || e.deviceLost()) {
            throw e;
        }
        return "the driver refuses the cubin in the jar (" + e.codeName() + ")";
    }

    /** The context is made current here: reading files before, a virtual thread may have changed its carrier. */
    private static long module(CudaDevice device, byte[] image) {
        CudaThread.get().use(device);
        return CudaDriver.moduleLoadData(image);
    }

    private static Loaded compiled(CudaDevice device, String name, String whyNoCubin) {
        String target = target(device.capability());
        int version = Nvrtc.version();
        Path kept = cacheFile(name + "." + target, hash(target, version, name));
        if (kept == null) {
            return new Loaded(module(device, compile(name, target, whyNoCubin)), "NVRTC");
        }
        Loaded loaded = kept(device, kept);
        if (loaded != null) {
            return loaded;
        }
        FileChannel lock = lock(kept);
        try {
            // Another process may have compiled it meanwhile.
            loaded = kept(device, kept);
            if (loaded != null) {
                return loaded;
            }
            byte[] image = compile(name, target, whyNoCubin);
            long module = module(device, image);
            write(kept, image);
            return new Loaded(module, "NVRTC");
        } finally {
            unlock(kept, lock);
        }
    }

    private static @Nullable Loaded kept(CudaDevice device, Path kept) {
        byte[] image = read(kept);
        if (image != null) {
            try {
                return new Loaded(module(device, image), "the cache");
            } catch (CudaException e) {
                LOG.log(Level.DEBUG, "compiling again: " + kept + " is damaged, " + refused(e));
            }
        }
        return null;
    }

    private static byte[] compile(String name, String target, String whyNoCubin) {
        LOG.log(
                Level.INFO,
                "compiling " + name + ".cu for " + target + " by NVRTC " + CudaDevice.release(Nvrtc.version())
                        + ", once: " + whyNoCubin);
        return compile(name, target);
    }

    /**
     * Compiles {@code name.cu} by NVRTC.
     *
     * @param target {@code sm_} for machine code or {@code compute_} for PTX
     */
    static byte[] compile(String name, String target) {
        long program = Nvrtc.createProgram(
                new String(required(name + ".cu"), StandardCharsets.UTF_8), name + ".cu", headers());
        try {
            Nvrtc.compileProgram(program, options(target));
            return target.startsWith("compute_") ? Nvrtc.ptx(program) : Nvrtc.cubin(program);
        } finally {
            Nvrtc.destroyProgram(program);
        }
    }

    /** From the name to the text. */
    private static Map<String, String> headers() {
        Map<String, String> headers = new LinkedHashMap<>();
        for (String header : HEADERS) {
            headers.put(header, new String(required(header), StandardCharsets.UTF_8));
        }
        return headers;
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

    /** Of all that the machine code of {@code name.cu} depends on. */
    private static String hash(String target, int version, String name) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            digest.update((options(target) + " " + version).getBytes(StandardCharsets.UTF_8));
            digest.update(required(name + ".cu"));
            for (String header : HEADERS) {
                digest.update(required(header));
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

    /**
     * Keeps other processes, and other threads of this one, from compiling the same source at the same time; ends with the
     * process that holds it. Null where there can be no lock or none was got in time: then each compiles for itself.
     */
    private static @Nullable FileChannel lock(Path kept) {
        FileChannel channel = null;
        try {
            Files.createDirectories(kept.toAbsolutePath().getParent());
            channel = FileChannel.open(lockFile(kept), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
            for (long start = System.nanoTime(); System.nanoTime() - start < PATIENCE.toNanos(); ) {
                if (locked(channel)) {
                    return channel;
                }
                Thread.sleep(PAUSE);
            }
            LOG.log(Level.DEBUG, "compiling too: whoever holds " + lockFile(kept) + " is not ready after " + PATIENCE);
        } catch (IOException e) {
            LOG.log(Level.DEBUG, "compiling without a lock: " + e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        close(channel);
        return null;
    }

    private static boolean locked(FileChannel channel) throws IOException {
        try {
            return channel.tryLock() != null;
        } catch (OverlappingFileLockException e) { // by a thread of this process
            return false;
        }
    }

    /** The file goes too; who has opened it already finds what was compiled when it gets its lock. */
    private static void unlock(Path kept, @Nullable FileChannel lock) {
        if (lock != null) {
            lockFile(kept).toFile().delete();
            close(lock);
        }
    }

    private static void close(@Nullable FileChannel channel) {
        try {
            if (channel != null) {
                channel.close();
            }
        } catch (IOException e) {
            LOG.log(Level.DEBUG, "a lock stays until this process ends: " + e);
        }
    }

    private static Path lockFile(Path kept) {
        return kept.resolveSibling(kept.getFileName() + ".lock");
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
        try (Partial making = Partial.in(file.toAbsolutePath().resolveSibling(""), "kernels")) {
            Files.write(making.path(), image);
            Files.move(making.path(), file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            LOG.log(Level.DEBUG, "compiled kernels are not kept: " + e);
        }
    }
}
