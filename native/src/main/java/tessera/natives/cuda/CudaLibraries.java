package tessera.natives.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.natives.NativeFinding;
import tessera.natives.NativeLibraries;
import tessera.natives.NativeLibraryException;

/**
 * Finds and opens the CUDA libraries.
 *
 * <p>The places, in this order; within a place CUDA 13 goes before CUDA 12:
 *
 * <ol>
 *   <li>the folders named by the system property {@value #DIRECTORY_PROPERTY}, and then no other place;
 *   <li>the folders named by the environment variable {@value #DIRECTORY_VARIABLE};
 *   <li>{@code lib64}, {@code lib} and {@code targets/*}{@code /lib} under {@code CUDA_HOME} and {@code CUDA_PATH};
 *   <li>the dynamic linker, by the library's name;
 *   <li>the toolkit's and the driver's usual folders;
 *   <li>the folders of Python packages: under the folders of the system property {@value #PYTHON_PROPERTY}, then
 *       {@code VIRTUAL_ENV}, {@code CONDA_PREFIX}, the system's and the user's Python and {@code /opt/*}{@code /.venv};
 *   <li>a {@code cuda} redist jar of Bytedeco on the class path.
 * </ol>
 *
 * <p>Several folders are separated as in a class path. The driver is not looked for under toolkits, Python packages and
 * jars, which never hold a real one. Where the driver knows CUDA 12 only, libraries of CUDA 13 are left out, except in
 * folders named by the property. {@code -Dtessera.native=off} switches all of it off.
 *
 * <p>Each library is looked for when first asked for, once per process. Thread-safe.
 */
public final class CudaLibraries {
    /** System property naming the folders that hold all CUDA libraries, the driver's included. */
    public static final String DIRECTORY_PROPERTY = "tessera.cuda.dir";

    /** Environment variable naming folders to look into first. */
    public static final String DIRECTORY_VARIABLE = "TESSERA_CUDA_DIR";

    /** System property naming virtual environments or {@code site-packages} folders that may hold CUDA libraries. */
    public static final String PYTHON_PROPERTY = "tessera.cuda.python";

    private static final List<Integer> MAJORS = List.of(13, 12);
    private static final String REDIST = "org/bytedeco/cuda/";

    /** The last minor version of NVRTC that a redist jar is searched for. */
    private static final int MINORS = 10;

    private static final CudaLibraries PROCESS =
            new CudaLibraries(System::getProperty, System.getenv(), Path.of("/"), true);

    private enum Kind {
        DRIVER("CUDA driver", "libcuda.so.", List.of(1), "cuInit"),
        CUBLAS_LT("cuBLASLt", "libcublasLt.so.", MAJORS, "cublasLtCreate"),
        CUBLAS("cuBLAS", "libcublas.so.", MAJORS, "cublasCreate_v2"),
        NVRTC("NVRTC", "libnvrtc.so.", MAJORS, "nvrtcVersion"),
        CUDNN("cuDNN", "libcudnn.so.", List.of(9), "cudnnBackendCreateDescriptor"),
        NCCL("NCCL", "libnccl.so.", List.of(2), "ncclAllReduce");

        private final String title;
        private final String prefix;

        @SuppressWarnings("ImmutableEnumChecker") // made by List.of, so it is immutable
        private final List<Integer> majors;

        private final String probe;

        /** What to install where it is missing. */
        private final String product;

        Kind(String title, String prefix, List<Integer> majors, String probe) {
            this.title = title;
            this.prefix = prefix;
            this.majors = majors;
            this.probe = probe;
            this.product = majors.equals(MAJORS) ? "CUDA 12 or 13" : title + " " + majors.getFirst();
        }
    }

    private final Function<String, @Nullable String> property;
    private final Map<String, String> environment;
    private final Path root;
    private final boolean linker;
    private final Map<Kind, CudaLibrary> found = new EnumMap<>(Kind.class);

    /**
     * Searches with settings of the caller's.
     *
     * @param property gives the value of a system property, or null
     * @param environment the environment variables
     * @param root what stands for the root of the file system in the usual folders
     * @param linker whether the dynamic linker is asked
     */
    public CudaLibraries(
            Function<String, @Nullable String> property, Map<String, String> environment, Path root, boolean linker) {
        this.property = property;
        this.environment = Map.copyOf(environment);
        this.root = root;
        this.linker = linker;
    }

    /** The driver's library of this process. */
    public static CudaLibrary driver() {
        return PROCESS.find(Kind.DRIVER);
    }

    /** cuBLASLt of this process. */
    public static CudaLibrary cublasLt() {
        return PROCESS.find(Kind.CUBLAS_LT);
    }

    /** cuBLAS of this process, of the same version as {@link #cublasLt}. */
    public static CudaLibrary cublas() {
        return PROCESS.find(Kind.CUBLAS);
    }

    /** NVRTC of this process, its builtins opened too. */
    public static CudaLibrary nvrtc() {
        return PROCESS.find(Kind.NVRTC);
    }

    /** cuDNN of this process. */
    public static CudaLibrary cudnn() {
        return PROCESS.find(Kind.CUDNN);
    }

    /** NCCL of this process, which adds up the gradients of several devices. */
    public static CudaLibrary nccl() {
        return PROCESS.find(Kind.NCCL);
    }

    /** Every library of this process, the driver first; looks for those nobody has asked for yet. */
    public static List<CudaLibrary> report() {
        return PROCESS.all();
    }

    /** Every library, the driver first. */
    public List<CudaLibrary> all() {
        return Arrays.stream(Kind.values()).map(this::find).toList();
    }

    private synchronized CudaLibrary find(Kind kind) {
        CudaLibrary library = found.get(kind);
        if (library == null) {
            library = new Search(kind).run();
            found.put(kind, library);
        }
        return library;
    }

    /** One place: a folder, or the dynamic linker where there is none, or the reason why the place does not exist. */
    private record Place(
            String label, @Nullable Path folder, @Nullable String absent) {
        Place(String label, @Nullable Path folder) {
            this(label, folder, null);
        }

        static Place absent(String label, String reason) {
            return new Place(label, null, reason);
        }
    }

    /** The search for one library. */
    private final class Search {
        private final Kind kind;
        private final List<String> tried = new ArrayList<>();
        private @Nullable String refusal;
        private List<Integer> majors;

        Search(Kind kind) {
            this.kind = kind;
            this.majors = kind.majors;
        }

        CudaLibrary run() {
            if ("off".equals(property.apply(NativeLibraries.SWITCH_PROPERTY))) {
                return refused("switched off by -D" + NativeLibraries.SWITCH_PROPERTY + "=off");
            }
            if (!NativeLibraries.platform().startsWith("linux")) {
                return refused("CUDA is used on Linux only, this is " + NativeLibraries.platform());
            }
            if (kind == Kind.CUBLAS) {
                CudaLibrary lt = find(Kind.CUBLAS_LT);
                if (!lt.usable()) {
                    return refused("it needs cuBLASLt, which is not used: "
                            + lt.finding().detail());
                }
                majors = List.of(lt.major());
            }
            if (kind == Kind.CUDNN) {
                // Its engines open these two by name, which succeeds for what is open already.
                find(Kind.CUBLAS_LT);
                find(Kind.NVRTC);
            }
            String explicit = property.apply(DIRECTORY_PROPERTY);
            if (explicit == null) {
                leaveOutWhatTheDriverCannotRun();
            }
            List<Place> places = explicit == null ? places() : named("-D" + DIRECTORY_PROPERTY, explicit);
            for (Place place : places) {
                if (place.absent != null) {
                    tried.add(place.label + ": " + place.absent);
                    continue;
                }
                CudaLibrary library = place.folder == null ? byLinker() : inFolder(place.label, place.folder);
                if (library != null) {
                    return library;
                }
            }
            if (explicit != null) {
                return refused(
                        refusal != null
                                ? refusal
                                : "-D" + DIRECTORY_PROPERTY + "=" + explicit + " holds no " + names(" or ")
                                        + "; add its folder after a '" + File.pathSeparator
                                        + "', or leave the property away");
            }
            CudaLibrary library = kind == Kind.DRIVER ? null : inRedistJar();
            if (library != null) {
                return library;
            }
            String remedy = kind == Kind.DRIVER
                    ? "install the NVIDIA driver (525 or newer)"
                    : "install " + kind.product + ", or point -D" + DIRECTORY_PROPERTY
                            + " at the folders of all CUDA libraries";
            return refused(refusal != null ? refusal : "no " + names(" or ") + " on this machine; " + remedy);
        }

        private void leaveOutWhatTheDriverCannotRun() {
            if (kind.majors.equals(MAJORS)) {
                int version = driverVersion(find(Kind.DRIVER));
                if (version > 0 && version < 13000) {
                    majors = majors.stream().filter(major -> major != 13).toList();
                    tried.add("libraries of CUDA 13: left out, the driver knows CUDA " + version / 1000 + "."
                            + version % 1000 / 10);
                }
            }
        }

        private List<Place> places() {
            List<Place> places = new ArrayList<>();
            if (kind == Kind.CUBLAS) {
                // The pair must be of one version, and one folder holds both.
                Path folder = Path.of(find(Kind.CUBLAS_LT).finding().detail()).getParent();
                if (folder != null) {
                    places.add(new Place("beside cuBLASLt", folder));
                }
            }
            String directories = environment.get(DIRECTORY_VARIABLE);
            if (directories != null) {
                places.addAll(named(DIRECTORY_VARIABLE, directories));
            } else {
                places.add(Place.absent(DIRECTORY_VARIABLE, "not set"));
            }
            if (kind != Kind.DRIVER) {
                for (String variable : List.of("CUDA_HOME", "CUDA_PATH")) {
                    String home = environment.get(variable);
                    if (home == null) {
                        places.add(Place.absent(variable, "not set"));
                    } else {
                        for (String folder : List.of("lib64", "lib", "targets/*/lib")) {
                            glob(variable, Path.of(home), folder, places);
                        }
                    }
                }
            }
            if (linker) {
                places.add(new Place("the dynamic linker", null));
            }
            for (String folder : kind == Kind.DRIVER ? DRIVER_FOLDERS : TOOLKIT_FOLDERS) {
                glob("usual folder", root, folder, places);
            }
            if (kind != Kind.DRIVER) {
                python(places);
            }
            return places;
        }

        private void python(List<Place> places) {
            String given = property.apply(PYTHON_PROPERTY);
            if (given != null) {
                for (String folder : given.split(File.pathSeparator, 0)) {
                    wheels("-D" + PYTHON_PROPERTY, Path.of(folder), places);
                }
            }
            for (String variable : List.of("VIRTUAL_ENV", "CONDA_PREFIX")) {
                String folder = environment.get(variable);
                if (folder == null) {
                    places.add(Place.absent(variable, "not set"));
                } else {
                    wheels(variable, Path.of(folder), places);
                }
            }
            String home = environment.get("HOME");
            if (home != null) {
                wheels("Python packages", Path.of(home, ".local"), places);
            }
            for (String prefix : List.of("usr/local", "usr")) {
                wheels("Python packages", root.resolve(prefix), places);
            }
            for (Path environment : matches(root, "opt/*/.venv")) {
                wheels("Python packages", environment, places);
            }
        }

        /** NVIDIA's packages put libraries into {@code site-packages/nvidia/NAME/lib}; Conda's into {@code lib}. */
        private void wheels(String label, Path prefix, List<Place> places) {
            int before = places.size();
            for (String site :
                    List.of("lib/python3*/site-packages", "lib/python3*/dist-packages", "lib/python3", ".")) {
                for (Path folder : matches(prefix, site + "/nvidia/*/lib")) {
                    places.add(new Place(label, folder));
                }
            }
            if (label.equals("CONDA_PREFIX")) {
                places.add(new Place(label, prefix.resolve("lib")));
            }
            if (places.size() == before) {
                places.add(Place.absent(label, "no nvidia packages under " + prefix));
            }
        }

        private List<Place> named(String label, String folders) {
            List<Place> places = new ArrayList<>();
            for (String folder : folders.split(File.pathSeparator, 0)) {
                Path path = Path.of(folder);
                places.add(new Place(label, path));
                for (String below : List.of("lib64", "lib")) {
                    if (Files.isDirectory(path.resolve(below))) {
                        places.add(new Place(label, path.resolve(below)));
                    }
                }
            }
            return places;
        }

        private void glob(String label, Path base, String pattern, List<Place> places) {
            List<Path> matches = matches(base, pattern);
            if (matches.isEmpty()) {
                places.add(Place.absent(label, "no folder " + base.resolve(pattern)));
            }
            for (Path match : matches) {
                places.add(new Place(label, match));
            }
        }

        private @Nullable CudaLibrary inFolder(String label, Path folder) {
            if (!Files.isDirectory(folder)) {
                tried.add(label + ": no folder " + folder);
                return null;
            }
            boolean seen = false;
            for (int major : majors) {
                Path file = folder.resolve(kind.prefix + major);
                if (Files.exists(file)) {
                    seen = true;
                    CudaLibrary library = open(label, file, major);
                    if (library != null) {
                        return library;
                    }
                }
            }
            if (!seen) {
                tried.add(label + ": " + folder + " holds no " + names(" or "));
            }
            return null;
        }

        private @Nullable CudaLibrary open(String label, Path file, int major) {
            Path path = file.toAbsolutePath();
            if (kind == Kind.NVRTC) {
                preloadBuiltins(path, major);
            }
            try {
                return accept(label, path.toString(), SymbolLookup.libraryLookup(path, Arena.global()), major);
            } catch (IllegalArgumentException e) {
                refuse(label, path.toString(), Dl.reason(path.toString()));
            } catch (IllegalCallerException e) {
                refuse(label, path.toString(), NO_ACCESS);
            }
            return null;
        }

        private @Nullable CudaLibrary byLinker() {
            for (int major : majors) {
                String name = kind.prefix + major;
                try {
                    SymbolLookup lookup = SymbolLookup.libraryLookup(name, Arena.global());
                    CudaLibrary library = accept("the dynamic linker", mapped(name), lookup, major);
                    if (library != null) {
                        return library;
                    }
                } catch (IllegalArgumentException e) {
                    tried.add("the dynamic linker: " + Dl.reason(name));
                } catch (IllegalCallerException e) {
                    refuse("the dynamic linker", name, NO_ACCESS);
                }
            }
            return null;
        }

        private @Nullable CudaLibrary inRedistJar() {
            for (int major : majors) {
                String name = kind.prefix + major;
                List<String> files = kind == Kind.CUBLAS ? List.of(name, "libcublasLt.so." + major) : List.of(name);
                for (int minor = kind == Kind.NVRTC ? MINORS : 0; minor >= 0; minor--) {
                    try {
                        Path path = new NativeLibraries(
                                        key -> key.equals(NativeLibraries.DIRECTORY_PROPERTY)
                                                ? null
                                                : property.apply(key),
                                        NativeLibraries.defaultCache(environment),
                                        List.of())
                                .find(
                                        REDIST + NativeLibraries.platform(),
                                        kind == Kind.NVRTC
                                                ? List.of(name, "libnvrtc-builtins.so." + major + "." + minor)
                                                : files);
                        return open("redist jar", path, major);
                    } catch (NativeLibraryException e) {
                        if (minor == 0) {
                            tried.add("redist jar: no resource " + REDIST + NativeLibraries.platform() + "/" + name
                                    + " on the class path");
                        }
                    }
                }
            }
            return null;
        }

        /** NVRTC opens its builtins by name, which succeeds for what is open already and fails in most other cases. */
        private void preloadBuiltins(Path nvrtc, int major) {
            Path folder = nvrtc.getParent();
            if (folder != null) {
                for (Path builtins : matches(folder, "libnvrtc-builtins.so." + major + ".*")) {
                    try {
                        SymbolLookup.libraryLookup(builtins, Arena.global());
                    } catch (IllegalArgumentException e) {
                        tried.add("builtins of NVRTC: " + Dl.reason(builtins.toString()));
                    } catch (IllegalCallerException e) {
                        tried.add("builtins of NVRTC: " + NO_ACCESS);
                    }
                }
            }
        }

        private @Nullable CudaLibrary accept(String label, String path, SymbolLookup lookup, int major) {
            if (lookup.find(kind.probe).isEmpty()) {
                refuse(label, path, "it is no " + kind.title + ", because it has no function " + kind.probe);
                return null;
            }
            return new CudaLibrary(new NativeFinding(kind.title, true, path), tried, major, lookup);
        }

        private void refuse(String label, String path, String reason) {
            tried.add(label + ": " + path + " cannot be used: " + reason);
            if (refusal == null) {
                refusal = path + " cannot be used: " + reason;
            }
        }

        private CudaLibrary refused(String reason) {
            return new CudaLibrary(new NativeFinding(kind.title, false, reason), tried, 0, null);
        }

        private String names(String or) {
            return majors.stream().map(major -> kind.prefix + major).collect(Collectors.joining(or));
        }
    }

    private static final List<String> TOOLKIT_FOLDERS = List.of("usr/local/cuda/lib64", "usr/local/cuda-*/lib64");

    private static final List<String> DRIVER_FOLDERS = List.of(
            "usr/lib/x86_64-linux-gnu",
            "usr/lib/aarch64-linux-gnu",
            "usr/lib64",
            "usr/lib/wsl/lib",
            "usr/local/nvidia/lib64",
            "run/opengl-driver/lib");

    private static final String NO_ACCESS =
            "native access is not enabled; start Java with --enable-native-access=tessera.natives"
                    + " (ALL-UNNAMED on the class path)";

    /** The CUDA version a driver knows, as 1000 times the major and 10 times the minor number; 0 where it does not say. */
    private static int driverVersion(CudaLibrary driver) {
        if (!driver.has("cuDriverGetVersion")) {
            return 0;
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment version = arena.allocate(JAVA_INT);
            MethodHandle call = driver.status("cuDriverGetVersion", ADDRESS);
            return (int) call.invokeExact(version) == 0 ? version.get(JAVA_INT, 0) : 0;
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** The paths below a folder that fit a pattern of names, newest version first. */
    private static List<Path> matches(Path base, String pattern) {
        List<Path> matches = List.of(base);
        for (String part : pattern.split("/", 0)) {
            List<Path> next = new ArrayList<>();
            for (Path folder : matches) {
                if (part.indexOf('*') < 0) {
                    Path path = part.equals(".") ? folder : folder.resolve(part);
                    if (Files.exists(path)) {
                        next.add(path);
                    }
                } else if (Files.isDirectory(folder)) {
                    try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder, part)) {
                        List<Path> names = new ArrayList<>();
                        entries.forEach(names::add);
                        names.sort(Comparator.comparing(CudaLibraries::sortable).reversed());
                        next.addAll(names);
                    } catch (IOException e) {
                        // A folder that cannot be read holds nothing for us.
                    }
                }
            }
            matches = next;
        }
        return matches;
    }

    /** A name whose numbers are padded, so that version 12.10 comes after 12.9. */
    private static String sortable(Path path) {
        StringBuilder padded = new StringBuilder();
        for (String part : String.valueOf(path.getFileName()).split("(?<=\\D)(?=\\d)|(?<=\\d)(?=\\D)", 0)) {
            padded.append(Character.isDigit(part.charAt(0)) ? "0".repeat(Math.max(0, 9 - part.length())) : "")
                    .append(part);
        }
        return padded.toString();
    }

    /** The file behind a name that the dynamic linker opened, or the name itself where that cannot be told. */
    private static String mapped(String name) {
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/maps"))) {
            return lines.map(line -> line.substring(line.indexOf('/') + 1))
                    .filter(path -> path.substring(path.lastIndexOf('/') + 1).startsWith(name))
                    .findFirst()
                    .map(path -> "/" + path)
                    .orElse(name);
        } catch (IOException e) {
            return name;
        }
    }

    /** Asks the dynamic linker why it refuses a library, which Java does not pass on. */
    private static final class Dl {
        private static final int RTLD_LAZY = 1;
        private static final long LONGEST_TEXT = 4096;
        private static final MethodHandle OPEN = function("dlopen", FunctionDescriptor.of(ADDRESS, ADDRESS, JAVA_INT));
        private static final MethodHandle ERROR = function("dlerror", FunctionDescriptor.of(ADDRESS));

        private static MethodHandle function(String name, FunctionDescriptor descriptor) {
            Linker linker = Linker.nativeLinker();
            return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), descriptor);
        }

        static String reason(String library) {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment handle = (MemorySegment) OPEN.invokeExact(arena.allocateFrom(library), RTLD_LAZY);
                MemorySegment text = (MemorySegment) ERROR.invokeExact();
                return !handle.equals(MemorySegment.NULL) || text.equals(MemorySegment.NULL)
                        ? library + " cannot be opened"
                        : text.reinterpret(LONGEST_TEXT).getString(0).replace('\n', ' ');
            } catch (Throwable e) {
                throw CudaLibrary.rethrow(e);
            }
        }
    }
}
