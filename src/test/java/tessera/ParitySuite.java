package tessera;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestExecutionResult.Status;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs one class of the parity suite where there is no build tool, and says what failed the moment it does, so that a class that
 * hangs, crashes or runs out of time leaves what it found.
 *
 * <p>{@code CLASS LOG} appends a line {@code passed|failed|skipped<TAB>MILLISECONDS<TAB>TEST} to the file {@code LOG} for each test
 * and prints each failure in at most {@value #LINES} lines after one that starts with {@value #MARK}; exit code 0 where all
 * passed, 1 where something failed, 2 where there was nothing to run. {@code --digest FOLDER CHARACTERS} prints the failures of
 * all texts in a folder, the first of each kind before those like it.
 */
public final class ParitySuite {
    static final String MARK = "### FAILED ";
    private static final int LINES = 40;
    private static final int MESSAGE_LINES = 26;
    private static final int FRAMES = 8;
    private static final int DIGEST_LINES = 5;
    private static final int DIGEST_WIDTH = 300;

    private ParitySuite() {}

    /** Runs a class or prints a digest, then exits. */
    public static void main(String[] args) throws IOException {
        if (args[0].equals("--digest")) {
            System.out.print(digest(Path.of(args[1]), Integer.parseInt(args[2])));
            return;
        }
        System.exit(run(args[0], Path.of(args[1]), System.out));
    }

    /** Runs a class; returns the exit code. */
    static int run(String name, Path log, PrintStream out) throws IOException {
        Launcher launcher = LauncherFactory.create();
        try (BufferedWriter tests = Files.newBufferedWriter(log)) {
            Listener listener = new Listener(tests, out);
            launcher.execute(
                    LauncherDiscoveryRequestBuilder.request()
                            .selectors(selectClass(name))
                            .build(),
                    listener);
            return listener.failed > 0 ? 1 : listener.seen > 0 ? 0 : 2;
        }
    }

    private static final class Listener implements TestExecutionListener {
        private final BufferedWriter log;
        private final PrintStream out;
        private final Map<String, Long> begun = new HashMap<>();
        private @Nullable TestPlan plan;
        private int seen;
        private int failed;

        Listener(BufferedWriter log, PrintStream out) {
            this.log = log;
            this.out = out;
        }

        @Override
        public void testPlanExecutionStarted(TestPlan started) {
            plan = started;
        }

        @Override
        public void executionStarted(TestIdentifier test) {
            begun.put(test.getUniqueId(), System.nanoTime());
        }

        @Override
        public void executionSkipped(TestIdentifier test, String reason) {
            note("skipped", test);
            out.println("skipped: " + path(test) + ": " + reason);
        }

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            boolean bad = result.getStatus() == Status.FAILED;
            boolean aborted = result.getStatus() == Status.ABORTED;
            if (test.isTest() || bad || aborted) {
                note(bad ? "failed" : aborted ? "skipped" : "passed", test);
            }
            if (bad) {
                failed++;
                out.println(MARK + path(test));
                result.getThrowable().ifPresent(e -> lines(e).forEach(out::println));
                out.flush();
            } else if (aborted) {
                out.println("skipped: " + path(test) + ": "
                        + result.getThrowable().map(Throwable::getMessage).orElse(""));
            }
        }

        private void note(String status, TestIdentifier test) {
            seen++;
            long start = begun.getOrDefault(test.getUniqueId(), System.nanoTime());
            try {
                log.write(status + "\t" + (System.nanoTime() - start) / 1_000_000 + "\t" + path(test) + "\n");
                log.flush();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /** The class, the method and what it was called with. */
        private String path(TestIdentifier test) {
            Deque<String> names = new ArrayDeque<>();
            TestIdentifier at = test;
            while (at != null && at.getParentId().isPresent()) {
                names.addFirst(at.getDisplayName().strip().replaceAll("\\s+", " "));
                at = plan == null ? null : plan.getParent(at).orElse(null);
            }
            return String.join(" > ", names);
        }
    }

    /** The first lines of a failure's message and of where it came from. */
    private static List<String> lines(Throwable failure) {
        List<String> lines = new ArrayList<>();
        for (Throwable e = failure; e != null && lines.size() < LINES; e = e.getCause()) {
            List<String> message =
                    (lines.isEmpty() ? e.toString() : "caused by " + e).lines().toList();
            message.stream()
                    .limit(MESSAGE_LINES)
                    .map(line -> line.startsWith(MARK) ? " " + line : line)
                    .forEach(lines::add);
            if (message.size() > MESSAGE_LINES) {
                lines.add("... " + (message.size() - MESSAGE_LINES) + " more lines");
            }
            Stream.of(e.getStackTrace())
                    .filter(frame -> frame.getClassName().startsWith("tessera."))
                    .limit(FRAMES)
                    .forEach(frame -> lines.add("    at " + frame));
        }
        return lines.subList(0, Math.min(LINES - 1, lines.size()));
    }

    // ------------------------------------------------------------------------------------------------------ digest

    /** Failures that differ in numbers alone. */
    private record Kind(List<String> first, int[] count) {}

    /** What failed in the texts of a folder, in at most so many characters. */
    static String digest(Path folder, int characters) throws IOException {
        // By class, then by kind.
        Map<String, Map<String, Kind>> failures = new LinkedHashMap<>();
        List<Path> texts;
        try (Stream<Path> files = Files.list(folder)) {
            texts = files.filter(file -> file.toString().endsWith(".txt"))
                    .sorted()
                    .toList();
        }
        StringBuilder text = new StringBuilder();
        List<String> late = new ArrayList<>();
        for (Path file : texts) {
            String name = file.getFileName().toString().replaceFirst("\\.txt$", "");
            Map<String, Kind> kinds = failures.computeIfAbsent(name, key -> new LinkedHashMap<>());
            List<String> block = new ArrayList<>();
            for (String line :
                    Files.readString(file, StandardCharsets.UTF_8).lines().toList()) {
                if (line.startsWith("ENDED: ")) {
                    text.append(line).append('\n');
                } else if (line.startsWith("NOT BEGUN: ")) {
                    late.add(line.substring(line.lastIndexOf('.') + 1));
                }
                if (line.startsWith(MARK)) {
                    add(kinds, block);
                    block = new ArrayList<>(List.of(line));
                } else if (!block.isEmpty()) {
                    block.add(line);
                }
            }
            add(kinds, block);
        }
        if (!late.isEmpty()) {
            text.append("no time for ").append(String.join(", ", late)).append('\n');
        }
        // The first kind of every class, then the second of every class.
        while (failures.values().stream().anyMatch(kinds -> !kinds.isEmpty())) {
            for (Map<String, Kind> kinds : failures.values()) {
                if (!kinds.isEmpty()) {
                    describe(kinds.remove(kinds.keySet().iterator().next()), text);
                }
            }
        }
        String rest = "\n... the rest is in parity.txt\n";
        return text.length() <= characters
                ? text.toString()
                : text.substring(0, Math.max(0, characters - rest.length())) + rest;
    }

    private static void add(Map<String, Kind> kinds, List<String> block) {
        if (block.isEmpty()) {
            return;
        }
        String key = block.stream().skip(1).findFirst().orElse("").replaceAll("[-+]?[0-9][0-9a-fA-Fx.eE+-]*", "#");
        kinds.computeIfAbsent(key, kind -> new Kind(block, new int[1])).count[0]++;
    }

    private static void describe(@Nullable Kind kind, StringBuilder text) {
        if (kind == null) {
            return;
        }
        List<String> lines = new ArrayList<>(kind.first.stream()
                .filter(line -> !line.startsWith("    at "))
                .limit(DIGEST_LINES)
                .toList());
        kind.first.stream().filter(line -> line.startsWith("    at ")).limit(2).forEach(lines::add);
        for (String line : lines) {
            text.append(line.length() > DIGEST_WIDTH ? line.substring(0, DIGEST_WIDTH) + " ..." : line)
                    .append('\n');
        }
        if (kind.count[0] > 1) {
            text.append("    and ").append(kind.count[0] - 1).append(" like it\n");
        }
    }
}
