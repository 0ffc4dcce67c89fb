package tessera.jmh.gpu;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalDouble;
import org.jspecify.annotations.Nullable;

/** What the figures are held against; the targets are those for an H200. */
public final class Goals {
    private static final double RHO = .75;

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
            for (int n : results.list("attention").stream()
                    .filter(entry -> Boolean.TRUE.equals(entry.get("goal")) && direction.equals(entry.get("direction")))
                    .mapToInt(entry -> (int) number(entry, "tokens"))
                    .toArray()) {
                goals.add(attention(results, direction, n));
            }
        }
        if (goals.size() == 1) {
            goals.add(Goal.of("attention: the faster of cuDNN and PyTorch / ours", OptionalDouble.empty(), 1, ""));
        }
        goals.add(model(results, "forward", true, 1.5, "eager", List.of("autocast", "cast")));
        goals.add(model(results, "forward", true, 1.15, "compiled", List.of("cast compiled")));
        goals.add(model(results, "forward", false, 3, "eager", List.of("autocast", "cast")));
        goals.add(model(results, "train", true, 1.3, "eager", List.of("autocast")));
        return goals;
    }

    private static Goal memoryBound(Results results) {
        List<Map<String, Object>> bound = results.list("kernels").stream()
                .filter(entry ->
                        Boolean.TRUE.equals(entry.get("memory_bound")) && entry.get("of_copy") instanceof Double)
                .sorted(Comparator.comparingDouble(entry -> number(entry, "of_copy")))
                .toList();
        double target = .9;
        long reached = bound.stream()
                .filter(entry -> number(entry, "of_copy") >= target)
                .count();
        String detail = bound.isEmpty()
                ? ""
                : reached + " of " + bound.size() + " reach it; furthest: "
                        + bound.getFirst().get("kernel") + " in "
                        + bound.getFirst().get("type");
        OptionalDouble lowest =
                bound.isEmpty() ? OptionalDouble.empty() : OptionalDouble.of(number(bound.getFirst(), "of_copy"));
        return Goal.of("memory-bound kernels: least share of the copy bandwidth", lowest, target, detail);
    }

    private static Goal attention(Results results, String direction, int n) {
        Map<String, Object> entry = results.list("attention").stream()
                .filter(one -> Boolean.TRUE.equals(one.get("goal"))
                        && direction.equals(one.get("direction"))
                        && number(one, "tokens") == n)
                .findFirst()
                .orElseThrow();
        double own = number(entry, "own_us");
        String fastest = "";
        double best = Double.NaN;
        for (Map.Entry<String, Object> other : entry.entrySet()) {
            if ((other.getKey().startsWith("sdpa") || other.getKey().equals("cudnn_us"))
                    && other.getValue() instanceof Double us
                    && !(us >= best)) {
                best = us;
                fastest = other.getKey();
            }
        }
        return Goal.of(
                "attention " + direction + " of " + n + " tokens: the faster of cuDNN and PyTorch / ours",
                Double.isNaN(best / own) ? OptionalDouble.empty() : OptionalDouble.of(best / own),
                1,
                fastest.isEmpty() ? "" : "beside " + fastest);
    }

    /** Masked at .75, one mask, in bf16, at the largest batch or at 1. */
    private static Goal model(
            Results results, String what, boolean large, double target, String name, List<String> modes) {
        Map<String, Object> entry = results.list("models").stream()
                .filter(one -> what.equals(one.get("what"))
                        && "bf16".equals(one.get("type"))
                        && number(one, "rho") == RHO
                        && number(one, "P") == 1
                        && (number(one, "batch") > 1) == large)
                .max(Comparator.comparingDouble(one -> number(one, "batch")))
                .orElse(null);
        String goal = (what.equals("train") ? "training step" : "masked inference") + " at "
                + (large ? "the large batch" : "batch 1") + ": PyTorch " + name + " / ours";
        if (entry == null || !(entry.get("pytorch_us") instanceof Map<?, ?> theirs)) {
            return Goal.of(goal, OptionalDouble.empty(), target, "");
        }
        double ours = number(entry, "us");
        OptionalDouble best = modes.stream()
                .map(theirs::get)
                .filter(Objects::nonNull)
                .mapToDouble(us -> (Double) us)
                .min();
        return Goal.of(
                goal,
                best.isEmpty() ? best : OptionalDouble.of(best.getAsDouble() / ours),
                target,
                "bf16, rho .75, batch " + entry.get("batch"));
    }

    private static double number(Map<String, Object> entry, String name) {
        return entry.get(name) instanceof Number number ? number.doubleValue() : Double.NaN;
    }

    /** The goals as a table. */
    static void print(List<Goal> goals, PrintWriter out) {
        out.println();
        out.printf("%-80s %8s %8s  %s%n", "goal (on an H200)", "value", "target", "verdict");
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
