package tessera.nn;

import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Philox;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** How a parameter starts. Values are a pure function of the seed and the parameter's name. */
public interface Init {
    /**
     * Makes the parameter.
     *
     * @param stream a number derived from the parameter's name
     */
    Tensor create(Device device, DType dtype, Shape shape, long seed, long stream);

    /** All elements one value. */
    static Init constant(double value) {
        return (device, dtype, shape, seed, stream) -> Tensor.full(device, dtype, shape, value);
    }

    /** Uniform in [-bound, bound). */
    static Init uniform(double bound) {
        return (device, dtype, shape, seed, stream) ->
                Tensor.uniform(device, dtype, shape, seed, stream, -bound, bound);
    }

    /** Uniform with bound {@code sqrt(6 / (fanIn + fanOut))} (Glorot and Bengio, AISTATS 2010). */
    static Init xavierUniform(long fanIn, long fanOut) {
        return uniform(Math.sqrt(6.0 / (fanIn + fanOut)));
    }

    /** Uniform with bound {@code 1 / sqrt(fanIn)}, what PyTorch gives linear and convolution layers by default. */
    static Init fanIn(long fanIn) {
        return uniform(1 / Math.sqrt((double) fanIn));
    }

    /** Normal with standard deviation {@code std}, redrawn until within {@code cut} of 0. */
    static Init truncatedNormal(double std, double cut) {
        return (device, dtype, shape, seed, stream) -> {
            double[] values = new double[Math.toIntExact(shape.count())];
            int[] words = new int[4];
            long counter = 0;
            for (int i = 0; i < values.length; ) {
                Philox.words(seed, stream, counter++, words);
                double radius = Math.sqrt(-2 * Math.log(1 - Philox.uniform(words[0])));
                double value = std * radius * Math.cos(2 * Math.PI * Philox.uniform(words[1]));
                if (Math.abs(value) <= cut) {
                    values[i++] = value;
                }
            }
            Tensor target = Tensor.empty(device, dtype, shape);
            try (Tensor drawn = Tensor.of(values, shape.toArray())) {
                target.copyFrom(drawn);
            }
            return target;
        };
    }
}
