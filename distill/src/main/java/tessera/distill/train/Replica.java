package tessera.distill.train;

import static java.util.Objects.requireNonNull;

import tessera.kernels.Device;
import tessera.nn.AdamW;

/** What a run trains on one device: networks of its own, and the optimiser of their weights. */
record Replica(Device device, Stage.Setup setup, AdamW optimiser) implements AutoCloseable {
    /** Makes the networks, in the innermost open scope, and an optimiser that has taken no step. */
    static Replica of(Stage stage, RunContext context) {
        Stage.Setup setup = stage.build().apply(context);
        try {
            return new Replica(
                    context.device(), setup, stage.recipe().optimiser().of(setup.trained()));
        } catch (RuntimeException | Error e) {
            setup.close();
            throw e;
        }
    }

    /** Takes over the weights and the optimiser's state of another, of the same networks. */
    void follow(Replica first) {
        setup.trained()
                .forEach((name, parameter) ->
                        parameter.copyFrom(requireNonNull(first.setup.trained().get(name))));
        optimiser.restore(first.optimiser.state(), first.optimiser.steps());
    }

    @Override
    public void close() {
        try (setup) {
            optimiser.close();
        }
    }
}
