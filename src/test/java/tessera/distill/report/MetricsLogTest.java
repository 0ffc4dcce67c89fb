package tessera.distill.report;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MetricsLogTest {
    @TempDir
    Path directory;

    private Path logOfSteps(int... steps) {
        Path file = directory.resolve("metrics.jsonl");
        try (MetricsLog log = MetricsLog.resumeAt(file, 0)) {
            for (int step : steps) {
                log.write(step, Map.of(Metric.LOSS, 1.0 / step));
            }
        }
        return file;
    }

    private static List<Long> steps(Path file) {
        return MetricsLog.read(file).stream().map(MetricsLog.Line::step).toList();
    }

    @Test
    void everyLineIsInTheFileBeforeTheLogIsClosed() throws IOException {
        Path file = directory.resolve("metrics.jsonl");
        try (MetricsLog log = MetricsLog.resumeAt(file, 0)) {
            log.write(3, Map.of(Metric.LOSS, 0.5));
            assertEquals("{\"step\":3,\"loss\":0.5}\n", Files.readString(file));
            log.write(4, Map.of(Metric.LOSS, Double.NaN));
            assertEquals(2, Files.readAllLines(file).size());
        }
        assertEquals(Double.NaN, MetricsLog.read(file).get(1).values().get(Metric.LOSS));
    }

    @Test
    void doublesComeBackBitForBit() {
        Path file = directory.resolve("metrics.jsonl");
        double value = Math.nextUp(0.1) / 3;
        try (MetricsLog log = MetricsLog.resumeAt(file, 0)) {
            log.write(1, Map.of(new Metric("a \"quoted\" λ"), value, new Metric("tiny"), 1e-300));
        }
        assertEquals(
                Map.of(new Metric("a \"quoted\" λ"), value, new Metric("tiny"), 1e-300),
                MetricsLog.read(file).getFirst().values());
    }

    @Test
    void resumingDropsLinesBeyondTheStepAndAppends() {
        Path file = logOfSteps(1, 2, 3, 4, 5);
        try (MetricsLog log = MetricsLog.resumeAt(file, 3)) {
            log.write(4, Map.of(Metric.LOSS, 9.0));
        }
        assertEquals(List.of(1L, 2L, 3L, 4L), steps(file));
        assertEquals(9.0, MetricsLog.read(file).getLast().values().get(Metric.LOSS));
    }

    @ParameterizedTest
    @ValueSource(strings = {"{\"step\":4,\"lo", "{\"step\":4,\"loss\":0.25}", "{", "\0\0\0\0", "{\"step\":4,\"lo\n"})
    void aLastLineCutShortIsDropped(String rest) throws IOException {
        Path file = logOfSteps(1, 2, 3);
        Files.writeString(file, rest, StandardOpenOption.APPEND);
        assertEquals(List.of(1L, 2L, 3L), steps(file));
        try (MetricsLog log = MetricsLog.resumeAt(file, 10)) {
            log.write(11, Map.of());
        }
        assertEquals(List.of(1L, 2L, 3L, 11L), steps(file));
        assertEquals(4, Files.readAllLines(file).size());
    }

    @Test
    void aFileThatDoesNotExistIsCreatedAndAnOldOneEmptied() {
        Path file = directory.resolve("new.jsonl");
        MetricsLog.resumeAt(file, 7).close();
        assertEquals(List.of(), steps(file));
        logOfSteps(1, 2);
        assertEquals(List.of(5L), steps(logOfSteps(5)));
    }

    @Test
    void damageBeforeTheLastLineIsRefused() throws IOException {
        Path file = directory.resolve("bad.jsonl");
        Files.writeString(file, "{\"step\":1}\n{\"loss\":2}\n{\"step\":3}\n");
        var error = assertThrows(IllegalArgumentException.class, () -> MetricsLog.resumeAt(file, 3));
        assertTrue(requireNonNull(error.getMessage()).contains("bad.jsonl: line 2"), error.getMessage());
    }

    @Test
    void stepsDoNotGoBack() {
        try (MetricsLog log = MetricsLog.resumeAt(logOfSteps(1, 2, 3), 2)) {
            assertThrows(IllegalArgumentException.class, () -> log.write(1, Map.of()));
        }
    }
}
