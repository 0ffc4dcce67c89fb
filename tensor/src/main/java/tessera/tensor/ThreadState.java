package tessera.tensor;

import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** What a thread has switched on: its innermost scope, gradient recording, a cost meter, a block that is recomputed, and who hears of gradients. */
final class ThreadState {
    private static final ThreadLocal<ThreadState> CURRENT = ThreadLocal.withInitial(ThreadState::new);

    @Nullable
    Scope scope;

    boolean recording = true;

    @Nullable
    CostMeter meter;

    /** What a block reads that is being run to be recomputed, or is being recomputed. */
    Recomputation.@Nullable Reads reads;

    /** Hears of each leaf whose gradient grew, right after it did. */
    @Nullable
    Consumer<Tensor> leaves;

    private ThreadState() {}

    static ThreadState get() {
        return CURRENT.get();
    }
}
