package tessera.distill.video;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import tessera.natives.NativeLibraries;

/**
 * The FFmpeg program that the platform jar of {@code org.bytedeco:ffmpeg} carries, unpacked once for each user and content.
 *
 * <p>It goes to {@code $XDG_CACHE_HOME/tessera} ({@code ~/.cache/tessera} where that variable is not set). The folder's
 * name is a hash of what is in it, and it gets that name in one step: processes that unpack at the same time, or die
 * meanwhile, cannot spoil it.
 */
final class CarriedProgram {
    private static final Pattern MISSING_DEVICE_LIBRARY = Pattern.compile(
            "shared libraries: (lib(?:pulse|asound|xcb|X11|Xext|Xv|SDL|jack|sndio)[-\\w]*\\.so\\.\\d+): cannot open");

    private CarriedProgram() {}

    /** The unpacked program, or nothing when no jar on the class path carries one for this platform. */
    static Optional<Path> unpack() throws IOException {
        String folder = "org/bytedeco/ffmpeg/" + NativeLibraries.platform() + "/";
        String program = FfmpegProgram.executable("ffmpeg");
        URL url = NativeLibraries.resource(folder + program);
        if (url == null || !(url.openConnection() instanceof JarURLConnection connection)) {
            return Optional.empty();
        }
        // A jar of our own: closing a shared one would close it for others.
        connection.setUseCaches(false);
        try (JarFile jar = connection.getJarFile()) {
            List<JarEntry> entries = jar.stream()
                    .filter(entry -> isNeeded(entry.getName(), folder))
                    .sorted(Comparator.comparing(JarEntry::getName))
                    .toList();
            Path target = NativeLibraries.defaultCache(System.getenv())
                    .resolveSibling("ffmpeg-" + contentHash(entries))
                    .toAbsolutePath();
            if (!isComplete(target, entries)) {
                unpack(jar, entries, target);
            }
            return Optional.of(target.resolve(program));
        }
    }

    /** Files directly in the folder, without the libraries that serve Java bindings only. */
    private static boolean isNeeded(String entry, String folder) {
        return entry.startsWith(folder) && entry.substring(folder.length()).matches("(?!jni|libjni)[^/]+");
    }

    /** From the names, sizes and check sums in the jar's table of contents: no need to read 60 MB at every start. */
    private static String contentHash(List<JarEntry> entries) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            for (JarEntry entry : entries) {
                String line = entry.getName() + " " + entry.getSize() + " " + entry.getCrc() + "\n";
                digest.update(line.getBytes(StandardCharsets.UTF_8));
            }
            return HexFormat.of().formatHex(digest.digest(), 0, 12);
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException("every Java has SHA-256", impossible);
        }
    }

    /** Someone who tidies the cache may have removed a part of it. */
    private static boolean isComplete(Path folder, List<JarEntry> entries) throws IOException {
        for (JarEntry entry : entries) {
            Path file = folder.resolve(name(entry));
            if (!Files.isRegularFile(file) || Files.size(file) != entry.getSize()) {
                return false;
            }
        }
        return true;
    }

    private static void unpack(JarFile jar, List<JarEntry> entries, Path target) throws IOException {
        Path hidden = target.resolveSibling(".ffmpeg-" + UUID.randomUUID());
        Files.createDirectories(hidden);
        try {
            for (JarEntry entry : entries) {
                Path file = hidden.resolve(name(entry));
                try (InputStream in = jar.getInputStream(entry)) {
                    Files.copy(in, file);
                }
                if (!file.toFile().setExecutable(true, true)) {
                    throw new IOException(file + " cannot be made executable");
                }
            }
            try {
                if (!isComplete(target, entries)) {
                    remove(target);
                }
                Files.move(hidden, target, StandardCopyOption.ATOMIC_MOVE);
            } catch (IOException failure) {
                // Another process may have been first; its folder is as good as ours.
                if (!isComplete(target, entries)) {
                    throw failure;
                }
            }
        } finally {
            remove(hidden);
        }
    }

    /** Where stand-ins for libraries lie that this machine lacks, beside the program's folder. */
    static Path standIns(Path program) {
        return Path.of(program.resolveSibling("").toAbsolutePath().normalize() + "-devices");
    }

    /**
     * FFmpeg's library of capture devices needs sound and screen libraries that servers lack, and does not start without them;
     * but nothing here opens a device, and their functions are looked up only when called. So another library, one that is there
     * and does not number its versions, stands in for one that is missing.
     *
     * @param refusal what the system's loader said
     * @return whether a stand-in was made, so that another start is worth while
     */
    static boolean standIn(Path program, String refusal) throws IOException {
        Matcher missing = MISSING_DEVICE_LIBRARY.matcher(refusal);
        Path spare = program.resolveSibling("libdrm.so.2");
        if (!missing.find() || !Files.isRegularFile(spare)) {
            return false;
        }
        Path link = Files.createDirectories(standIns(program)).resolve(missing.group(1));
        if (Files.exists(link)) {
            return false;
        }
        Path hidden = link.resolveSibling("." + UUID.randomUUID());
        Files.copy(spare, hidden);
        Files.move(hidden, link, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        return true;
    }

    private static void remove(Path folder) throws IOException {
        if (Files.isDirectory(folder)) {
            try (Stream<Path> filesFirst = Files.walk(folder).sorted(Comparator.reverseOrder())) {
                for (Path file : filesFirst.toList()) {
                    Files.deleteIfExists(file);
                }
            }
        }
    }

    private static String name(JarEntry entry) {
        return entry.getName().substring(entry.getName().lastIndexOf('/') + 1);
    }
}
