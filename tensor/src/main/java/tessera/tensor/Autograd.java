package tessera.tensor;

import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.PriorityQueue;
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

    /** One recorded operation. */
    static final class Node implements Comparable<Node> {
        private static final java.util.concurrent.atomic.AtomicLong SEQUENCE =
                new java.util.concurrent.atomic.AtomicLong();

        private final Op.Differentiable op;
        private final Op.Context context;
        private final Tensor[] inputs;
        private final long sequence = SEQUENCE.getAndIncrement();
        private boolean walked;

        Node(Op.Differentiable op, Op.Context context, Tensor[] inputs) {
            this.op = op;
            this.context = context;
            this.inputs = inputs;
        }

        /** Later operations first, so that a node comes after everything that used its result. */
        @Override
        public int compareTo(Node other) {
            return Long.compare(other.sequence, sequence);
        }
    }

    static void backward(Tensor root, Tensor cotangent) {
        ThreadState state = ThreadState.get();
        CostMeter meter = state.meter;
        state.meter = null;
        try {
            noGrad(() -> {
                Node rootNode = root.node();
                if (rootNode == null) {
                    root.accumulateGrad(cotangent);
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

    private static void walk(Node rootNode, Tensor rootCotangent) {
        Pass pass = new Pass();
        pass.deliver(rootNode, rootCotangent);
        for (Node node = pass.queue.poll(); node != null; node = pass.queue.poll()) {
            step(pass, node);
        }
    }

    private static void step(Pass pass, Node node) {
        if (node.walked) {
            throw new IllegalStateException(node.op.name()
                    + ": backward was already run through this result, which frees what it saved; run the"
                    + " forward pass again");
        }
        node.walked = true;
        Tensor cotangent = Objects.requireNonNull(pass.collected.remove(node));
        try (Scope scope = Scope.open()) {
            node.context.offer(input -> pass.take(node.inputs[input]));
            @Nullable Tensor[] gradients = node.op.backward(node.context, cotangent.contiguous());
            check(node, gradients);
            for (int i = 0; i < gradients.length; i++) {
                Tensor gradient = gradients[i];
                if (gradient == null || !node.context.needsGradient(i)) {
                    continue;
                }
                Node producer = node.inputs[i].node();
                if (producer == null) {
                    node.inputs[i].accumulateGrad(gradient);
                } else {
                    scope.keep(pass.deliver(producer, gradient));
                }
            }
        }
        node.context.clear();
    }

    /** The gradients of results that one backward pass has collected so far. */
    private static final class Pass {
        /** Null for what an operation has taken and gives back with its own part. */
        private final Map<Node, @Nullable Tensor> collected = new HashMap<>();

        private final PriorityQueue<Node> queue = new PriorityQueue<>();

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
    }

    private static void check(Node node, @Nullable Tensor[] gradients) {
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
