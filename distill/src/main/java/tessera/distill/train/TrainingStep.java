package tessera.distill.train;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
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
            List<Batch> made = setup.parts().stream()
                    .map(part -> part.batches().at(host, step))
                    .toList();
            List<Tensor> data = new ArrayList<>();
            made.forEach(batch -> data.addAll(batch.tensors()));
            MaskStrategy masks = setup.masks();
            if (masks != null && !masks.recordable()) {
                for (Batch batch : made) {
                    MaskContext context = context(batch, host, step, batch.clips(setup.sees()));
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
        Tensor total = null;
        for (int i = 0; i < here.size(); i++) {
            Stage.Part part = setup.parts().get(i);
            DropPath dropPath = new DropPath(recipe.dropPath(), recipe.seed(), stream(part.stream(), step));
            Noise noise = new Noise(dropPath, recipe.seed(), step);
            Look look = new Look(here.get(i), setup.sees(), masks.get(i), setup.student(), noise);
            Tensor loss = part.objective().loss(look);
            // Gradients accumulate, so the graphs of two parts need not be in memory together.
            loss.backward();
            metrics.putAll(look.metrics());
            total = total == null ? loss.detach() : total.add(loss.detach());
        }
        if (total == null) {
            throw new IllegalStateException("the stage " + stage + " has no part");
        }
        metrics.put(Metric.LOSS, total);
        return metrics;
    }

    /**
     * The mask of each part, null where none has one. Where strategies look at nothing, all have the same: the seed and the step alone
     * say what is drawn.
     *
     * @param data whose next tensors are the masks, if they are not drawn here
     */
    private List<@Nullable TokenMask> masks(List<Batch> here, Iterator<Tensor> data, long step) {
        MaskStrategy masks = setup.masks();
        TokenMask common =
                masks != null && masks.recordable() ? masks.draw(context(here.getFirst(), device, step, null)) : null;
        List<@Nullable TokenMask> each = new ArrayList<>();
        for (int i = 0; i < here.size(); i++) {
            each.add(masks == null || common != null ? common : new TokenMask(data.next(), data.next()));
        }
        return each;
    }

    private MaskContext context(Batch batch, Device where, long step, @Nullable Tensor clips) {
        return new MaskContext(
                where,
                batch.clips(setup.sees()).size(0),
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
