package tessera.jmh.peers;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What the machine gives at most: the best median rate of products and of copies, whosever and of whichever size, at the start, in
 * the middle and at the end of a run. What was measured while something else disturbed the machine is not the best and so does not
 * count. A product is held against those of its own precision, what memory limits against copies of the size nearest to its own,
 * for a small one stays in the caches; of what is larger than the largest copy nothing stays there.
 */
final class Limits {
    private static final double WARM_SECONDS = .3;

    private Limits() {}

    /**
     * One measurement.
     *
     * @param kind matmul or copy
     * @param size what was multiplied or copied
     * @param when in the run
     * @param contender who did it
     * @param precision of what
     * @param amount operations of one call, or bytes that it read and wrote
     * @param p20 10^9 of these in a second, percentile 20
     * @param p50 the median
     * @param p80 percentile 80
     */
    record Limit(
            String kind,
            String size,
            String when,
            String contender,
            String precision,
            double amount,
            double p20,
            double p50,
            double p80) {
        /** @throws IllegalArgumentException if a member is missing or of another kind */
        static Limit of(Map<String, ? extends @Nullable Object> members) {
            return new Limit(
                    Row.text(members, "kind"),
                    Row.text(members, "size"),
                    Row.text(members, "when"),
                    Row.text(members, "contender"),
                    Row.text(members, "precision"),
                    Row.number(members, "amount"),
                    Row.number(members, "p20"),
                    Row.number(members, "p50"),
                    Row.number(members, "p80"));
        }
    }

    /** Measures all products and copies that are limits of the works. */
    static List<Limit> measure(String when, List<Work> works, PeerBenchmark.Setting setting) {
        Shapes shapes = setting.shapes();
        List<Limit> limits = new ArrayList<>();
        for (Shapes.Product product : shapes.limits()) {
            limits.addAll(measure(when, product.toString(), Kind.MATMUL, shapes.with(product), setting));
        }
        List<Long> copies = works.stream()
                .map(work -> work.bytes(shapes))
                .filter(bytes -> bytes > 0)
                .map(bytes -> copySize(bytes, shapes.copyBytes()))
                .distinct()
                .sorted()
                .toList();
        for (long bytes : copies) {
            limits.addAll(measure(when, bytes + " bytes", Kind.COPY, shapes.withCopy(bytes), setting));
        }
        return limits;
    }

    /** What a copy copies that moves about as many bytes as asked for: a power of two, so that a few copies serve many works. */
    static long copySize(double moved, long largest) {
        return Math.min(largest, 1L << Math.round(Math.log(moved / 2) / Math.log(2)));
    }

    private static List<Limit> measure(
            String when, String size, Kind kind, Shapes shapes, PeerBenchmark.Setting setting) {
        Work work = new Work(kind, 1, 0, 1);
        List<Limit> limits = new ArrayList<>();
        try (Task task = Task.make(work, shapes, setting.folder());
                Lineup lineup = new Lineup(task, setting.peers(), (contender, reason) -> {})) {
            List<double[]> seconds = lineup.time(setting.rounds(WARM_SECONDS));
            double amount = kind == Kind.COPY ? work.bytes(shapes) : work.flops(shapes);
            for (int i = 0; i < seconds.size(); i++) {
                Lineup.Entry entry = lineup.entries().get(i);
                if (entry.agrees()) {
                    Spread time = Spread.of(seconds.get(i));
                    limits.add(new Limit(
                            kind.text(),
                            size,
                            when,
                            entry.name(),
                            entry.way().precision().text(),
                            amount,
                            amount / time.p80() / 1e9,
                            amount / time.p50() / 1e9,
                            amount / time.p20() / 1e9));
                }
            }
        }
        return limits;
    }

    /** The best rate of products of a precision, or null where none was measured. */
    static @Nullable Limit product(List<Limit> limits, String precision) {
        return limits.stream()
                .filter(limit -> limit.kind().equals(Kind.MATMUL.text())
                        && limit.precision().equals(precision))
                .max(Comparator.comparingDouble(Limit::p50))
                .orElse(null);
    }

    /** The best rate of copies of the size that is nearest to so many bytes moved, or null where none was measured. */
    static @Nullable Limit copy(List<Limit> limits, double bytes) {
        return limits.stream()
                .filter(limit -> limit.kind().equals(Kind.COPY.text()))
                .min(Comparator.comparingDouble((Limit limit) -> Math.abs(Math.log(limit.amount() / bytes)))
                        .thenComparingDouble(limit -> -limit.p50()))
                .orElse(null);
    }

    /** The share of its limit that a result reaches, 0 where that is not known. */
    static double share(List<Limit> limits, Row row) {
        Limit limit = row.gbs() > 0
                ? copy(limits, row.gbs() * row.p50Ms() * 1e6)
                : row.gflops() > 0 ? product(limits, row.precision()) : null;
        return limit == null ? 0 : Math.max(row.gbs(), row.gflops()) / limit.p50();
    }

    /** The limits that count: the best product of each precision, and the best copy of each size. */
    static List<Limit> best(List<Limit> limits) {
        List<Limit> best = new ArrayList<>();
        for (Limit limit : limits) {
            Limit other = limit.kind().equals(Kind.COPY.text())
                    ? copy(limits, limit.amount())
                    : product(limits, limit.precision());
            if (limit.equals(other) && !best.contains(limit)) {
                best.add(limit);
            }
        }
        return best;
    }
}
