package tessera.natives;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.Map;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.Close;
import tessera.kernels.cpu.GemmProcess;
import tessera.natives.onednn.OneDnn;

class NativeLibrariesTest {
    private static final String FOLDER = "carrier/linux-test";
    private static final List<String> FILES = List.of("libmain.so.3", "libhelper.so.1");
    private static final byte[] MAIN = "main library".getBytes(StandardCharsets.UTF_8);
    private static final byte[] HELPER = "helper".getBytes(StandardCharsets.UTF_8);

    @TempDir
    private Path temp;

    private ClassLoader before;
    private URLClassLoader carrier;

    @BeforeEach
    void putACarrierOnTheContextClassPath() throws IOException {
        Path jar = temp.resolve("carrier.jar");
        try (OutputStream out = Files.newOutputStream(jar);
                JarOutputStream entries = new JarOutputStream(out)) {
            entries.putNextEntry(new ZipEntry(FOLDER + "/libmain.so.3"));
            entries.write(MAIN);
            entries.putNextEntry(new ZipEntry(FOLDER + "/libhelper.so.1"));
            entries.write(HELPER);
        }
        before = Thread.currentThread().getContextClassLoader();
        carrier = new URLClassLoader(new URL[] {jar.toUri().toURL()}, before);
        Thread.currentThread().setContextClassLoader(carrier);
    }

    @AfterEach
    void takeItAway() throws IOException {
        Thread.currentThread().setContextClassLoader(before);
        carrier.close();
    }

    private NativeLibraries libraries(Map<String, String> properties) {
        return new NativeLibraries(properties::get, temp.resolve("cache/natives"), List.of(temp.resolve("system")));
    }

    @Test
    void unpacksOnceIntoAFolderNamedByContent() throws IOException {
        Path main = libraries(Map.of()).find(FOLDER, FILES);
        assertArrayEquals(MAIN, Files.readAllBytes(main));
        assertArrayEquals(HELPER, Files.readAllBytes(main.resolveSibling("libhelper.so.1")));
        assertEquals(
                temp.resolve("cache/natives"), requireNonNull(main.getParent()).getParent());
        try (Stream<Path> files = Files.list(main.getParent())) {
            assertEquals(2, files.count(), "nothing half-written stays");
        }
        Object key = Files.readAttributes(main, "unix:ino").get("ino");
        assertEquals(main, libraries(Map.of()).find(FOLDER, FILES));
        assertEquals(key, Files.readAttributes(main, "unix:ino").get("ino"), "the second start writes nothing");
    }

    @Test
    void aDamagedCopyIsReplaced() throws IOException {
        Path main = libraries(Map.of()).find(FOLDER, FILES);
        Files.write(main, "mxin library".getBytes(StandardCharsets.UTF_8));
        libraries(Map.of()).find(FOLDER, FILES);
        assertArrayEquals(MAIN, Files.readAllBytes(main));
        Files.write(main.resolveSibling("libhelper.so.1"), new byte[2]);
        libraries(Map.of()).find(FOLDER, FILES);
        assertArrayEquals(HELPER, Files.readAllBytes(main.resolveSibling("libhelper.so.1")));
    }

    /** What was written since it was found right is read again, though its size is the same; what was not is taken by its time. */
    @Test
    void aCopyIsReadAgainOnlyWhenItWasWritten() throws IOException {
        Path main = libraries(Map.of()).find(FOLDER, FILES);
        FileTime checked = Files.getLastModifiedTime(main);
        byte[] other = MAIN.clone();
        other[0]++;
        Files.write(main, other);
        Files.setLastModifiedTime(main, checked);
        libraries(Map.of()).find(FOLDER, FILES);
        assertArrayEquals(other, Files.readAllBytes(main), "taken by its time");
        Files.write(main, other);
        libraries(Map.of()).find(FOLDER, FILES);
        assertArrayEquals(MAIN, Files.readAllBytes(main));
        assertEquals(checked, Files.getLastModifiedTime(main));
        Files.setLastModifiedTime(main, FileTime.fromMillis(0));
        libraries(Map.of()).find(FOLDER, FILES);
        assertEquals(checked, Files.getLastModifiedTime(main), "right, and marked so");
    }

    @Test
    void aFolderThatCannotBeMadeIsNamedWithTheRemedy() throws IOException {
        Files.write(temp.resolve("cache"), new byte[0]);
        String message = requireNonNull(assertThrows(
                        NativeLibraryException.class, () -> libraries(Map.of()).find(FOLDER, FILES))
                .getMessage());
        assertTrue(message.contains(temp.resolve("cache").toString()), message);
        assertTrue(message.contains("-Dtessera.native.dir"), message);
    }

    @Test
    void theGivenFolderGoesBeforeTheCarrier() throws IOException {
        Path given = Files.createDirectory(temp.resolve("given"));
        Files.write(given.resolve("libmain.so.3"), new byte[0]);
        Map<String, String> properties = Map.of(NativeLibraries.DIRECTORY_PROPERTY, given.toString());
        assertEquals(given.resolve("libmain.so.3"), libraries(properties).find(FOLDER, FILES));
        assertFalse(Files.exists(temp.resolve("cache")));
    }

    @Test
    void aGivenFolderWithoutTheLibraryIsRefused() {
        Map<String, String> properties = Map.of(NativeLibraries.DIRECTORY_PROPERTY, "/no/such/folder");
        String message = assertThrows(
                        NativeLibraryException.class,
                        () -> libraries(properties).find(FOLDER, FILES))
                .getMessage();
        assertEquals(
                "-Dtessera.native.dir=/no/such/folder holds no libmain.so.3; point it at a folder with"
                        + " libmain.so.3 and libhelper.so.1, or leave it away",
                message);
    }

    @Test
    void switchedOffMeansOff() {
        Map<String, String> properties = Map.of(NativeLibraries.SWITCH_PROPERTY, "off");
        String message = assertThrows(
                        NativeLibraryException.class,
                        () -> libraries(properties).find(FOLDER, FILES))
                .getMessage();
        assertEquals("switched off by -Dtessera.native=off", message);
    }

    @Test
    void withoutACarrierTheSystemFoldersAreRead() throws IOException {
        Path system = Files.createDirectory(temp.resolve("system"));
        String missing = requireNonNull(assertThrows(
                        NativeLibraryException.class, () -> libraries(Map.of()).find("no/such", FILES))
                .getMessage());
        assertTrue(missing.startsWith("no resource no/such/libmain.so.3 on the class path"), missing);
        Files.write(system.resolve("libmain.so.3"), new byte[0]);
        assertEquals(system.resolve("libmain.so.3"), libraries(Map.of()).find("no/such", FILES));
    }

    @Test
    void aProcessWithoutNativesSaysWhyOnceAndStillMultiplies() throws Exception {
        String off = child("-Dtessera.native=off");
        assertEquals(1, count(off, "matrix products run in plain Java"), off);
        assertTrue(off.contains("oneDNN: not used: switched off by -Dtessera.native=off"), off);
        assertTrue(off.contains("products [7.0, 7.0]"), off);
        String error = off.substring(off.indexOf("relative error ") + 15).strip();
        Close.within(Double.parseDouble(error), 0, 1e-6, "error of a product without native library and Vector API");

        Path garbage = Files.createDirectory(temp.resolve("garbage"));
        Files.write(garbage.resolve("libdnnl.so.3"), MAIN);
        String damaged = child("-Dtessera.native.dir=" + garbage);
        assertEquals(1, count(damaged, "matrix products run in plain Java"), damaged);
        assertTrue(damaged.contains("the system cannot open " + garbage.resolve("libdnnl.so.3")), damaged);
        assertTrue(damaged.contains("products [7.0, 7.0]"), damaged);
    }

    @Test
    void thisProcessReportsWhereTheLibraryIs() {
        NativeFinding finding = OneDnn.finding();
        assertEquals("oneDNN", finding.library());
        assertTrue(finding.usable() && finding.detail().endsWith("libdnnl.so.3"), finding.toString());
    }

    private String child(String option) throws Exception {
        return ChildJava.run(temp, option, GemmProcess.class);
    }

    private static int count(String text, String part) {
        return text.split(part, -1).length - 1;
    }
}
