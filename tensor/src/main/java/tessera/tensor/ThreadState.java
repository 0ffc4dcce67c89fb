package tessera.tensor;

import org.jspecify.annotations.Nullable;

/** What a thread has switched on: its innermost scope, gradient recording, and a cost meter. */
final class ThreadState {
    private static final ThreadLocal<ThreadState> CURRENT = ThreadLocal.withInitial(ThreadState::new);

    @Nullable
    Scope scope;

    boolean recording = true;

    @Nullable
    CostMeter meter;

    private ThreadState() {}

    static ThreadState get() {
        return CURRENT.get();
    }
}
