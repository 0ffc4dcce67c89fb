package tessera.jmh.gpu;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** What the figures are held against; the targets are those for an H100 or H200. */
public final class Goals {
    private static final double RHO = .75;
    private static final double HOST_US = 5;
    /** Below that, layers on bytes stay off. */
    private static final double BYTES_FASTER = 1.1;

    private static final String OF_OWN = "of_own_ceiling";

    private Goals() {}

    /**
     * One goal.
     *
     * @param value null where it is not measured
     * @param target that the value has to reach
     * @param verdict met, missed or not measured
     * @param detail what the value is of
     */
    public record Goal(String goal, @Nullable Double value, double target, String verdict, String detail) {
        static Goal of(String goal, OptionalDouble value, double target, String detail) {
            if (value.isEmpty() || Double.isNaN(value.getAsDouble())) {
                return new Goal(goal, null, target, "not measured", detail);
            }
            double reached = value.getAsDouble();
            return new Goal(goal, reached, target, reached >= target ? "met" : "missed", detail);
        }
    }

    /** Every goal. */
    static List<Goal> of(Results results) {
        List<Goal> goals = new ArrayList<>();
        goals.add(memoryBound(results));
        for (String direction : List.of("forward", "backward")) {
            double target = direction.equals("forward") ? 1 : .9;
            for (Map<String, Object> entry : results.list("attention")) {
                if (Boolean.TRUE.equals(entry.get("goal")) && direction.equals(entry.get("direction"))) {
                    goals.add(attention(entry, direction, target));
                }
            }
        }
        if (goals.size() == 1) {
            goals.add(Goal.of("attention: cuDNN / what dispatch chooses", OptionalDouble.empty(), 1, ""));
        }
        goals.add(model(results, "forward", true, 1.5, "eager", mode -> !mode.contains(" ")));
        goals.add(model(results, "forward", true, 1.25, "compiled", Goals::compiled));
        goals.add(model(results, "forward", false, 3, "eager", mode -> !mode.contains(" ")));
        goals.add(model(results, "forward", false, 1.3, "captured graph", mode -> mode.matches("\\w+ graph.*")));
        goals.add(model(results, "train", true, 1.3, "at its fastest", mode -> true));
        goals.add(host(results));
        goals.add(bytes(results, Tuning.ON_BYTES));
        goals.add(bytes(results, Tuning.ON_FLOATS8));
        return goals;
    }

    private static boolean compiled(String mode) {
        return mode.matches("\\w+ (default|overhead|autotune).*");
    }

    private static Goal memoryBound(Results results) {
        List<Map<String, Object>> bound = results.list("kernels").stream()
                .filter(entry -> Boolean.TRUE.equals(entry.get("memory_bound")) && entry.get(OF_OWN) instanceof Double)
                .sorted(Comparator.comparingDouble(entry -> number(entry, OF_OWN)))
                .toList();
        double target = .9;
        long reached =
                bound.stream().filter(entry -> number(entry, OF_OWN) >= target).count();
        String detail = bound.isEmpty()
                ? ""
                : reached + " of " + bound.size() + " reach it; furthest: "
                        + bound.getFirst().get("kernel") + " in "
                        + bound.getFirst().get("type");
        OptionalDouble lowest =
                bound.isEmpty() ? OptionalDouble.empty() : OptionalDouble.of(number(bound.getFirst(), OF_OWN));
        return Goal.of("memory-bound kernels: least share of their own ceiling", lowest, target, detail);
    }

    /** cuDNN by itself or through PyTorch; without it, PyTorch's fastest. */
    private static Goal attention(Map<String, Object> entry, String direction, double target) {
        double chosen = number(entry, "chosen_us");
        double best = Double.NaN;
        String beside = "";
        for (boolean others : new boolean[] {false, true}) {
            for (Map.Entry<String, Object> other : entry.entrySet()) {
                String name = other.getKey();
                if ((others ? name.startsWith("sdpa") : name.equals("cudnn_us") || name.equals("sdpa_cudnn_us"))
                        && other.getValue() instanceof Double us
                        && !(us >= best)) {
                    best = us;
                    beside = name;
                }
            }
            if (!beside.isEmpty()) {
                break;
            }
        }
        return Goal.of(
                "attention " + direction + " of " + (int) number(entry, "tokens")
                        + " tokens: cuDNN / what dispatch chooses",
                Double.isNaN(best / chosen) ? OptionalDouble.empty() : OptionalDouble.of(best / chosen),
                target,
                beside.isEmpty()
                        ? ""
                        : String.format(
                                Locale.ROOT,
                                "beside %s; chosen %s; our own %.2f",
                                beside,
                                entry.get("chosen"),
                                best / number(entry, "own_us")));
    }

    private static @Nullable Map<String, Object> entry(Results results, String what, boolean large) {
        return results.list("models").stream()
                .filter(one -> what.equals(one.get("what"))
                        && "bf16".equals(one.get("type"))
                        && number(one, "rho") == RHO
                        && number(one, "P") == 1
                        && (number(one, "batch") > 1) == large)
                .max(Comparator.comparingDouble(one -> number(one, "batch")))
                .orElse(null);
    }

    /** Masked at .75, one mask, in bf16, at the largest batch or at 1, beside the fastest of some of PyTorch's modes. */
    private static Goal model(
            Results results, String what, boolean large, double target, String name, Predicate<String> counts) {
        Map<String, Object> entry = entry(results, what, large);
        String goal = (what.equals("train") ? "training step" : "masked inference") + " at "
                + (large ? "the large batch" : "batch 1") + ": PyTorch " + name + " / ours";
        if (entry == null || !(entry.get("pytorch_us") instanceof Map<?, ?> theirs)) {
            return Goal.of(goal, OptionalDouble.empty(), target, "");
        }
        double best = Double.NaN;
        String fastest = "";
        for (Map.Entry<?, ?> mode : theirs.entrySet()) {
            String text = mode.getKey().toString();
            if (!text.endsWith(" call") && counts.test(text) && mode.getValue() instanceof Double us && !(us >= best)) {
                best = us;
                fastest = text;
            }
        }
        double ratio = best / number(entry, "us");
        return Goal.of(
                goal,
                Double.isNaN(ratio) ? OptionalDouble.empty() : OptionalDouble.of(ratio),
                target,
                "bf16, rho .75, batch " + entry.get("batch") + (fastest.isEmpty() ? "" : ", beside " + fastest));
    }

    private static Goal host(Results results) {
        Map<String, Object> entry = entry(results, "forward", false);
        double us = entry == null ? Double.NaN : number(entry, "us_host");
        return Goal.of(
                "host time of a replay: " + (int) HOST_US + " us / ours",
                Double.isNaN(us) ? OptionalDouble.empty() : OptionalDouble.of(HOST_US / us),
                1,
                Double.isNaN(us) ? "" : String.format(Locale.ROOT, "%.1f us", us));
    }

    /** Two processes of the sweep of settings: they alone differ in the layers and nothing else. */
    private static Goal bytes(Results results, String setting) {
        Map<String, Double> times = new HashMap<>();
        for (Map<String, Object> entry : results.list("settings")) {
            entry.forEach((name, us) -> {
                if (name.matches("forward (?!1$)\\d+") && us instanceof Double measured) {
                    times.put(String.valueOf(entry.get("setting")), measured);
                }
            });
        }
        Double plain = times.get(Tuning.AS_IT_IS);
        Double bytes = times.get(setting);
        return Goal.of(
                "masked inference at the large batch: bf16 / " + setting,
                plain == null || bytes == null ? OptionalDouble.empty() : OptionalDouble.of(plain / bytes),
                BYTES_FASTER,
                "");
    }

    private static double number(Map<String, Object> entry, String name) {
        return entry.get(name) instanceof Number number ? number.doubleValue() : Double.NaN;
    }

    /** The goals as a table. */
    static void print(List<Goal> goals, PrintWriter out) {
        out.println();
        out.printf("%-80s %8s %8s  %s%n", "goal (on an H100 or H200)", "value", "target", "verdict");
        for (Goal goal : goals) {
            out.println(String.format(
                            Locale.ROOT,
                            "%-80s %8s %8.2f  %-12s %s",
                            goal.goal,
                            goal.value == null ? "-" : String.format(Locale.ROOT, "%.2f", goal.value),
                            goal.target,
                            goal.verdict,
                            goal.detail)
                    .stripTrailing());
        }
    }
}
