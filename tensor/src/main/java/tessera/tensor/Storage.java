package tessera.tensor;

import java.lang.System.Logger.Level;
import java.lang.ref.Cleaner;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;

/** Memory shared by a tensor and its views, owned by a scope, by the user, or by whoever wrapped it. */
final class Storage {
    static final boolean DEBUG = Boolean.getBoolean("tessera.memory.debug");
    private static final Cleaner CLEANER = Cleaner.create();
    private static final System.Logger LOG = System.getLogger("tessera");

    private final Buffer buffer;
    private final boolean wrapped;
    private final @Nullable Throwable madeAt = DEBUG ? new Throwable("tensor made here") : null;
    private @Nullable Scope owner;
    private @Nullable Reaper reaper;
    private Cleaner.@Nullable Cleanable cleanable;
    private volatile boolean closed;
    private @Nullable Throwable closedBy;
    private int version;
    private String changedBy = "";
    private final List<Storage> dependents = new ArrayList<>(0);
    private @Nullable Storage shadow;

    private Storage(Buffer buffer, boolean wrapped) {
        this.buffer = buffer;
        this.wrapped = wrapped;
    }

    /** Storage for a buffer that the innermost open scope, or without one the user, is to close. */
    static Storage owned(Buffer buffer) {
        Storage storage = new Storage(buffer, false);
        storage.moveTo(ThreadState.get().scope);
        return storage;
    }

    /** Storage for memory that someone else owns. */
    static Storage wrapped(Buffer buffer) {
        return new Storage(buffer, true);
    }

    Buffer buffer() {
        return buffer;
    }

    boolean isClosed() {
        return closed;
    }

    @Nullable
    Scope owner() {
        return owner;
    }

    /** How often the memory was written in place, as far as the writers said so. */
    int version() {
        return version;
    }

    /** Name of the last operation that wrote in place. */
    String changedBy() {
        return changedBy;
    }

    /** Notes a write in place, of the shadow too: who writes the one writes the other. */
    void changedBy(String op) {
        version++;
        changedBy = op;
        if (shadow != null) {
            shadow.changedBy(op);
        }
    }

    /** Changes the owner; null makes the storage the user's, freed when closed or, failing that, when unreachable. */
    void moveTo(@Nullable Scope scope) {
        if (wrapped) {
            return;
        }
        owner = scope;
        if (scope != null) {
            scope.adopt(this);
        } else if (reaper == null) {
            reaper = new Reaper(buffer, madeAt);
            cleanable = CLEANER.register(this, reaper);
        }
    }

    /** A bf16 copy of the whole memory that is kept in step with it, or null. */
    @Nullable
    Storage shadow() {
        return shadow;
    }

    /** Gives this storage a shadow, which dies with it. */
    void shadow(Storage copy) {
        shadow = copy;
        closeWithThis(copy);
    }

    /** Ties the life of another storage, a gradient's, to this one's. */
    void closeWithThis(Storage dependent) {
        dependents.add(dependent);
    }

    void close() {
        if (closed) {
            return;
        }
        closed = true;
        dependents.forEach(Storage::close);
        if (DEBUG) {
            closedBy = new Throwable("memory freed here");
        }
        if (wrapped) {
            return;
        }
        if (reaper != null && cleanable != null) {
            reaper.expected = true;
            cleanable.clean();
        } else {
            buffer.close();
        }
    }

    IllegalStateException usedAfterClose(String op, String what) {
        IllegalStateException e = new IllegalStateException(op + ": " + what
                + " was used after its memory was freed; return it from its scope with scope.keep(tensor), or close it"
                + " later"
                + (DEBUG ? "" : " (run with -Dtessera.memory.debug=true to see where it was made and freed)"));
        if (madeAt != null) {
            e.addSuppressed(madeAt);
        }
        if (closedBy != null) {
            e.addSuppressed(closedBy);
        }
        return e;
    }

    /** Frees a buffer whose storage became unreachable; must not refer to the storage. */
    private static final class Reaper implements Runnable {
        private final Buffer buffer;
        private final @Nullable Throwable madeAt;
        private volatile boolean expected;

        Reaper(Buffer buffer, @Nullable Throwable madeAt) {
            this.buffer = buffer;
            this.madeAt = madeAt;
        }

        @Override
        public void run() {
            if (!expected && madeAt != null) {
                LOG.log(Level.WARNING, "leak: a tensor of " + buffer.byteSize() + " bytes was never closed", madeAt);
            }
            buffer.close();
        }
    }
}
