package tessera.jmh.gpu;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import tessera.kernels.Device;

/**
 * What computes fastest: cuBLASLt's algorithms for every product of the models, written to the table that later processes read, and
 * the models under each setting that chooses among kernels. Each is tried by a process of its own, since a process settles once
 * what it uses.
 */
final class Tuning {
    private static final Duration PRODUCTS = Duration.ofSeconds(12);
    private static final String TABLE = "products.table";
    private static final String CACHE = "tessera.cuda.cache";

    /** The setting that changes nothing. */
    static final String AS_IT_IS = "as it is";

    /** The setting in which the models' linear layers are on bytes, on devices that have the kernels. */
    static final String ON_BYTES = "layers on bytes";

    /** The same with bytes that are floats. */
    static final String ON_FLOATS8 = "layers on e4m3";

    /** Property that joins linear layers with the norms before them, on devices that have the kernels. */
    private static final String NORMS = "tessera.cuda.norms";

    private static final String WITH_BYTES = "sm_90";

    /** Settings beside the usual ones, by a name for each. */
    private static final Map<String, Map<String, String>> SETTINGS = settings();

    private final Device device;
    private final List<String> more;
    private final Results results;
    private final PrintWriter out;

    /** @param more options of the processes it starts */
    Tuning(Device device, List<String> more, Results results, PrintWriter out) {
        this.device = device;
        this.more = more;
        this.results = results;
        this.out = out;
    }

    private static Map<String, Map<String, String>> settings() {
        Map<String, Map<String, String>> settings = new LinkedHashMap<>();
        settings.put(AS_IT_IS, Map.of());
        settings.put("dependent launches", Map.of("tessera.cuda.pdl", "true"));
        settings.put("products of our own", Map.of("tessera.cuda.products", "own"));
        settings.put("both", Map.of("tessera.cuda.pdl", "true", "tessera.cuda.products", "own"));
        settings.put("attention of our own", Map.of("tessera.cuda.attention", "own"));
        settings.put("attention by cuDNN", Map.of("tessera.cuda.attention", "cudnn"));
        settings.put("norms in products", Map.of(NORMS, "own"));
        settings.put(ON_BYTES, Map.of(ModelBenchmark.BYTES, "own"));
        settings.put(ON_FLOATS8, Map.of(ModelBenchmark.BYTES, "e4m3"));
        return settings;
    }

    // --------------------------------------------------------------------------------------- in the child processes

    /** Computes each model once, then tries the algorithms of its products. */
    static void productsHere(Device device, ModelBenchmark models, PrintWriter out) {
        models.profiled().forEach(Runnable::run);
        device.synchronize();
        device.tune(PRODUCTS).forEach(out::println);
    }

    /** Prints a line {@code CASE|MICROSECONDS} for each model; one whose layers are on bytes has to be right too. */
    static void settingsHere(ModelBenchmark models, PrintWriter out) {
        if (models.onBytes() && models.check() > 0) {
            throw new IllegalStateException("the features of layers on bytes are wrong");
        }
        models.times((name, us) -> {
            out.printf(Locale.ROOT, "%s|%.2f%n", name, us);
            out.flush();
        });
    }

    // ------------------------------------------------------------------------------------------ in the parent process

    /** Chooses the algorithms of products. */
    void products(Deadline deadline) {
        List<String> lines = new ArrayList<>();
        // With layers behind norms, which are measured beside the two apart.
        List<String> child = Sections.child("products-here", device, Map.of(NORMS, "own"), more);
        int code = Sections.run(child, deadline, line -> {
            lines.add(line);
            out.println("  " + line);
        });
        results.put("products", lines);
        if (code != 0) {
            out.println("choosing algorithms ended with code " + code);
        }
        String kept = System.getProperty(CACHE);
        if (kept != null && Files.exists(Path.of(kept, TABLE))) {
            try {
                Files.copy(Path.of(kept, TABLE), results.beside(TABLE), StandardCopyOption.REPLACE_EXISTING);
            } catch (IOException e) {
                out.println(TABLE + " could not be copied: " + e.getMessage());
            }
        }
    }

    /** Measures the models under each setting. */
    void settings(Deadline deadline) {
        SETTINGS.forEach((name, properties) -> {
            boolean bytes = properties.containsKey(ModelBenchmark.BYTES);
            if (deadline.passed() || (bytes && !device.architecture().equals(WITH_BYTES))) {
                return;
            }
            Map<String, Object> entry = new LinkedHashMap<>();
            entry.put("setting", name);
            StringBuilder text = new StringBuilder(String.format(Locale.ROOT, "  %-24s", name));
            int code = Sections.run(Sections.child("settings-here", device, properties, more), deadline, line -> {
                String[] fields = line.split("\\|", -1);
                if (fields.length == 2) {
                    entry.put(fields[0], Double.parseDouble(fields[1]));
                    text.append(' ').append(fields[0]).append(' ').append(fields[1]);
                } else {
                    out.println("  " + line);
                }
            });
            if (code != 0) {
                entry.put("failed", code);
                text.append(" ended with code ").append(code);
            }
            results.add("settings", entry);
            out.println(text);
            out.flush();
        });
    }
}
