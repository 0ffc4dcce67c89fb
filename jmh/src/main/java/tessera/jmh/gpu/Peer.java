package tessera.jmh.gpu;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.nn.videomae.VideoMaeConfig;

/**
 * PyTorch beside us: a Python program that measures one thing when asked, so that its times are taken next to ours. A peer that
 * is missing or fails is reported and no error. Not thread-safe.
 */
final class Peer implements AutoCloseable {
    /** It may have to be read from a slow disk. */
    private static final double SECONDS_TO_START = 90;

    private static final int MOST_STARTS = 4;
    private static final String ENDED = "ended";

    private final String python;
    private final Sizes sizes;
    private final boolean tiny;
    private final Device device;
    private final Results results;
    private final PrintWriter out;
    private int starts;
    private boolean ready;
    private Deadline start = new Deadline(0);
    private @Nullable String absent;
    private @Nullable Process process;
    private @Nullable Writer requests;
    private @Nullable Path script;
    private BlockingQueue<String> answers = new LinkedBlockingQueue<>();

    Peer(String python, Sizes sizes, boolean tiny, Device device, Results results, PrintWriter out) {
        this.python = python;
        this.sizes = sizes;
        this.tiny = tiny;
        this.device = device;
        this.results = results;
        this.out = out;
    }

    /** Starts it, so that it is ready when it is asked. */
    void prepare() {
        if (absent == null && process == null) {
            try {
                start();
            } catch (IOException e) {
                absent(String.valueOf(e.getMessage()));
            }
        }
    }

    /**
     * Microseconds of what {@code peer.py} describes, empty where it could not be measured in time.
     *
     * @param seconds after which the process is ended; a later request starts another
     */
    OptionalDouble ask(String request, double seconds) {
        if (seconds <= 0) {
            return OptionalDouble.empty();
        }
        prepare();
        if (absent != null) {
            return OptionalDouble.empty();
        }
        try {
            if (!ready && !waitUntilReady()) {
                return OptionalDouble.empty();
            }
            Writer to = java.util.Objects.requireNonNull(requests);
            to.write(request + "\n");
            to.flush();
            String answer = answer(seconds);
            if (answer.startsWith("us ")) {
                return OptionalDouble.of(Double.parseDouble(answer.substring(3)));
            }
            note(request + ": " + answer);
            if (answer.startsWith("no answer")) {
                stop();
            }
        } catch (IOException e) {
            note(request + ": " + e.getMessage());
            stop();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        return OptionalDouble.empty();
    }

    private void start() throws IOException {
        if (++starts > MOST_STARTS) {
            absent("it was started " + MOST_STARTS + " times");
            return;
        }
        VideoMaeConfig config = sizes.config();
        Process started = new ProcessBuilder(
                        python,
                        "-u",
                        script().toString(),
                        "--device=" + device,
                        "--frames=" + config.frames(),
                        "--side=" + config.height(),
                        "--patch=" + config.patches().patch(),
                        "--width=" + config.embedDim(),
                        "--depth=" + config.depth(),
                        "--heads=" + config.heads(),
                        "--classes=" + sizes.classes(),
                        "--batch=" + sizes.batch(),
                        tiny ? "--once" : "--full")
                .redirectError(ProcessBuilder.Redirect.appendTo(
                        results.beside("peer.txt").toFile()))
                .start();
        process = started;
        start = new Deadline(SECONDS_TO_START);
        ready = false;
        requests = new OutputStreamWriter(started.getOutputStream(), StandardCharsets.UTF_8);
        BlockingQueue<String> lines = new LinkedBlockingQueue<>();
        answers = lines;
        Thread.ofPlatform().daemon().start(() -> {
            try (var reader = started.inputReader(StandardCharsets.UTF_8)) {
                reader.lines().forEach(lines::add);
            } catch (IOException | RuntimeException e) {
                // The process was ended.
            }
            lines.add(ENDED);
        });
    }

    private boolean waitUntilReady() throws InterruptedException {
        Process started = java.util.Objects.requireNonNull(process);
        String answer = answer(start.left());
        ready = answer.equals("ready");
        if (!ready) {
            stop();
            boolean without = !started.isAlive() && started.exitValue() == 3;
            absent(python + ": " + answer + (without ? ": it has no torch that sees " + device : ""));
        }
        return ready;
    }

    private Path script() throws IOException {
        Path file = script;
        if (file == null) {
            file = Files.createTempFile("peer", ".py");
            script = file;
            try (InputStream source = Peer.class.getResourceAsStream("peer.py")) {
                if (source == null) {
                    throw new IllegalStateException("peer.py is not in the jar");
                }
                Files.write(file, source.readAllBytes());
            }
        }
        return file;
    }

    /** The next line that is no note. */
    private String answer(double seconds) throws InterruptedException {
        Deadline deadline = new Deadline(seconds);
        while (true) {
            String line = answers.poll((long) (deadline.left() * 1e3), TimeUnit.MILLISECONDS);
            if (line == null) {
                return "no answer in " + Math.round(seconds) + " s";
            }
            if (line.equals(ENDED)) {
                stop();
                return "the process ended";
            }
            if (line.startsWith("# ")) {
                note(line.substring(2));
            } else {
                return line;
            }
        }
    }

    private void note(String text) {
        results.add("peer_notes", new LinkedHashMap<>(Map.of("text", text)));
        out.println("PyTorch: " + text);
        out.flush();
    }

    private void absent(String reason) {
        absent = reason;
        results.put("peer", "not measured: " + reason);
        out.println("PyTorch was not measured: " + reason);
        out.flush();
    }

    /** Ends the process and what it has started, for compilers. */
    private void stop() {
        Process running = process;
        process = null;
        if (running == null) {
            return;
        }
        running.descendants().forEach(ProcessHandle::destroyForcibly);
        running.destroyForcibly();
        try {
            running.waitFor(10, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void close() {
        stop();
        try {
            if (script != null) {
                Files.deleteIfExists(script);
            }
        } catch (IOException e) {
            out.println("left behind: " + script);
        }
    }
}
