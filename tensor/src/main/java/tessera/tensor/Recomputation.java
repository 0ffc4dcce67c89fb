package tessera.tensor;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;

/** A block of which the result alone was kept, with what it takes to run it again; see {@link Autograd#recomputed}. */
final class Recomputation {
    static final String NAME = "recomputed";

    private final Supplier<Tensor> block;
    private final Reads reads;

    private Recomputation(Supplier<Tensor> block, Reads reads) {
        this.block = block;
        this.reads = reads;
    }

    /** Runs a block the first time: recorded as later, so that layers go the same way and it shows whether there is a gradient. */
    static Tensor run(Supplier<Tensor> block) {
        ThreadState state = ThreadState.get();
        Reads outer = state.reads;
        Reads reads = new Reads();
        try (Scope scope = Scope.open()) {
            state.reads = reads;
            Tensor result;
            try {
                result = block.get();
            } finally {
                state.reads = outer;
            }
            result.requireOpen(NAME);
            reads.keepOthersThan(scope);
            if (outer != null) {
                outer.addAll(reads);
            }
            Tensor kept = scope.keep(result.detach());
            if (result.requiresGrad()) {
                kept.setNode(new Autograd.BlockNode(new Recomputation(block, reads)));
            }
            return kept;
        }
    }

    /** Runs the block again in a backward pass: a result with its record, of the shape and type of the first. */
    Tensor again(Tensor cotangent) {
        reads.requireSame();
        ThreadState state = ThreadState.get();
        boolean recording = state.recording;
        state.recording = true;
        state.reads = new Reads();
        Tensor now;
        try {
            now = block.get();
        } finally {
            state.recording = recording;
            state.reads = null;
        }
        if (!now.shape().equals(cotangent.shape()) || now.dtype() != cotangent.dtype() || !now.requiresGrad()) {
            throw new IllegalStateException(NAME + ": the block gave " + cotangent.describe() + " and now gives "
                    + now.describe() + (now.requiresGrad() ? "" : " without a gradient")
                    + "; let it compute the same each time");
        }
        return now;
    }

    /** What the operations of a block read, and in which state. */
    static final class Reads {
        private record Read(Tensor tensor, int version) {}

        private final Map<Storage, Read> first = new LinkedHashMap<>();

        void add(Tensor... inputs) {
            for (Tensor input : inputs) {
                Storage storage = input.storage();
                if (!first.containsKey(storage)) {
                    first.put(storage, new Read(input.detach(), storage.version()));
                }
            }
        }

        void addAll(Reads others) {
            others.first.forEach(first::putIfAbsent);
        }

        /** Forgets what the block made itself, which goes with its scope. */
        void keepOthersThan(Scope scope) {
            first.keySet().removeIf(storage -> storage.isClosed() || storage.owner() == scope);
        }

        void requireSame() {
            first.forEach((storage, read) -> {
                boolean closed = storage.isClosed();
                if (closed || storage.version() != read.version) {
                    throw new IllegalStateException(
                            NAME + ": " + read.tensor.describe() + ", which the block read, was "
                                    + (closed ? "freed" : "changed in place by " + storage.changedBy())
                                    + " before its backward pass; run backward first, or let the block read a copy");
                }
            });
        }
    }
}
