package tessera.jmh.gpu;

import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalDouble;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.nn.videomae.VideoMaeConfig;

/**
 * PyTorch beside us. One process does what needs no compiler, and each way to compile has a process of its own for each batch and
 * for training: all compile at once before anything is timed. Where there is no PyTorch, nothing is measured and that is no
 * error. Not thread-safe.
 */
final class Peers implements AutoCloseable {
    private static final String EAGER = "eager";

    private final String python;
    private final Sizes sizes;
    private final boolean tiny;
    private final Device device;
    private final Results results;
    private final PrintWriter out;
    private final Map<String, Peer> lanes = new LinkedHashMap<>();
    private final Set<String> told = new LinkedHashSet<>();
    private @Nullable Path folder;

    Peers(String python, Sizes sizes, boolean tiny, Device device, Results results, PrintWriter out) {
        this.python = python;
        this.sizes = sizes;
        this.tiny = tiny;
        this.device = device;
        this.results = results;
        this.out = out;
    }

    /** A folder for what is exchanged, which goes with this. */
    Path folder() {
        Path made = folder;
        if (made == null) {
            try {
                made = Files.createTempDirectory("peer");
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            folder = made;
        }
        return made;
    }

    /**
     * Starts every process that something is to be prepared in, and the one that needs no compiler.
     *
     * @param data weights and clips, as {@link PeerData} writes them
     * @param requests what to prepare: {@code KIND TYPE MODE BATCH RHO P}
     */
    void start(Path data, List<String> requests) {
        start(EAGER, data);
        for (String request : requests) {
            String lane = lane(request);
            if (!lanes.containsKey(lane)) {
                start(lane, data);
            }
            Objects.requireNonNull(lanes.get(lane)).prepare(request);
        }
    }

    private void start(String lane, Path data) {
        VideoMaeConfig config = sizes.config();
        Path script = folder().resolve("peer.py");
        try (InputStream source = Peers.class.getResourceAsStream("peer.py")) {
            if (source == null) {
                throw new IllegalStateException("peer.py is not in the jar");
            }
            if (!Files.exists(script)) {
                Files.write(script, source.readAllBytes());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        List<String> command = new ArrayList<>(List.of(
                python,
                "-u",
                script.toString(),
                "--device=" + device,
                "--frames=" + config.frames(),
                "--side=" + config.height(),
                "--patch=" + config.patches().patch(),
                "--width=" + config.embedDim(),
                "--depth=" + config.depth(),
                "--heads=" + config.heads(),
                "--classes=" + sizes.classes(),
                "--data=" + data,
                tiny ? "--once" : "--full"));
        // Whoever tries many kernels compiles most.
        int threads = Math.max(2, Runtime.getRuntime().availableProcessors() / (lane.contains("autotune") ? 2 : 4));
        Map<String, String> environment = Map.of("TORCHINDUCTOR_COMPILE_THREADS", String.valueOf(threads));
        lanes.put(lane, new Peer(lane, command, environment, results.beside("peer.txt"), this::note));
    }

    /** Which process does it. */
    private static String lane(String request) {
        String[] words = request.split(" ", -1);
        String mode = words.length > 2 ? words[2] : "";
        if (!mode.matches(".*-(default|overhead|autotune).*")) {
            return EAGER;
        }
        if (mode.contains("autotune")) {
            return words[0] + "-autotune " + words[3];
        }
        // With less overhead runs the code that is compiled by default, so that is compiled once. A training step that
        // was captured has
        // ended its process, which must not take the others with it.
        return words[0] + (words[0].equals("train") ? "-" + mode + " " : "-default ") + words[3];
    }

    /** Waits until all is prepared; what is not in time is ended, so that it does not disturb what is timed. */
    void await(Deadline deadline) {
        boolean busy = true;
        while (busy && !deadline.passed()) {
            busy = false;
            for (Peer lane : lanes.values()) {
                busy |= lane.poll(deadline);
            }
            try {
                Thread.sleep(Peer.POLL_MILLIS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                break;
            }
        }
        lanes.values().forEach(Peer::settle);
        absence();
    }

    /** Microseconds of {@code KIND TYPE MODE BATCH RHO P}, empty where they could not be measured in time. */
    OptionalDouble time(String what, double seconds) {
        return microseconds(lane(what), "time " + what, what, seconds);
    }

    /** Microseconds of attention alone, {@code DIRECTION TYPE BATCH TOKENS HEADS DIM BACKEND}. */
    OptionalDouble attention(String what, double seconds) {
        return microseconds(EAGER, "sdpa " + what, what, seconds);
    }

    /** Lets it run once from the given weights and write what it gave into a file; returns whether it has. */
    boolean check(String what, Path file, double seconds) {
        Peer lane = lanes.get(lane(what));
        return lane != null
                && lane.has(what)
                && lane.ask("check " + what + " " + file, seconds).isPresent();
    }

    private OptionalDouble microseconds(String name, String request, String what, double seconds) {
        Peer lane = lanes.get(name);
        if (lane == null || !lane.has(what)) {
            return OptionalDouble.empty();
        }
        String answer = lane.ask(request, seconds).orElse("");
        absence();
        return answer.startsWith("us ")
                ? OptionalDouble.of(Double.parseDouble(answer.substring(3)))
                : OptionalDouble.empty();
    }

    private void absence() {
        Peer eager = lanes.get(EAGER);
        if (eager != null) {
            eager.absence().ifPresent(reason -> results.put("peer", "not measured: " + python + ": " + reason));
        }
    }

    private void note(String text) {
        if (told.add(text)) {
            results.add("peer_notes", new LinkedHashMap<>(Map.of("text", text)));
            out.println("PyTorch: " + text);
            out.flush();
        }
    }

    @Override
    public void close() {
        lanes.values().forEach(Peer::close);
        Path made = folder;
        if (made == null) {
            return;
        }
        try (var files = Files.list(made)) {
            for (Path file : files.toList()) {
                Files.delete(file);
            }
            Files.delete(made);
        } catch (IOException e) {
            out.println("left behind: " + made);
        }
    }
}
