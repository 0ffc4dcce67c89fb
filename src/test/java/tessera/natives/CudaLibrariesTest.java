package tessera.natives;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.natives.cuda.CudaLibraries;
import tessera.natives.cuda.CudaLibrary;

/** Where the CUDA libraries are looked for, in which order, and what is said of each place. */
class CudaLibrariesTest {
    private static final List<String> TITLES = List.of("CUDA driver", "cuBLASLt", "cuBLAS", "NVRTC", "cuDNN", "NCCL");

    @TempDir
    private Path temp;

    private final Map<String, String> properties = new HashMap<>();
    private final Map<String, String> environment = new HashMap<>();

    private CudaLibrary find(String title) {
        return new CudaLibraries(properties::get, environment, temp, false)
                .all().stream()
                        .filter(library -> library.finding().library().equals(title))
                        .findFirst()
                        .orElseThrow();
    }

    /** A file of that name which is no library. */
    private Path damaged(String folder, String name) throws IOException {
        Path file = Files.createDirectories(temp.resolve(folder)).resolve(name);
        return Files.writeString(file, "no library");
    }

    /** A library that is none of CUDA's: one of the JDK's, under another name. */
    private Path foreign(String folder, String name) throws IOException {
        Path file = Files.createDirectories(temp.resolve(folder)).resolve(name);
        return Files.copy(Path.of(System.getProperty("java.home"), "lib", "libjimage.so"), file);
    }

    /** The folders below the temporary one that the search names, in its order. */
    private List<String> order(CudaLibrary library, String file) {
        return library.tried().stream()
                .filter(line -> line.contains(file + " cannot be used"))
                .map(line -> line.substring(
                        line.indexOf(temp + "/") + temp.toString().length() + 1, line.indexOf("/" + file)))
                .toList();
    }

    @Test
    void everyPlaceIsTriedInTheOrderThatIsWrittenDown() throws IOException {
        List<String> places = List.of(
                "given",
                "home/lib64",
                "home/targets/x86_64-linux/lib",
                "usr/local/cuda/lib64",
                "usr/local/cuda-12.10/lib64",
                "usr/local/cuda-12.9/lib64",
                "python/nvidia/cu13/lib",
                "venv/lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib",
                "conda/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib",
                "conda/lib",
                "user/.local/lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib",
                "usr/local/lib/python3.11/dist-packages/nvidia/cuda_nvrtc/lib",
                "opt/torch/.venv/lib/python3.13/site-packages/nvidia/cuda_nvrtc/lib");
        for (String place : places) {
            damaged(place, "libnvrtc.so.12");
        }
        environment.put("TESSERA_CUDA_DIR", temp.resolve("given").toString());
        environment.put("CUDA_HOME", temp.resolve("home").toString());
        environment.put("VIRTUAL_ENV", temp.resolve("venv").toString());
        environment.put("CONDA_PREFIX", temp.resolve("conda").toString());
        environment.put("HOME", temp.resolve("user").toString());
        properties.put("tessera.cuda.python", temp.resolve("python").toString());

        CudaLibrary nvrtc = find("NVRTC");
        assertEquals(places, order(nvrtc, "libnvrtc.so.12"));
        assertFalse(nvrtc.usable());
        String first = temp.resolve("given/libnvrtc.so.12").toString();
        assertTrue(
                nvrtc.finding().detail().startsWith(first + " cannot be used: "),
                nvrtc.finding().detail());
        assertTrue(nvrtc.tried().contains("CUDA_PATH: not set"), nvrtc.tried().toString());
        assertTrue(
                nvrtc.tried().getLast().startsWith("redist jar: no resource org/bytedeco/cuda/"),
                nvrtc.tried().toString());
    }

    @Test
    void withinAPlaceTheNewerGoesFirst() throws IOException {
        damaged("home/lib64", "libcublasLt.so.12");
        damaged("home/lib64", "libcublasLt.so.13");
        environment.put("CUDA_HOME", temp.resolve("home").toString());
        List<String> refusals = find("cuBLASLt").tried().stream()
                .filter(line -> line.contains("cannot be used"))
                .toList();
        assertEquals(2, refusals.size(), refusals.toString());
        assertTrue(
                refusals.get(0).contains("libcublasLt.so.13") && refusals.get(1).contains("libcublasLt.so.12"),
                refusals.toString());
    }

    @Test
    void theGivenFoldersAreTheOnlyOnes() throws IOException {
        damaged("home/lib64", "libcudnn.so.9");
        environment.put("CUDA_HOME", temp.resolve("home").toString());
        Path one = Files.createDirectory(temp.resolve("one"));
        Path two = Files.createDirectory(temp.resolve("two"));
        properties.put("tessera.cuda.dir", one + ":" + two);
        CudaLibrary cudnn = find("cuDNN");
        assertEquals(
                List.of(
                        "-Dtessera.cuda.dir: " + one + " holds no libcudnn.so.9",
                        "-Dtessera.cuda.dir: " + two + " holds no libcudnn.so.9"),
                cudnn.tried());
        assertEquals(
                "-Dtessera.cuda.dir=" + one + ":" + two
                        + " holds no libcudnn.so.9; add its folder after a ':', or leave the property away",
                cudnn.finding().detail());
    }

    @Test
    void aFileThatIsNoLibraryIsRefusedInTheLinkersWords() throws IOException {
        Path file = damaged("given", "libcuda.so.1");
        properties.put("tessera.cuda.dir", requireNonNull(file.getParent()).toString());
        assertEquals(
                file + " cannot be used: " + file + ": file too short",
                find("CUDA driver").finding().detail());
    }

    @Test
    void aLibraryOfAnotherKindIsRefused() throws IOException {
        Path file = foreign("given", "libcuda.so.1");
        properties.put("tessera.cuda.dir", requireNonNull(file.getParent()).toString());
        assertEquals(
                file + " cannot be used: it is no CUDA driver, because it has no function cuInit",
                find("CUDA driver").finding().detail());
    }

    @Test
    void theDriverIsNotLookedForAmongToolkits() throws IOException {
        damaged("home/lib64/stubs", "libcuda.so.1");
        damaged("home/lib64", "libcuda.so.1");
        environment.put("CUDA_HOME", temp.resolve("home").toString());
        CudaLibrary driver = find("CUDA driver");
        assertEquals(List.of(), order(driver, "libcuda.so.1"));
        assertEquals(
                "no libcuda.so.1 on this machine; install the NVIDIA driver (525 or newer)",
                driver.finding().detail());
        Path usual = damaged("usr/lib/x86_64-linux-gnu", "libcuda.so.1");
        assertTrue(find("CUDA driver").finding().detail().startsWith(usual + " cannot be used"));
    }

    @Test
    void cublasNeedsItsOtherHalf() {
        String detail = find("cuBLAS").finding().detail();
        assertTrue(detail.startsWith("it needs cuBLASLt, which is not used: no libcublasLt.so.13 or "), detail);
    }

    @Test
    void switchedOffMeansOff() {
        properties.put(NativeLibraries.SWITCH_PROPERTY, "off");
        for (String title : TITLES) {
            CudaLibrary library = find(title);
            assertEquals(
                    "switched off by -Dtessera.native=off", library.finding().detail());
            assertEquals(List.of(), library.tried());
        }
    }

    @Test
    void aRedistJarIsUnpackedAndOpened() throws Exception {
        String folder = "org/bytedeco/cuda/" + NativeLibraries.platform();
        foreign("jar/" + folder, "libcudnn.so.9");
        environment.put("XDG_CACHE_HOME", temp.resolve("cache").toString());
        Thread thread = Thread.currentThread();
        ClassLoader before = thread.getContextClassLoader();
        try (var loader = new java.net.URLClassLoader(
                new java.net.URL[] {temp.resolve("jar").toUri().toURL()}, before)) {
            thread.setContextClassLoader(loader);
            String detail = find("cuDNN").finding().detail();
            assertTrue(detail.startsWith(temp.resolve("cache/tessera/natives").toString()), detail);
            assertTrue(
                    detail.endsWith("it is no cuDNN, because it has no function cudnnBackendCreateDescriptor"), detail);
        } finally {
            thread.setContextClassLoader(before);
        }
        try (Stream<Path> files = Files.walk(temp.resolve("cache"))) {
            assertTrue(files.anyMatch(file -> file.endsWith("libcudnn.so.9")));
        }
    }
}
