package tessera.distill.train;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Metric;
import tessera.kernels.Buffer;
import tessera.kernels.CudaDevice;
import tessera.kernels.CudaGraph;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.AdamW;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** How a device takes a step of training: losses, gradients, the optimiser's update. Not thread-safe. */
abstract sealed class TrainingStep implements AutoCloseable {
    /**
     * Computes the gradients of one step and returns its losses, scalars, {@link Metric#LOSS} among them. It draws random numbers
     * only by streams that grow with the step's number, and never looks at values on the host: on a GPU it is recorded once and
     * then replayed.
     */
    interface Body {
        Map<Metric, Tensor> losses(List<Tensor> data, long step);
    }

    final Device device;
    final Body body;
    final AdamW optimiser;

    private TrainingStep(Device device, Body body, AdamW optimiser) {
        this.device = device;
        this.body = body;
        this.optimiser = optimiser;
    }

    static TrainingStep on(Device device, Body body, AdamW optimiser) {
        return device instanceof CudaDevice gpu
                ? new Recorded(gpu, body, optimiser)
                : new Direct(device, body, optimiser);
    }

    /**
     * Takes a step.
     *
     * @param data in host memory
     * @return the losses
     */
    abstract Map<Metric, Double> run(List<Tensor> data, long step, double lr);

    @Override
    public void close() {}

    final Map<Metric, Double> direct(List<Tensor> data, long step, double lr) {
        Map<Metric, Tensor> losses = train(data, step, lr);
        Map<Metric, Double> values = new LinkedHashMap<>();
        losses.forEach((name, loss) -> values.put(name, loss.item()));
        return values;
    }

    /** The losses, and the norm of the gradients where they are clipped. */
    final Map<Metric, Tensor> train(List<Tensor> data, long step, double lr) {
        Map<Metric, Tensor> losses = new LinkedHashMap<>(body.losses(data, step));
        optimiser.step(lr);
        Tensor norm = optimiser.gradientNorm();
        if (norm != null) {
            losses.put(Metric.GRADIENT_NORM, norm);
        }
        return losses;
    }

    /** Operation by operation. */
    private static final class Direct extends TrainingStep {
        Direct(Device device, Body body, AdamW optimiser) {
            super(device, body, optimiser);
        }

        @Override
        Map<Metric, Double> run(List<Tensor> data, long step, double lr) {
            return direct(data, step, lr);
        }
    }

    /**
     * On a GPU the first step runs operation by operation, which loads kernels and makes the gradients' memory; the second is
     * recorded as a graph, and that graph is launched for it and for every further step.
     */
    private static final class Recorded extends TrainingStep {
        private final CudaDevice gpu;
        private final List<Tensor> inputs = new ArrayList<>();
        private final List<Metric> names = new ArrayList<>();
        private boolean warm;
        private long recordedStep;
        private @Nullable CudaGraph graph;
        private @Nullable Buffer results;

        Recorded(CudaDevice gpu, Body body, AdamW optimiser) {
            super(gpu, body, optimiser);
            this.gpu = gpu;
        }

        @Override
        Map<Metric, Double> run(List<Tensor> data, long step, double lr) {
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
            CudaGraph recorded = graph;
            if (recorded == null) {
                recorded = record(step, lr);
                graph = recorded;
            } else {
                optimiser.advance();
            }
            recorded.launch(new CudaGraph.Variables(0, step - recordedStep, lr, optimiser.steps()));
            gpu.currentStream().synchronize();
            return values();
        }

        private CudaGraph record(long step, double lr) {
            recordedStep = step;
            return CudaGraph.capture(gpu, () -> {
                try (Scope scope = Scope.open()) {
                    Map<Metric, Tensor> losses = train(inputs, step, lr);
                    Buffer target = gpu.allocatePinned(DType.F32, losses.size());
                    results = target;
                    losses.forEach((name, loss) -> {
                        gpu.currentStream().copy(loss.detach().buffer(), target.slice(names.size(), 1));
                        names.add(name);
                    });
                }
            });
        }

        private Map<Metric, Double> values() {
            Map<Metric, Double> values = new LinkedHashMap<>();
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
