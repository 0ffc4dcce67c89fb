package tessera.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.jmh.peers.PeerBenchmark;
import tessera.jmh.peers.Precision;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Tensor;

/** The benchmark beside peers at tiny shapes: that all it measures runs, not how fast; and what it refuses. */
class PeerBenchmarkTest {
    private final StringWriter text = new StringWriter();

    private int run(String... options) {
        return PeerBenchmark.run(List.of(options), "none", new PrintWriter(text, true));
    }

    @Test
    void everythingRunsAndAbsentPeersAreTold(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("deep").resolve("r.json");
        int code = run(
                "--tiny",
                "--rounds",
                "2",
                "--revision",
                "abc",
                "--python",
                folder.resolve("no-python").toString(),
                "--out",
                file.toString());
        assertEquals(0, code, text::toString);
        String json = Files.readString(file);
        assertTrue(json.contains("\"commit\":\"abc\""), json);
        for (String group : List.of("kernels", "layers", "inference", "ensembles", "training")) {
            assertTrue(json.contains("{\"group\":\"" + group + "\""), group);
        }
        assertTrue(text.toString().contains("absent: PyTorch: "), text::toString);
        assertTrue(text.toString().contains("no-python"), text::toString);
        assertTrue(text.toString().contains("TESSERA_PEER_PYTHON"), text::toString);
        assertTrue(Files.readString(folder.resolve("deep").resolve("r.html")).contains("inference: time"));

        assertTrue(json.contains("{\"kind\":\"matmul\",\"size\":\"64 x 32 x 32\",\"when\":\"middle\""), json);
        assertTrue(json.contains("\"contender\":\"Tessera unpacked f32\""), "every way counts");
        assertTrue(text.toString().contains("f32: share of the product's rate"), "goals are told");

        text.getBuffer().setLength(0);
        assertEquals(0, run("--tables", file.toString()));
        assertTrue(text.toString().contains("\n| forward B 4, rho .9 | "), text::toString);
        Files.delete(folder.resolve("deep").resolve("r.html"));
        assertEquals(0, run("--page", file.toString()));
        assertTrue(Files.exists(folder.resolve("deep").resolve("r.html")));
    }

    /** A program that answers as the Python of a torch does: what it is, then that it can do nothing. */
    private static Path torch(Path folder, String compiler) throws Exception {
        Path program = Files.writeString(folder.resolve("python" + compiler), """
            #!/bin/sh
            echo '{"torch": "9.9.1", "python": "3.99", "threads": 2, "torchvision": "none", "compiler": "%s"}'
            while read -r line; do echo '{"error": "cannot do it"}'; done
            """.formatted(compiler));
        assertTrue(program.toFile().setExecutable(true));
        return program;
    }

    private String inference(Path folder, Path python, String... more) throws Exception {
        Path file = folder.resolve(python.getFileName() + ".json");
        List<String> options = new ArrayList<>(
                List.of("--tiny", "--rounds", "1", "--only", "inference", "--out", file.toString(), "--python"));
        options.add(python.toString());
        options.addAll(List.of(more));
        assertEquals(0, run(options.toArray(String[]::new)), text::toString);
        return Files.readString(file);
    }

    /** Results beside a library mean little without its version. */
    @Test
    void versionsOfPyTorchAreInTheResults(@TempDir Path folder) throws Exception {
        String json = inference(folder, torch(folder, "g++"));
        String about = json.lines().findFirst().orElseThrow();
        for (String said :
                List.of("torch\":\"9.9.1\"", "python\":\"3.99\"", "torchvision\":\"none\"", "compiler\":\"g++\"")) {
            assertTrue(about.contains("\"PyTorch " + said), about);
        }
    }

    @Test
    void modelsThatAreNotCompiledAreToldWithTheReasonAndEndNothing(@TempDir Path folder) throws Exception {
        String with = inference(folder, torch(folder, "g++"));
        for (Precision precision : List.of(Precision.F32, Precision.BF16)) {
            String compiled = precision == Precision.F32 ? "PyTorch compiled f32" : "PyTorch compiled autocast bf16";
            String reason = reason(precision);
            assertTrue(with.contains(absence("forward B 1, rho .75", compiled, reason)), with);
            assertFalse(with.contains(absence("forward B 4, rho .75", compiled, reason)), "two shares, one clip");
        }
        String without = inference(folder, torch(folder, ""));
        assertTrue(
                without.contains(absence(
                        "forward B 1, rho 0",
                        "PyTorch compiled f32",
                        "torch.compile needs a C++ compiler, and Python finds no g++; install one, or name"
                                + " another with CXX")),
                without);
        assertTrue(without.contains(absence("forward B 1, rho 0", "PyTorch eager f32", "cannot do it")), without);
        String plain = inference(folder, torch(folder, "c++"), "--no-compiled");
        assertFalse(plain.contains("PyTorch compiled"), plain);
    }

    /** Why that program has nothing; where we have nothing of a precision it is not asked. */
    private static String reason(Precision precision) {
        boolean ours = precision == Precision.F32 || Device.cpu().bf16().isPresent();
        return ours ? "cannot do it" : "not measured, as ours has no " + precision.text() + " here to stand beside it";
    }

    private static String absence(String work, String contender, String reason) {
        return "{\"work\":\"" + work + "\",\"contender\":\"" + contender + "\",\"reason\":\"" + reason + "\"}";
    }

    @Test
    void oneGroupIsMeasuredAlone(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("r.json");
        assertEquals(
                0,
                run(
                        "--tiny",
                        "--quick",
                        "--rounds",
                        "1",
                        "--threads",
                        "1",
                        "--only",
                        "layers",
                        "--out",
                        file.toString()));
        assertTrue(text.toString().contains(" results, 0 wrong"), text::toString);
        String json = Files.readString(file);
        assertTrue(json.contains("\"threads\":\"1\""));
        assertTrue(json.contains("{\"group\":\"layers\"") && !json.contains("{\"group\":\"kernels\""), json);
    }

    @Test
    void whatIsThereIsNotMeasuredAgain(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("r.json");
        List<String> options = List.of(
                "--tiny",
                "--quick",
                "--rounds",
                "1",
                "--revision",
                "abc",
                "--only",
                "layers",
                "--out",
                file.toString());
        assertEquals(0, run(options.toArray(String[]::new)), text::toString);
        List<String> rows = rows(file, "layers");
        assertTrue(!rows.isEmpty(), text::toString);

        List<String> more = new ArrayList<>(options);
        more.set(more.indexOf("layers"), "layers,training");
        more.add("--resume");
        assertEquals(0, run(more.toArray(String[]::new)), text::toString);
        assertEquals(rows, rows(file, "layers"));
        assertTrue(!rows(file, "training").isEmpty(), text::toString);

        more.set(more.indexOf("abc"), "def");
        assertEquals(2, run(more.toArray(String[]::new)), text::toString);
        assertTrue(text.toString().contains("commit was 'abc' and is 'def'"), text::toString);
    }

    /** Rows up to what depends on the limits. */
    private static List<String> rows(Path file, String group) throws Exception {
        return Files.readAllLines(file).stream()
                .filter(line -> line.startsWith("{\"group\":\"" + group + "\""))
                .map(line -> line.substring(0, line.indexOf("\"share\"")))
                .toList();
    }

    @Test
    void tablesArePutBetweenTheMarksOfAText(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("r.json");
        assertEquals(0, run("--tiny", "--quick", "--rounds", "1", "--only", "layers", "--out", file.toString()));
        Path page =
                Files.writeString(folder.resolve("page.md"), "before\n<!-- peers -->\nold\n<!-- /peers -->\nafter\n");
        assertEquals(0, run("--tables", file.toString(), "--into", page.toString()));
        String once = Files.readString(page);
        assertTrue(once.startsWith("before\n<!-- peers -->\n\n- date: "), once);
        assertTrue(once.contains("\n| block B 1, rho .75 | ") && once.endsWith("\n<!-- /peers -->\nafter\n"), once);
        assertTrue(!once.contains("old"), once);
        assertEquals(0, run("--tables", file.toString(), "--into", page.toString()));
        assertEquals(once, Files.readString(page));
        assertTrue(once.contains("\n**goals**\n"), once);
        assertEquals(0, run("--tables", file.toString(), "--only", "layers", "--into", page.toString()));
        String some = Files.readString(page);
        assertTrue(some.contains("\n| block B 1, rho .75 | ") && !some.contains("**goals**"), some);
        Files.writeString(page, "nothing");
        assertEquals(2, run("--tables", file.toString(), "--into", page.toString()));
        assertTrue(text.toString().contains("has no lines '<!-- peers -->' and '<!-- /peers -->'"), text::toString);
    }

    @Test
    void accuracyOfAStudentIsMeasuredInEveryPrecision(@TempDir Path folder) throws Exception {
        Path student = folder.resolve("student.safetensors");
        VideoMaeConfig config = new VideoMaeConfig(
                new Patches(3, 2, 7, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
                4,
                28,
                28,
                32,
                1,
                2,
                32,
                1,
                1,
                1e-6,
                1e-6,
                true,
                false);
        Params params = Params.random(Device.cpu(), DType.F32, 1);
        new VideoMaeClassifier(params, config, 0).close();
        Student.save(student, params.all(), config, Map.of());
        params.all().values().forEach(Tensor::close);
        Path file = folder.resolve("r.json");
        assertEquals(
                0,
                run("--tiny", "--only", "accuracy", "--student", student.toString(), "--out", file.toString()),
                text::toString);
        String json = Files.readString(file);
        assertTrue(json.contains("{\"student\":\"videomae, 4 x 28 x 28\",\"precision\":\"f32\",\"ratio\":0.75,"), json);
        if (Device.cpu().int8().isPresent()) {
            assertTrue(json.contains("\"precision\":\"int8 calibrated\""), json);
            assertTrue(text.toString().contains("points of few-shot accuracy that int8 loses"), text::toString);
        }
        Path other = folder.resolve("other.json");
        for (Path second : List.of(student, folder.resolve("gone.safetensors"))) {
            String[] both = {"--student", student.toString(), "--student", second.toString()};
            assertEquals(2, run("--tiny", both[0], both[1], both[2], both[3], "--out", other.toString()));
        }
        assertTrue(text.toString().contains("is a second one of videomae, 4 x 28 x 28"), text::toString);
        assertTrue(text.toString().contains("gone.safetensors: no such file"), text::toString);
        assertFalse(Files.exists(other), "nothing was measured before");
    }

    @Test
    void aPlaceWhereNothingCanBeWrittenIsRefusedBeforeAnythingIsMeasured(@TempDir Path folder) throws Exception {
        Path between = Files.writeString(folder.resolve("file"), "no folder");
        Path within = between.resolve("r.json");
        assertEquals(2, run("--tiny", "--out", within.toString()));
        assertEquals("error: --out " + within + ": cannot make " + between + "; name another place\n", text.toString());
    }

    @Test
    void helpNamesTheOptions() {
        assertEquals(0, run("--help"));
        assertTrue(text.toString().startsWith("Usage: tessera bench --peers"), text::toString);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "--rounds 0 | --rounds is '0'; pass a number from 1 to 1000",
                "--threads many | --threads is 'many'",
                "--only kernels,toys | --only names 'toys'; pass some of kernels,layers",
                "--out results.txt | --out is 'results.txt'; pass a file that ends in .json",
                "--rounds | option --rounds is unknown or has no value",
                "--into README.md | --into README.md needs tables; pass --tables FILE.json too",
                "--only accuracy | there is no student; pass --student FILE",
                "--only kernels --student s.safetensors | is for the group 'accuracy', which --only leaves out",
                "--fast 3 | unknown option --fast",
                "--tables none.json | cannot read none.json",
            })
    void badOptionsAreRefused(String options, String problem) {
        assertEquals(2, run(options.split(" ")));
        assertTrue(text.toString().startsWith("error: ") && text.toString().contains(problem), text::toString);
    }
}
