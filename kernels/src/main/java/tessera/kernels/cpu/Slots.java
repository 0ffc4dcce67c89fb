package tessera.kernels.cpu;

import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Objects that are costly to make and may be used by one thread at a time, lent for the duration of a call.
 *
 * <p>A thread tends to get back the one it used before. Unlike a thread local this serves virtual threads and keeps
 * nothing for threads that have ended. Lending allocates nothing once the objects exist. Thread-safe.
 */
public final class Slots<T> {
    private static final int PROBES = 8;

    private final AtomicReferenceArray<@Nullable T> slots;
    private final int mask;
    private final Supplier<T> make;
    private final Consumer<T> discard;

    /** @param discard called for an object that finds no free slot when it comes back */
    public Slots(Supplier<T> make, Consumer<T> discard) {
        int processors = Runtime.getRuntime().availableProcessors();
        int size = Math.max(16, Integer.highestOneBit(processors) * 4);
        this.slots = new AtomicReferenceArray<>(size);
        this.mask = size - 1;
        this.make = make;
        this.discard = discard;
    }

    public T borrow() {
        int home = home();
        for (int i = 0; i < PROBES; i++) {
            T found = slots.getAndSet((home + i) & mask, null);
            if (found != null) {
                return found;
            }
        }
        return make.get();
    }

    public void giveBack(T object) {
        int home = home();
        for (int i = 0; i < PROBES; i++) {
            if (slots.compareAndSet((home + i) & mask, null, object)) {
                return;
            }
        }
        discard.accept(object);
    }

    private static int home() {
        return (int) Thread.currentThread().threadId();
    }
}
