package tessera.tensor;

import java.util.HashMap;
import java.util.Map;
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
        Map<Node, Tensor> cotangents = new HashMap<>();
        PriorityQueue<Node> queue = new PriorityQueue<>();
        cotangents.put(rootNode, rootCotangent);
        queue.add(rootNode);
        while (!queue.isEmpty()) {
            Node node = queue.poll();
            if (node.walked) {
                throw new IllegalStateException(node.op.name()
                        + ": backward was already run through this result, which frees what it saved; run the"
                        + " forward pass again");
            }
            node.walked = true;
            Tensor cotangent = java.util.Objects.requireNonNull(cotangents.remove(node));
            @Nullable Tensor[] gradients;
            try (Scope inner = Scope.open()) {
                gradients = node.op.backward(node.context, cotangent.contiguous());
                check(node, gradients);
                for (int i = 0; i < gradients.length; i++) {
                    Tensor gradient = gradients[i];
                    if (gradient != null && node.context.needsGradient(i)) {
                        Tensor kept = deliver(node.inputs[i], gradient, cotangents, queue);
                        if (kept != null) {
                            inner.keep(kept);
                        }
                    }
                }
            }
            node.context.clear();
        }
    }

    /** Adds a gradient to where it belongs; returns the tensor that must outlive this step, if any. */
    private static @Nullable Tensor deliver(
            Tensor input, Tensor gradient, Map<Node, Tensor> cotangents, PriorityQueue<Node> queue) {
        Node producer = input.node();
        if (producer == null) {
            input.accumulateGrad(gradient);
            return null;
        }
        Tensor before = cotangents.get(producer);
        if (before == null) {
            queue.add(producer);
            cotangents.put(producer, gradient);
            return gradient;
        }
        Tensor sum = before.add(gradient);
        cotangents.put(producer, sum);
        return sum;
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
