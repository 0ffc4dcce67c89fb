package tessera.tensor;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Adds up the costs of the operations that its thread runs while it is open, by operation name. Backward passes are not
 * counted.
 *
 * <pre>{@code
 * try (CostMeter meter = CostMeter.open()) {
 *     model.forward(clips);
 *     long macs = meter.total().flops() / 2;
 * }
 * }</pre>
 */
public final class CostMeter implements AutoCloseable {
    private final Map<String, Cost> byOp = new LinkedHashMap<>();
    private final @Nullable CostMeter outer;

    private CostMeter(@Nullable CostMeter outer) {
        this.outer = outer;
    }

    /** Starts counting on this thread. */
    public static CostMeter open() {
        ThreadState state = ThreadState.get();
        CostMeter meter = new CostMeter(state.meter);
        state.meter = meter;
        return meter;
    }

    void add(String op, Cost cost) {
        byOp.merge(op, cost, Cost::plus);
        if (outer != null) {
            outer.add(op, cost);
        }
    }

    /** Cost of all operations of one name, for example {@code linear} or {@code attention}. */
    public Cost of(String op) {
        return byOp.getOrDefault(op, Cost.NONE);
    }

    /** Cost of everything so far. */
    public Cost total() {
        return byOp.values().stream().reduce(Cost.NONE, Cost::plus);
    }

    /** A copy of the costs so far by operation name, in order of first use; not to be changed. */
    public Map<String, Cost> byOp() {
        return Collections.unmodifiableMap(new LinkedHashMap<>(byOp));
    }

    @Override
    public void close() {
        ThreadState.get().meter = outer;
    }
}
