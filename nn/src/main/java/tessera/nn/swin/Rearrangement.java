package tessera.nn.swin;

import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * An index list and its inverse on a device: {@link #there} moves tokens to their places, {@link #back} returns them. It owns both.
 *
 * @param index i32, the token in each place or -1
 * @param inverse i32, the place of each token
 */
record Rearrangement(Tensor index, Tensor inverse) implements AutoCloseable {
    static Rearrangement of(Device device, int[] index, int[] inverse) {
        return new Rearrangement(onDevice(device, index), onDevice(device, inverse));
    }

    /** Indices on a device, in memory of their own. */
    static Tensor onDevice(Device device, int[] values, long... sizes) {
        Tensor target =
                Tensor.empty(device, DType.I32, Shape.of(sizes.length == 0 ? new long[] {values.length} : sizes));
        try (Tensor host = Tensor.of(values, target.shape().toArray())) {
            target.copyFrom(host);
        }
        return target;
    }

    /** {@code [B, tokens, D]} to {@code [B, places, D]}, zeros where there is no token. */
    Tensor there(Tensor x) {
        return x.rearrange(index, inverse);
    }

    /** {@code [B, places, D]} to {@code [B, tokens, D]}; what is in the other places goes. */
    Tensor back(Tensor x) {
        return x.rearrange(/* index= */ inverse, /* inverse= */ index);
    }

    @Override
    public void close() {
        index.close();
        inverse.close();
    }
}
