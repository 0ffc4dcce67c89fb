package tessera.jmh.gpu;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * Under which conditions a GPU measures: its clocks, power, temperature and what holds the clocks back, as {@code nvidia-smi} says
 * twice a second. Without that program there are none. Thread-safe.
 */
final class Conditions implements AutoCloseable {
    private static final String FIELDS =
            "clocks.sm,clocks.mem,power.draw,temperature.gpu,clocks_event_reasons.active,clocks.max.sm,power.limit";

    /** Bits of the reasons, as NVML names them. */
    private static final Map<Long, String> REASONS = reasons();

    private final @Nullable Process process;
    private List<double[]> seen = new ArrayList<>();
    private Set<String> reasons = new LinkedHashSet<>();
    private String complaint = "nvidia-smi said nothing";

    Conditions(int device) {
        Process started = null;
        try {
            started = new ProcessBuilder(
                            "nvidia-smi",
                            "--id=" + device,
                            "--query-gpu=" + FIELDS,
                            "--format=csv,noheader,nounits",
                            "--loop-ms=500")
                    .redirectErrorStream(true)
                    .start();
            started.getOutputStream().close();
            Process running = started;
            Thread.ofPlatform().daemon().start(() -> read(running));
        } catch (IOException e) {
            complaint = "no nvidia-smi: " + e.getMessage();
        }
        process = started;
    }

    private static Map<Long, String> reasons() {
        Map<Long, String> names = new LinkedHashMap<>();
        names.put(0x1L, "idle");
        names.put(0x2L, "application clocks");
        names.put(0x4L, "power cap");
        names.put(0x8L, "hardware slowdown");
        names.put(0x10L, "sync boost");
        names.put(0x20L, "software thermal");
        names.put(0x40L, "hardware thermal");
        names.put(0x80L, "hardware power brake");
        names.put(0x100L, "display clocks");
        return names;
    }

    private void read(Process running) {
        try (var lines = running.inputReader(StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                add(line);
            }
        } catch (IOException e) {
            // The process was ended.
        }
    }

    private synchronized void add(String line) {
        String[] fields = line.split(",", -1);
        if (fields.length != FIELDS.split(",", -1).length) {
            complaint = line.strip();
            return;
        }
        double[] values = new double[fields.length];
        for (int i = 0; i < values.length; i++) {
            String text = fields[i].strip();
            if (text.startsWith("0x")) {
                long bits = Long.parseLong(text.substring(2), 16);
                REASONS.forEach((bit, name) -> {
                    if ((bits & bit) != 0) {
                        reasons.add(name);
                    }
                });
            } else {
                values[i] = text.matches("[0-9.]+") ? Double.parseDouble(text) : Double.NaN;
            }
        }
        seen.add(values);
    }

    /** What was seen since the last call of this. */
    synchronized Map<String, Object> take() {
        List<double[]> samples = seen;
        Map<String, Object> entry = new LinkedHashMap<>();
        if (samples.isEmpty()) {
            entry.put("unknown", complaint);
            return entry;
        }
        entry.put("samples", samples.size());
        entry.put("sm_mhz", range(samples, 0));
        entry.put("memory_mhz", range(samples, 1));
        entry.put("watts", range(samples, 2));
        entry.put("celsius", range(samples, 3));
        entry.put("held_back_by", List.copyOf(reasons));
        entry.put("most_sm_mhz", samples.getLast()[5]);
        entry.put("watts_limit", samples.getLast()[6]);
        seen = new ArrayList<>();
        reasons = new LinkedHashSet<>();
        return entry;
    }

    /** Least, median and greatest. */
    private static List<Double> range(List<double[]> samples, int field) {
        double[] sorted =
                samples.stream().mapToDouble(values -> values[field]).sorted().toArray();
        return List.of(sorted[0], sorted[sorted.length / 2], sorted[sorted.length - 1]);
    }

    @Override
    public void close() {
        if (process != null) {
            process.destroy();
            try {
                if (!process.waitFor(2, TimeUnit.SECONDS)) {
                    process.destroyForcibly();
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
