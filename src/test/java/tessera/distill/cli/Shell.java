package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Runs command lines within the test's process. */
final class Shell {
    private Shell() {}

    /** What a command line gave. */
    record Outcome(int code, String out, String err) {}

    static Outcome run(Object... words) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        List<String> line = new ArrayList<>();
        for (Object word : words) {
            line.add(word.toString());
        }
        int code = Main.run(line, new PrintWriter(out), new PrintWriter(err));
        return new Outcome(code, out.toString(), err.toString());
    }

    /** Runs a command that must succeed, and returns what it printed. */
    static String succeed(Object... words) {
        Outcome outcome = run(words);
        assertEquals(0, outcome.code, outcome.err);
        assertEquals("", outcome.err);
        return outcome.out;
    }

    /** What commands show beside their results, progress and notes, which go past {@link Outcome}. */
    static String shown(Runnable commands) {
        PrintStream before = System.err;
        ByteArrayOutputStream shown = new ByteArrayOutputStream();
        System.setErr(new PrintStream(shown, true, StandardCharsets.UTF_8));
        try {
            commands.run();
        } finally {
            System.setErr(before);
        }
        return shown.toString(StandardCharsets.UTF_8);
    }

    /** Runs a command that must refuse its input in one line with these words in it. */
    static void refuse(List<String> expected, Object... words) {
        Outcome outcome = run(words);
        assertEquals(2, outcome.code, outcome.err);
        assertEquals("", outcome.out);
        assertTrue(outcome.err.startsWith("tessera: error: "), outcome.err);
        assertEquals(1, outcome.err.lines().count(), outcome.err);
        for (String part : expected) {
            assertTrue(outcome.err.contains(part), () -> "no '" + part + "' in: " + outcome.err);
        }
    }

    /** A number of a JSON object that a command printed. */
    static double number(@Nullable Object object, String name) {
        return ((Number) requireNonNull(((Map<?, ?>) requireNonNull(object)).get(name), name)).doubleValue();
    }

    /** Waits until a pretraining of RGB in a process of its own has shown some progress. */
    static void awaitSteps(Process process) throws IOException {
        BufferedReader shown = process.errorReader();
        List<String> lines = new ArrayList<>();
        int steps = 0;
        while (steps < 3) {
            String line = shown.readLine();
            assertTrue(line != null, () -> "ended early:\n" + String.join("\n", lines));
            lines.add(line);
            steps += line.startsWith("pretrain rgb") ? 1 : 0;
        }
    }
}
