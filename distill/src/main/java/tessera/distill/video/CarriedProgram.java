package tessera.distill.video;

import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemNotFoundException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.jar.JarFile;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import tessera.natives.NativeLibraries;
import tessera.natives.Partial;
import tessera.tensor.io.Sha256;

/**
 * The FFmpeg program that the platform jar of {@code org.bytedeco:ffmpeg} carries, unpacked once for each user and content.
 *
 * <p>It goes to a folder beside {@link NativeLibraries#defaultCache}, whose name is a hash of what is in it. It gets that name
 * in one step: processes that unpack at the same time, or die meanwhile, cannot spoil it.
 */
final class CarriedProgram {
    /** Digits of the checksum in a folder's name. */
    private static final int HASH = 24;

    private static final Pattern MISSING_DEVICE_LIBRARY = Pattern.compile(
            "shared libraries: (lib(?:pulse|asound|xcb|X11|Xext|Xv|SDL|jack|sndio)[-\\w]*\\.so\\.\\d+): cannot open");

    private CarriedProgram() {}

    /** The unpacked program, or nothing when no jar or folder on the class path carries one for this platform. */
    static Optional<Path> unpack() throws IOException {
        String folder = "org/bytedeco/ffmpeg/" + NativeLibraries.platform() + "/";
        String program = FfmpegProgram.executable("ffmpeg");
        URL url = NativeLibraries.resource(folder + program);
        if (url == null) {
            return Optional.empty();
        }
        // Class loaders that keep jars in jars have connections of this kind too.
        if (!(url.openConnection() instanceof JarURLConnection connection)) {
            // A jar that was unpacked into a folder of classes, or an image that jlink made.
            return Optional.of(unpack(inFolder(url, folder), program));
        }
        // A jar of our own: closing a shared one would close it for others.
        connection.setUseCaches(false);
        try (JarFile jar = connection.getJarFile()) {
            List<Part> parts = jar.stream()
                    .filter(entry -> isNeeded(entry.getName(), folder))
                    .map(entry ->
                            new Part(entry.getName(), entry.getSize(), entry.getCrc(), () -> jar.getInputStream(entry)))
                    .toList();
            return Optional.of(unpack(parts, program));
        }
    }

    private static List<Part> inFolder(URL program, String folder) throws IOException {
        try (Stream<Path> files = Files.list(folder(program))) {
            List<Part> parts = new ArrayList<>();
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                String name = folder + file.getFileName();
                if (isNeeded(name, folder)) {
                    long time = Files.getLastModifiedTime(file).toMillis();
                    parts.add(new Part(name, Files.size(file), time, () -> Files.newInputStream(file)));
                }
            }
            return parts;
        }
    }

    private static Path folder(URL program) throws IOException {
        try {
            return Path.of(program.toURI()).resolveSibling("");
        } catch (URISyntaxException | IllegalArgumentException | FileSystemNotFoundException e) {
            throw new IOException(
                    program + " is in a place that cannot be listed; unpack the jar that has it beside the application",
                    e);
        }
    }

    private static Path unpack(List<Part> found, String program) throws IOException {
        List<Part> parts =
                found.stream().sorted(Comparator.comparing(Part::name)).toList();
        Path target = NativeLibraries.defaultCache(System.getenv())
                .resolveSibling("ffmpeg-" + contentHash(parts))
                .toAbsolutePath();
        if (!isComplete(target, parts)) {
            copy(parts, target);
        }
        return target.resolve(program);
    }

    /**
     * A file of the program.
     *
     * @param name where the jar has it
     * @param content its checksum, or the time when it was written: whatever changes with it and is known without reading it
     */
    private record Part(String name, long size, long content, Source source) {
        String fileName() {
            return name.substring(name.lastIndexOf('/') + 1);
        }
    }

    private interface Source {
        InputStream open() throws IOException;
    }

    /** Files directly in the folder, without the libraries that serve Java bindings only. */
    private static boolean isNeeded(String entry, String folder) {
        return entry.startsWith(folder) && entry.substring(folder.length()).matches("(?!jni|libjni)[^/]+");
    }

    /** From names, sizes and what tells contents apart in the jar's table of contents: no need to read 60 MB at every start. */
    private static String contentHash(List<Part> parts) {
        MessageDigest digest = Sha256.digest();
        for (Part part : parts) {
            String line = part.name() + " " + part.size() + " " + part.content() + "\n";
            digest.update(line.getBytes(StandardCharsets.UTF_8));
        }
        return Sha256.hex(digest).substring(0, HASH);
    }

    /** Someone who tidies the cache may have removed a part of it. */
    private static boolean isComplete(Path folder, List<Part> parts) throws IOException {
        for (Part part : parts) {
            Path file = folder.resolve(part.fileName());
            if (!Files.isRegularFile(file) || Files.size(file) != part.size()) {
                return false;
            }
        }
        return true;
    }

    private static void copy(List<Part> parts, Path target) throws IOException {
        try (Partial making = Partial.in(target.resolveSibling(""), "ffmpeg")) {
            Path hidden = Files.createDirectories(making.path());
            for (Part part : parts) {
                Path file = hidden.resolve(part.fileName());
                try (InputStream in = part.source().open()) {
                    Files.copy(in, file);
                }
                // For everybody: an image is often made by one user and run by another.
                if (!file.toFile().setExecutable(true, false)) {
                    throw new IOException(file + " cannot be made executable");
                }
            }
            try {
                if (!isComplete(target, parts)) {
                    Partial.remove(target);
                }
                Files.move(hidden, target, StandardCopyOption.ATOMIC_MOVE);
            } catch (IOException failure) {
                // Another process may have been first; its folder is as good as ours.
                if (!isComplete(target, parts)) {
                    throw failure;
                }
            }
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
        try (Partial making = Partial.in(standIns(program), "stand-in")) {
            Files.copy(spare, making.path());
            Files.move(making.path(), link, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        }
        return true;
    }
}
