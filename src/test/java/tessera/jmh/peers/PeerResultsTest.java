package tessera.jmh.peers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;
import tessera.jmh.Host;

/** Statistics of measurements, and the files and tables that are made of them. */
class PeerResultsTest {
    private static Row row(
            String work, String library, String precision, double ms, @Nullable Double ours, boolean agrees) {
        double ratio = work.endsWith("0") ? 0 : .75;
        return new Row(
                "inference",
                work,
                "forward",
                1,
                ratio,
                1,
                392,
                library,
                "",
                precision,
                ms - 1,
                ms,
                ms + 1,
                ours,
                180,
                0,
                .9,
                ours == null ? null : 1e-6,
                agrees);
    }

    private static PeerResults results() {
        PeerResults results = new PeerResults();
        results.about("processor", "a \"fast\" one");
        results.add(row("forward B 1, rho .75", "Tessera", "f32", 104, null, true));
        results.add(row("forward B 1, rho .75", "PyTorch", "f32", 124, .84, true));
        results.add(row("forward B 1, rho .75", "PyTorch", "int8", 58.25, null, false));
        results.add(row("forward B 1, rho 0", "Tessera", "f32", 617, null, true));
        results.addLimits(
                List.of(new Limits.Limit("matmul", "2 x 2 x 2", "start", "Tessera f32", "f32", 16, 190, 200, 210)));
        results.addAccuracies(List.of(
                new FewShotAccuracy.Result("videomae", "f32", .75, 2, 5, 600, .4, .01, null, null),
                new FewShotAccuracy.Result("videomae", "int8", .75, 2, 5, 600, .4, .01, 0.0, .001)));
        results.absent("all", "ONNX Runtime", "not built");
        results.absent("all", "ONNX Runtime", "not built");
        results.absent("forward B 1, rho 0", "Tessera int8", "not yet");
        return results;
    }

    @Test
    void percentilesLieBetweenMeasurementsInProportion() {
        Spread spread = Spread.of(new double[] {6, 1, 3, 2, 4, 5});
        Close.within(spread.p20(), 2, 1e-12, "value");
        Close.within(spread.p50(), 3.5, 1e-12, "value");
        Close.within(spread.p80(), 5, 1e-12, "value");
        assertEquals(new Spread(7, 7, 7), Spread.of(new double[] {7}));
        assertThrows(IllegalArgumentException.class, () -> Spread.of(new double[0]));
    }

    @Test
    void aRatioIsTakenRoundByRound() {
        // Every round the machine is another, and the first takes half of the second's time.
        Spread ratios = Spread.ofRatios(new double[] {1, 10, 3}, new double[] {2, 20, 6});
        assertEquals(new Spread(.5, .5, .5), ratios);
    }

    @Test
    void differencesAreRelativeAndNanIsNone() {
        float[] reference = {3, 4};
        Close.within(Spread.difference(new float[] {3, 5}, reference), .2, 1e-12, "value");
        assertEquals(0, Spread.difference(reference, reference));
        assertTrue(Double.isNaN(Spread.difference(new float[] {Float.NaN, 4}, reference)));
        assertThrows(IllegalArgumentException.class, () -> Spread.difference(new float[1], reference));
    }

    @Test
    void filesAreReadAsTheyWereWritten(@TempDir Path folder) throws Exception {
        Path file = folder.resolve("new").resolve("here.json");
        results().write(file);
        PeerResults read = PeerResults.read(file);
        assertEquals(results().rows(), read.rows());
        assertEquals(results().about(), read.about());
        assertEquals(results().absences(), read.absences());
        assertEquals(2, read.absences().size(), "an absence is told once");
        assertEquals(results().limits(), read.limits());
        assertEquals(results().accuracies(), read.accuracies());
        List<String> lines = Files.readAllLines(folder.resolve("new").resolve("here.csv"));
        assertEquals(5, lines.size());
        assertTrue(lines.get(0).startsWith("group,work,kind,batch,"), lines.get(0));
        assertTrue(lines.get(0).endsWith(",difference,agrees,processor"), lines.get(0));
        assertTrue(lines.get(4).endsWith(",,true,\"a \"\"fast\"\" one\""), lines.get(4));
        assertTrue(
                lines.get(1).startsWith("inference,\"forward B 1, rho .75\",forward,1,0.75,1,392,Tessera,,f32,"),
                lines.get(1));
        try (Stream<Path> files = Files.list(folder.resolve("new"))) {
            assertEquals(2, files.count(), "nothing is left of what was written beside");
        }
    }

    /** What a peer computes wrong in bytes says nothing of us; that its f32 is not ours may. */
    @Test
    void aRunFailsWhereAResultOfOursMayBeWrong() {
        PeerResults results = results();
        assertEquals(1, results.disagreeing().size());
        assertFalse(results.failed());
        results.add(row("forward B 1, rho 0", "PyTorch", "f32", 600, 1.02, false));
        assertTrue(results.failed());
        PeerResults own = new PeerResults();
        own.add(row("forward B 1, rho 0", "Tessera", "int8", 600, null, false));
        assertTrue(own.failed());
    }

    @Test
    void aRunGoesOnWithResultsOfTheSameSettingsOnly() {
        PeerResults more = new PeerResults();
        more.about("processor", "a \"fast\" one");
        more.goOn(results());
        assertEquals(results().rows(), more.rows());
        assertEquals(results().limits(), more.limits());
        PeerResults other = new PeerResults();
        other.about("processor", "a slow one");
        String message = String.valueOf(assertThrows(IllegalArgumentException.class, () -> other.goOn(results()))
                .getMessage());
        assertTrue(message.contains("processor was 'a \"fast\" one' and is 'a slow one'"), message);
    }

    /** Works that are there are not measured again, so the table would lack it for the others. */
    @Test
    void aRunDoesNotGoOnWithoutALibraryThatHasResults() {
        PeerResults earlier = results();
        earlier.about("note", "none of a library");
        earlier.about("ONNX Runtime version", "1.29, without results");
        earlier.about("PyTorch torch", "2.13");
        PeerResults more = new PeerResults();
        more.about("processor", "a \"fast\" one");
        String message = String.valueOf(assertThrows(IllegalArgumentException.class, () -> more.goOn(earlier))
                .getMessage());
        assertTrue(message.contains("has results beside PyTorch torch 2.13, which is not here now"), message);
        assertTrue(message.contains("--python"), message);
        assertEquals(List.of(), more.rows(), "nothing was taken");
        more.about("PyTorch torch", "2.13");
        more.goOn(earlier);
        assertEquals(earlier.rows(), more.rows());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "no JSON | no object",
                "{\"about\":{}} | no list absences",
                "{\"about\":{},\"absences\":[],\"rows\":[{\"group\":\"g\"}]} | has no work",
            })
    void anotherFileIsRefused(String text, String problem, @TempDir Path folder) throws Exception {
        Path file = Files.writeString(folder.resolve("x.json"), text);
        String message = String.valueOf(assertThrows(IllegalArgumentException.class, () -> PeerResults.read(file))
                .getMessage());
        assertTrue(message.contains("x.json: ") && message.contains(problem), message);
    }

    @Test
    void tablesHaveAColumnForEachContender() {
        PeerTables.Table table = new PeerTables(results()).table("inference");
        assertEquals(List.of("ms", "Tessera f32", "PyTorch f32", "PyTorch int8", "of the limit"), table.header());
        assertEquals(
                List.of(
                        List.of("forward B 1, rho .75", "104", "124 (0.84)", "58.3 wrong", "90 %"),
                        List.of("forward B 1, rho 0", "617", "–", "–", "90 %")),
                table.rows());
        String markdown = new PeerTables(results()).markdown(Set.of());
        assertTrue(markdown.contains("\n**inference**\n\n| ms | Tessera f32 | PyTorch f32 |"), markdown);
        assertTrue(markdown.contains("\n| forward B 1, rho .75 | 104 | 124 (0.84) | 58.3 wrong | 90 % |\n"), markdown);
        assertTrue(markdown.contains("\n- ONNX Runtime: not built\n"), markdown);
        assertFalse(markdown.contains("not yet"), "what one work lacks is a dash in the table");
    }

    @Test
    void thePageHasChartsOfTimeRatioShareAndRho() {
        String html = new PeerPage(results()).page().html();
        for (String title : List.of("inference: time", "inference: ratio", "inference: share", "time over rho, B 1")) {
            assertTrue(html.contains(title), title);
        }
        assertTrue(
                html.contains("a &quot;fast&quot; one") || html.contains("a \"fast\" one"), "the processor is named");
        assertTrue(html.contains("not yet"), "what is missing is told");
    }

    @Test
    void featuresOfTheProcessorAreThoseOfNumbers() {
        assertEquals(
                "avx2 avx512_bf16 fma",
                Host.features(
                        Stream.of("model name : x", "flags\t\t: fpu fma sse avx2 avx512_bf16 rdtscp", "flags : y")));
        assertEquals("unknown", Host.features(Stream.of("nothing")));
        assertEquals("intel-xeon-cpu-2-60ghz", Host.word("Intel(R) Xeon(R) CPU @ 2.60GHz"));
    }
}
