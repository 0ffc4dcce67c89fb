package tessera.natives;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The folder {@code tessera} for what is unpacked or compiled once for each user: under {@code $XDG_CACHE_HOME} by the rules of XDG,
 * or else under {@code ~/.cache}, or else, for users who have no home or may not write there, as in hardened containers, a
 * folder of their own among the temporary files.
 */
final class CacheFolder {
    private static final int TYPE_AND_OTHERS = 0170077;
    private static final int FOLDER_OF_ONE_USER = 0040000;

    /** One for each folder of temporary files, so that a process uses one alone. */
    private static final Map<Path, Path> PRIVATE = new ConcurrentHashMap<>();

    private CacheFolder() {}

    /**
     * Finds the folder; it need not exist.
     *
     * @param home where the user's home is said to be, which may be nonsense such as {@code ?}
     * @param temporary where temporary files go
     */
    static Path of(Map<String, String> environment, @Nullable String home, String temporary) {
        Path xdg = absolute(environment.get("XDG_CACHE_HOME"));
        if (xdg != null) {
            return xdg.resolve("tessera");
        }
        Path own = absolute(home);
        if (own != null && Files.isDirectory(own)) {
            Path cache = own.resolve(".cache").resolve("tessera");
            // One that may only be read was filled by who made the machine's image.
            if (Files.isDirectory(cache) || mayBeMade(cache)) {
                return cache;
            }
        }
        return PRIVATE.computeIfAbsent(Path.of(temporary).toAbsolutePath(), CacheFolder::privateFolder);
    }

    /** Null where there is none; XDG's rules say that a relative path is to be ignored. */
    private static @Nullable Path absolute(@Nullable String folder) {
        try {
            return folder != null && Path.of(folder).isAbsolute() ? Path.of(folder) : null;
        } catch (InvalidPathException e) {
            return null;
        }
    }

    private static boolean mayBeMade(Path folder) {
        Path parent = folder;
        while (parent != null && !Files.exists(parent)) {
            parent = parent.getParent();
        }
        return parent != null && Files.isDirectory(parent) && Files.isWritable(parent);
    }

    /**
     * The folder named by the user's number, if nobody else can have put anything there; others may have made one of that name. A
     * fresh one, which no other process will use, if they have.
     */
    private static Path privateFolder(Path temporary) {
        if (!FileSystems.getDefault().supportedFileAttributeViews().contains("unix")) {
            return temporary.resolve("tessera-" + System.getProperty("user.name"));
        }
        try {
            Path fresh = Files.createTempDirectory(temporary, "tessera-");
            Object user = Files.getAttribute(fresh, "unix:uid");
            Path lasting = temporary.resolve("tessera-" + user);
            try {
                Files.createDirectory(
                        lasting, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
            } catch (FileAlreadyExistsException e) {
                Map<String, Object> found = Files.readAttributes(lasting, "unix:uid,mode", LinkOption.NOFOLLOW_LINKS);
                int mode = (Integer) found.getOrDefault("mode", 0);
                if (!user.equals(found.get("uid")) || (mode & TYPE_AND_OTHERS) != FOLDER_OF_ONE_USER) {
                    return fresh;
                }
            }
            Files.delete(fresh);
            return lasting;
        } catch (IOException e) {
            // Whoever writes there is told that it cannot be written, and what to do. No name that another could have
            // given.
            return temporary.resolve("tessera-" + UUID.randomUUID());
        }
    }
}
