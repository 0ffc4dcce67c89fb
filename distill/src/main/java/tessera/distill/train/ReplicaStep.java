package tessera.distill.train;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Metric;
import tessera.kernels.Communicator;
import tessera.kernels.Device;
import tessera.kernels.Graph.Variables;
import tessera.nn.AdamW;
import tessera.nn.DropPath;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.tensor.GradientSum;
import tessera.tensor.RecordedCalls;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * How one device takes a step of a stage: losses, gradients, the optimiser's update, as {@link RecordedCalls}. A step draws random
 * numbers only by streams that grow with its number, and never looks at values on the host: on a GPU it is recorded once and then
 * replayed. Where several devices share each batch, this one has its place among the clips of each, and gradients are added up before
 * the update: the parts of a batch are to the step what batches are that a single device accumulates.
 *
 * <p>Not thread-safe, but that another thread may send what a later step takes.
 */
final class ReplicaStep implements RecordedCalls.Work, AutoCloseable {
    /** Streams of random numbers lie so far apart that steps, which count them up, do not meet. */
    private static final int STREAM_SHIFT = 40;

    /** And those of the batches of a step so far within them that steps do not reach from one to the next. */
    private static final int BATCH_SHIFT = 32;

    private final String stage;
    private final Recipe recipe;
    private final Stage.Setup setup;
    private final Device device;
    private final AdamW optimiser;
    private final int rank;
    private final int ranks;
    private final @Nullable GradientSum sum;

    /** Opened with the first batches, by the thread that makes them. */
    private volatile @Nullable RecordedCalls calls;

    /** What the tensors of a step are; the same in every step. */
    private List<Batch> batches = List.of();

    /**
     * Steps of a replica.
     *
     * @param rank its place among those that share each batch
     * @param communicator null for a device alone
     */
    ReplicaStep(Stage stage, Replica replica, int rank, int ranks, @Nullable Communicator communicator) {
        this.stage = stage.name();
        this.recipe = stage.recipe();
        this.setup = replica.setup();
        this.device = replica.device();
        this.optimiser = replica.optimiser();
        this.rank = rank;
        this.ranks = ranks;
        this.sum = communicator == null
                ? null
                : new GradientSum(replica.setup().trained().values(), communicator);
    }

    /**
     * Begins to bring this device's share of a step's batches to it.
     *
     * @param data of whole batches
     * @param masks of all clips of the step, which every device gets
     * @return what {@link #take} is told
     */
    int send(List<Tensor> data, List<Tensor> masks) {
        List<Tensor> inputs = new ArrayList<>();
        data.forEach(tensor -> inputs.add(share(tensor)));
        inputs.addAll(masks);
        RecordedCalls open = calls;
        if (open == null) {
            open = RecordedCalls.fed(
                    device,
                    inputs.stream()
                            .map(tensor -> new RecordedCalls.Input(tensor.dtype(), tensor.shape()))
                            .toList());
            calls = open;
        }
        return open.send(inputs);
    }

    /** Of the rows of a batch those of this device. */
    private Tensor share(Tensor batch) {
        if (ranks == 1) {
            return batch;
        }
        long rows = batch.size(0) / ranks;
        return batch.slice(0, rank * rows, (rank + 1) * rows);
    }

    /** Takes a step on what was sent; returns this device's share of the losses, and the norm of the gradients where they are clipped. */
    Map<String, float[]> take(List<Batch> made, int sent, Variables variables) {
        batches = made;
        RecordedCalls open = Objects.requireNonNull(calls);
        open.take(sent);
        return open.run("step", variables, this);
    }

    @Override
    public Map<String, Tensor> run(List<Tensor> data, Variables variables) {
        Map<String, Tensor> results = new LinkedHashMap<>();
        losses(data.iterator(), variables.stream()).forEach((metric, loss) -> results.put(metric.id(), loss.detach()));
        optimiser.step(variables.lr());
        Tensor norm = optimiser.gradientNorm();
        if (norm != null) {
            results.put(Metric.GRADIENT_NORM.id(), norm);
        }
        return results;
    }

    @Override
    public void replayed() {
        optimiser.advance();
    }

    private Map<Metric, Tensor> losses(Iterator<Tensor> data, long step) {
        List<Batch> here = batches.stream().map(batch -> batch.of(data)).toList();
        List<@Nullable TokenMask> masks = masks(here, data, step);
        Map<Metric, Tensor> metrics = new LinkedHashMap<>();
        int parts = setup.parts().size();
        for (int i = 0; i < here.size(); i++) {
            int batch = i / parts;
            // Gradients accumulate, so what two parts record need not be in memory together.
            try (Scope scope = Scope.open()) {
                boolean last = i == here.size() - 1;
                loss(here.get(i), setup.parts().get(i % parts), masks.get(i), batch, last, step)
                        .forEach((metric, value) -> {
                            Tensor before = metrics.get(metric);
                            metrics.put(metric, scope.keep(before == null ? value : before.add(value)));
                        });
            }
        }
        if (!metrics.containsKey(Metric.LOSS)) {
            throw new IllegalStateException("the stage " + stage + " has no part");
        }
        // Sums come last.
        Tensor total = metrics.remove(Metric.LOSS);
        metrics.put(Metric.LOSS, Objects.requireNonNull(total));
        return metrics;
    }

    /** Adds the gradients of a batch to those of its step, and gives its share of the step's losses. */
    private Map<Metric, Tensor> loss(
            Batch batch, Stage.Part part, @Nullable TokenMask mask, int number, boolean last, long step) {
        long draws = draws(step, number);
        DropPath dropPath = new DropPath(recipe.dropPath(), recipe.seed(), stream(part.stream(), draws));
        Noise noise = new Noise(dropPath, recipe.seed(), draws);
        Look look = new Look(batch, setup.sees(), mask, setup.student(), noise);
        Tensor loss = mean(part.objective().loss(look));
        if (sum != null && last) {
            sum.during(loss::backward);
        } else {
            loss.backward();
        }
        Map<Metric, Tensor> metrics = new LinkedHashMap<>();
        look.metrics().forEach((metric, value) -> metrics.put(metric, mean(value.detach())));
        metrics.put(Metric.LOSS, loss.detach());
        return metrics;
    }

    /** Losses are means over a device's share of a batch; those of a step are means over all shares of its batches. */
    private Tensor mean(Tensor loss) {
        return shares() == 1 ? loss : loss.mul(1.0 / shares());
    }

    /** Shares of batches that make a step. */
    private int shares() {
        return recipe.accumulate() * ranks;
    }

    /** The place of this device's share of a batch among those of the step. */
    private int place(int batch) {
        return batch * ranks + rank;
    }

    /** Tells the draws of a step's shares apart; those of the first are the step's. */
    private long draws(long step, int batch) {
        return step + ((long) place(batch) << BATCH_SHIFT);
    }

    /**
     * The mask of each part of each batch, null where none has one. Where strategies look at nothing, all parts of a batch have the same:
     * the seed and the step alone say what is drawn, for the clips of all batches at once.
     *
     * @param data whose next tensors are the masks, if they are not drawn here
     */
    private List<@Nullable TokenMask> masks(List<Batch> here, Iterator<Tensor> data, long step) {
        MaskStrategy masks = setup.masks();
        long clips = here.getFirst().clips(setup.sees()).size(0);
        TokenMask common = masks != null && masks.recordable()
                ? masks.draw(context(recipe, setup, device, shares() * clips, step, null))
                : null;
        int parts = setup.parts().size();
        List<@Nullable TokenMask> drawn = new ArrayList<>();
        for (int part = 0; part < parts; part++) {
            drawn.add(masks == null || common != null ? common : new TokenMask(data.next(), data.next()));
        }
        List<@Nullable TokenMask> each = new ArrayList<>();
        for (int i = 0; i < here.size(); i++) {
            each.add(of(drawn.get(i % parts), i / parts));
        }
        return each;
    }

    /** Of the masks of a step those of this device's share of a batch. */
    private @Nullable TokenMask of(@Nullable TokenMask masks, int batch) {
        if (masks == null || shares() == 1) {
            return masks;
        }
        long clips = masks.batch() / shares();
        long from = place(batch) * clips;
        return new TokenMask(
                masks.visible().slice(0, from, from + clips).contiguous(),
                masks.masked().slice(0, from, from + clips).contiguous());
    }

    /** For what draws the masks of so many clips of a step. */
    static MaskContext context(
            Recipe recipe, Stage.Setup setup, Device where, long count, long step, @Nullable Tensor clips) {
        return new MaskContext(
                where,
                count,
                setup.student().grid(),
                recipe.maskRatio(),
                recipe.seed(),
                stream(setup.maskStream(), step),
                /* member= */ 0,
                clips,
                /* saliency= */ null);
    }

    static long stream(int number, long step) {
        return ((long) number << STREAM_SHIFT) + step;
    }

    @Override
    public void close() {
        RecordedCalls open = calls;
        if (open != null) {
            open.close();
        }
        if (sum != null) {
            sum.close();
        }
    }
}
