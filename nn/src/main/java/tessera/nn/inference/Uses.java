package tessera.nn.inference;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * How many calls are using something that can be closed: it is closed when none is, and used no more afterwards. For any thread;
 * nothing waits, and nothing is allocated.
 */
final class Uses {
    private static final int CLOSED = -1;

    private final AtomicInteger running = new AtomicInteger();
    private final @Nullable Uses shared;

    /** @param shared of what this one is a part of, whose calls are that one's too; null for the whole */
    Uses(@Nullable Uses shared) {
        this.shared = shared;
    }

    /**
     * Begins a call, which ends with {@link #leave}.
     *
     * @param refusal said where this is closed, or the whole
     */
    void enter(String refusal) {
        if (shared != null) {
            shared.enter(refusal);
        }
        int now = running.get();
        while (now != CLOSED && !running.compareAndSet(now, now + 1)) {
            now = running.get();
        }
        if (now == CLOSED) {
            if (shared != null) {
                shared.leave();
            }
            throw new IllegalStateException(refusal);
        }
    }

    void leave() {
        running.decrementAndGet();
        if (shared != null) {
            shared.leave();
        }
    }

    /** A whole call. */
    <T> T call(String refusal, Supplier<T> body) {
        enter(refusal);
        try {
            return body.get();
        } finally {
            leave();
        }
    }

    /**
     * Lets no further call begin.
     *
     * @return false if that was done before
     * @throws IllegalStateException if a call is running; nothing changes then
     */
    boolean close() {
        if (running.compareAndSet(0, CLOSED)) {
            return true;
        }
        if (running.get() == CLOSED) {
            return false;
        }
        throw new IllegalStateException(
                "the student is in use by another thread; close it when all calls of it and its sessions have ended");
    }
}
