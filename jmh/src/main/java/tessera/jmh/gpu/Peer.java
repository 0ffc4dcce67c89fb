package tessera.jmh.gpu;

import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * One process of PyTorch: a Python program that answers requests one after the other. What it is to prepare is sent at once and
 * answered while others work. A process that is missing, ends or does not answer in time is gone for good, and no error. Not
 * thread-safe.
 */
final class Peer implements AutoCloseable {
    private static final String PREPARE = "prepare ";
    private static final String ENDED = "ended";
    private static final String LATE = "no answer in ";

    private final String name;
    private final Consumer<String> notes;
    private final Deque<String> waiting = new ArrayDeque<>();
    private final Map<String, String> prepared = new HashMap<>();
    private final BlockingQueue<String> answers = new LinkedBlockingQueue<>();
    private final @Nullable Process process;
    private final @Nullable Writer requests;
    private boolean ready;
    private @Nullable String absent;

    /**
     * Starts the process.
     *
     * @param name what its notes begin with
     * @param complaints gets its standard error
     */
    Peer(String name, List<String> command, Map<String, String> environment, Path complaints, Consumer<String> notes) {
        this.name = name;
        this.notes = notes;
        Process started = null;
        try {
            ProcessBuilder builder =
                    new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.appendTo(complaints.toFile()));
            builder.environment().putAll(environment);
            started = builder.start();
            read(started);
        } catch (IOException e) {
            absent = String.valueOf(e.getMessage());
        }
        process = started;
        requests = started == null ? null : new OutputStreamWriter(started.getOutputStream(), StandardCharsets.UTF_8);
    }

    private void read(Process started) {
        Thread.ofPlatform().daemon().start(() -> {
            try (var reader = started.inputReader(StandardCharsets.UTF_8)) {
                reader.lines().forEach(answers::add);
            } catch (IOException | RuntimeException e) {
                // The process was ended.
            }
            answers.add(ENDED);
        });
    }

    /** Why it is gone; empty while it is not. */
    Optional<String> absence() {
        return Optional.ofNullable(absent);
    }

    /** Lets it prepare something, to be answered later. */
    void prepare(String what) {
        if (absent == null) {
            waiting.add(what);
            send(PREPARE + what);
        }
    }

    /**
     * Waits until it has prepared everything.
     *
     * @return whether it has
     */
    boolean await(double seconds) {
        Deadline deadline = new Deadline(seconds);
        try {
            if (absent == null && !ready) {
                String answer = answer(deadline.left());
                ready = answer.equals("ready");
                if (!ready) {
                    boolean without = process != null && !process.isAlive() && process.exitValue() == 3;
                    leave(answer + (without ? ": no torch that sees the device" : ""));
                }
            }
            while (absent == null && !waiting.isEmpty()) {
                String answer = answer(deadline.left());
                if (answer.startsWith(LATE)) {
                    leave("not prepared in time: " + waiting);
                } else if (absent == null) {
                    String what = waiting.remove();
                    prepared.put(what, answer);
                    notes.accept(name + ": " + what + ": " + answer);
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            leave("interrupted");
        }
        return absent == null;
    }

    /** Whether this was prepared; also where it was not asked to. */
    boolean has(String what) {
        return prepared.getOrDefault(what, "prepared").startsWith("prepared");
    }

    /** What it answers; empty where it is gone, fails or is late, which ends it. */
    Optional<String> ask(String request, double seconds) {
        if (absent != null || seconds <= 0 || !await(seconds)) {
            return Optional.empty();
        }
        send(request);
        try {
            String answer = absent == null ? answer(seconds) : "failed";
            if (answer.startsWith(LATE)) {
                leave(request + ": " + answer);
            } else if (answer.startsWith("failed")) {
                notes.accept(name + ": " + request + ": " + answer);
            } else if (absent == null) {
                return Optional.of(answer);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            leave("interrupted");
        }
        return Optional.empty();
    }

    private void send(String line) {
        try {
            if (requests != null) {
                requests.write(line + "\n");
                requests.flush();
            }
        } catch (IOException e) {
            leave(line + ": " + e.getMessage());
        }
    }

    /** The next line that is no note. */
    private String answer(double seconds) throws InterruptedException {
        Deadline deadline = new Deadline(seconds);
        while (true) {
            String line = answers.poll((long) (deadline.left() * 1e3), TimeUnit.MILLISECONDS);
            if (line == null) {
                return LATE + Math.round(seconds) + " s";
            }
            if (line.equals(ENDED)) {
                if (process != null) {
                    process.waitFor(2, TimeUnit.SECONDS);
                }
                leave("the process ended");
                return "the process ended";
            }
            if (line.startsWith("# ")) {
                notes.accept(line.substring(2));
            } else {
                return line;
            }
        }
    }

    private void leave(String reason) {
        if (absent == null || absent.equals("the process ended")) {
            absent = reason;
        }
        notes.accept(name + ": " + absent);
        close();
    }

    /** Ends the process and what it has started, for compilers. */
    @Override
    public void close() {
        if (process == null) {
            return;
        }
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
        try {
            process.waitFor(5, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
