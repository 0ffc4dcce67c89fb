package tessera.distill.video;

import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;

/** What operating systems, file servers and desktops put into any folder, by its name. Nobody means it when naming a folder. */
final class SystemFiles {
    /** In lower case. */
    private static final Set<String> NAMES = Set.of(
            // Windows
            "thumbs.db",
            "thumbs.db:encryptable",
            "ehthumbs.db",
            "ehthumbs_vista.db",
            "desktop.ini",
            "$recycle.bin",
            "system volume information",
            // macOS, and what it packs into archives
            "icon\r",
            "__macosx",
            "network trash folder",
            "temporary items",
            "desktop db",
            "desktop df",
            "thevolumesettingsfolder",
            // Linux
            "lost+found",
            // file servers
            "@eadir",
            "@tmp",
            "@recycle",
            "@recently-snapshot",
            "@__thumb",
            "#recycle",
            "#snapshot");

    /** Where Windows puts what it finds when it checks a disk. */
    private static final Pattern FOUND = Pattern.compile("found\\.\\d{3}");

    private SystemFiles() {}

    /** Whether a name is that of such a file or folder, or is hidden. */
    static boolean isOne(String name) {
        String lower = name.toLowerCase(Locale.ROOT);
        return name.startsWith(".")
                || NAMES.contains(lower)
                || FOUND.matcher(lower).matches();
    }
}
