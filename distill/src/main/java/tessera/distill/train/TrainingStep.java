package tessera.distill.train;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Metric;
import tessera.kernels.Communicator;
import tessera.kernels.Device;
import tessera.kernels.Graph.Variables;
import tessera.nn.AdamW;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * How a step of a stage is taken on one device or several, each of which computes a share of every batch ({@link ReplicaStep}).
 * The batches of the next step are made, and brought to the devices, while a step computes ({@link BatchesAhead}). Not thread-safe.
 */
final class TrainingStep implements AutoCloseable {
    /** Batches whose clips are read ahead, beside those that are made ahead. */
    private static final int EXPECTED = 4;

    private final Recipe recipe;
    private final Stage.Setup setup;
    private final AdamW optimiser;
    private final Device host;
    private final BatchesAhead<Prepared> ahead;
    private final List<Communicator> communicators;
    private final List<ReplicaStep> replicas = new ArrayList<>();
    /** For all replicas but the first, which computes on the caller's. */
    private final @Nullable ExecutorService threads;

    /**
     * Batches on their way to the devices.
     *
     * @param batches of closed tensors
     * @param sent what each replica takes
     */
    private record Prepared(List<Batch> batches, List<Integer> sent) {}

    /**
     * Steps of replicas with equal weights.
     *
     * @param all the first of them gives the batches
     */
    TrainingStep(Stage stage, List<Replica> all) {
        Replica first = all.getFirst();
        this.recipe = stage.recipe();
        this.setup = first.setup();
        this.optimiser = first.optimiser();
        this.host = first.device().isHost() ? first.device() : Device.cpu();
        this.communicators = all.size() == 1
                ? List.of()
                : Communicator.of(all.stream().map(Replica::device).toList());
        try {
            for (int rank = 0; rank < all.size(); rank++) {
                replicas.add(new ReplicaStep(
                        stage,
                        all.get(rank),
                        rank,
                        all.size(),
                        communicators.isEmpty() ? null : communicators.get(rank)));
            }
        } catch (RuntimeException | Error e) {
            replicas.forEach(ReplicaStep::close);
            communicators.forEach(Communicator::close);
            throw e;
        }
        this.threads = all.size() == 1
                ? null
                : Executors.newFixedThreadPool(
                        all.size() - 1,
                        Thread.ofPlatform().daemon().name("tessera-replica-", 1).factory());
        this.ahead = new BatchesAhead<>(this::prepare, recipe.steps());
    }

    /** Takes a step and returns its losses, {@link Metric#LOSS} among them, and the norm of the gradients where they are clipped. */
    Map<Metric, Double> take(long step, double lr) {
        Prepared prepared = ahead.take(step);
        Variables variables = new Variables(0, step, lr, optimiser.steps() + 1);
        ExecutorService others = threads;
        List<Map<String, float[]>> results = others == null
                ? List.of(replicas.getFirst().take(prepared.batches, prepared.sent.getFirst(), variables))
                : together(prepared, variables, others);
        Map<Metric, Double> values = new LinkedHashMap<>();
        results.getFirst().forEach((name, value) -> {
            float sum = value[0];
            // The norm is that of the sum already, on each device.
            if (!name.equals(Metric.GRADIENT_NORM.id())) {
                for (Map<String, float[]> other : results.subList(1, results.size())) {
                    sum += Objects.requireNonNull(other.get(name))[0];
                }
            }
            values.put(new Metric(name), (double) sum);
        });
        return values;
    }

    /** Takes a step on all devices at once; what fails first on one of them ends it on all, and is thrown. */
    private List<Map<String, float[]>> together(Prepared prepared, Variables variables, ExecutorService others) {
        AtomicReference<@Nullable Throwable> failure = new AtomicReference<>();
        List<CompletableFuture<Map<String, float[]>>> results = new ArrayList<>();
        for (int rank = 1; rank < replicas.size(); rank++) {
            int peer = rank;
            results.add(CompletableFuture.supplyAsync(() -> take(peer, prepared, variables, failure), others));
        }
        results.addFirst(CompletableFuture.completedFuture(take(0, prepared, variables, failure)));
        List<Map<String, float[]>> values =
                results.stream().map(CompletableFuture::join).toList();
        Throwable first = failure.get();
        if (first instanceof RuntimeException e) {
            throw e;
        }
        if (first instanceof Error e) {
            throw e;
        }
        return values;
    }

    /** One device's part; a failure is noted, and lets nobody wait for this device. */
    private Map<String, float[]> take(
            int rank, Prepared prepared, Variables variables, AtomicReference<@Nullable Throwable> failure) {
        try {
            return replicas.get(rank).take(prepared.batches, prepared.sent.get(rank), variables);
        } catch (RuntimeException | Error e) {
            if (failure.compareAndSet(null, e)) {
                communicators.get(rank).abort();
            } else {
                Objects.requireNonNull(failure.get()).addSuppressed(e);
            }
            return Map.of();
        }
    }

    /** Makes the batches of a step in host memory, then its masks where they cannot be recorded, and sends them. */
    private Prepared prepare(long step) {
        try (Scope scope = Scope.open()) {
            List<Batch> made = new ArrayList<>();
            long end = (step + 1) * recipe.accumulate();
            for (long number = step * recipe.accumulate(); number < end; number++) {
                for (Stage.Part part : setup.parts()) {
                    made.add(part.batches().at(host, number));
                }
            }
            expect(end);
            List<Tensor> data = new ArrayList<>();
            made.forEach(batch -> data.addAll(batch.tensors()));
            List<Tensor> masks = masks(made, step);
            List<Integer> sent = new ArrayList<>();
            for (ReplicaStep replica : replicas) {
                sent.add(replica.send(data, masks));
            }
            return new Prepared(made, sent);
        }
    }

    /** The masks of each part where strategies look at clips, or draw on the host; of the clips of all its batches. */
    private List<Tensor> masks(List<Batch> made, long step) {
        List<Tensor> drawn = new ArrayList<>();
        MaskStrategy masks = setup.masks();
        if (masks == null || masks.recordable()) {
            return drawn;
        }
        int parts = setup.parts().size();
        for (int part = 0; part < parts; part++) {
            List<Tensor> clips = new ArrayList<>();
            for (int i = part; i < made.size(); i += parts) {
                clips.add(made.get(i).clips(setup.sees()));
            }
            Tensor all = joined(clips);
            MaskContext context = ReplicaStep.context(recipe, setup, host, all.size(0), step, all);
            TokenMask mask = masks.draw(context);
            context.requireWhole(mask);
            drawn.addAll(List.of(mask.visible(), mask.masked()));
        }
        return drawn;
    }

    /** Lets the clips of the batches behind these be read, while the device computes. */
    private void expect(long next) {
        long end = Math.min(next + EXPECTED, recipe.steps() * recipe.accumulate());
        for (long number = next; number < end; number++) {
            for (Stage.Part part : setup.parts()) {
                part.batches().expect(number);
            }
        }
    }

    /** Clips of several batches in the host's memory, one after the other. */
    private Tensor joined(List<Tensor> batches) {
        Tensor first = batches.getFirst();
        if (batches.size() == 1) {
            return first;
        }
        long[] sizes = first.shape().toArray();
        sizes[0] *= batches.size();
        Tensor all = Tensor.empty(host, first.dtype(), Shape.of(sizes));
        long at = 0;
        for (Tensor batch : batches) {
            MemorySegment from = batch.contiguous().segment();
            long bytes = batch.shape().count() * batch.dtype().bytes();
            MemorySegment.copy(from, 0, all.segment(), at, bytes);
            at += bytes;
        }
        return all;
    }

    @Override
    public void close() {
        ahead.close();
        replicas.forEach(ReplicaStep::close);
        communicators.forEach(Communicator::close);
        ExecutorService others = threads;
        if (others != null) {
            others.close();
        }
    }
}
