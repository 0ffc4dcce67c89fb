package tessera.jmh.gpu;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.NativeReport;

/**
 * Attention by our own kernels, by those whose warps own 32 rows, by warpgroups where they are not usual, by cuDNN through ours, and by
 * PyTorch, and from that the table of who computes what, in the form of the resource {@code attention.providers}.
 *
 * <p>A process settles once who computes, so each but the last is measured by a process of its own.
 */
final class AttentionBenchmark {
    private static final String PROPERTY = "tessera.cuda.attention";
    /** The provider whose warps own 32 rows; it has a forward pass alone. */
    private static final String TALL = "tall";

    /** The provider that computes by warpgroups what these compute elsewhere alone. */
    private static final String WGMMA = "wgmma";

    private static final String CUDNN = "cudnn";

    /** Of devices with kernels for a warpgroup, which own more rows still. */
    private static final String WARPGROUPS = "90";

    private static final String REFUSED = "computed by our own kernels";

    /** Samples for which runs are compared bit by bit. */
    private static final long REPEATED_BATCH = 8;

    private static final String GRADIENTS = "tessera.cuda.attention.gradients";

    /** Ways to compute gradients that are measured beside the usual one. */
    private static final List<String> WAYS = List.of("two-kernels");

    /** Another than our usual kernels gets a shape where it is faster by more than measuring twice differs. */
    private static final double CLEARLY = .98;

    private static final double PEER_SECONDS = 20;

    private static final List<String> BACKENDS = List.of("auto", "flash", "cudnn", "efficient");

    private final Device device;
    private final Sizes sizes;
    private final List<String> more;
    private final Results results;
    private final @Nullable Peers peers;
    private final PrintWriter out;

    /**
     * Measures attention.
     *
     * @param more options of the processes it starts
     */
    AttentionBenchmark(
            Device device, Sizes sizes, List<String> more, Results results, @Nullable Peers peers, PrintWriter out) {
        this.device = device;
        this.sizes = sizes;
        this.more = more;
        this.results = results;
        this.peers = peers;
        this.out = out;
    }

    // ------------------------------------------------------------------------------------------- in the child process

    /** Prints a line {@code NAME|SHAPE|MICROSECONDS|SQUARED ERROR|RIGHT|REPEATS} for each case, and lines {@code # NOTE}. */
    static void measureHere(
            Device device, Sizes sizes, boolean tiny, References references, Results results, PrintWriter out) {
        Logger.getLogger("tessera").addHandler(new Refusals(out));
        KernelBenchmark kernels = new KernelBenchmark(device, sizes, tiny, references, results, out);
        boolean gradients = System.getProperty(GRADIENTS) != null;
        String provider = System.getProperty(PROPERTY, "");
        for (KernelCase one : KernelCases.attention(sizes)) {
            boolean backward = one.name().endsWith("backward");
            boolean computed = switch (provider) {
                case TALL -> !backward && !AttentionCases.isRare(one);
                case WGMMA -> AttentionCases.isRare(one);
                case CUDNN -> !AttentionCases.isInWindows(one);
                default -> !gradients || (backward && !AttentionCases.isRare(one));
            };
            if (!computed) {
                continue;
            }
            try {
                double error = kernels.error(one, DType.BF16);
                boolean repeats = !one.name().endsWith("backward") || repeats(one, device);
                double us = kernels.time(one, DType.BF16).median();
                boolean right = KernelBenchmark.right(one, DType.BF16, error);
                out.println(String.join(
                        "|", one.name(), one.shape(), "" + us, "" + error, "" + right, String.valueOf(repeats)));
            } catch (RuntimeException e) {
                out.println("# " + one.name() + " " + one.shape() + " failed: " + e.getMessage());
            }
            out.flush();
        }
    }

    /** Passes on who refused to compute. */
    private static final class Refusals extends Handler {
        private final PrintWriter out;

        Refusals(PrintWriter out) {
            this.out = out;
        }

        @Override
        public void publish(LogRecord record) {
            String text = String.valueOf(record.getMessage());
            Object[] values = record.getParameters();
            if (text.contains(REFUSED)) {
                out.println("# " + REFUSED + ": " + (values == null ? text : values[values.length - 1]));
            }
        }

        @Override
        public void flush() {
            out.flush();
        }

        @Override
        public void close() {}
    }

    private static boolean repeats(KernelCase one, Device device) {
        List<double[]> first = null;
        for (int run = 0; run < 3; run++) {
            try (Inputs in = Inputs.of(device, DType.BF16)) {
                one.setup()
                        .prepare(device.kernels(), in, Math.min(REPEATED_BATCH, one.batch()))
                        .run();
                List<double[]> now = in.results();
                if (first == null) {
                    first = now;
                } else if (!Arrays.deepEquals(first.toArray(), now.toArray())) {
                    return false;
                }
            }
        }
        return true;
    }

    // ------------------------------------------------------------------------------------------ in the parent process

    /** What a child process found for one case. */
    private record Found(double us, double error, boolean right, boolean repeats) {}

    /** Returns how much failed or was wrong. */
    int run(Deadline deadline) {
        if (device.isHost()) {
            return 0;
        }
        String card = device.name().strip().replaceAll("\\s+", "_");
        String capability = device.architecture().replace("sm_", "");
        int wrong = 0;
        Map<String, Found> own = child("own", Map.of(), deadline);
        Map<String, Map<String, Found>> rivals = new LinkedHashMap<>();
        for (String rival : List.of(CUDNN, capability.equals(WARPGROUPS) ? WGMMA : TALL)) {
            rivals.put(rival, child(rival, Map.of(), deadline));
        }
        Map<String, Map<String, Found>> ways = new LinkedHashMap<>();
        WAYS.forEach(way -> ways.put(way, child("own", Map.of(GRADIENTS, way), deadline.share(.97))));
        // Heads do not count there: another than our usual kernels gets a line where it is the fastest for all that
        // share it.
        Map<String, String> fastest = new LinkedHashMap<>();
        for (KernelCase one : KernelCases.attention(sizes)) {
            String name = name(one);
            Found ours = own.get(name);
            if (ours == null) {
                continue;
            }
            int[] shape = Arrays.stream(one.shape().split(" x "))
                    .mapToInt(Integer::parseInt)
                    .toArray();
            int tokens = shape[shape.length - 3];
            int heads = shape[shape.length - 2];
            int headDim = shape[shape.length - 1];
            boolean biased = AttentionCases.isInWindows(one);
            String direction = (biased ? "biased-" : "") + (one.name().endsWith("backward") ? "backward" : "forward");
            Map<String, Object> entry = new LinkedHashMap<>();
            entry.put("direction", direction);
            entry.put("batch", biased ? shape[0] * shape[1] : shape[0]);
            entry.put("tokens", tokens);
            entry.put("heads", heads);
            entry.put("head_dim", headDim);
            boolean encoder = heads == sizes.config().heads() && !AttentionCases.isRare(one);
            entry.put("goal", encoder && (tokens == sizes.visible(.75) || tokens == sizes.tokens()));
            entry.put("own_us", ours.us);
            entry.put("own_squared_error", ours.error);
            entry.put("own_right", ours.right);
            entry.put("own_repeats", ours.repeats);
            wrong += ours.right && ours.repeats ? 0 : 1;
            for (Map.Entry<String, Map<String, Found>> way : ways.entrySet()) {
                Found other = way.getValue().get(name);
                if (other != null) {
                    entry.put("own_" + way.getKey() + "_us", other.us);
                    entry.put("own_" + way.getKey() + "_right", other.right && other.repeats);
                }
            }
            String chosen = "own";
            double least = CLEARLY * ours.us;
            double us = ours.us;
            for (String rival : rivals.keySet()) {
                Found found = rivals.getOrDefault(rival, Map.of()).get(name);
                if (found == null) {
                    continue;
                }
                entry.put(rival + "_us", found.us);
                entry.put(rival + "_squared_error", found.error);
                entry.put(rival + "_right", found.right);
                entry.put(rival + "_repeats", found.repeats);
                if (found.right && found.repeats && found.us < least) {
                    chosen = rival;
                    least = found.us;
                    us = found.us;
                }
            }
            entry.put("chosen", chosen);
            entry.put("chosen_us", us);
            if (!biased) {
                askPeer(entry, direction, shape, deadline);
            }
            results.add("attention", entry);
            String line = String.join(" ", card, capability, direction, "" + tokens, "" + tokens, "" + headDim);
            fastest.merge(line, chosen, (before, now) -> before.equals(now) ? now : "own");
            report(entry);
        }
        write(fastest.entrySet().stream()
                .map(line -> line.getKey() + " " + line.getValue())
                .toList());
        return wrong;
    }

    private static String name(KernelCase one) {
        return one.name() + "|" + one.shape();
    }

    private void askPeer(Map<String, Object> entry, String direction, int[] shape, Deadline deadline) {
        if (peers == null) {
            return;
        }
        // Elsewhere it is cuDNN that a table may name.
        for (String backend : Boolean.TRUE.equals(entry.get("goal")) ? BACKENDS : List.of("cudnn")) {
            if (deadline.passed()) {
                return;
            }
            OptionalDouble us = peers.attention(
                    String.format(
                            Locale.ROOT,
                            "%s bf16 %d %d %d %d %s",
                            direction,
                            shape[0],
                            shape[1],
                            shape[2],
                            shape[3],
                            backend),
                    PEER_SECONDS);
            us.ifPresent(value -> entry.put("sdpa_" + backend + "_us", value));
        }
    }

    private void report(Map<String, Object> entry) {
        StringBuilder line = new StringBuilder(String.format(
                Locale.ROOT,
                "attention %-8s %s x %s x %s x %s:",
                entry.get("direction"),
                entry.get("batch"),
                entry.get("tokens"),
                entry.get("heads"),
                entry.get("head_dim")));
        entry.forEach((name, value) -> {
            if (name.endsWith("_us") && !name.startsWith("chosen") && value instanceof Double us) {
                line.append(String.format(Locale.ROOT, " %s %.1f", name.replace("_us", ""), us));
            }
        });
        out.println(line + " us" + (Boolean.TRUE.equals(entry.get("own_right")) ? "" : " WRONG")
                + (Boolean.TRUE.equals(entry.get("own_repeats")) ? "" : " RUNS DIFFER"));
        out.flush();
    }

    private void write(List<String> table) {
        results.put("attention_providers", table);
        try {
            Path folder = results.beside("").toAbsolutePath();
            Files.createDirectories(folder);
            String text = """
                # Who computes bf16 attention fastest, as the kernel benchmark measured it. What is not listed is computed by our own kernels. A
                # backward pass may be given to cudnn only where three runs gave the same bits. One line per shape: card, compute capability (major
                # * 10 + minor; other cards of it take the line where they have none), forward or backward, biased-forward or biased-backward with a
                # bias or regions, queries, keys, head dim, own, tall (ours by warps of 32 rows, forward), wgmma (ours by warpgroups where our usual
                # ones are not) or cudnn
                """ + String.join("\n", table) + "\n";
            Files.writeString(results.beside("attention.providers"), text);
            String kept = System.getProperty("tessera.cuda.cache");
            if (kept != null) {
                Files.createDirectories(Path.of(kept));
                Files.writeString(Path.of(kept, "attention.providers"), text);
            }
        } catch (IOException e) {
            out.println("attention.providers could not be written: " + e.getMessage());
        }
    }

    /** Runs {@link #measureHere} in a process where this provider computes; without what it refuses to. */
    private Map<String, Found> child(String provider, Map<String, String> way, Deadline deadline) {
        Map<String, Found> found = new LinkedHashMap<>();
        String library = NativeReport.findings().getOrDefault("cuDNN", "not used");
        if (provider.equals(CUDNN) && library.startsWith("not used")) {
            note(provider, library);
            return found;
        }
        Map<String, String> properties = new LinkedHashMap<>(way);
        properties.put(PROPERTY, provider);
        List<String> command = Sections.child("attention-here", device, properties, more);
        boolean[] refused = new boolean[1];
        int code = Sections.run(command, deadline, line -> {
            String[] fields = line.split("\\|", 0);
            if (line.startsWith("#")) {
                note(provider, line.substring(1).strip());
                refused[0] |= line.contains(REFUSED);
            } else if (fields.length == 6) {
                if (!refused[0]) {
                    found.put(
                            fields[0] + "|" + fields[1],
                            new Found(
                                    Double.parseDouble(fields[2]),
                                    Double.parseDouble(fields[3]),
                                    Boolean.parseBoolean(fields[4]),
                                    Boolean.parseBoolean(fields[5])));
                }
                refused[0] = false;
            } else {
                note(provider, line);
            }
        });
        if (code != 0) {
            note(provider, code < 0 ? "the process was ended in time" : "the process ended with code " + code);
        }
        return found;
    }

    private void note(String provider, String text) {
        results.add("attention_notes", new LinkedHashMap<>(Map.of("provider", provider, "text", text)));
        out.println("attention by " + provider + ": " + text);
    }
}
