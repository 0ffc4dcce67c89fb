package tessera.kernels.cpu.vector;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;

/**
 * What the calls of layers on bytes and on bf16 are checked for before they compute.
 *
 * @param name with which a refusal begins
 * @param packer how a weight is packed for these layers
 * @param weight class of a weight that was
 */
record NarrowChecks<W extends PackedWeight>(String name, String packer, Class<W> weight) {
    /** The weight, if these layers packed it. */
    W own(PackedWeight given) {
        if (weight.isInstance(given)) {
            return weight.cast(given);
        }
        throw new IllegalArgumentException(
                name + ": the weight was packed for other kernels; pack it by " + packer + " of this device");
    }

    /** Refuses a buffer of another type or with fewer elements; null is none. */
    void require(String what, @Nullable Buffer buffer, long count) {
        if (buffer != null && (buffer.dtype() != DType.F32 || buffer.length() < count)) {
            throw new IllegalArgumentException(name + ": " + what + " is " + buffer.dtype() + "[" + buffer.length()
                    + "] but f32[" + count + "] or more is needed");
        }
    }

    /** Refuses what does not fit a result y of {@code [m, n]}. */
    void requireResult(long m, long n, Epilogue epilogue, String what, Buffer y) {
        require("bias", epilogue.bias(), n);
        require("addend", epilogue.addend(), m * n);
        require(what, y, m * n);
    }

    /** Refuses a weight to pack of another type than f32 or with fewer elements. */
    void requireWeight(Buffer given, long n, long k, String narrowed) {
        if (given.dtype() != DType.F32) {
            throw new IllegalArgumentException(
                    name + ": the weight is " + given.dtype() + " but f32 is " + narrowed + "; convert first");
        }
        require("the weight", given, n * k);
    }

    /** Refuses two layers of which the second does not take what the first gives. */
    void requireFollowing(PackedWeight first, PackedWeight second) {
        if (second.k() != first.n()) {
            throw new IllegalArgumentException(name + ": the first layer has " + first.n() + " outputs but the second "
                    + second.k() + " inputs; pass two layers that follow each other");
        }
    }
}
