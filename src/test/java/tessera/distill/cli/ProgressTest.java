package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import tessera.distill.train.ProgressListener;
import tessera.distill.train.Task;

class ProgressTest {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final AtomicLong clock = new AtomicLong();

    private Progress progress(Progress.Style style, Charset charset, long first, long total) {
        return progress(style, charset, first, total, 0);
    }

    private Progress progress(Progress.Style style, Charset charset, long first, long total, double lineSeconds) {
        Task task = new Task(ProgressListener.NONE, "pretrain rgb", Task.Unit.STEPS, first, total);
        return new Progress(new PrintStream(bytes, true, charset), style, task, lineSeconds, clock::get);
    }

    private String shown() {
        return bytes.toString(StandardCharsets.UTF_8);
    }

    @Test
    void withoutATerminalThereIsOneLineForEachPercent() {
        try (Progress p = progress(Progress.Style.LINES, StandardCharsets.UTF_8, 0, 1000)) {
            for (int step = 1; step <= 1000; step++) {
                clock.addAndGet(500_000_000);
                p.update(step, 2.0 / step);
            }
        }
        List<String> lines = shown().lines().toList();
        assertEquals(100, lines.size());
        assertEquals("pretrain rgb    1 %  10/1000 steps  loss 0.2000  2.00 steps/s  8:15 left", lines.get(0));
        assertEquals("pretrain rgb  100 %  1000/1000 steps  loss 0.0020  2.00 steps/s  took 8:20", lines.get(99));
        assertFalse(shown().contains("\r"));
    }

    /** A log of a task that takes a second is not a page long; the end is always told. */
    @Test
    void withoutATerminalSomeSecondsLieBetweenTwoLines() {
        try (Progress p = progress(Progress.Style.LINES, StandardCharsets.UTF_8, 0, 1000, 10)) {
            for (int step = 1; step <= 1000; step++) {
                clock.addAndGet(25_000_000);
                p.update(step, Double.NaN);
            }
        }
        assertEquals(
                List.of(
                        "pretrain rgb   40 %  400/1000 steps  40 steps/s  0:15 left",
                        "pretrain rgb   80 %  800/1000 steps  40 steps/s  0:05 left",
                        "pretrain rgb  100 %  1000/1000 steps  40 steps/s  took 0:25"),
                shown().lines().toList());
    }

    @Test
    void theEnvironmentTellsTheSecondsBetweenLines() {
        assertEquals(10, Progress.lineSeconds(Map.of()));
        assertEquals(0.5, Progress.lineSeconds(Map.of(Progress.SECONDS, "0.5")));
        assertEquals(10, Progress.lineSeconds(Map.of(Progress.SECONDS, "often")));
        assertEquals(10, Progress.lineSeconds(Map.of(Progress.SECONDS, "-1")));
    }

    @Test
    void aShortTaskSkipsPercentsInsteadOfRepeatingLines() {
        try (Progress p = progress(Progress.Style.LINES, StandardCharsets.UTF_8, 0, 3)) {
            for (int step = 1; step <= 3; step++) {
                clock.addAndGet(1_000_000_000);
                p.update(step, Double.NaN);
            }
        }
        assertEquals(3, shown().lines().count());
        assertFalse(shown().contains("loss"));
    }

    @Test
    void aResumedTaskCountsOnlyItsOwnStepsForTheRate() {
        try (Progress p = progress(Progress.Style.LINES, StandardCharsets.UTF_8, 500, 1000)) {
            clock.addAndGet(10_000_000_000L);
            p.update(510, Double.NaN);
        }
        assertEquals("pretrain rgb   51 %  510/1000 steps  1.00 steps/s  8:10 left\n", shown());
    }

    @Test
    void aTerminalGetsABarThatRedrawsAtMostTenTimesASecondAndWipesLongerLines() {
        try (Progress p = progress(Progress.Style.BAR, StandardCharsets.UTF_8, 0, 1000)) {
            for (int step = 1; step <= 1000; step++) {
                clock.addAndGet(10_000_000);
                p.update(step, step < 500 ? 123456 : 1);
            }
        }
        String[] drawn = shown().split("\r", 0);
        assertTrue(drawn.length > 90 && drawn.length < 110, drawn.length + " redraws");
        assertTrue(drawn[1].contains("░"), drawn[1]);
        assertTrue(shown().contains("█".repeat(24) + " 100 %"), drawn[drawn.length - 1]);
        assertTrue(shown().endsWith(System.lineSeparator()));
        for (int i = 2; i < drawn.length; i++) {
            assertTrue(
                    drawn[i].stripTrailing().length()
                                    >= drawn[i - 1].stripTrailing().length()
                            || drawn[i].length() >= drawn[i - 1].stripTrailing().length(),
                    "redraw " + i + " leaves characters of the one before");
        }
    }

    @Test
    void aTerminalWithoutBlocksGetsPlainCharacters() {
        try (Progress p = progress(Progress.Style.BAR, StandardCharsets.US_ASCII, 0, 2)) {
            p.update(1, Double.NaN);
        }
        assertTrue(shown().contains("############............"), shown());
    }

    @Test
    void quietIsQuiet() {
        assertEquals(Progress.Style.QUIET, Progress.Style.detect(true));
        try (Progress p = progress(Progress.Style.QUIET, StandardCharsets.UTF_8, 0, 2)) {
            p.update(1, Double.NaN);
            p.update(2, Double.NaN);
        }
        assertEquals("", shown());
    }

    @Test
    void notesAreShownInEveryStyle() {
        for (Progress.Style style : Progress.Style.values()) {
            try (Progress p = progress(style, StandardCharsets.UTF_8, 0, 2)) {
                p.update(1, Double.NaN);
                p.note("1 of 2 clips left out");
            }
            assertTrue(
                    shown().lines()
                            .anyMatch(line -> line.replaceFirst(".*\r", "")
                                    .stripTrailing()
                                    .equals("pretrain rgb: 1 of 2 clips left out")),
                    shown());
            bytes.reset();
        }
    }

    @Test
    void anEmptyTaskIsNoDivisionByZero() {
        try (Progress p = progress(Progress.Style.BAR, StandardCharsets.UTF_8, 0, 0)) {
            p.update(0, Double.NaN);
        }
        assertTrue(shown().contains("100 %"));
        assertThrows(IllegalArgumentException.class, () -> progress(Progress.Style.BAR, StandardCharsets.UTF_8, 5, 4));
    }

    @Test
    void durationsHaveHoursOnlyWhenNeeded() {
        assertEquals("0:05", Progress.duration(5.2));
        assertEquals("59:59", Progress.duration(3599));
        assertEquals("1:01:01", Progress.duration(3661));
    }
}
