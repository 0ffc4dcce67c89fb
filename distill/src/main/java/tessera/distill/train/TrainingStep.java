package tessera.distill.train;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Metric;
import tessera.kernels.Device;
import tessera.kernels.Graph.Variables;
import tessera.nn.AdamW;
import tessera.nn.DropPath;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.tensor.RecordedCalls;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * How a device takes a step of a stage: losses, gradients, the optimiser's update, as {@link RecordedCalls}. A step draws random
 * numbers only by streams that grow with its number, and never looks at values on the host: on a GPU it is recorded once and then
 * replayed. The batches of the next step are made, and brought to the device, while a step computes ({@link BatchesAhead}). Not
 * thread-safe.
 */
final class TrainingStep implements RecordedCalls.Work, AutoCloseable {
    /** Streams of random numbers lie so far apart that steps, which count them up, do not meet. */
    private static final int STREAM_SHIFT = 40;

    /** And those of the batches of a step so far within them that steps do not reach from one to the next. */
    private static final int BATCH_SHIFT = 32;

    /** Batches whose clips are read ahead, beside those that are made ahead. */
    private static final int EXPECTED = 4;

    private final String stage;
    private final Recipe recipe;
    private final Stage.Setup setup;
    private final Device device;
    private final AdamW optimiser;
    private final Device host;
    private final BatchesAhead<Prepared> ahead;

    /** Opened with the first batches, by the thread that makes them. */
    private volatile @Nullable RecordedCalls calls;

    /** What the tensors of a step are; the same in every step. */
    private List<Batch> batches = List.of();

    /**
     * Batches on their way to the device.
     *
     * @param batches of closed tensors
     */
    private record Prepared(List<Batch> batches, RecordedCalls calls, int sent) {}

    TrainingStep(Stage stage, Stage.Setup setup, Device device, AdamW optimiser) {
        this.stage = stage.name();
        this.recipe = stage.recipe();
        this.setup = setup;
        this.device = device;
        this.optimiser = optimiser;
        this.host = device.isHost() ? device : Device.cpu();
        this.ahead = new BatchesAhead<>(this::prepare, recipe.steps());
    }

    /** Takes a step and returns its losses, {@link Metric#LOSS} among them, and the norm of the gradients where they are clipped. */
    Map<Metric, Double> take(long step, double lr) {
        Map<Metric, Double> values = new LinkedHashMap<>();
        Prepared prepared = ahead.take(step);
        batches = prepared.batches;
        prepared.calls.take(prepared.sent);
        prepared.calls
                .run("step", new Variables(0, step, lr, optimiser.steps() + 1), this)
                .forEach((name, value) -> values.put(new Metric(name), (double) value[0]));
        return values;
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
            MaskStrategy masks = setup.masks();
            if (masks != null && !masks.recordable()) {
                int parts = setup.parts().size();
                for (int part = 0; part < parts; part++) {
                    List<Tensor> clips = new ArrayList<>();
                    for (int i = part; i < made.size(); i += parts) {
                        clips.add(made.get(i).clips(setup.sees()));
                    }
                    Tensor all = joined(clips);
                    MaskContext context = context(host, all.size(0), step, all);
                    TokenMask mask = masks.draw(context);
                    context.requireWhole(mask);
                    data.addAll(List.of(mask.visible(), mask.masked()));
                }
            }
            RecordedCalls open = calls;
            if (open == null) {
                open = RecordedCalls.fed(
                        device,
                        data.stream()
                                .map(tensor -> new RecordedCalls.Input(tensor.dtype(), tensor.shape()))
                                .toList());
                calls = open;
            }
            return new Prepared(made, open, open.send(data));
        }
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
                loss(here.get(i), setup.parts().get(i % parts), masks.get(i), batch, step)
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
    private Map<Metric, Tensor> loss(Batch batch, Stage.Part part, @Nullable TokenMask mask, int number, long step) {
        long draws = draws(step, number);
        DropPath dropPath = new DropPath(recipe.dropPath(), recipe.seed(), stream(part.stream(), draws));
        Noise noise = new Noise(dropPath, recipe.seed(), draws);
        Look look = new Look(batch, setup.sees(), mask, setup.student(), noise);
        Tensor loss = share(part.objective().loss(look));
        loss.backward();
        Map<Metric, Tensor> metrics = new LinkedHashMap<>();
        look.metrics().forEach((metric, value) -> metrics.put(metric, share(value.detach())));
        metrics.put(Metric.LOSS, loss.detach());
        return metrics;
    }

    /** Losses are means over a batch; those of a step are means over its batches. */
    private Tensor share(Tensor loss) {
        return recipe.accumulate() == 1 ? loss : loss.mul(1.0 / recipe.accumulate());
    }

    /** Tells the draws of a step's batches apart; those of the first are the step's. */
    private static long draws(long step, int batch) {
        return step + ((long) batch << BATCH_SHIFT);
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
                ? masks.draw(context(device, recipe.accumulate() * clips, step, null))
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

    /** Of the masks of a step those of one of its batches. */
    private @Nullable TokenMask of(@Nullable TokenMask masks, int batch) {
        if (masks == null || recipe.accumulate() == 1) {
            return masks;
        }
        long clips = masks.batch() / recipe.accumulate();
        long from = batch * clips;
        return new TokenMask(
                masks.visible().slice(0, from, from + clips).contiguous(),
                masks.masked().slice(0, from, from + clips).contiguous());
    }

    private MaskContext context(Device where, long count, long step, @Nullable Tensor clips) {
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
        ahead.close();
        RecordedCalls open = calls;
        if (open != null) {
            open.close();
        }
    }
}
