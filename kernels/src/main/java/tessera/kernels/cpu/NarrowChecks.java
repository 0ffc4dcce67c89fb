package tessera.kernels.cpu;

import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;

/**
 * What the calls of layers on bytes and on bf16 are checked for before they compute.
 *
 * @param name with which a refusal begins
 * @param packer how a weight is packed for these layers
 * @param weight class of a weight that was
 * @param data type of inputs, biases, addends and results
 */
public record NarrowChecks<W extends PackedWeight>(String name, String packer, Class<W> weight, DType data) {
    /** The weight, if these layers packed it and it is for this device. */
    public W own(PackedWeight given, Predicate<W> here) {
        if (weight.isInstance(given) && here.test(weight.cast(given))) {
            return weight.cast(given);
        }
        throw new IllegalArgumentException(
                name + ": the weight was packed for other kernels; pack it by " + packer + " of this device");
    }

    /** The weight, if these layers packed it. */
    public W own(PackedWeight given) {
        return own(given, any -> true);
    }

    /** Refuses a buffer of another type or with fewer elements; null is none. */
    public void require(String what, @Nullable Buffer buffer, long count) {
        require(what, buffer, data, count);
    }

    private void require(String what, @Nullable Buffer buffer, DType type, long count) {
        if (buffer != null && (buffer.dtype() != type || buffer.length() < count)) {
            throw new IllegalArgumentException(name + ": " + what + " is " + buffer.dtype() + "[" + buffer.length()
                    + "] but " + type + "[" + count + "] or more is needed");
        }
    }

    /** Refuses what does not fit a result y of {@code [m, n]}. */
    public void requireResult(long m, long n, Epilogue epilogue, String what, Buffer y) {
        require("bias", epilogue.bias(), n);
        require("addend", epilogue.addend(), m * n);
        require(what, y, m * n);
    }

    /** Refuses a weight to pack of another type than f32 or with fewer elements. */
    public void requireWeight(Buffer given, long n, long k, String narrowed) {
        if (given.dtype() != DType.F32) {
            throw new IllegalArgumentException(
                    name + ": the weight is " + given.dtype() + " but f32 is " + narrowed + "; convert first");
        }
        require("the weight", given, DType.F32, n * k);
    }

    /** Refuses more inputs than 32 bits add up. */
    public void requireInputs(long k) {
        if (k > Int8Kernels.MOST_INPUTS) {
            throw new IllegalArgumentException(name + ": the layer has " + k + " inputs but at most "
                    + Int8Kernels.MOST_INPUTS + " are added up in 32 bits; keep this layer in f32");
        }
    }

    /** Refuses two layers of which the second does not take what the first gives. */
    public void requireFollowing(PackedWeight first, PackedWeight second) {
        if (second.k() != first.n()) {
            throw new IllegalArgumentException(name + ": the first layer has " + first.n() + " outputs but the second "
                    + second.k() + " inputs; pass two layers that follow each other");
        }
    }
}
