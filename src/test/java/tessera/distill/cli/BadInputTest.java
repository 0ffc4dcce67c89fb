package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static tessera.distill.cli.Shell.refuse;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;
import tessera.tensor.io.Npz;

/** Bad input gives exit code 2, one line that names the thing, and nothing written. */
class BadInputTest {

    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 8, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            4,
            16,
            16,
            16,
            1,
            2,
            8,
            1,
            1,
            1e-5,
            1e-5,
            true,
            false);

    @TempDir
    private Path folder;

    private Path student;
    private Path data;
    private Path out;

    @BeforeEach
    void makeInputs() throws IOException {
        student = folder.resolve("student.safetensors");
        try (Scope scope = Scope.open()) {
            Student.save(student, weights(), CONFIG, Map.of());
        }
        data = OwnClips.write(folder.resolve("data"), 2, "dark", "bright");
        out = Files.createDirectory(folder.resolve("out"));
    }

    private static Map<String, Tensor> weights() {
        Params params = Params.random(Device.cpu(), DType.F32, 1);
        new VideoMaeClassifier(params, CONFIG, 0).close();
        return new LinkedHashMap<>(params.all());
    }

    @AfterEach
    void nothingIsWritten() throws IOException {
        try (Stream<Path> files = Files.list(out)) {
            assertEquals(List.of(), files.toList());
        }
    }

    private void refusePredict(List<String> expected, Object... more) {
        List<Object> words = new ArrayList<>(List.of(
                "features",
                "--student",
                student,
                "--clips",
                folder.resolve("clips.npy"),
                "--quiet",
                "--out",
                out.resolve("f.npy")));
        words.addAll(Arrays.asList(more));
        refuse(expected, words.toArray());
    }

    @Test
    void impossibleNumbersAndDevices() {
        refusePredict(List.of("mask ratio 1.0", "[0, 1)"), "--mask-ratio=1");
        refusePredict(List.of("mask ratio NaN"), "--mask-ratio=NaN");
        refusePredict(List.of("--ensemble is 0"), "--ensemble=0");
        refusePredict(List.of("--ensemble is 1000000000", "1 to 1024"), "--ensemble=1000000000");
        refusePredict(List.of("--threads is 0", "1 or more"), "--threads=0");
        refusePredict(List.of("unknown device 'tpu'", "auto, cpu"), "--device=tpu");
        refusePredict(List.of("cuda:7"), "--device=cuda:7");
        refusePredict(List.of("clips.npy"));
        refusePretraining(List.of("--mask-ratio is 1.0"), "--mask-ratio=1");
        refusePretraining(List.of("--batch is 0"), "--batch=0");
        refusePretraining(List.of("--lr is -1.0"), "--lr=-1");
        refusePretraining(List.of("--clip-norm is 0.0", "a positive norm such as 5"), "--clip-norm=0");
        refusePretraining(List.of("--clip-norm is Infinity"), "--clip-norm=Infinity");
        refusePretraining(List.of("--drop-path is 1.0", "less than 1"), "--drop-path=1");
        refusePretraining(List.of("--threads is -2"), "--threads=-2");
        refusePretraining(List.of("no VideoMAE size 'medium'", "tiny, small"), "--size=medium");
        refusePretraining(List.of("--dim 15"), "--dim=15");
        refusePretraining(List.of("--start", "none.safetensors"), "--start=" + folder.resolve("none.safetensors"));
    }

    private void refusePretraining(List<String> expected, Object... more) {
        List<Object> words = new ArrayList<>(List.of(
                "pretrain",
                "--modality=rgb",
                "--source",
                data,
                "--target",
                data,
                "--quiet",
                "--out",
                out.resolve("run")));
        words.addAll(Arrays.asList(more));
        refuse(expected, words.toArray());
    }

    @Test
    void badUsageAddsWhereToLook() {
        Shell.Outcome outcome = Shell.run("pretrain", "--modality=sound", "--out", out.resolve("run"));
        assertEquals(2, outcome.code());
        assertTrue(outcome.err().startsWith("tessera: error: "), outcome.err());
        assertTrue(outcome.err().strip().endsWith("(see 'tessera pretrain --help')"), outcome.err());
        assertEquals(1, outcome.err().lines().count(), outcome.err());
    }

    @Test
    void placesThatDoNotExist() {
        Path nowhere = folder.resolve("no").resolve("such");
        refuse(
                List.of(nowhere.toString(), "no folder"),
                "features",
                "--student",
                student,
                "--clips",
                student,
                "--out",
                nowhere.resolve("f.npy"));
        refuse(
                List.of("names no format"),
                "features",
                "--student",
                student,
                "--clips",
                student,
                "--out",
                out.resolve("f.txt"));
        Path below = student.resolve("run");
        refuse(List.of(below + " cannot be"), "pretrain", "--modality=rgb", "--egosim", "--out", below);
        refuse(List.of("is a file"), "pretrain", "--modality=rgb", "--egosim", "--out", student);
        refuse(List.of("--out " + student, "is a file"), "demo", "--out", student);
        refuse(List.of("--out " + student, "is a file"), "demo", "--system=mmd", "--out", student);
        refuse(List.of(nowhere.toString()), "import", "--checkpoint", student, "--out", nowhere.resolve("s"));
        refuse(
                List.of(nowhere.toString()),
                "learn",
                "--student",
                student,
                "--clips",
                data,
                "--out",
                nowhere.resolve("h"));
        refuse(List.of(nowhere.toString()), "fewshot", "--student", nowhere, "--egosim");
        refuse(List.of(nowhere.toString()), "fewshot", "--student", student, "--clips", nowhere);
        refuse(
                List.of("rgb teacher", nowhere.toString()),
                "distill",
                "--teachers",
                "rgb=" + nowhere,
                "--egosim",
                "--out",
                out.resolve("d"));
        refuse(
                List.of("no rgb teacher"),
                "distill",
                "--teachers",
                "flow=" + student,
                "--egosim",
                "--out",
                out.resolve("d"));
        refuse(List.of("either --clips DIR, or --egosim"), "fewshot", "--student", student);
    }

    /** Of all inputs none exists, so what is told first was looked at first. */
    @Test
    void anOutputThatCannotBeWrittenIsToldBeforeAnyWorkByEveryCommand() {
        String missing = folder.resolve("missing").toString();
        Map<String, List<String>> commands = Map.ofEntries(
                Map.entry("demo", List.of()),
                Map.entry("pretrain", List.of("--modality=rgb", "--source", missing, "--target", missing)),
                Map.entry("train", List.of("--modality=rgb", "--clips", missing)),
                Map.entry("distill", List.of("--teachers", "rgb=" + missing, "--target", missing)),
                Map.entry("sweep", List.of("--student", missing, "--clips", missing)),
                Map.entry("adapt", List.of("--clips", missing)),
                Map.entry("extract", List.of("--videos", missing)),
                Map.entry("learn", List.of("--student", missing, "--clips", missing)),
                Map.entry("features", List.of("--student", missing, "--clips", missing)),
                Map.entry("quantize", List.of("--student", missing)),
                Map.entry("export", List.of("--student", missing, "--format=onnx")),
                Map.entry("import", List.of("--checkpoint", missing)));
        assertEquals(commandsWithOut(), commands.keySet());
        // Nobody may make a file there, the administrator neither.
        assumeTrue(Files.isDirectory(Path.of("/proc")));
        Path result = Path.of("/proc/tessera.npy");
        commands.forEach((command, inputs) -> {
            List<Object> words = new ArrayList<>(List.of(command, "--out", result));
            words.addAll(inputs);
            refuse(
                    List.of("--out " + result + " lies in /proc, where you may not write", "; name another place"),
                    words.toArray());
        });
    }

    private static Set<String> commandsWithOut() {
        Set<String> with = new TreeSet<>();
        Main.COMMANDS.forEach((name, command) -> {
            if (new CommandLine(command).getCommandSpec().findOption("--out") != null) {
                with.add(name);
            }
        });
        return with;
    }

    @Test
    void damagedStudents() throws IOException {
        byte[] whole = Files.readAllBytes(student);
        Path cut = Files.write(folder.resolve("cut.safetensors"), Arrays.copyOf(whole, whole.length - 5));
        byte[] huge = whole.clone();
        Arrays.fill(huge, 0, 8, (byte) 0x7f);
        Path hostile = Files.write(folder.resolve("hostile.safetensors"), huge);
        Path text = Files.writeString(folder.resolve("text.safetensors"), "no tensors at all");
        for (Path file : List.of(cut, hostile, text)) {
            refuse(List.of(file.toString()), "fewshot", "--student", file, "--egosim");
            refuse(List.of(file.toString()), "import", "--checkpoint", file, "--out", out.resolve("s.safetensors"));
            refuse(
                    List.of(file.toString()),
                    "distill",
                    "--teachers",
                    "rgb=" + file,
                    "--egosim",
                    "--out",
                    out.resolve("d"));
        }
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = weights();
            weights.remove("encoder.blocks.0.attn.proj.bias");
            weights.put("encoder.norm.weight", Tensor.zeros(7));
            weights.put("encoder.surprise", Tensor.zeros(1));
            Path odd = folder.resolve("odd.safetensors");
            Checkpoint.write(odd, weights, CONFIG.toMetadata());
            refuse(
                    List.of(
                            odd.toString(),
                            "1 missing (encoder.blocks.0.attn.proj.bias",
                            "1 misshapen (encoder.norm.weight is [7], needs [16])",
                            "1 unexpected (encoder.surprise)"),
                    "fewshot",
                    "--student",
                    odd,
                    "--egosim");
            Path plain = folder.resolve("plain.safetensors");
            Checkpoint.write(plain, weights, Map.of());
            refuse(List.of(plain.toString(), "import"), "fewshot", "--student", plain, "--egosim");
            refuse(
                    List.of(plain.toString(), "tessera.architecture"),
                    "distill",
                    "--teachers",
                    "rgb=" + plain,
                    "--egosim",
                    "--out",
                    out.resolve("d"));
        }
    }

    /** Numbers that would make a reader allocate gigabytes, divide by zero or wrap around. */
    @Test
    void metadataThatNoModelHas() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = weights();
            for (String entry : List.of(
                    "embedDim=16777216",
                    "depth=16777216",
                    "frames=16777216",
                    "height=0",
                    "heads=0",
                    "patch=0",
                    "tubelet=3",
                    "mean=1",
                    "depth=NaN")) {
                Map<String, String> metadata = CONFIG.toMetadata();
                String[] parts = entry.split("=", 2);
                metadata.put("tessera." + parts[0], parts[1]);
                Path file = folder.resolve("metadata.safetensors");
                Checkpoint.write(file, weights, metadata);
                refuse(List.of(file.toString()), "fewshot", "--student", file, "--egosim");
            }
            Map<String, String> wide = CONFIG.toMetadata();
            wide.put("tessera.embedDim", "1048576"); // whose weights would take terabytes
            Path file = folder.resolve("wide.safetensors");
            Checkpoint.write(file, weights, wide);
            refuse(List.of(file.toString(), "misshapen"), "fewshot", "--student", file, "--egosim");
            weights.put("encoder.patch_embed.proj.weight", Tensor.zeros(16, 3, 2, 0, 0));
            Path flat = folder.resolve("flat.safetensors");
            Checkpoint.write(flat, weights, Map.of());
            refuse(
                    List.of(flat.toString(), "patch embedding"),
                    "import",
                    "--checkpoint",
                    flat,
                    "--out",
                    out.resolve("s"));
        }
    }

    @Test
    void clipsThatDoNotFit() throws IOException {
        Path clips = folder.resolve("clips.npy");
        Npy.write(clips, ArrayData.of("clips", new byte[4 * 8 * 8 * 3], 1, 4, 8, 8, 3));
        refusePredict(List.of(clips.toString(), "u8[1, 4, 8, 8, 3]", "[clips, 4, 16, 16, 3]"));
    }

    @Test
    void foldersThatDoNotFit() throws IOException {
        Path clip = data.resolve("rgb").resolve("dark").resolve("clip1.npy");
        Npy.write(clip, ArrayData.of("rgb", new byte[4 * 8 * 8 * 3], 4, 8, 8, 3));
        refusePretraining(List.of(clip.toString(), "u8[4, 8, 8, 3]", "must be u8[4, 16, 16, 3]"));
        Npy.write(clip, ArrayData.of("rgb", new float[4 * 16 * 16 * 3], 4, 16, 16, 3));
        refusePretraining(List.of(clip.toString(), "f32[4, 16, 16, 3]"));
        Files.delete(clip);
        Path file = data.resolve("flow").resolve("dark").resolve("clip1.npy");
        Path teacher = folder.resolve("teacher.safetensors");
        try (Scope scope = Scope.open()) {
            Checkpoint.write(teacher, weights(), CONFIG.toMetadata());
        }
        refuse(
                List.of("is a model of rgb, not of flow"),
                "distill",
                "--teachers",
                "rgb=" + teacher + ",flow=" + teacher,
                "--target",
                data,
                "--out",
                out.resolve("d"));
        assertThrowsNaming(
                data.resolve("rgb").resolve("dark").resolve("clip1.npy"), file, Set.of(Modality.RGB, Modality.FLOW));
        Files.delete(data.resolve("rgb").resolve("dark").resolve("clip0.npy"));
        refusePretraining(List.of(data.resolve("rgb").resolve("dark") + " holds no clip"));
        refuse(
                List.of(folder.resolve("student") + " does not exist", "DIR/pose/"),
                "pretrain",
                "--modality=pose",
                "--source",
                folder.resolve("student"),
                "--target",
                data,
                "--out",
                out.resolve("run"));
    }

    @Test
    void videosThatAreNone() throws IOException {
        Path videos = folder.resolve("videos");
        Files.createDirectories(videos.resolve("cup"));
        Files.createDirectories(videos.resolve("box"));
        Object[] learn = {"learn", "--student", student, "--clips", videos, "--quiet", "--out", out.resolve("head")};
        refuse(List.of(videos.resolve("box").toString(), "no videos"), learn);
        byte[] noise = "this is no video".getBytes(StandardCharsets.US_ASCII);
        Path first = Files.write(videos.resolve("box").resolve("a.mp4"), noise);
        Files.write(videos.resolve("cup").resolve("a.mp4"), noise);
        refuse(List.of(first.toString(), "is a text, not a video"), learn);
        Path head = folder.resolve("head.safetensors");
        try (Scope scope = Scope.open()) {
            Head.of(new double[2][16], new double[2], List.of("box", "cup")).save(head);
        }
        refuse(List.of(first.toString()), "predict", "--student", student, "--head", head, "--video", first);
        refuse(
                List.of(student.toString(), "no head"),
                "predict",
                "--student",
                student,
                "--head",
                student,
                "--video",
                first);
        try (Scope scope = Scope.open()) {
            Path torn = folder.resolve("torn.safetensors");
            Checkpoint.write(
                    torn,
                    Map.of("head.weight", Tensor.zeros(2, 16), "head.bias", Tensor.zeros(3)),
                    Map.of("tessera.labels", "box\ncup"));
            refuse(
                    List.of(torn.toString(), "f32[3]"),
                    "predict",
                    "--student",
                    student,
                    "--head",
                    torn,
                    "--video",
                    first);
        }
        refuse(
                List.of("from 0.8 to 0.2"),
                "predict",
                "--student",
                student,
                "--head",
                head,
                "--video",
                first,
                "--from=0.8",
                "--to=0.2");
    }

    /** By whatever path: the file itself, one through a link, one in a folder of inputs. */
    @Test
    void resultsThatWouldReplaceAnInput() throws IOException {
        byte[] before = Files.readAllBytes(student);
        Path clips = folder.resolve("clips.npy");
        Npy.write(clips, ArrayData.of("clips", new byte[4 * 16 * 16 * 3], 1, 4, 16, 16, 3));
        Path link = Files.createSymbolicLink(folder.resolve("link.npy"), clips);
        for (Path result : List.of(clips, link)) {
            refuse(
                    List.of("--out " + result + " is the input of --clips; name another file"),
                    "features",
                    "--student",
                    student,
                    "--clips",
                    clips,
                    "--out",
                    result);
        }
        Object[][] others = {
            {"features", "--student", student, "--clips", clips, "--out", student},
            {"import", "--checkpoint", student, "--out", student},
            {"learn", "--student", student, "--clips", data, "--out", student},
            {"evaluate", "--student", student, "--clips", data, "--report", student},
            {"quantize", "--student", student, "--out", student},
            {
                "evaluate",
                "--student",
                folder.resolve("none.safetensors"),
                "--clips",
                data,
                "--tail-verbs",
                student,
                "--report",
                student
            }
        };
        for (Object[] words : others) {
            refuse(List.of(student + " is the input of --"), words);
        }
        Path video = Files.writeString(data.resolve("rgb").resolve("a.mp4"), "no video");
        refuse(
                List.of("--out " + video + " is one of the inputs in --clips " + data),
                "learn",
                "--student",
                student,
                "--clips",
                data,
                "--out",
                video);
        // Neither the name nor the folder of what is lost tells that a link in the inputs leads there.
        Path elsewhere = Files.writeString(folder.resolve("elsewhere.mp4"), "no video");
        Files.createSymbolicLink(data.resolve("rgb").resolve("b.mp4"), elsewhere);
        refuse(
                List.of("--out " + elsewhere + " is one of the inputs in --clips " + data),
                "learn",
                "--student",
                student,
                "--clips",
                data,
                "--out",
                elsewhere);
        assertArrayEquals(before, Files.readAllBytes(student));
    }

    /** Before clips are loaded, which here are none. */
    @Test
    void trainingsThatWouldReplaceAnInput() throws IOException {
        Path run = Files.createDirectory(folder.resolve("run"));
        byte[] metrics = "{}\n".getBytes(StandardCharsets.UTF_8);
        Files.write(run.resolve("metrics.jsonl"), metrics);
        for (String name : List.of("model.safetensors", "student.safetensors", "checkpoint.safetensors")) {
            Path input = Files.copy(student, run.resolve(name));
            Path none = folder.resolve("none");
            refuse(
                    List.of("--out " + run + " is where --start " + input + " lies", "name another folder"),
                    "train",
                    "--modality=rgb",
                    "--clips",
                    none,
                    "--start",
                    input,
                    "--out",
                    run);
            refuse(
                    List.of("--out " + run + " is where --teachers " + input + " lies"),
                    "distill",
                    "--teachers=rgb=" + input,
                    "--target",
                    none,
                    "--out",
                    run);
        }
        refuse(
                List.of("--out " + run + " is the input of --teachers; name another folder"),
                "distill",
                "--teachers=rgb=" + run,
                "--target",
                folder.resolve("none"),
                "--out",
                run);
        assertArrayEquals(metrics, Files.readAllBytes(run.resolve("metrics.jsonl")));
    }

    @Test
    void arraysThatAreNoClips() throws IOException {
        Path clips = folder.resolve("clips.npy");
        int pixels = 4 * 16 * 16 * 3;
        Npy.write(clips, ArrayData.of("clips", new int[pixels], 1, 4, 16, 16, 3));
        refusePredict(List.of(clips + " is i32[1, 4, 16, 16, 3]", "convert to u8 or f32"));
        Npy.write(clips, ArrayData.of("clips", new float[0], 0, 4, 16, 16, 3));
        refusePredict(List.of(clips + " is f32[0, 4, 16, 16, 3], which holds no clips"));
        float[] floats = new float[10 * pixels];
        floats[9 * pixels + 5] = Float.NaN;
        Npy.write(clips, ArrayData.of("clips", floats, 10, 4, 16, 16, 3));
        refusePredict(List.of(clips + " holds NaN in clip 9 (counted from 0)"));
        double[] doubles = new double[2 * pixels];
        doubles[2 * pixels - 1] = -1e300;
        Npy.write(clips, ArrayData.of("clips", doubles, 2, 4, 16, 16, 3));
        refusePredict(
                List.of(clips + " holds -1.0E300 in clip 1 (counted from 0), which is beyond f32; pixels must be"));
        Npz.write(clips, List.of(ArrayData.of("a", doubles, 2, 4, 16, 16, 3), ArrayData.of("b", new int[1], 1)));
        refusePredict(List.of(clips + " holds 2 arrays, none of them called clips"));
        Npz.write(clips, List.of());
        refusePredict(List.of(clips + " holds no clips and no other array; save one or more"));
        Files.write(clips, new byte[0]);
        refusePredict(List.of("--clips " + clips + ": is empty, of 0 bytes; write or fetch it again"));
    }

    /** The student's file is no student: what is wrong with the episodes is told first. */
    @Test
    void episodesThatTheClipsDoNotMake() {
        Path none = folder.resolve("none.safetensors");
        Object[][] wrong = {
            {"--per-class=19", "each class of EgoSim has 19 clips", "20 (--shots 5 and --queries 15)", "--per-class"},
            {"--ways=17", "EgoSim's test has 16 labels but --ways is 17"},
            {"--domain=kitchen,workshop", "--domain names 2 domains but clips are judged in one"},
            {"--ways=1", "--ways is 1; pass 2 or more"},
            {"--shots=0", "--shots is 0; pass 1 or more"},
            {"--queries=0", "--queries is 0; pass 1 or more"},
            {"--episodes=0", "--episodes is 0; pass 1 or more"}
        };
        for (Object[] one : wrong) {
            List<String> expected = Stream.of(one).skip(1).map(Object::toString).toList();
            refuse(expected, "fewshot", "--student", none, "--egosim", one[0]);
        }
        Object[] own = {"fewshot", "--student", student, "--clips", data, "--ways=2", "--shots=1", "--queries=2"};
        refuse(
                List.of(
                        "label bright of " + data + " has 2 clips",
                        "an episode takes 3 (--shots 1 and --queries 2)",
                        "add clips"),
                own);
        for (Object[] one : new Object[][] {
            {"--groups=prefix", "--pooling=mean", "names no group: it has no _"},
            {"--groups=" + none, "--pooling=mean", "'" + none + "' cannot be read; pass the word prefix"},
            {"--pooling=middle", "--fit=tuned", "pooling 'middle' is none; pass mean, grid:G or motion:G"},
            {"--pooling=middle", "--fit=tuned", "or several with + between, or auto"},
            {"--pooling=auto", "--fit=plain", "pass --fit tuned"},
            {"--pooling=grid:9", "--fit=tuned", "9 x 9 parts but the student sees"},
        }) {
            Object[] more = Arrays.copyOf(own, own.length + 2);
            more[7] = "--queries=1";
            more[8] = one[0];
            more[9] = one[1];
            refuse(List.of(String.valueOf(one[2])), more);
        }
        refuse(
                List.of("--groups is for clips of your own"),
                "fewshot",
                "--student",
                none,
                "--egosim",
                "--groups=prefix");
        own[5] = "--ways=3";
        refuse(List.of(data + " has 2 labels but --ways is 3"), own);
    }

    @Test
    void optionsThatContradictTheCheckpoint() {
        Map<String, String> wrong = Map.of(
                "--modality=flow", "--modality is flow but " + student + " says rgb of its model",
                "--size=small", "--size is small (width 384, 12 blocks, 6 heads) but " + student,
                "--dim=32", "--dim is 32 but " + student + " says 16 of its model",
                "--frames=8", "--frames is 8 but " + student + " says 4 of its model",
                "--pixels=32", "--pixels is 32 but " + student + " says 16 of its model");
        wrong.forEach((option, message) ->
                refuse(List.of(message), "import", "--checkpoint", student, option, "--out", out.resolve("s")));
    }

    @Test
    void filesOfOtherFormats() throws IOException {
        Path text = Files.writeString(folder.resolve("notes.txt"), "no arrays at all");
        Path brief = Files.writeString(folder.resolve("brief"), "a");
        for (Path file : List.of(text, brief)) {
            refuse(List.of(file + ": is neither safetensors, npy nor npz"), "inspect", file);
        }
        Path pointer = Files.writeString(folder.resolve("pointer"), "version https://example.org/spec/v1");
        refuse(List.of("neither safetensors", "Git LFS pointer"), "inspect", pointer);
        Path array = folder.resolve("array.npy");
        Npy.write(array, ArrayData.of("a", new float[4], 4));
        refuse(
                List.of(array + ": is an npy file but safetensors is needed"),
                "features",
                "--student",
                array,
                "--clips",
                array,
                "--out",
                out.resolve("f.npy"));
    }

    /** Nothing is said of a demo that does not begin, though it is not quiet. */
    @Test
    void aDemoThatCannotBegin() throws IOException {
        refuse(List.of("unknown device 'tpu'"), "demo", "--device=tpu", "--out", out.resolve("demo"));
        refuse(List.of("unknown --precision 'f8'"), "demo", "--precision=f8", "--out", out.resolve("demo"));
        refuse(List.of("--threads is 0"), "demo", "--threads=0", "--out", out.resolve("demo"));
        Path damaged = Files.createDirectories(folder.resolve("demo"));
        Path plan = Files.writeString(damaged.resolve("plan.json"), "cut of");
        for (String system : List.of("cdfsl", "mmd")) {
            refuse(
                    List.of(plan + " holds no settings; use another"),
                    "demo",
                    "--quiet",
                    "--system",
                    system,
                    "--out",
                    damaged);
        }
    }

    @Test
    void cutsAreToldByTheirOptions() {
        Map<String, String> wrong = Map.of(
                "--from=0.8 --to=0.2",
                        "the part from 0.8 to 0.2 is none of a video; pass shares with 0 <= --from < --to",
                "--to=1.5", "the part from 0.0 to 1.5",
                "--clip-seconds=-1", "--clip-seconds is -1.0; pass a positive",
                "--clip-seconds=NaN", "--clip-seconds is NaN; pass a positive",
                "--stride-seconds=0", "--stride-seconds is 0.0; pass a positive",
                "--clip-seconds=0.001", "--clip-seconds is 0.001 but the student takes 4 frames");
        Path head = folder.resolve("head.safetensors");
        try (Scope scope = Scope.open()) {
            Head.of(new double[2][16], new double[2], List.of("box", "cup")).save(head);
        }
        wrong.forEach((options, message) -> {
            List<Object> words =
                    new ArrayList<>(List.of("predict", "--student", student, "--head", head, "--video", student));
            words.addAll(List.of(options.split(" ")));
            refuse(List.of("tessera: error: " + message), words.toArray());
        });
    }

    private void assertThrowsNaming(Path missing, Path present, Set<Modality> modalities) {
        IllegalArgumentException refusal =
                assertThrows(IllegalArgumentException.class, () -> ModalityFolders.open(data, modalities, null));
        assertTrue(
                String.valueOf(refusal.getMessage()).startsWith(present + " has no counterpart " + missing),
                refusal.getMessage());
    }
}
