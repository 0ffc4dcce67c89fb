package tessera.jmh.peers;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** What the results are held against. Ratios are our time over the peer's. */
final class PeerGoals {
    static final String MET = "met";
    static final String MISSED = "missed";
    static final String UNKNOWN = "not measured";

    /** By the share of hidden tokens. */
    private static final Map<Double, Double> INT8_TARGETS = Map.of(0.0, .8, .75, .65);

    private static final double POINTS = .5;
    private static final double BF16 = .65;
    private static final double SHARE = .93;
    private static final int TRAINING_BATCH = 4;
    private static final double TRAINING = .8;
    private static final double TRAINING_BF16 = .6;
    private static final double KERNEL = .8;
    private static final double CURVE = .15;

    private final PeerResults results;
    private final List<Row> rows;
    private final List<Goal> goals = new ArrayList<>();

    private PeerGoals(PeerResults results) {
        this.results = results;
        this.rows = results.rows();
    }

    /**
     * One goal.
     *
     * @param goal what is held
     * @param of where
     * @param value null where it is not measured
     * @param target null where a value is told beside others but nothing is asked of it
     * @param atMost whether the value must not be above the target, or else not below
     * @param verdict met, missed, not measured, or empty without a target
     * @param detail what the value is made of
     */
    record Goal(
            String goal,
            String of,
            @Nullable Double value,
            @Nullable Double target,
            boolean atMost,
            String verdict,
            String detail) {

        /** The target with its direction. */
        String bound() {
            return target == null ? "" : String.format(Locale.ROOT, "%s %.2f", atMost ? "≤" : "≥", target);
        }

        String valueText() {
            return value == null ? "–" : String.format(Locale.ROOT, "%.3f", value);
        }
    }

    /** Every goal of which there are results, and those of which there are none once each. */
    static List<Goal> of(PeerResults results) {
        PeerGoals goals = new PeerGoals(results);
        goals.int8();
        goals.accuracy();
        goals.f32();
        goals.bf16();
        goals.training();
        goals.kernels();
        goals.curve();
        return goals.goals;
    }

    private void add(
            String goal, String of, @Nullable Double value, @Nullable Double target, boolean atMost, String detail) {
        String verdict = "";
        if (value == null || value.isNaN()) {
            verdict = UNKNOWN;
            value = null;
        } else if (target != null) {
            verdict = (atMost ? value <= target : value >= target) ? MET : MISSED;
        }
        goals.add(new Goal(goal, of, value, target, atMost, verdict, detail));
    }

    /** Inference through one mask in one of our precisions. */
    private List<Row> forward(Precision precision) {
        return rows.stream()
                .filter(row -> row.kind().equals(Kind.FORWARD.text()) && row.ensemble() == 1 && row.isOurs(precision))
                .toList();
    }

    /** Some peers of a work in our precision. */
    private List<Row> peers(Row ours, Predicate<Row> which) {
        return rows.stream()
                .filter(row -> row.work().equals(ours.work())
                        && row.precision().equals(ours.precision())
                        && row.ours() != null
                        && which.test(row))
                .toList();
    }

    private static double ratio(Row row) {
        Double ours = row.ours();
        return ours == null ? Double.NaN : ours;
    }

    /** Holds our time against that of the fastest peer whose result is right; those that are wrong are told beside. */
    private void beside(String goal, Row ours, Predicate<Row> which, @Nullable Double target) {
        List<Row> peers = peers(ours, which);
        Row nearest = peers.stream()
                .filter(Row::agrees)
                .max(Comparator.comparingDouble(PeerGoals::ratio))
                .orElse(null);
        List<String> parts = new ArrayList<>();
        if (!peers.isEmpty()) {
            parts.add(time(ours));
        }
        if (nearest != null) {
            parts.add(time(nearest));
        }
        peers.stream().filter(row -> !row.agrees()).forEach(row -> parts.add(time(row) + " with a wrong result"));
        add(goal, ours.work(), nearest == null ? null : nearest.ours(), target, true, String.join(", ", parts));
    }

    private static String time(Row row) {
        return row.contender() + " " + PeerTables.milliseconds(row.p50Ms()) + " ms";
    }

    private void missing(String goal, @Nullable Double target, boolean atMost) {
        if (goals.isEmpty() || !goals.getLast().goal().equals(goal)) {
            add(goal, "", null, target, atMost, "");
        }
    }

    private void int8() {
        String goal = "int8 beside the faster int8 peer";
        for (Row row : forward(Precision.INT8)) {
            beside(goal, row, peer -> true, INT8_TARGETS.get(row.ratio()));
        }
        missing(goal, INT8_TARGETS.get(.75), true);
    }

    private void accuracy() {
        String goal = "points of few-shot accuracy that int8 loses";
        for (FewShotAccuracy.Result result : results.accuracies()) {
            Double lost = result.lost();
            if (lost != null && result.precision().startsWith(Precision.INT8.text())) {
                add(
                        goal,
                        result.student() + ", " + result.precision() + ", " + result.shots() + "-shot",
                        100 * lost,
                        POINTS,
                        true,
                        result.text());
            }
        }
        missing(goal, POINTS, true);
    }

    private void f32() {
        String share = "f32: share of the product's rate";
        for (Row row : forward(Precision.F32)) {
            add(share, row.work(), known(row.share()), SHARE, false, rate(row));
        }
        missing(share, SHARE, false);
        String beside = "f32 beside the fastest f32 peer";
        for (Row row : forward(Precision.F32)) {
            beside(beside, row, peer -> true, 1.0);
        }
        missing(beside, 1.0, true);
    }

    private static @Nullable Double known(double share) {
        return share == 0 ? null : Double.valueOf(share);
    }

    private static String rate(Row row) {
        return row.gbs() > 0
                ? String.format(Locale.ROOT, "%.1f GB/s", row.gbs())
                : String.format(Locale.ROOT, "%.0f GFLOP/s", row.gflops());
    }

    private static boolean isTorch(Row row) {
        return row.library().startsWith("PyTorch");
    }

    private void bf16() {
        String goal = "bf16 beside PyTorch's faster bf16";
        for (Row row : forward(Precision.BF16)) {
            beside(goal, row, PeerGoals::isTorch, BF16);
        }
        missing(goal, BF16, true);
    }

    /** Asked of a batch of four; a step of another batch, as a quick run has it, is told beside. */
    private void training() {
        String goal = "training beside PyTorch eager f32";
        for (Row row : rows) {
            boolean f32 = row.isOurs(Precision.F32);
            if (row.kind().equals(Kind.TRAIN.text()) && (f32 || row.isOurs(Precision.BF16))) {
                Row peer = rows.stream()
                        .filter(other -> other.work().equals(row.work())
                                && other.contender().equals("PyTorch eager f32"))
                        .findFirst()
                        .orElse(null);
                Double paired = peer == null ? null : f32 ? peer.ours() : Double.valueOf(row.p50Ms() / peer.p50Ms());
                add(
                        goal,
                        row.work() + ", " + row.precision(),
                        paired,
                        row.batch() != TRAINING_BATCH
                                ? null
                                : f32 ? Double.valueOf(TRAINING) : Double.valueOf(TRAINING_BF16),
                        true,
                        row.contender() + " " + PeerTables.milliseconds(row.p50Ms()) + " ms"
                                + (peer == null ? "" : ", PyTorch " + PeerTables.milliseconds(peer.p50Ms()) + " ms"));
            }
        }
        missing(goal, TRAINING, true);
    }

    /** Of every precision in which there are kernels: products of the products' rate in the same, others of the copies'. */
    private void kernels() {
        for (Precision precision : Precision.values()) {
            String goal = precision.text() + " kernel: share of its limit";
            for (Row row : rows) {
                if (row.group().equals(Kind.LINEAR.group())
                        && !row.kind().equals(Kind.MATMUL.text())
                        && row.isOurs(precision)) {
                    add(goal, row.work(), known(row.share()), KERNEL, false, rate(row));
                }
            }
            missing(goal, KERNEL, false);
        }
    }

    /** How far the rate at each share of hidden tokens is from that of seeing all. */
    private void curve() {
        String goal = "f32: time from the FLOP curve";
        for (Row whole : forward(Precision.F32)) {
            if (whole.ratio() == 0) {
                List<Row> masked = forward(Precision.F32).stream()
                        .filter(row -> row.batch() == whole.batch() && row.ratio() > 0)
                        .toList();
                String detail = masked.stream()
                        .map(row -> String.format(
                                Locale.ROOT, "%.2f at rho %s", whole.gflops() / row.gflops(), row.ratio()))
                        .collect(Collectors.joining(", ", "time over the curve's: ", ""));
                add(
                        goal,
                        "B " + whole.batch(),
                        masked.isEmpty() ? null : Double.valueOf(furthest(whole, masked)),
                        CURVE,
                        true,
                        masked.isEmpty() ? "" : detail);
            }
        }
        missing(goal, CURVE, true);
    }

    private static double furthest(Row whole, List<Row> masked) {
        return masked.stream()
                .mapToDouble(row -> Math.abs(whole.gflops() / row.gflops() - 1))
                .max()
                .orElse(Double.NaN);
    }

    /** The columns of {@link #line}. */
    static List<String> header() {
        return List.of("goal", "of", "value", "target", "verdict", "made of");
    }

    static List<String> line(Goal goal) {
        return List.of(goal.goal(), goal.of(), goal.valueText(), goal.bound(), goal.verdict(), goal.detail());
    }
}
