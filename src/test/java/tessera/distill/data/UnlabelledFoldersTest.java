package tessera.distill.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.MadeVideo;
import tessera.distill.data.annotation.Annotation;
import tessera.distill.data.annotation.Annotation.Place;
import tessera.distill.data.annotation.Segment;
import tessera.distill.video.ClipCut;

/** Folders of recordings at any depth, as disks and cameras have them. */
class UnlabelledFoldersTest {
    @TempDir
    private Path folder;

    private Path recording(String name) throws IOException {
        Path file = folder.resolve("videos").resolve(name);
        Files.createDirectories(file.resolveSibling(""));
        return MadeVideo.write(file, MadeVideo.ramp("32x32", 10, 1) + " -c:v mpeg4");
    }

    private List<Extraction.Source> sources() {
        return ExtractionSources.unlabelled(folder.resolve("videos"), "any", true)
                .sources();
    }

    private List<String> names() {
        return sources().stream().map(Extraction.Source::name).toList();
    }

    @Test
    void whatSystemsKeepIsNoRecording() throws IOException {
        recording("a.mp4");
        recording("2024/b.mp4");
        for (String kept : List.of("$RECYCLE.BIN/c.mp4", "lost+found/d.mp4", "@eaDir/b.mp4", "#recycle/e.mp4")) {
            recording(kept);
        }
        assertEquals(List.of("2024_b.mp4", "a.mp4"), names());
    }

    @Test
    @EnabledOnOs({OS.LINUX, OS.MAC})
    void linksThatLeadBackOrNowhereAreNotFollowed() throws IOException {
        Path video = recording("2024/b.mp4");
        Files.createSymbolicLink(video.resolveSibling("up"), folder.resolve("videos"));
        Files.createSymbolicLink(video.resolveSibling("c.mp4"), folder.resolve("gone.mp4"));
        assertEquals(List.of("2024_b.mp4"), names());
    }

    /** Clips are called after their recordings, with a number behind; a file system takes 255 bytes. */
    @Test
    void longNamesAreShortenedAndStayApart() throws IOException {
        for (String end : List.of("1", "2")) {
            recording("z".repeat(230) + end + ".mp4");
            recording("x".repeat(150) + "/" + "y".repeat(150) + "/" + end + ".mp4");
        }
        List<String> names = names();
        assertEquals(4, Set.copyOf(names).size(), names::toString);
        names.forEach(name -> assertTrue(name.getBytes(StandardCharsets.UTF_8).length <= 200, name));
        assertTrue(names.getLast().startsWith("z".repeat(80)), names::toString);
        Path out = folder.resolve("out");
        Extraction extraction = new Extraction(ClipCut.every(1, 4, 16, 16), Set.of(Modality.RGB), false);
        assertEquals(4, extraction.run(sources(), out, done -> {}, note -> {}));
        assertEquals(4, extraction.run(sources(), out, done -> {}, note -> {}), "nothing is made twice");
    }

    @Test
    void annotationsFindWhatLiesInTheFolderByAnySpelling() throws IOException {
        recording("in/a.mp4");
        Path here = folder.resolve("videos").resolve(".");
        for (String video :
                List.of("in/a.mp4", "./in/a.mp4", "a", here.resolve("in/a.mp4").toString())) {
            List<Annotation> rows =
                    List.of(new Annotation(List.of(new Place(video, Segment.WHOLE)), "pour", Map.of(), ""));
            Extraction.Source source = ExtractionSources.annotated(here, rows, null, note -> {})
                    .sources()
                    .getFirst();
            assertEquals("pour/a.mp4 in/a", source.label() + "/" + source.name() + " " + source.key(), video);
        }
        List<Annotation> outside =
                List.of(new Annotation(List.of(new Place("../videos", Segment.WHOLE)), "pour", Map.of(), ""));
        assertThrows(
                IllegalArgumentException.class, () -> ExtractionSources.annotated(here, outside, null, note -> {}));
    }

    @Test
    void aLabelThatNoFolderCanHaveIsRefused() throws IOException {
        recording("a.mp4");
        List<Annotation> rows =
                List.of(new Annotation(List.of(new Place("a", Segment.WHOLE)), "pour ".repeat(60), Map.of(), ""));
        String message = String.valueOf(assertThrows(
                        IllegalArgumentException.class,
                        () -> ExtractionSources.annotated(folder.resolve("videos"), rows, null, note -> {}))
                .getMessage());
        assertTrue(message.contains("give the label another name, of at most 200 bytes"), message);
    }
}
