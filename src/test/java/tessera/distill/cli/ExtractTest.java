package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.MovingVideo;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.report.Json;

/** {@code tessera extract}, and that training takes what it gives. */
class ExtractTest {
    @TempDir
    Path folder;

    private Path videos;
    private Path data;

    @BeforeEach
    void makeVideos() throws IOException {
        videos = folder.resolve("videos");
        data = folder.resolve("data");
        // Clips of half a second have 4 of these frames.
        MovingVideo.write(videos.resolve("right/a.avi"), 12, 16, MovingVideo.steady(1.5, 0));
        MovingVideo.write(videos.resolve("right/b.avi"), 8, 16, MovingVideo.steady(1, 0));
        MovingVideo.write(videos.resolve("down/a.avi"), 8, 16, MovingVideo.steady(0, 1));
    }

    private Object[] words(Object... more) {
        List<Object> words = new ArrayList<>(List.of("extract", "--videos", videos, "--out", data));
        words.addAll(List.of("--frames=4", "--size=16", "--quiet"));
        words.addAll(List.of(more));
        return words.toArray();
    }

    @Test
    void clipsTrainEveryStage() throws IOException {
        Map<String, @Nullable Object> answer =
                Json.object(Shell.succeed(words("--clip-seconds=.5", "--flow", "--json")));
        assertEquals(data.toString(), answer.get("data"));
        assertEquals(7L, answer.get("clips"));
        assertEquals(List.of("down", "right"), answer.get("labels"));
        assertEquals(List.of("rgb", "flow"), answer.get("modalities"));
        List<String> teachers = new ArrayList<>();
        for (String modality : List.of("rgb", "flow")) {
            Path out = folder.resolve(modality);
            Shell.succeed(OwnClips.pretraining(modality, data, out, 20, "--lr=3e-3"));
            assertLearned(out);
            teachers.add(modality + "=" + out);
        }
        Path run = folder.resolve("run");
        Shell.succeed(
                "distill",
                "--teachers",
                String.join(",", teachers),
                "--target",
                data,
                "--batch=2",
                "--steps=20",
                "--lr=3e-3",
                "--mask-ratio=.5",
                "--threads=1",
                "--quiet",
                "--out",
                run);
        assertLearned(run);
        Path head = folder.resolve("head.safetensors");
        Path student = run.resolve("student.safetensors");
        Shell.succeed(
                "learn",
                "--student",
                student,
                "--clips",
                videos,
                "--clip-seconds=.5",
                "--threads=1",
                "--quiet",
                "--out",
                head);
        Path video = videos.resolve("down/a.avi");
        String seen = Shell.succeed(
                "predict", "--student", student, "--head", head, "--video", video, "--clip-seconds=.5", "--threads=1");
        assertTrue(seen.startsWith(video + ": "), seen);
        assertTrue(Shell.succeed(words("--clip-seconds=.5", "--flow"))
                .contains(data + ": 7 clips, 2 labels, rgb and flow"));
    }

    /** Whether the last of 20 losses is below the first. */
    private static void assertLearned(Path run) throws IOException {
        List<Double> losses = new ArrayList<>();
        for (String line : Files.readAllLines(run.resolve("metrics.jsonl"))) {
            if (Json.object(line).get("loss") instanceof Number loss) {
                losses.add(loss.doubleValue());
            }
        }
        assertEquals(20, losses.size(), run + ": " + losses);
        // Batches of two differ by more than a step brings.
        assertTrue(mean(losses.subList(15, 20)) < mean(losses.subList(0, 5)), run + ": " + losses);
    }

    private static double mean(List<Double> values) {
        return values.stream().mapToDouble(Double::doubleValue).average().orElse(Double.NaN);
    }

    @Test
    void rowsOfATableAreClipsWithHeads() throws IOException {
        Path table = Files.writeString(folder.resolve("rows.csv"), """
                path,start,end,label,verb,noun,split
                right/a.avi,0,0.5,push box,push,box,train
                b,0.25,1,push cup,push,cup,train
                b,0,1,pull cup,pull,cup,test
                gone,0,1,push box,push,box,train
                """);
        String told = Shell.succeed(words("--annotations", table, "--split=train"));
        assertTrue(told.contains("2 clips, 2 labels, rgb"), told);
        try (ClipSet set =
                ModalityFolders.open(data, Set.of(Modality.RGB), null).load(done -> {})) {
            assertEquals(
                    List.of("push box/a_000000000_000000500-00000", "push cup/b_000000250_000001000-00000"),
                    set.names());
            assertEquals(List.of("box", "cup"), set.head("noun").classes());
            assertEquals(List.of("push"), set.head("verb").classes());
        }
        // Rows that are gone take their clips with them.
        Files.writeString(table, "path,start,end,label\nb,0.25,1,push cup\n");
        assertTrue(Shell.succeed(words("--annotations", table)).contains("1 clip, 1 label, rgb"));
        assertFalse(Files.exists(data.resolve("rgb/push box")));
    }

    /** Of thousands of rows the one to mend is told. */
    @Test
    void aRowPastTheEndOfItsVideoIsNamed() throws IOException {
        Path table = Files.writeString(folder.resolve("rows.csv"), """
                path,start,end,label
                right/a.avi,0,0.5,push

                b,70,71,pull
                """);
        Path video = videos.resolve("right/b.avi");
        String told = table + ", line 4: " + video + ": ends before frame ";
        Shell.refuse(List.of(told), words("--annotations", table));
        String left = Shell.shown(() -> {
            List<Object> words = new ArrayList<>(List.of(words("--annotations", table, "--skip-broken")));
            words.remove("--quiet");
            assertTrue(Shell.run(words.toArray()).out().contains("1 clip, 1 label, "), "pull has no clip");
        });
        assertTrue(left.contains("1 of 2 parts of videos are left out: " + told), left);
        Path json = Files.writeString(
                folder.resolve("wear_split.json"),
                "{\"database\": {\"b\": {\"annotations\": [{\"segment\": [70, 71], \"label\": \"pull\"}]}}}");
        Shell.refuse(List.of(json + ", annotation 0 (b): " + video), words("--annotations", json));
    }

    @Test
    void videosWithoutLabelsLieAnywhere() throws IOException {
        MovingVideo.write(videos.resolve("deep/er/c.avi"), 8, 16, MovingVideo.steady(1, 1));
        Files.writeString(videos.resolve("deep/notes.txt"), "no video");
        assertTrue(Shell.succeed(words("--unlabelled", "--clip-seconds=0")).contains("4 clips, 1 label, rgb"));
        assertTrue(Files.exists(data.resolve("rgb/unlabelled/deep_er_c.avi-00000.npy")));
        Shell.refuse(List.of(videos.resolve("deep/er") + ": is a folder, not a video"), words());
    }

    @Test
    void badInputIsToldInALine() throws IOException {
        Shell.refuse(List.of("--size is [1, 2, 3]"), "extract", "--videos", videos, "--out", data, "--size=1x2x3");
        Shell.refuse(List.of("--size is '65x'"), "extract", "--videos", videos, "--out", data, "--size=65x");
        Shell.refuse(List.of("--size is 8; pass 16 to 2048"), "extract", "--videos", videos, "--out", data, "--size=8");
        Shell.refuse(List.of("--clip-seconds is -1.0"), words("--clip-seconds=-1"));
        Shell.refuse(List.of("--stride-seconds is 0.0"), words("--stride-seconds=0"));
        Shell.refuse(List.of("--threads is 0"), words("--threads=0"));
        Shell.refuse(List.of("--most-broken is 2.0"), words("--most-broken=2"));
        Shell.refuse(List.of("--fps is -1.0"), words("--fps=-1"));
        Shell.refuse(List.of("--flow and --flow-from exclude"), words("--flow", "--flow-from", videos));
        Shell.refuse(List.of("--format and --split tell of --annotations"), words("--split=train"));
        Shell.Outcome usage = Shell.run(words("--format=epics"));
        assertEquals(2, usage.code());
        assertTrue(usage.err().contains("--format is 'epics'; pass one of epic, ego4d, meccano"), usage.err());
        Path missing = folder.resolve("missing");
        Shell.refuse(List.of(missing + " does not exist; name the folder of pose"), words("--pose", missing));
        Shell.refuse(List.of(missing + " does not exist; name a file of annotations"), words("--annotations", missing));
        Shell.refuse(List.of("none of the videos of " + videos + " gives a clip of 9.0 s"), words("--clip-seconds=9"));
        Shell.refuse(
                List.of("--out " + videos.resolve("data") + " lies in --videos " + videos),
                "extract",
                "--videos",
                videos,
                "--out",
                videos.resolve("data"));
        Shell.refuse(List.of("is the input of --videos"), "extract", "--videos", videos, "--out", videos);
        Path broken = Files.writeString(videos.resolve("right/broken.avi"), "no video");
        data = folder.resolve("other");
        Shell.refuse(List.of(broken + ": cannot be decoded as a video"), words("--clip-seconds=.5"));
        Shell.refuse(
                List.of("1 of 4 videos are broken, more than the share of 0.2"),
                words("--clip-seconds=.5", "--skip-broken", "--most-broken=.2"));
        assertTrue(Shell.succeed(words("--clip-seconds=.5", "--skip-broken")).contains("7 clips, 2 labels, rgb"));
    }
}
