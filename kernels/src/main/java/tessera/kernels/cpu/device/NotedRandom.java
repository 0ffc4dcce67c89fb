package tessera.kernels.cpu.device;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Graph.Variables;
import tessera.kernels.RandomOps;
import tessera.kernels.cpu.scalar.ScalarRandom;

/**
 * Notes its calls in a graph, whose launches add their seed and stream to those noted.
 *
 * @param masks what draws masks, which is prepared once and makes no object in a launch
 */
record NotedRandom(HostGraph graph, RandomOps kernels, ScalarRandom masks) implements RandomOps {
    private static RandomStream moved(RandomStream random, Variables values) {
        return new RandomStream(random.seed() + values.seed(), random.stream() + values.stream());
    }

    @Override
    public void randomMask(
            RandomStream random, MaskShape shape, Buffer visibleIndices, @Nullable Buffer maskedIndices) {
        ScalarRandom.Masks prepared = masks.masks(shape, visibleIndices, maskedIndices);
        graph.note(values -> prepared.draw(random.seed() + values.seed(), random.stream() + values.stream()));
    }

    @Override
    public void randomUniform(RandomStream random, double low, double high, Buffer y) {
        graph.note(values -> kernels.randomUniform(moved(random, values), low, high, y));
    }

    @Override
    public void randomNormal(RandomStream random, double mean, double std, Buffer y) {
        graph.note(values -> kernels.randomNormal(moved(random, values), mean, std, y));
    }

    @Override
    public void dropout(RandomStream random, Buffer x, double p, Buffer y) {
        graph.note(values -> kernels.dropout(moved(random, values), x, p, y));
    }

    @Override
    public void dropPath(RandomStream random, @Nullable Buffer residual, Buffer x, double p, long batch, Buffer y) {
        graph.note(values -> kernels.dropPath(moved(random, values), residual, x, p, batch, y));
    }
}
