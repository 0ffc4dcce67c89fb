package tessera.jmh;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.ChildJava;

/** What the benchmark of shared cores understands; measuring takes minutes and is for people. */
class SharedCoresTest {
    @Test
    void wordsMayBeLeftAway() {
        SharedCores.Words words = SharedCores.Words.of("3", "0,.5,0.9", "1");
        assertEquals(3, words.rounds());
        assertArrayEquals(new double[] {0, .5, .9}, words.ratios());
        assertEquals("1", words.core());
        assertArrayEquals(
                new double[] {.75, 0}, SharedCores.Words.of("3").ratios(), "those that the README names are measured");
        assertEquals("", SharedCores.Words.of().core());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "many | ROUNDS is 'many'; give a number from 1 to 9999, or --help",
                "0 | ROUNDS is '0'",
                "3 1 | RHO is '1'",
                "3 .5, | RHO is '.5,'",
                "3 .5 first | CORE is 'first'",
                "3 .5 0 1 | 4 words are given",
            })
    void otherWordsAreRefusedInOneLine(String words, String problem) {
        String message = String.valueOf(
                assertThrows(IllegalArgumentException.class, () -> SharedCores.Words.of(words.split(" ")))
                        .getMessage());
        assertTrue(message.startsWith(problem) && message.lines().count() == 1, message);
    }

    @Test
    void figuresAreWrittenWithTheMachineTheyAreOf() {
        List<Double> times = List.of(5.0, 1.0, 3.0, 2.0, 4.0, 6.0);
        SharedCores.Figure figure = SharedCores.Figure.of(.75, "forward pass alone", "ms", times);
        String json = SharedCores.results(SharedCores.Words.of("3", ".75", "1"), List.of(figure))
                .json();
        assertTrue(json.startsWith("{\"about\":{\"date\":\""), json);
        for (String name : List.of("commit", "processor", "features", "cores", "threads", "java", "system")) {
            assertTrue(json.lines().findFirst().orElseThrow().contains("\"" + name + "\":\""), json);
        }
        assertTrue(json.contains("\"rounds\":\"3\",\"busy process\":\"on core 1\"}"), json);
        assertTrue(
                json.endsWith("\"rows\":[\n{\"ratio\":0.75,\"of\":\"forward pass alone\",\"unit\":\"ms\",\"p20\":2.0,"
                        + "\"p50\":4.0,\"p80\":5.0}]}\n"),
                json);
    }

    @Test
    void helpIsShownAndNothingMeasured(@TempDir Path folder) throws Exception {
        assertEquals(
                SharedCores.USAGE, ChildJava.run(folder, List.of(), Map.of(), 60, SharedCores.class, "7", "--help"));
    }
}
