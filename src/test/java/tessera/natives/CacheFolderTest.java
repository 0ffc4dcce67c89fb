package tessera.natives;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Users with a home, without one, and with one that is none. */
class CacheFolderTest {
    @TempDir
    private Path temp;

    private Path cache(String home) {
        return CacheFolder.of(Map.of(), home, temp.toString());
    }

    @Test
    void theUsersWishGoesFirstThenTheHome() throws IOException {
        Path home = Files.createDirectory(temp.resolve("home"));
        Path wished = temp.resolve("wished");
        Map<String, String> wish = Map.of("XDG_CACHE_HOME", wished.toString());
        assertEquals(wished.resolve("tessera"), CacheFolder.of(wish, home.toString(), temp.toString()));
        Map<String, String> relative = Map.of("XDG_CACHE_HOME", "wished");
        Path usual = home.resolve(".cache").resolve("tessera");
        assertEquals(usual, CacheFolder.of(relative, home.toString(), temp.toString()));
        assertEquals(usual, cache(home.toString()));
        assertFalse(Files.exists(home.resolve(".cache")), "nothing is made before it is needed");
    }

    /** What Java says where there is no home; a home that does not exist; one where no folder can be made. */
    @Test
    void withoutAHomeAFolderOfTheUsersOwnIsUsed() throws IOException {
        Path blocked = Files.createDirectory(temp.resolve("blocked"));
        Files.createFile(blocked.resolve(".cache"));
        Path own = temp.resolve("tessera-" + Files.getAttribute(temp, "unix:uid"));
        for (String home : new String[] {"?", "", "relative", "/no/such/home", blocked.toString()}) {
            assertEquals(own, cache(home), home);
        }
        assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(own)));
        assertFalse(Files.exists(Path.of("?")), "no folder of that name");
    }

    @Test
    void aFolderThatOthersMayWriteIsNotUsed() throws IOException {
        Path others = Files.createDirectory(temp.resolve("tessera-" + Files.getAttribute(temp, "unix:uid")));
        Files.setPosixFilePermissions(others, PosixFilePermissions.fromString("rwxrwxrwx"));
        Path fresh = cache("?");
        assertNotEquals(others, fresh);
        assertTrue(fresh.startsWith(temp) && Files.isDirectory(fresh), fresh::toString);
        assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(fresh)));
        assertEquals(fresh, cache("?"), "one for a process");
    }

    @Test
    void aLinkIsNotFollowed() throws IOException {
        Path elsewhere = Files.createDirectory(
                temp.resolve("elsewhere"),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        Path link = temp.resolve("tessera-" + Files.getAttribute(temp, "unix:uid"));
        Files.createSymbolicLink(link, elsewhere);
        assertNotEquals(link, cache("?"));
    }
}
