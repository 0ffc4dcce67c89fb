package tessera.tensor;

import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Objects;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Reverse-mode differentiation of what was run (define-by-run).
 *
 * <p>Operations on tensors that require a gradient are recorded; {@link Tensor#backward()} walks the record backwards and
 * adds to the gradients of the leaves. A record can be walked once: it frees what it saved.
 */
public final class Autograd {
    private Autograd() {}

    /** Runs without recording: results do not require gradients. */
    public static <T> T noGrad(Supplier<T> body) {
        ThreadState state = ThreadState.get();
        boolean before = state.recording;
        state.recording = false;
        try {
            return body.get();
        } finally {
            state.recording = before;
        }
    }

    /** Whether operations on this thread are recorded. */
    public static boolean isRecording() {
        return ThreadState.get().recording;
    }

    /**
     * Runs a block of which only the result is kept: the backward pass runs it again, with its record, when it comes to it, so that
     * the tensors in between are in memory for one block at a time (Chen et al., "Training deep nets with sublinear memory cost",
     * 2016). Gradients are the same bit for bit, for one more forward pass of the block. Blocks may contain blocks.
     *
     * <p>The block reads what it likes, parameters and results of other operations; their gradients arrive as without this. It is to
     * compute the same each time: random numbers are a function of (seed, stream), which it takes from outside, and what its operations
     * read may not be changed in place or freed before the backward pass. All it makes but the result is freed when it ends.
     *
     * <p>Without recording this is the block alone.
     *
     * @param block run on this thread, now and once more by the thread that runs the backward pass
     * @throws IllegalStateException from the backward pass, if what the block read was changed or freed, or the block gave another
     *     shape or type; from within a block, if it runs a backward pass
     */
    public static Tensor recomputed(Supplier<Tensor> block) {
        return isRecording() ? Recomputation.run(block) : block.get();
    }

    /** A recorded step on the way to a tensor: one operation, or a block to be run again. */
    abstract static sealed class Node implements Comparable<Node> {
        private static final AtomicLong SEQUENCE = new AtomicLong();

        private final long sequence = SEQUENCE.getAndIncrement();
        private boolean walked;

        abstract String name();

        /** Later operations first, so that a node comes after everything that used its result. */
        @Override
        public int compareTo(Node other) {
            return Long.compare(other.sequence, sequence);
        }
    }

    /** One recorded operation. */
    static final class OpNode extends Node {
        private final Op.Differentiable op;
        private final Op.Context context;
        private final Tensor[] inputs;

        OpNode(Op.Differentiable op, Op.Context context, Tensor[] inputs) {
            this.op = op;
            this.context = context;
            this.inputs = inputs;
        }

        @Override
        String name() {
            return op.name();
        }
    }

    /** A block to be run again. */
    static final class BlockNode extends Node {
        private @Nullable Recomputation block;

        BlockNode(Recomputation block) {
            this.block = block;
        }

        @Override
        String name() {
            return Recomputation.NAME;
        }
    }

    static void backward(Tensor root, Tensor cotangent) {
        ThreadState state = ThreadState.get();
        if (state.reads != null) {
            throw new IllegalStateException(
                    "backward: called in a block that is recomputed, which runs twice; call it on"
                            + " what Autograd.recomputed returns");
        }
        CostMeter meter = state.meter;
        state.meter = null;
        try {
            noGrad(() -> {
                Node rootNode = root.node();
                if (rootNode == null) {
                    grow(root, cotangent);
                    return true;
                }
                try (Scope scope = Scope.open()) {
                    walk(rootNode, cotangent);
                }
                return true;
            });
        } finally {
            state.meter = meter;
        }
    }

    private static void grow(Tensor leaf, Tensor gradient) {
        leaf.accumulateGrad(gradient);
        Consumer<Tensor> hears = ThreadState.get().leaves;
        if (hears != null) {
            hears.accept(leaf);
        }
    }

    private static void walk(Node rootNode, Tensor rootCotangent) {
        Pass pass = new Pass();
        pass.deliver(rootNode, rootCotangent);
        pass.walkFrom(0);
    }

    /** One backward pass: the gradients of results that it has collected so far. */
    private static final class Pass {
        /** Null for what an operation has taken and gives back with its own part. */
        private final Map<Node, @Nullable Tensor> collected = new HashMap<>();

        /** Memory that the pass made, freed as soon as nothing collected lies in it. */
        private final Set<Storage> own = new LinkedHashSet<>();

        private final PriorityQueue<Node> queue = new PriorityQueue<>();

        /** Walks what was recorded from a number on. */
        void walkFrom(long first) {
            for (Node node = queue.peek(); node != null && node.sequence >= first; node = queue.peek()) {
                queue.remove();
                if (node.walked) {
                    throw new IllegalStateException(node.name()
                            + ": backward was already run through this result, which frees what it saved; run the"
                            + " forward pass again");
                }
                node.walked = true;
                Tensor cotangent = Objects.requireNonNull(collected.remove(node));
                switch (node) {
                    case OpNode recorded -> step(recorded, cotangent);
                    case BlockNode again -> run(again, cotangent);
                }
                sweep();
            }
        }

        private void step(OpNode node, Tensor cotangent) {
            try (Scope scope = Scope.open()) {
                node.context.offer(input -> take(node.inputs[input]));
                @Nullable Tensor[] gradients = node.op.backward(node.context, cotangent.contiguous());
                check(node, gradients);
                for (int i = 0; i < gradients.length; i++) {
                    Tensor gradient = gradients[i];
                    if (gradient != null && node.context.needsGradient(i)) {
                        give(node.inputs[i], gradient, scope);
                    }
                }
            }
            node.context.clear();
        }

        /**
         * Runs a block again and walks its record. All of that is younger than what else is to be walked, so everything comes in the
         * order in which it would come without blocks.
         */
        private void run(BlockNode node, Tensor cotangent) {
            long first = Node.SEQUENCE.get();
            try (Scope scope = Scope.open()) {
                Tensor result = Objects.requireNonNull(node.block).again(cotangent);
                give(result, cotangent, scope);
                walkFrom(first);
                collected.values().forEach(gradient -> {
                    if (gradient != null) {
                        scope.keep(gradient);
                    }
                });
            }
            node.block = null;
        }

        /** Adds to the gradient of a tensor. What a node is to find must outlive the scope in which it was made. */
        private void give(Tensor to, Tensor gradient, Scope scope) {
            Node producer = to.node();
            if (producer == null) {
                grow(to, gradient);
                return;
            }
            Tensor sum = deliver(producer, gradient);
            if (sum.storage().owner() == scope) {
                scope.keep(sum);
                own.add(sum.storage());
            }
        }

        /** Adds to the gradient of a node's result; returns the sum, which must live until the node's turn. */
        Tensor deliver(Node node, Tensor gradient) {
            if (!collected.containsKey(node)) {
                queue.add(node);
            }
            Tensor before = collected.get(node);
            Tensor sum = before == null ? gradient : before.add(gradient);
            collected.put(node, sum);
            return sum;
        }

        /** Hands out the gradient of an input once; leaves keep theirs. */
        @Nullable
        Tensor take(Tensor input) {
            Node producer = input.node();
            return producer == null ? null : collected.replace(producer, null);
        }

        private void sweep() {
            own.removeIf(memory -> {
                boolean wanted = collected.values().stream()
                        .anyMatch(gradient -> gradient != null && gradient.storage() == memory);
                if (!wanted) {
                    memory.close();
                }
                return !wanted;
            });
        }
    }

    private static void check(OpNode node, @Nullable Tensor[] gradients) {
        if (gradients.length != node.inputs.length) {
            throw new IllegalStateException(node.op.name() + ": backward returned " + gradients.length
                    + " gradients for " + node.inputs.length + " inputs; return one entry per input");
        }
        for (int i = 0; i < gradients.length; i++) {
            Tensor gradient = gradients[i];
            if (!node.context.needsGradient(i)) {
                continue;
            }
            if (gradient == null) {
                throw new IllegalStateException(node.op.name() + ": backward returned no gradient for input " + i + ", "
                        + node.inputs[i].describe() + "; return one, or zeros if it does not depend on it");
            }
            if (!gradient.shape().equals(node.inputs[i].shape()) || gradient.dtype() != node.inputs[i].dtype()) {
                throw new IllegalStateException(node.op.name() + ": backward returned " + gradient.describe()
                        + " for input " + i + ", which is " + node.inputs[i].describe()
                        + "; return a gradient of the input's shape and type");
            }
        }
    }
}
