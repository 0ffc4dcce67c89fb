package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.report.Json;
import tessera.distill.train.Distillation;
import tessera.nn.inference.Head;

/** What learns from examples, by name, and self-training, as users ask for them. */
class HeadCommandsTest {
    @TempDir
    private static Path folder;

    private static Path data;
    private static Path model;
    private static Path student;

    @BeforeAll
    static void train() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 6, "dark", "grey", "bright");
        model = folder.resolve("rgb").resolve("model.safetensors");
        Shell.succeed(OwnClips.pretraining("rgb", data, folder.resolve("rgb"), 3));
        student = folder.resolve("student.safetensors");
        Distillation.saveUndistilled(model, student);
    }

    private static Object[] fewshot(Object... more) {
        List<Object> words = new ArrayList<>(List.of("fewshot", "--student", student, "--clips", data));
        words.addAll(List.of("--ways=3", "--shots=2", "--queries=4", "--mask-ratio=0.5", "--threads=1"));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static Map<String, @Nullable Object> answer(Object... more) {
        List<Object> words = new ArrayList<>(List.of(more));
        words.addAll(List.of("--json", "--quiet"));
        return Json.object(Shell.succeed(fewshot(words.toArray())));
    }

    @Test
    void headsAreComparedOnTheSameEpisodes() {
        Object errors = null;
        for (String head : List.of("logistic", "prototype", "cosine")) {
            Map<String, @Nullable Object> answer = answer("--episodes=20", "--head=" + head);
            assertEquals(head, answer.get("head"));
            assertEquals(head.equals("logistic") ? "auto" : "mean", answer.get("pooling"));
            assertTrue(((Number) number(answer, "accuracy")).doubleValue() > .6, head + ": brightness is seen");
            Object error = number(answer, "calibrationError");
            assertFalse(error.equals(errors), head + " is sure of other things");
            errors = error;
        }
        assertEquals(
                "motion:1@1",
                answer("--episodes=2", "--head=cosine", "--pooling=motion:1@1").get("pooling"));
        String text = Shell.succeed(fewshot("--episodes=2", "--head=prototype", "--quiet"));
        assertTrue(text.contains("over 2 episodes (head prototype, mask ratio 0.5, ensemble 2, pooling mean)"), text);
    }

    private static Object number(Map<String, @Nullable Object> answer, String name) {
        Object number = answer.get(name);
        return number == null ? Double.NaN : number;
    }

    @Test
    void aStudentIsTunedToEveryEpisode() {
        Object[] tuned = {"--episodes=2", "--head=finetune", "--tune-steps=3", "--tune-lr=0.01", "--tune-augment"};
        Map<String, @Nullable Object> answer = answer(tuned);
        assertEquals("finetune", answer.get("head"));
        assertEquals(answer, answer(tuned), "the same from the same seed");
    }

    @Test
    void whatDoesNotGoTogetherIsRefused() {
        String usage = Shell.run(fewshot("--head=best")).err();
        assertTrue(usage.contains("--head is 'best'; pass one of logistic, prototype, cosine, finetune"), usage);
        Shell.refuse(
                List.of("--fit says how a logistic regression is fitted but --head is cosine"),
                fewshot("--head=cosine", "--fit=plain"));
        Shell.refuse(
                List.of("which --head prototype does not do; pass another pooling such as mean"),
                fewshot("--head=prototype", "--pooling=auto"));
        Shell.refuse(
                List.of("--pooling is grid:2 but --head finetune trains the student's own feature, mean"),
                fewshot("--head=finetune", "--pooling=grid:2"));
        Shell.refuse(
                List.of("leave --support-views, --feature-norm and --eps away"),
                fewshot("--head=finetune", "--support-views=1"));
        Shell.refuse(
                List.of("both --egosim and the clips " + data + " are given; pass one of them"), fewshot("--egosim"));
        Shell.refuse(List.of("for one that is trained; leave one"), fewshot("--head=finetune", "--merge=1"));
        Shell.refuse(
                List.of("which --head finetune does not do; pass a threshold"),
                fewshot("--head=finetune", "--adaptive"));
        Shell.refuse(List.of("--tune-steps is 0; pass 1"), fewshot("--head=finetune", "--tune-steps=0"));
        Shell.refuse(List.of("--tune-lr is -1.0; pass a positive"), fewshot("--head=finetune", "--tune-lr=-1"));
        Shell.refuse(List.of("--tune-steps is for --head finetune but --head is logistic"), fewshot("--tune-steps=5"));
        Shell.refuse(
                List.of("--head is cosine but --protocol paper has logistic"),
                fewshot("--head=cosine", "--protocol=paper"));
    }

    @Test
    void aPrototypeIsLearnedAndACosineIsNot() throws Exception {
        Path videos = Files.createDirectories(folder.resolve("videos"));
        Path video =
                Path.of(HeadCommandsTest.class.getResource("/video/ramp.mp4").toURI());
        Files.copy(video, videos.resolve("one.mp4"));
        Files.copy(video, videos.resolve("two.mp4"));
        Path head = folder.resolve("head.safetensors");
        Object[] learn = {
            "learn", "--student", student, "--clips", videos, "--quiet", "--json", "--out", head, "--head=prototype"
        };
        Map<String, @Nullable Object> learned = Json.object(Shell.succeed(learn));
        assertEquals("mean", learned.get("pooling"));
        assertFalse(learned.containsKey("c"), learned.toString());
        assertArrayEquals(new Object[] {"one", "two"}, Head.load(head).labels().toArray());
        String told = Shell.succeed("predict", "--student", student, "--head", head, "--video", video);
        assertTrue(told.startsWith(video + ": "), told);
        for (String other : List.of("cosine", "finetune")) {
            learn[learn.length - 1] = "--head=" + other;
            Shell.refuse(List.of("a head's file holds a linear map of features; pass logistic or prototype"), learn);
        }
    }

    @Test
    void aModelTeachesItselfTheTarget() throws Exception {
        Path out = folder.resolve("self");
        Shell.succeed(OwnClips.pretraining("rgb", data, out, 2, "--self-train", model));
        String first = Files.readAllLines(out.resolve("metrics.jsonl")).getFirst();
        for (String metric : List.of("cross_entropy", "soft_labels", "reconstruction_target")) {
            assertTrue(first.contains("\"" + metric + "\":"), first);
        }
        assertFalse(first.contains("reconstruction_source"), first);
        Shell.refuse(
                List.of("softLabels was 1.0, is 2.0"),
                OwnClips.pretraining("rgb", data, out, 2, "--self-train", model, "--self-train-weight=2"));
        Shell.refuse(
                List.of("pass --self-train MODEL too"),
                OwnClips.pretraining("rgb", data, out, 2, "--self-train-weight=2"));
        Shell.refuse(
                List.of("--self-train begins with its model's weights and --start names others"),
                OwnClips.pretraining("rgb", data, out, 2, "--self-train", model, "--start", model));
        Path nowhere = folder.resolve("nowhere.safetensors");
        Shell.refuse(
                List.of("--self-train " + nowhere + " is no file"),
                OwnClips.pretraining("rgb", data, folder.resolve("no"), 2, "--self-train", nowhere));
        Shell.refuse(
                List.of(student + ": it has no classifier of source classes"),
                OwnClips.pretraining("rgb", data, folder.resolve("no"), 2, "--self-train", student));
    }
}
