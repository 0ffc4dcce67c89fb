package tessera.nn.inference;

import java.util.List;
import java.util.Map;
import tessera.kernels.Graph;
import tessera.tensor.RecordedCalls;
import tessera.tensor.Tensor;

/** One kind of call of a session, which has one result of its own name. */
record Pass(String name, Masking masking, Of of) implements RecordedCalls.Work {
    /** What is done with clips, masks and a seed. */
    @FunctionalInterface
    interface Of {
        Tensor apply(Tensor clips, Masking masking, long seed);
    }

    @Override
    public Map<String, Tensor> run(List<Tensor> inputs, Graph.Variables variables) {
        return Map.of(name, of.apply(inputs.getFirst(), masking, variables.seed()));
    }
}
