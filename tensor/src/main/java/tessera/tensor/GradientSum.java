package tessera.tensor;

import java.util.ArrayList;
import java.util.Collection;
import java.util.IdentityHashMap;
import java.util.List;
import tessera.kernels.Buffer;
import tessera.kernels.Communicator;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Event;
import tessera.kernels.Stream;

/**
 * Adds up the gradients of parameters over the devices of a group while the backward pass still computes others (data-parallel
 * training; Li et al., "PyTorch Distributed", VLDB 2020).
 *
 * <p>The parameters collect their gradients in one piece of memory, the last parameter first, because the backward pass comes to it
 * first. That memory is cut into buckets, and each bucket is summed on a stream of its own as soon as all its gradients are
 * there. Which and how many gradients that are is counted in the first pass, whose buckets are all summed at its end. Buckets and their
 * order are the same in all passes and on all devices, so that all results are.
 *
 * <p>Not thread-safe; one for each device, used by one thread at a time. Closed after the graphs that were recorded with it, before the
 * parameters and the communicator, neither of which it owns.
 */
public final class GradientSum implements AutoCloseable {
    /** Bytes of a bucket: large enough for the speed of the link, small enough that several fit beside a backward pass. */
    public static final long BUCKET_BYTES = 16L << 20;

    /** Gradients begin at multiples of so many elements, as memory of their own would. */
    private static final long ALIGNMENT = 64;

    private final Communicator communicator;
    private final Device device;
    private final Tensor memory;
    private final Stream beside;
    private final Event summed;
    private final List<Bucket> buckets = new ArrayList<>();
    private final IdentityHashMap<Tensor, Leaf> leaves = new IdentityHashMap<>();

    /** Whether a pass has told how many gradients each parameter gets. */
    private boolean counted;

    /** The first bucket of this pass that is not on its way. */
    private int next;

    private static final class Bucket {
        private final Buffer values;
        private final Event filled;
        /** Parameters whose gradients are not yet what they will be. */
        private int open;

        Bucket(Buffer values, Event filled) {
            this.values = values;
            this.filled = filled;
        }
    }

    private static final class Leaf {
        private final Bucket bucket;
        private int expected;
        private int got;

        Leaf(Bucket bucket) {
            this.bucket = bucket;
        }
    }

    /**
     * Sums in buckets of {@link #BUCKET_BYTES}.
     *
     * @param parameters contiguous f32 on the communicator's device, in the same order on every device; those that require no gradient
     *     are left alone. Gradients they have collected are forgotten
     * @throws IllegalArgumentException if none requires a gradient or one is not f32
     */
    public GradientSum(Collection<Tensor> parameters, Communicator communicator) {
        this(parameters, communicator, BUCKET_BYTES);
    }

    /** As {@link #GradientSum(Collection, Communicator)}, in buckets of so many bytes, or of one parameter if that has more. */
    public GradientSum(Collection<Tensor> parameters, Communicator communicator, long bucketBytes) {
        List<Tensor> trained =
                parameters.stream().filter(Tensor::requiresGrad).toList().reversed();
        if (trained.isEmpty() || trained.stream().anyMatch(leaf -> leaf.dtype() != DType.F32)) {
            throw new IllegalArgumentException("gradients are summed of f32 parameters that require one; of "
                    + parameters.size() + " given, " + trained.size() + " require one: "
                    + trained.stream().map(Tensor::describe).distinct().limit(4).toList());
        }
        this.communicator = communicator;
        this.device = trained.getFirst().device();
        long all = trained.stream().mapToLong(GradientSum::room).sum();
        // In between lies what nobody writes, and sums of it are to stay numbers.
        this.memory = Scope.outside(() -> Tensor.full(device, DType.F32, Shape.of(all), 0));
        this.beside = device.newStream();
        this.summed = beside.record();
        fill(trained, bucketBytes / DType.F32.bytes());
        device.currentStream().synchronize();
    }

    private static long room(Tensor leaf) {
        return Math.ceilDiv(leaf.shape().count(), ALIGNMENT) * ALIGNMENT;
    }

    private void fill(List<Tensor> trained, long bucketLength) {
        long from = 0;
        int first = 0;
        while (first < trained.size()) {
            long to = from;
            int end = first;
            while (end < trained.size() && (end == first || to + room(trained.get(end)) - from <= bucketLength)) {
                to += room(trained.get(end++));
            }
            Bucket bucket = new Bucket(memory.buffer().slice(from, to - from), beside.record());
            buckets.add(bucket);
            for (Tensor leaf : trained.subList(first, end)) {
                leaf.zeroGrad();
                leaf.gradIn(memory.view(leaf.shape(), leaf.shape().strides(), from));
                leaves.put(leaf, new Leaf(bucket));
                from += room(leaf);
            }
            first = end;
        }
    }

    /** Into how many buckets the gradients are cut. */
    public int buckets() {
        return buckets.size();
    }

    /**
     * Runs the last backward pass before gradients are used, and makes each gradient the sum of those of all devices, in the order of
     * the thread's stream. Every call runs the same pass; gradients of passes before it are part of the sums. Every
     * device of the group calls this as often.
     *
     * @throws IllegalStateException if the pass is another than the first, or the group was broken off
     */
    public void during(Runnable backward) {
        ThreadState state = ThreadState.get();
        begin();
        state.leaves = this::grown;
        try {
            backward.run();
        } finally {
            state.leaves = null;
        }
        while (next < buckets.size()) {
            sum(buckets.get(next++));
        }
        if (!counted) {
            leaves.values().forEach(leaf -> leaf.expected = leaf.got);
            counted = true;
        }
        summed.record(beside);
        device.currentStream().await(summed);
    }

    private void begin() {
        next = 0;
        buckets.forEach(bucket -> bucket.open = 0);
        for (Leaf leaf : leaves.values()) {
            leaf.got = 0;
            leaf.bucket.open += leaf.expected > 0 ? 1 : 0;
        }
        sumWhatIsReady();
    }

    private void grown(Tensor tensor) {
        Leaf leaf = leaves.get(tensor);
        if (leaf == null) {
            return;
        }
        leaf.got++;
        if (!counted) {
            return;
        }
        if (leaf.got > leaf.expected) {
            throw new IllegalStateException("a parameter " + tensor.describe() + " gets " + leaf.got
                    + " gradients in a backward pass but got " + leaf.expected
                    + " in the first, and may be summed already; run the same pass each time");
        }
        if (leaf.got == leaf.expected) {
            leaf.bucket.open--;
            sumWhatIsReady();
        }
    }

    /** Buckets are summed in their order, which is that of all devices. */
    private void sumWhatIsReady() {
        while (counted && next < buckets.size() && buckets.get(next).open == 0) {
            sum(buckets.get(next++));
        }
    }

    private void sum(Bucket bucket) {
        bucket.filled.record(device.currentStream());
        beside.await(bucket.filled);
        communicator.sum(bucket.values, beside);
    }

    /** Waits for the sums and frees the memory; the parameters forget their gradients. A second call does nothing. */
    @Override
    public void close() {
        leaves.keySet().forEach(Tensor::zeroGrad);
        leaves.clear();
        beside.close();
        summed.close();
        buckets.forEach(bucket -> bucket.filled.close());
        buckets.clear();
        memory.close();
    }
}
