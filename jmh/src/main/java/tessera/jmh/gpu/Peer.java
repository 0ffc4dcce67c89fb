package tessera.jmh.gpu;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import tessera.kernels.CudaDevice;
import tessera.kernels.Device;
import tessera.nn.VideoMaeConfig;

/** PyTorch's times for the same models, from a Python program that prints one measurement per line. */
final class Peer {
    private final String python;
    private final Sizes sizes;
    private final boolean tiny;
    private final Device device;
    private final Results results;
    private final Deadline deadline;
    private final PrintWriter out;

    Peer(String python, Sizes sizes, boolean tiny, Device device, Results results, Deadline deadline, PrintWriter out) {
        this.python = python;
        this.sizes = sizes;
        this.tiny = tiny;
        this.device = device;
        this.results = results;
        this.deadline = deadline;
        this.out = out;
    }

    /**
     * Measures, and sets our times beside PyTorch's. A peer that is missing or fails is reported and no error.
     *
     * @param ours microseconds by {@link ModelBenchmark#key}
     */
    void run(Map<String, Double> ours) {
        try {
            Path script = Files.createTempFile("peer", ".py");
            try {
                try (InputStream source = Peer.class.getResourceAsStream("peer.py")) {
                    if (source == null) {
                        throw new IllegalStateException("peer.py is not in the jar");
                    }
                    Files.write(script, source.readAllBytes());
                }
                run(script, ours);
            } finally {
                Files.deleteIfExists(script);
            }
        } catch (IOException e) {
            absent(String.valueOf(e.getMessage()));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void absent(String reason) {
        results.put("peer", "not measured: " + reason);
        out.println("PyTorch was not measured: " + reason);
    }

    private void run(Path script, Map<String, Double> ours) throws IOException, InterruptedException {
        VideoMaeConfig config = sizes.config();
        Process process = new ProcessBuilder(
                        python,
                        script.toString(),
                        "--device=" + (device instanceof CudaDevice gpu ? "cuda:" + gpu.ordinal() : "cpu"),
                        "--frames=" + config.frames(),
                        "--side=" + config.height(),
                        "--patch=" + config.patches().patch(),
                        "--width=" + config.embedDim(),
                        "--depth=" + config.depth(),
                        "--heads=" + config.heads(),
                        "--classes=" + sizes.classes(),
                        "--batch=" + sizes.batch(),
                        "--seconds=" + String.format(Locale.ROOT, "%.0f", deadline.left()),
                        tiny ? "--once" : "--full")
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        process.getOutputStream().close();
        Thread killer = Thread.ofVirtual().start(() -> {
            try {
                if (!process.waitFor((long) (deadline.left() * 1e3) + 5000, TimeUnit.MILLISECONDS)) {
                    process.destroyForcibly();
                }
            } catch (InterruptedException e) {
                process.destroyForcibly();
            }
        });
        int lines = 0;
        try (BufferedReader reader =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
            for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                lines += read(line, ours);
            }
        } finally {
            killer.interrupt();
        }
        int code = process.waitFor();
        if (lines == 0) {
            absent(python + " ended with code " + code + (code == 3 ? ": it has no torch" : ""));
        } else if (code != 0) {
            results.put("peer_ended_with", code);
        }
    }

    /** One line {@code WHAT TYPE MODE BATCH RHO P MICROSECONDS}, or {@code # text}; returns how many measurements it was. */
    private int read(String line, Map<String, Double> ours) {
        if (line.startsWith("#")) {
            String text = line.substring(1).strip();
            results.add("peer_notes", Map.of("text", text));
            out.println("PyTorch: " + text);
            return 0;
        }
        String[] fields = line.split(" ");
        if (fields.length != 7) {
            return 0;
        }
        int batch = Integer.parseInt(fields[3]);
        double maskRatio = Double.parseDouble(fields[4]);
        int ensemble = Integer.parseInt(fields[5]);
        double us = Double.parseDouble(fields[6]);
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("what", fields[0]);
        entry.put("type", fields[1]);
        entry.put("mode", fields[2]);
        entry.put("batch", batch);
        entry.put("rho", maskRatio);
        entry.put("P", ensemble);
        entry.put("us", us);
        String key = ModelBenchmark.key(fields[0], fields[1], batch, maskRatio, ensemble);
        Double mine = ours.get(key);
        if (mine != null) {
            entry.put("ours_us", mine);
            entry.put("times_faster", us / mine);
        }
        results.add("peer", entry);
        out.printf(
                Locale.ROOT,
                "PyTorch %-8s %s: %10.1f us%s%n",
                fields[2],
                key,
                us,
                mine == null ? "" : String.format(Locale.ROOT, ", ours is %.2f times as fast", us / mine));
        return 1;
    }
}
