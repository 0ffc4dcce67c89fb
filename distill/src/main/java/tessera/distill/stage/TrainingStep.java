package tessera.distill.stage;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Graph;
import tessera.nn.AdamW;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** How a device takes a step of training: losses, gradients, the optimiser's update. Not thread-safe. */
abstract sealed class TrainingStep implements AutoCloseable {
    static final String GRADIENT_NORM = "gradient_norm";

    final Device device;
    final Trainer.Body body;
    final AdamW optimiser;

    private TrainingStep(Device device, Trainer.Body body, AdamW optimiser) {
        this.device = device;
        this.body = body;
        this.optimiser = optimiser;
    }

    static TrainingStep on(Device device, Trainer.Body body, AdamW optimiser) {
        return device.records() ? new Recorded(device, body, optimiser) : new Direct(device, body, optimiser);
    }

    /**
     * Takes a step.
     *
     * @param data in host memory
     * @return the losses by name
     */
    abstract Map<String, Double> run(List<Tensor> data, long step, double lr);

    @Override
    public void close() {}

    final Map<String, Double> direct(List<Tensor> data, long step, double lr) {
        Map<String, Tensor> losses = train(data, step, lr);
        Map<String, Double> values = new LinkedHashMap<>();
        losses.forEach((name, loss) -> values.put(name, loss.item()));
        return values;
    }

    /** The losses, and the norm of the gradients where they are clipped. */
    final Map<String, Tensor> train(List<Tensor> data, long step, double lr) {
        Map<String, Tensor> losses = new LinkedHashMap<>(body.losses(data, step));
        optimiser.step(lr);
        Tensor norm = optimiser.gradientNorm();
        if (norm != null) {
            losses.put(GRADIENT_NORM, norm);
        }
        return losses;
    }

    /** Operation by operation. */
    private static final class Direct extends TrainingStep {
        Direct(Device device, Trainer.Body body, AdamW optimiser) {
            super(device, body, optimiser);
        }

        @Override
        Map<String, Double> run(List<Tensor> data, long step, double lr) {
            return direct(data, step, lr);
        }
    }

    /**
     * On a device that records, the first step runs operation by operation, which loads kernels and makes the gradients' memory; the second is
     * recorded as a graph, and that graph is launched for it and for every further step.
     */
    private static final class Recorded extends TrainingStep {
        private final List<Tensor> inputs = new ArrayList<>();
        private final List<String> names = new ArrayList<>();
        private boolean warm;
        private long recordedStep;
        private @Nullable Graph graph;
        private @Nullable Buffer results;

        Recorded(Device device, Trainer.Body body, AdamW optimiser) {
            super(device, body, optimiser);
        }

        @Override
        Map<String, Double> run(List<Tensor> data, long step, double lr) {
            if (inputs.isEmpty()) {
                data.forEach(host -> inputs.add(Scope.outside(() -> Tensor.empty(device, host.dtype(), host.shape()))));
            }
            for (int i = 0; i < data.size(); i++) {
                inputs.get(i).copyFrom(data.get(i));
            }
            if (!warm) {
                warm = true;
                return direct(inputs, step, lr);
            }
            Graph recorded = graph;
            if (recorded == null) {
                recorded = record(step, lr);
                graph = recorded;
            } else {
                optimiser.advance();
            }
            recorded.launch(new Graph.Variables(0, step - recordedStep, lr, optimiser.steps()));
            device.currentStream().synchronize();
            return values();
        }

        private Graph record(long step, double lr) {
            recordedStep = step;
            return device.record(() -> {
                try (Scope scope = Scope.open()) {
                    Map<String, Tensor> losses = train(inputs, step, lr);
                    Buffer target = device.allocatePinned(DType.F32, losses.size());
                    results = target;
                    losses.forEach((name, loss) -> {
                        device.currentStream().copy(loss.detach().buffer(), target.slice(names.size(), 1));
                        names.add(name);
                    });
                }
            });
        }

        private Map<String, Double> values() {
            Map<String, Double> values = new LinkedHashMap<>();
            Buffer from = java.util.Objects.requireNonNull(results);
            for (int i = 0; i < names.size(); i++) {
                values.put(
                        names.get(i), (double) from.segment().getAtIndex(java.lang.foreign.ValueLayout.JAVA_FLOAT, i));
            }
            return values;
        }

        @Override
        public void close() {
            if (graph != null) {
                graph.close();
            }
            if (results != null) {
                results.close();
            }
            inputs.forEach(Tensor::close);
        }
    }
}
