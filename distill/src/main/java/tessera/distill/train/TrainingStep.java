package tessera.distill.train;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Metric;
import tessera.kernels.Device;
import tessera.kernels.Graph.Variables;
import tessera.nn.AdamW;
import tessera.tensor.RecordedCalls;
import tessera.tensor.Tensor;

/** How a device takes a step of training: losses, gradients, the optimiser's update, as {@link RecordedCalls}. Not thread-safe. */
final class TrainingStep implements RecordedCalls.Work, AutoCloseable {
    /**
     * Computes the gradients of one step and returns its losses, scalars, {@link Metric#LOSS} among them. It draws random numbers
     * only by streams that grow with the step's number, and never looks at values on the host: on a GPU it is recorded once and
     * then replayed.
     */
    interface Body {
        Map<Metric, Tensor> losses(List<Tensor> data, long step);
    }

    private final Device device;
    private final Body body;
    private final AdamW optimiser;
    private @Nullable RecordedCalls calls;

    TrainingStep(Device device, Body body, AdamW optimiser) {
        this.device = device;
        this.body = body;
        this.optimiser = optimiser;
    }

    /**
     * Takes a step.
     *
     * @param data in host memory, of the same types and shapes in every step
     * @return the losses, and the norm of the gradients where they are clipped
     */
    Map<Metric, Double> run(List<Tensor> data, long step, double lr) {
        RecordedCalls open = calls;
        if (open == null) {
            open = new RecordedCalls(
                    device,
                    true,
                    data.stream()
                            .map(tensor -> new RecordedCalls.Input(tensor.dtype(), tensor.shape()))
                            .toList());
            calls = open;
        }
        for (int i = 0; i < data.size(); i++) {
            open.input(i).copyFrom(data.get(i));
        }
        Map<Metric, Double> values = new LinkedHashMap<>();
        open.run("step", new Variables(0, step, lr, optimiser.steps() + 1), this)
                .forEach((name, value) -> values.put(new Metric(name), (double) value[0]));
        return values;
    }

    @Override
    public Map<String, Tensor> run(List<Tensor> data, Variables variables) {
        Map<String, Tensor> results = new LinkedHashMap<>();
        body.losses(data, variables.stream()).forEach((metric, loss) -> results.put(metric.id(), loss.detach()));
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

    @Override
    public void close() {
        if (calls != null) {
            calls.close();
        }
    }
}
