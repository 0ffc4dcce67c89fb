package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A cache's file at every moment of its life. */
class TeacherCacheTest {
    private static final Map<String, String> KEY = Map.of("teacher", "a", "clips", "b");
    private static final float[] ENTRY = {1.5f, -2, Float.MIN_VALUE};
    private static final float[] ABSENT = {};

    @TempDir
    private Path folder;

    private TeacherCache open(Map<String, String> key, int values) {
        return TeacherCache.open(folder, "flow", key, values);
    }

    @Test
    void entriesAreReadAsTheyWereWritten() {
        try (TeacherCache cache = open(KEY, 3)) {
            assertArrayEquals(ABSENT, cache.read(0));
            cache.write(5, ENTRY);
            assertArrayEquals(ENTRY, cache.read(5));
            for (int absent : new int[] {0, 4, 6, 1000}) {
                assertArrayEquals(ABSENT, cache.read(absent), "entry " + absent);
            }
            assertThrows(IllegalArgumentException.class, () -> cache.write(0, new float[2]));
        }
        try (TeacherCache again = open(KEY, 3)) {
            assertArrayEquals(ENTRY, again.read(5));
        }
    }

    @Test
    void anotherTeacherOtherClipsOrViewsHaveAnotherFile() {
        try (TeacherCache cache = open(KEY, 3);
                TeacherCache other = open(Map.of("teacher", "a", "clips", "c"), 3)) {
            cache.write(0, ENTRY);
            assertNotEquals(cache.file(), other.file());
            assertArrayEquals(ABSENT, other.read(0));
            assertTrue(String.valueOf(cache.file().getFileName()).matches("flow-[0-9a-f]{64}\\.teacher"));
        }
    }

    /** Every byte of the file counts; what is torn or changed is absent and can be written again. */
    @Test
    void aDamagedEntryIsAbsentAndTheOthersStay() throws IOException {
        Path file;
        try (TeacherCache cache = open(KEY, 3)) {
            file = cache.file();
            cache.write(0, ENTRY);
            cache.write(1, ENTRY);
        }
        byte[] good = Files.readAllBytes(file);
        int entry = (good.length - 48) / 2;
        for (int at = 48; at < 48 + entry; at++) {
            byte[] bad = good.clone();
            bad[at] ^= 4;
            Files.write(file, bad);
            try (TeacherCache cache = open(KEY, 3)) {
                assertArrayEquals(ABSENT, cache.read(0), "byte " + at);
                assertArrayEquals(ENTRY, cache.read(1));
                cache.write(0, ENTRY);
            }
            assertArrayEquals(good, Files.readAllBytes(file));
        }
        for (int length = 48; length < good.length; length++) { // a kill in the middle of a write
            Files.write(file, Arrays.copyOf(good, length));
            try (TeacherCache cache = open(KEY, 3)) {
                assertArrayEquals(length < 48 + entry ? ABSENT : ENTRY, cache.read(0));
                assertArrayEquals(ABSENT, cache.read(1));
            }
        }
        byte[] swapped = good.clone(); // an entry in the place of another
        System.arraycopy(good, 48, swapped, 48 + entry, entry);
        Files.write(file, swapped);
        try (TeacherCache cache = open(KEY, 3)) {
            assertArrayEquals(ABSENT, cache.read(1));
        }
    }

    @Test
    void aFileThatIsDamagedWhereItSaysWhatItIsBeginsAgain() throws IOException {
        Path file;
        try (TeacherCache cache = open(KEY, 3)) {
            file = cache.file();
            cache.write(0, ENTRY);
        }
        byte[] good = Files.readAllBytes(file);
        for (int at = 0; at < 48; at++) {
            byte[] bad = good.clone();
            bad[at] ^= 1;
            Files.write(file, bad);
            try (TeacherCache cache = open(KEY, 3)) {
                assertArrayEquals(ABSENT, cache.read(0), "byte " + at);
            }
            Files.write(file, Arrays.copyOf(good, at)); // a kill while it was made
            try (TeacherCache cache = open(KEY, 3)) {
                assertArrayEquals(ABSENT, cache.read(0), "length " + at);
            }
            assertEquals(48, Files.size(file));
        }
    }
}
