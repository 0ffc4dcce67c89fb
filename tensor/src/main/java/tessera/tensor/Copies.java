package tessera.tensor;

import java.lang.foreign.MemorySegment;
import tessera.kernels.DType;
import tessera.kernels.Device;

/** Values on their way between tensors, arrays and devices, outside the gradient's record. */
final class Copies {
    private Copies() {}

    /** A CPU tensor of an array's values; no sizes stand for one axis. */
    static Tensor of(DType dtype, MemorySegment values, long count, long[] sizes) {
        Shape shape = sizes.length == 0 ? Shape.of(count) : Shape.of(sizes);
        if (shape.count() != count) {
            throw new IllegalArgumentException("Tensor.of: " + count + " values do not fill shape " + shape
                    + ", which has " + shape.count() + " elements");
        }
        Tensor tensor = Tensor.empty(Device.cpu(), dtype, shape);
        MemorySegment.copy(values, 0, tensor.buffer().segment(), 0, values.byteSize());
        return tensor;
    }

    /** The same values in the host's memory. */
    static Tensor onHost(Tensor tensor) {
        Tensor values = tensor.detach();
        return values.device().isHost() ? values : values.to(Device.cpu());
    }

    /** Writes the elements in row-major order, as a type, into an array. */
    static void read(Tensor tensor, DType as, MemorySegment target) {
        tensor.requireOpen("read");
        Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                MemorySegment values = onHost(tensor).to(as).contiguous().segment();
                MemorySegment.copy(values, 0, target, 0, target.byteSize());
            }
            return true;
        });
    }

    /** Overwrites a contiguous tensor, and its shadow, with the values of one of its shape. */
    static void write(Tensor source, Tensor target) {
        Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                Tensor values = source.detach();
                if (!values.device().equals(target.device())) {
                    // Converted on the host: a GPU has no f64.
                    values = onHost(values);
                    if (!target.device().isHost()) {
                        values = values.to(target.dtype()).to(target.device());
                    }
                }
                target.kernels().elementwise().cast(values.contiguous().buffer(), target.buffer());
                Tensor shadow = target.shadow();
                if (shadow != null) {
                    target.kernels().elementwise().cast(target.buffer(), shadow.buffer());
                }
            }
            return true;
        });
    }
}
