package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.VideoException;
import tessera.distill.video.VideoReader;

/** Folders as people have them: recordings with any extension, and what others have put beside them. */
class FoldersTest {
    private static final List<String> LEFT_BY_SYSTEMS = List.of(
            "Thumbs.db",
            "desktop.ini",
            ".DS_Store",
            "._a.mp4",
            "@eaDir/a.mp4",
            "lost+found/a.mp4",
            "__MACOSX/._a.mp4",
            "#recycle/a.mp4",
            "$RECYCLE.BIN/a.mp4",
            "System Volume Information/a.mp4",
            "FOUND.000/a.mp4",
            ".git/config");

    @TempDir
    private Path folder;

    /** The ramp of {@link VideoTest}, under another name. */
    private Path recording(String name) throws IOException {
        Path file = folder.resolve(name);
        Files.createDirectories(requireNonNull(file.getParent()));
        try (InputStream video = requireNonNull(FoldersTest.class.getResourceAsStream("/video/ramp.mp4"))) {
            Files.copy(video, file);
        }
        return file;
    }

    private Path text(String name) throws IOException {
        Path file = folder.resolve(name);
        Files.createDirectories(requireNonNull(file.getParent()));
        return Files.writeString(file, "1\n00:00:00,000 --> 00:00:01,000\nhand\n");
    }

    private void refused(Path file, String problem, String remedy, Runnable action) throws IOException {
        String message = String.valueOf(
                assertThrows(IllegalArgumentException.class, action::run).getMessage());
        assertTrue(
                message.startsWith(file.toString()) && message.contains(problem) && message.endsWith(remedy), message);
        Files.delete(file);
    }

    private ClipFolder open() {
        return ClipFolder.open(folder);
    }

    private ModalityFolders rgb() {
        Geometry small = new Geometry(4, 16, 16, 16, 16);
        return ModalityFolders.open(folder, Set.of(Modality.RGB), small);
    }

    @Test
    void noLabelVanishesForItsExtension() throws IOException {
        for (String name :
                List.of("blue.m2ts", "green.MP4", "grey", "red.mp4", "red/a.vob", "turn.2/b.dat", "white.x-y")) {
            recording(name);
        }
        assertEquals(List.of("blue", "green", "grey", "red", "turn.2", "white"), open().labels());
        assertEquals(2, open().videos(3).size());
    }

    @Test
    void whatIsNoVideoIsRefusedByName() throws IOException {
        recording("red.mp4");
        recording("stripes/a.mp4");
        for (String name : List.of("README", "list.srt", "stripes/notes.txt", "stripes/a.xml")) {
            String place =
                    name.startsWith("stripes") ? "take it out of the label's folder" : "take it out of the folder";
            refused(text(name), "video", place, this::open);
        }
        refused(text("stripes/poster.jpg"), "is a picture", "the label's folder", this::open);
        Object[][] moving = {{"WebP", "RIFF....WEBPVP8X....\2...."}, {"AVIF", "....ftypavis...."}};
        for (Object[] kind : moving) {
            String problem = "is an animated " + kind[0] + ", which is not decoded here";
            for (String name : List.of("stripes/moves.webp", "stripes/moves.x")) {
                Path file = Files.writeString(folder.resolve(name), String.valueOf(kind[1]));
                refused(file, problem + " (convert it, such as to MP4)", "the label's folder", this::open);
                Files.writeString(file, String.valueOf(kind[1]));
                refused(file, problem, "convert it, such as to MP4", () -> VideoReader.probe(file));
            }
        }
        Path still = Files.writeString(folder.resolve("stripes/still.webp"), "RIFF....WEBPVP8X....\20....");
        refused(still, "is a picture, not a video", "the label's folder", this::open);
        Path inner = requireNonNull(recording("stripes/second/a.mp4").getParent());
        Files.delete(inner.resolve("a.mp4"));
        refused(inner, "is a folder, not a video", "the label's folder", this::open);
        assertEquals(List.of("red", "stripes"), open().labels());
    }

    @Test
    void whatSystemsLeaveIsPassedOver() throws IOException {
        recording("red.mp4");
        recording("stripes/a.mp4");
        for (String name : LEFT_BY_SYSTEMS) {
            text(name);
            text("stripes/" + name);
        }
        assertEquals(List.of("red", "stripes"), open().labels());
        assertEquals(List.of(folder.resolve("stripes/a.mp4")), open().videos(1));
    }

    @Test
    void foldersOfModalitiesDoTheSame() throws IOException {
        recording("rgb/pour/a.m2ts");
        recording("rgb/cut/b");
        for (String name : LEFT_BY_SYSTEMS) {
            text("rgb/" + name);
            text("rgb/pour/" + name);
        }
        assertEquals(Set.of("cut/b", "pour/a"), rgb().names());
        try (ClipSet clips = rgb().load(done -> {})) {
            assertEquals(2, clips.size());
        }
        refused(
                text("rgb/pour/notes.txt"),
                "is no clip of rgb, it ",
                "take it out of the label's folder (1 of 3 clips is broken)",
                this::rgb);
        refused(recording("rgb/open.mp4"), "lies in no label's folder", "or take it out", this::rgb);
    }

    /** As unpacked from an old archive: made by a script, because Java cannot say such a name. */
    @Test
    @EnabledOnOs(OS.LINUX)
    void namesThatAreNoTextAreRefusedWithTheirBytes() throws Exception {
        recording("red/a.mp4");
        recording("stripes/a.mp4");
        script("cp red/a.mp4 \"red/$(printf 'caf\\351').mp4\"");
        named(folder.resolve("red") + "/caf", "caf%E9.mp4");
        script("rm red/caf*; cp -r red \"$(printf 'th\\351')\"");
        named(folder + "/th", "th%E9");
    }

    private void script(String command) throws Exception {
        Process process = new ProcessBuilder("sh", "-c", command)
                .directory(folder.toFile())
                .start();
        assertEquals(0, process.waitFor());
    }

    private void named(String start, String bytes) {
        String message =
                String.valueOf(assertThrows(VideoException.class, this::open).getMessage());
        assertTrue(message.startsWith(start), message);
        assertTrue(message.contains("has a name that is not in ") && message.contains(" (" + bytes + " with"), message);
        assertTrue(message.contains("rename it"), message);
    }
}
