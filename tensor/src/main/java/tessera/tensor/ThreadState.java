package tessera.tensor;

import org.jspecify.annotations.Nullable;

/** What a thread has switched on: its innermost scope, gradient recording, a cost meter, and a block that is recomputed. */
final class ThreadState {
    private static final ThreadLocal<ThreadState> CURRENT = ThreadLocal.withInitial(ThreadState::new);

    @Nullable
    Scope scope;

    boolean recording = true;

    @Nullable
    CostMeter meter;

    /** What a block reads that is being run to be recomputed, or is being recomputed. */
    Recomputation.@Nullable Reads reads;

    private ThreadState() {}

    static ThreadState get() {
        return CURRENT.get();
    }
}
