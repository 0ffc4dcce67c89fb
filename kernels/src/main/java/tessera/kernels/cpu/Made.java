package tessera.kernels.cpu;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.LongConsumer;

/** Native objects that end together: closing destroys them, the last made first. Not thread-safe. */
final class Made implements AutoCloseable {
    private final Deque<Runnable> ends = new ArrayDeque<>();

    /** The object, which is destroyed with the others. */
    long keep(long object, LongConsumer destroy) {
        ends.push(() -> destroy.accept(object));
        return object;
    }

    @Override
    public void close() {
        while (!ends.isEmpty()) {
            ends.pop().run();
        }
    }
}
