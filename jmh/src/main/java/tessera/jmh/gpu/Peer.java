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
 * One process of PyTorch: a Python program that answers requests one after the other. What it is to prepare it
 * prepares while others work. A process that is missing, ends or does not answer in time is gone for good, and no error. Not
 * thread-safe.
 */
final class Peer implements AutoCloseable {
    private static final String PREPARE = "prepare ";
    private static final String ENDED = "ended";
    private static final String NOTE = "# ";
    private static final String LATE = "no answer in ";
    private static final int WITHOUT_TORCH = 3;
    static final long POLL_MILLIS = 20;

    /** The next is begun where there is this part of the time that the last took. */
    private static final double ENOUGH = .6;

    private final String name;
    private final Consumer<String> notes;
    private final Deque<String> todo = new ArrayDeque<>();
    private final Map<String, String> prepared = new HashMap<>();
    private final BlockingQueue<String> answers = new LinkedBlockingQueue<>();
    private final @Nullable Process process;
    private final @Nullable Writer requests;
    private boolean ready;
    private long begun;
    private @Nullable String preparing;
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

    /** Lets it prepare something once what came before is prepared; see {@link #poll}. */
    void prepare(String what) {
        todo.add(what);
    }

    /**
     * Takes the answers that are there and goes on to what is to be prepared next, if that can be done in time; does not wait.
     *
     * @return whether it is still at work
     */
    boolean poll(Deadline deadline) {
        for (String line = answers.poll(); absent == null && line != null; line = answers.poll()) {
            if (line.equals(ENDED)) {
                ended();
            } else if (line.startsWith(NOTE)) {
                notes.accept(line.substring(NOTE.length()));
            } else if (!ready) {
                ready = line.equals("ready");
                if (!ready) {
                    leave(line);
                }
            } else if (preparing != null) {
                prepared.put(preparing, line);
                notes.accept(name + ": " + preparing + ": " + line);
                preparing = null;
            }
        }
        if (absent == null && ready && preparing == null && !todo.isEmpty()) {
            double last = (System.nanoTime() - begun) / 1e9;
            if (begun == 0 || deadline.left() > ENOUGH * last) {
                begun = System.nanoTime();
                preparing = todo.remove();
                send(PREPARE + preparing);
            } else {
                todo.forEach(what -> prepared.put(what, "failed: no time"));
                notes.accept(name + ": no time to prepare " + todo);
                todo.clear();
            }
        }
        return absent == null && (!ready || preparing != null);
    }

    /** Ends it where it is still preparing, so that it does not disturb what is timed. */
    void settle() {
        if (absent == null && (!ready || preparing != null)) {
            leave("not prepared in time: " + (preparing == null ? "its start" : preparing + " " + todo));
        }
    }

    /** Whether this was prepared; also where it was not asked to. */
    boolean has(String what) {
        return prepared.getOrDefault(what, "prepared").startsWith("prepared");
    }

    /** What it answers; empty where it is gone, fails or is late, which ends it. */
    Optional<String> ask(String request, double seconds) {
        Deadline deadline = new Deadline(seconds);
        try {
            while (poll(deadline) && !deadline.passed()) {
                Thread.sleep(POLL_MILLIS);
            }
            settle();
            if (absent != null) {
                return Optional.empty();
            }
            send(request);
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
                ended();
                return "the process ended";
            }
            if (line.startsWith(NOTE)) {
                notes.accept(line.substring(NOTE.length()));
            } else {
                return line;
            }
        }
    }

    private void ended() {
        boolean without = false;
        try {
            // Its output ends a moment before it does.
            without = process != null && process.waitFor(2, TimeUnit.SECONDS) && process.exitValue() == WITHOUT_TORCH;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        leave("the process ended" + (without ? ": no torch that sees the device" : ""));
    }

    private void leave(String reason) {
        absent = reason;
        notes.accept(name + ": " + reason);
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
