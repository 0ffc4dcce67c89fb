package tessera.jmh.gpu;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Json;

/** A page in Markdown of what {@link GpuBenchmark} measured: {@code FILE.json} is read, the page is printed. */
public final class ResultsPage {
    private final StringBuilder page = new StringBuilder();
    private final Map<String, @Nullable Object> root;

    private ResultsPage(Map<String, @Nullable Object> root) {
        this.root = root;
    }

    /** Prints the page of a file. */
    public static void main(String[] args) throws IOException {
        System.out.print(of(Json.object(Files.readString(Path.of(args[0])))));
    }

    /** The page of results. */
    static String of(Map<String, ? extends @Nullable Object> results) {
        Map<String, @Nullable Object> root = new LinkedHashMap<>(results);
        // As a file gives them: records have become objects.
        ResultsPage page = new ResultsPage(Json.object(Json.text(root)));
        page.write();
        return page.page.toString();
    }

    /** What matters of it, in some 8,000 characters. */
    static String summary(Map<String, ? extends @Nullable Object> results) {
        Map<String, @Nullable Object> root = new LinkedHashMap<>(results);
        ResultsPage page = new ResultsPage(Json.object(Json.text(root)));
        page.sum();
        return page.page.toString();
    }

    private void sum() {
        line("");
        line("Sections: "
                + entries("sections").stream()
                        .map(one -> one.get("section") + " " + number(one.get("seconds"), "%.0f") + " s, MHz "
                                + one.get("sm_mhz") + ", W " + one.get("watts") + ", held back by "
                                + one.get("held_back_by"))
                        .collect(Collectors.joining("; ")));
        line("Copy " + number(root.get("copy_gb_per_s"), "%.0f") + " GB/s, matmul in bf16 "
                + number(root.get("matmul_tflop_per_s_bf16"), "%.0f") + " TFLOP/s");
        for (Map<?, ?> entry : entries("settings")) {
            line("setting " + entry);
        }
        for (Map<?, ?> part : entries("profile")) {
            line("profile: " + part.get("part") + ", " + number(part.get("us"), "%.1f") + " us, " + part.get("launches")
                    + " launches");
            if (part.get("kernels") instanceof List<?> kernels) {
                kernels.stream()
                        .limit(8)
                        .forEach(one -> line(String.format(
                                Locale.ROOT,
                                "  %5s us %3s x %5s GB/s %s",
                                number(in(one, "us"), "%.1f"),
                                in(one, "launches"),
                                number(in(one, "gb_per_s"), "%.0f"),
                                first(in(one, "kernel"), 70))));
            }
        }
        line("memory-bound kernels, share of their own ceiling, the least first:");
        entries("kernels").stream()
                .filter(one ->
                        Boolean.TRUE.equals(one.get("memory_bound")) && one.get("of_own_ceiling") instanceof Number)
                .sorted(Comparator.comparingDouble(ResultsPage::share))
                .limit(14)
                .forEach(one -> line("  " + number(share(one) * 100, "%.0f %%") + " " + one.get("kernel") + " "
                        + one.get("type") + ", " + one.get("shape") + ", " + number(one.get("us"), "%.1f") + " us"));
        for (Map<?, ?> entry : entries("kernels")) {
            if (Boolean.FALSE.equals(entry.get("right")) || entry.containsKey("failed")) {
                line("WRONG: " + first(entry.toString(), 200));
            }
        }
        for (Map<?, ?> entry : entries("attention")) {
            StringBuilder text = new StringBuilder("attention " + entry.get("direction") + " " + entry.get("batch")
                    + " x " + entry.get("tokens") + " x " + entry.get("heads") + " x " + entry.get("head_dim") + ":");
            entry.forEach((name, value) -> {
                if (name.toString().endsWith("_us") && !name.equals("chosen_us")) {
                    text.append(' ')
                            .append(name.toString().replace("_us", ""))
                            .append(' ')
                            .append(number(value, "%.1f"));
                }
            });
            line(text + ", chosen " + entry.get("chosen"));
        }
        for (Map<?, ?> entry : entries("models")) {
            // Those that the goals name; and what did not run.
            if (entry.containsKey("us_pdl_true") || entry.containsKey("failed")) {
                line(entry.get("what") + " batch " + entry.get("batch") + ": " + number(entry.get("us"), "%.1f")
                        + others(entry) + "; PyTorch " + numbers(entry.get("pytorch_us"), "%.1f") + "; errors "
                        + numbers(entry.get("pytorch_error"), "%.1e")
                        + (entry.containsKey("failed") ? " FAILED " + entry.get("failed") : ""));
            }
        }
    }

    private static String numbers(@Nullable Object map, String format) {
        return map instanceof Map<?, ?> members
                ? members.entrySet().stream()
                        .map(member -> member.getKey() + " " + number(member.getValue(), format))
                        .collect(Collectors.joining(", "))
                : "-";
    }

    private static double share(Map<?, ?> entry) {
        return entry.get("of_own_ceiling") instanceof Number share ? share.doubleValue() : Double.NaN;
    }

    private static String first(@Nullable Object value, int characters) {
        String text = String.valueOf(value);
        return text.substring(0, Math.min(characters, text.length()));
    }

    private void write() {
        line("# " + root.get("device") + ", " + root.get("date"));
        line("");
        line("Commit " + root.get("revision") + "; " + root.get("described") + "; driver " + root.get("driver")
                + ". Copy " + number(root.get("copy_gb_per_s"), "%.0f") + " GB/s, matmul in bf16 "
                + number(root.get("matmul_tflop_per_s_bf16"), "%.0f") + " TFLOP/s in the same run.");
        table(
                "Goals",
                "goals",
                List.of("goal", "value", "target", "verdict", "detail"),
                List.of("goal", "value", "target", "verdict", "detail"));
        line("");
        line("## Models, microseconds");
        for (Map<?, ?> entry : entries("models")) {
            line("");
            line("**" + entry.get("what") + " " + entry.get("type") + ", batch " + entry.get("batch") + ", rho "
                    + entry.get("rho") + ", P " + entry.get("P") + "**: ours " + number(entry.get("us"), "%.1f")
                    + others(entry));
            if (entry.get("pytorch_us") instanceof Map<?, ?> theirs && !theirs.isEmpty()) {
                line("");
                line("| PyTorch | us | times ours | error |");
                line("|:--|--:|--:|--:|");
                theirs.forEach((mode, us) -> line("| " + mode + " | " + number(us, "%.1f") + " | "
                        + number(in(entry.get("times_faster"), mode), "%.2f") + " | "
                        + number(in(entry.get("pytorch_error"), mode), "%.1e") + " |"));
            }
        }
        table(
                "Attention, microseconds",
                "attention",
                List.of(
                        "direction",
                        "batch",
                        "tokens",
                        "heads",
                        "head dim",
                        "own",
                        "cuDNN",
                        "PyTorch cuDNN",
                        "flash",
                        "chosen"),
                List.of(
                        "direction",
                        "batch",
                        "tokens",
                        "heads",
                        "head_dim",
                        "own_us",
                        "cudnn_us",
                        "sdpa_cudnn_us",
                        "sdpa_flash_us",
                        "chosen"));
        table(
                "Kernels",
                "kernels",
                List.of("kernel", "shape", "type", "us", "GB/s", "of own ceiling", "TFLOP/s", "of matmul", "right"),
                List.of(
                        "kernel",
                        "shape",
                        "type",
                        "us",
                        "gb_per_s",
                        "of_own_ceiling",
                        "tflop_per_s",
                        "of_matmul",
                        "right"));
        table("Models under settings, microseconds", "settings", settings(), settings());
        for (Map<?, ?> part : entries("profile")) {
            line("");
            line("## Profile: " + part.get("part") + ", " + number(part.get("us"), "%.1f") + " us in "
                    + part.get("launches") + " launches, one by one");
            line("");
            rows(
                    part.get("kernels") instanceof List<?> kernels ? kernels : List.of(),
                    List.of("kernel", "launches", "us", "share", "GB/s"),
                    List.of("kernel", "launches", "us", "share", "gb_per_s"));
        }
        table(
                "Conditions: least, median and greatest",
                "sections",
                List.of("section", "seconds", "SM MHz", "memory MHz", "watts", "celsius", "held back by"),
                List.of("section", "seconds", "sm_mhz", "memory_mhz", "watts", "celsius", "held_back_by"));
    }

    private List<String> settings() {
        LinkedHashSet<String> names = new LinkedHashSet<>(List.of("setting"));
        entries("settings").forEach(entry -> entry.keySet().forEach(name -> names.add(name.toString())));
        return List.copyOf(names);
    }

    private static String others(Map<?, ?> entry) {
        StringBuilder text = new StringBuilder();
        for (String name : List.of("us_ops", "us_call", "us_host", "us_pdl_false", "us_pdl_true")) {
            if (entry.get(name) instanceof Double us) {
                text.append(", ")
                        .append(name.substring(3).replace('_', ' '))
                        .append(' ')
                        .append(number(us, "%.1f"));
            }
        }
        return text.toString();
    }

    private static @Nullable Object in(@Nullable Object map, Object key) {
        return map instanceof Map<?, ?> members ? members.get(key) : null;
    }

    private List<Map<?, ?>> entries(String list) {
        return root.get(list) instanceof List<?> all
                ? all.stream().<Map<?, ?>>map(one -> (Map<?, ?>) one).toList()
                : List.of();
    }

    private void table(String title, String list, List<String> heads, List<String> members) {
        if (!entries(list).isEmpty()) {
            line("");
            line("## " + title);
            line("");
            rows(entries(list), heads, members);
        }
    }

    private void rows(List<?> entries, List<String> heads, List<String> members) {
        line("| " + String.join(" | ", heads) + " |");
        line("|" + ":--|".repeat(heads.size()));
        for (Object entry : entries) {
            line("| "
                    + String.join(
                            " | ",
                            members.stream().map(name -> cell(in(entry, name))).toList()) + " |");
        }
    }

    private static String cell(@Nullable Object value) {
        return value == null
                ? "-"
                : value instanceof Double number ? number(number, number < 10 ? "%.3g" : "%.1f") : value.toString();
    }

    private static String number(@Nullable Object value, String format) {
        return value instanceof Number number ? String.format(Locale.ROOT, format, number.doubleValue()) : "-";
    }

    private void line(String text) {
        page.append(text).append('\n');
    }
}
