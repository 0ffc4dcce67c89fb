package tessera.tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Frees every tensor made while it was the innermost open scope of its thread.
 *
 * <pre>{@code
 * try (Scope scope = Scope.open()) {
 *     Tensor hidden = x.linear(weight, bias).gelu();
 *     return scope.keep(hidden.sum());
 * }
 * }</pre>
 *
 * <p>A scope belongs to the thread that opened it, and scopes of one thread close in the opposite order of opening.
 * Tensors made with no scope open belong to the user, who closes them.
 */
public final class Scope implements AutoCloseable {
    private final Thread thread = Thread.currentThread();
    private final @Nullable Scope parent;
    private final List<Storage> storages = new ArrayList<>();
    private boolean closed;

    private Scope(@Nullable Scope parent) {
        this.parent = parent;
    }

    /** Opens a scope on this thread. */
    public static Scope open() {
        ThreadState state = ThreadState.get();
        Scope scope = new Scope(state.scope);
        state.scope = scope;
        return scope;
    }

    /** Runs as if no scope were open: tensors made belong to the user, who closes them. If the body fails they are freed. */
    public static <T> T outside(Supplier<T> body) {
        ThreadState state = ThreadState.get();
        Scope before = state.scope;
        Scope made = new Scope(null);
        state.scope = made;
        try {
            T result = body.get();
            made.handOver();
            return result;
        } finally {
            state.scope = made;
            made.close();
            state.scope = before;
        }
    }

    private void handOver() {
        for (Storage storage : storages) {
            if (storage.owner() == this && !storage.isClosed()) {
                storage.moveTo(parent);
            }
        }
    }

    /**
     * Hands a tensor, with the memory it shares with its views, to the enclosing scope, or to the user if there is none.
     *
     * @return the tensor
     */
    public Tensor keep(Tensor tensor) {
        check("keep a tensor of");
        Storage storage = tensor.storage();
        if (storage.isClosed()) {
            throw storage.usedAfterClose("keep", tensor.describe());
        }
        if (storage.owner() == this) {
            storage.moveTo(parent);
        }
        return tensor;
    }

    void adopt(Storage storage) {
        storages.add(storage);
    }

    /**
     * Frees the scope's tensors. Closing twice does nothing.
     *
     * @throws IllegalStateException on another thread, or while a scope opened later is still open
     */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        check("close");
        ThreadState.get().scope = parent;
        closed = true;
        for (Storage storage : storages) {
            if (storage.owner() == this) {
                storage.close();
            }
        }
        storages.clear();
    }

    private void check(String action) {
        if (!Thread.currentThread().equals(thread)) {
            throw new IllegalStateException(
                    "cannot " + action + " a scope of thread " + thread.getName() + " on thread "
                            + Thread.currentThread().getName() + "; scopes belong to the thread that opened them");
        }
        if (closed) {
            throw new IllegalStateException("cannot " + action + " a closed scope; call keep before the scope closes");
        }
        if (ThreadState.get().scope != this) {
            throw new IllegalStateException(
                    "cannot " + action + " a scope while one opened later is open; close the inner scope first");
        }
    }
}
