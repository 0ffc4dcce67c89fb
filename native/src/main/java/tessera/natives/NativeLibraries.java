package tessera.natives;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.JarURLConnection;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;
import org.jspecify.annotations.Nullable;

/**
 * Finds native libraries and puts them where the system's loader can open them.
 *
 * <p>The places, in this order:
 *
 * <ol>
 *   <li>the folder named by the system property {@value #DIRECTORY_PROPERTY}, and then no other place;
 *   <li>a resource on the class path (or in a resolved module), carried by the library's jar for this platform. It is
 *       unpacked once into {@code $XDG_CACHE_HOME/tessera/natives/<content hash>} (where that variable is not set, as {@link
 *       #defaultCache} says); every later start checks its size, and its checksum where it was written since, and
 *       replaces a damaged file;
 *   <li>{@code /usr/local/lib/tessera} and {@code /usr/lib/tessera}, which are only read.
 * </ol>
 *
 * <p>With {@value #SWITCH_PROPERTY}{@code =off} nothing is searched. An embedder gets the oneDNN carrier as a run-time
 * dependency of {@code tessera-native}; on the module path, put that jar on the class path beside it, because no module
 * requires it.
 *
 * <p>Thread-safe, also between processes: files appear in the cache by an atomic move.
 */
public final class NativeLibraries {
    /** System property naming a folder that already holds the libraries. */
    public static final String DIRECTORY_PROPERTY = "tessera.native.dir";

    /** System property that switches native libraries off by the value {@code off}. */
    public static final String SWITCH_PROPERTY = "tessera.native";

    private static final System.Logger LOG = System.getLogger("tessera.natives");

    private static final List<Path> SYSTEM_FOLDERS =
            List.of(Path.of("/usr/local/lib/tessera"), Path.of("/usr/lib/tessera"));

    private final Function<String, @Nullable String> property;
    private final Path cache;
    private final List<Path> systemFolders;

    /** Searches with the settings of this process. */
    public NativeLibraries() {
        this(System::getProperty, defaultCache(System.getenv()), SYSTEM_FOLDERS);
    }

    /**
     * Searches with settings of the caller's.
     *
     * @param property gives the value of a system property, or null
     * @param cache folder for unpacked libraries; made when needed
     * @param systemFolders folders that are read when there is no resource
     */
    public NativeLibraries(Function<String, @Nullable String> property, Path cache, List<Path> systemFolders) {
        this.property = property;
        this.cache = cache;
        this.systemFolders = List.copyOf(systemFolders);
    }

    /** The operating system and processor in the form the carriers use, for example {@code linux-x86_64}. */
    public static String platform() {
        String os = System.getProperty("os.name", "unknown").toLowerCase(Locale.ROOT);
        String arch = System.getProperty("os.arch", "unknown").toLowerCase(Locale.ROOT);
        String system = os.startsWith("linux")
                ? "linux"
                : os.startsWith("mac") ? "macosx" : os.startsWith("windows") ? "windows" : os.replace(' ', '_');
        String processor = switch (arch) {
            case "amd64", "x86_64" -> "x86_64";
            case "aarch64", "arm64" -> "arm64";
            default -> arch;
        };
        return system + "-" + processor;
    }

    /**
     * Finds a group of libraries that must lie in one folder.
     *
     * @param resourceFolder folder of the resources, for example {@code org/bytedeco/dnnl/linux-x86_64}
     * @param files file names, the library itself first and then those it needs beside it
     * @return the path of the first file
     * @throws NativeLibraryException if no place has it, or it could not be unpacked
     */
    public Path find(String resourceFolder, List<String> files) {
        String main = files.getFirst();
        if ("off".equals(property.apply(SWITCH_PROPERTY))) {
            throw new NativeLibraryException("switched off by -D" + SWITCH_PROPERTY + "=off");
        }
        String directory = property.apply(DIRECTORY_PROPERTY);
        if (directory != null) {
            Path file = Path.of(directory, main);
            if (!Files.isRegularFile(file)) {
                throw new NativeLibraryException("-D" + DIRECTORY_PROPERTY + "=" + directory + " holds no " + main
                        + "; point it at a folder with " + String.join(" and ", files) + ", or leave it away");
            }
            return file.toAbsolutePath();
        }
        List<Resource> resources = new ArrayList<>();
        for (String name : files) {
            URL url = resource(resourceFolder + "/" + name);
            if (url == null) {
                return inSystemFolder(resourceFolder, name, main);
            }
            try {
                resources.add(Resource.of(name, url));
            } catch (IOException e) {
                throw new NativeLibraryException("cannot read " + url + " (" + e + ")", e);
            }
        }
        Path folder = cache.resolve(contentHash(resources));
        for (Resource resource : resources) {
            try {
                unpack(resource, folder);
            } catch (IOException | UncheckedIOException e) {
                throw new NativeLibraryException(
                        "cannot unpack " + resource.name + " into " + folder + " (" + e
                                + "); make that folder writable, set XDG_CACHE_HOME, or point -D" + DIRECTORY_PROPERTY
                                + " at a folder that holds the library",
                        e);
            }
        }
        return folder.resolve(main).toAbsolutePath();
    }

    private Path inSystemFolder(String resourceFolder, String missing, String main) {
        for (Path folder : systemFolders) {
            if (Files.isRegularFile(folder.resolve(main))) {
                return folder.resolve(main);
            }
        }
        throw new NativeLibraryException("no resource " + resourceFolder + "/" + missing
                + " on the class path; add the carrier jar for " + platform() + " to it, or point -D"
                + DIRECTORY_PROPERTY + " at a folder that holds " + main);
    }

    /**
     * Where libraries are unpacked to: {@code tessera/natives} under {@code $XDG_CACHE_HOME}, by the rules of XDG, or else under
     * {@code ~/.cache}; for a user without a home that may be written, in a folder under {@code java.io.tmpdir} that is the user's
     * alone.
     */
    public static Path defaultCache(Map<String, String> environment) {
        return CacheFolder.of(environment, System.getProperty("user.home"), System.getProperty("java.io.tmpdir", "."))
                .resolve("natives");
    }

    /** A resource on the class path or in a resolved module, or null. */
    public static @Nullable URL resource(String name) {
        ClassLoader own = NativeLibraries.class.getClassLoader();
        URL url = own == null ? null : own.getResource(name);
        ClassLoader context = Thread.currentThread().getContextClassLoader();
        if (url == null && context != null) {
            url = context.getResource(name);
        }
        return url == null ? ClassLoader.getSystemResource(name) : url;
    }

    private static String contentHash(List<Resource> resources) {
        StringBuilder hash = new StringBuilder();
        for (Resource resource : resources) {
            hash.append(hash.isEmpty() ? "" : "-").append(HexFormat.of().toHexDigits((int) resource.crc));
        }
        return hash.toString();
    }

    private static void unpack(Resource resource, Path folder) throws IOException {
        Path file = folder.resolve(resource.name);
        if (resource.matches(file)) {
            return;
        }
        try (Partial making = Partial.in(folder, resource.name)) {
            Path partial = making.path();
            // No channel: that would close itself under an interrupted thread.
            try (InputStream in = resource.open();
                    FileOutputStream out = new FileOutputStream(partial.toFile())) {
                in.transferTo(out);
                out.getFD().sync();
            }
            // What is marked as right before it is moved is not read again by another process, nor after a loss of
            // power.
            if (!resource.matches(partial)) {
                throw new IOException("the unpacked copy of " + resource.url + " does not have the jar's checksum");
            }
            Files.move(partial, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        }
    }

    /** One library inside a jar, known by the size and checksum in the jar's directory without reading it. */
    private record Resource(String name, URL url, long size, long crc) {
        private static final long EPOCH_1980 = 315_532_800;

        static Resource of(String name, URL url) throws IOException {
            URLConnection connection = url.openConnection();
            connection.setUseCaches(false);
            if (connection instanceof JarURLConnection jar) {
                try (JarFile file = jar.getJarFile()) {
                    JarEntry entry = jar.getJarEntry();
                    return new Resource(name, url, entry.getSize(), entry.getCrc());
                }
            }
            CRC32 crc = new CRC32();
            long size;
            try (InputStream in = new CheckedInputStream(connection.getInputStream(), crc)) {
                size = in.transferTo(OutputStream.nullOutputStream());
            }
            return new Resource(name, url, size, crc.getValue());
        }

        InputStream open() throws IOException {
            URLConnection connection = url.openConnection();
            connection.setUseCaches(false);
            return connection.getInputStream();
        }

        boolean matches(Path file) throws IOException {
            if (!Files.isRegularFile(file) || Files.size(file) != size) {
                return false;
            }
            // To read some 90 MB takes longer than all else that a start does with them.
            if (Files.getLastModifiedTime(file).equals(mark())) {
                return true;
            }
            CRC32 checksum = new CRC32();
            try (InputStream in = new CheckedInputStream(Files.newInputStream(file), checksum)) {
                in.transferTo(OutputStream.nullOutputStream());
            }
            if (checksum.getValue() != crc) {
                return false;
            }
            try {
                Files.setLastModifiedTime(file, mark());
            } catch (IOException notOurs) {
                LOG.log(System.Logger.Level.DEBUG, "{0} is checked at every start: {1}", file, notOurs);
            }
            return true;
        }

        /**
         * The time that a file gets when its checksum was found right, a moment of 1980 to 2014; whoever writes to the file changes it, if
         * nothing sets it back. This is a guard against damage, not against somebody who may write in the folder.
         */
        private FileTime mark() {
            return FileTime.from(EPOCH_1980 + (crc & ((1L << 30) - 1)), TimeUnit.SECONDS);
        }
    }
}
