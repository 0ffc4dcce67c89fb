package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;

/** Checks of the types and lengths of buffers; each names the operation in what it says. */
final class CudaTypes {
    private CudaTypes() {}

    /** Checks that a buffer, where there is one, has the type of others. */
    static void same(String op, Buffer data, @Nullable Buffer other) {
        if (other != null && other.dtype() != data.dtype()) {
            throw new IllegalArgumentException(op + ": buffers of " + data.dtype() + " and " + other.dtype()
                    + " were given but must have one type; convert one of them");
        }
    }

    /** Checks that an input has the type of the result y and at least its length. */
    static void like(Buffer y, String op, Buffer x) {
        same(op, y, x);
        if (x.length() < y.length()) {
            throw new IllegalArgumentException(op + ": an input has " + x.length() + " elements but the result has "
                    + y.length() + "; pass buffers of one length");
        }
    }

    /** Checks that buffers, where there are any, have a type. */
    static void require(String op, DType dtype, @Nullable Buffer... buffers) {
        for (Buffer buffer : buffers) {
            if (buffer != null && buffer.dtype() != dtype) {
                throw new IllegalArgumentException(op + " on " + buffer.device() + " was given " + buffer.dtype()
                        + " where " + dtype + " is needed; convert it");
            }
        }
    }

    /** Checks that a GPU computes in a type: f32 or bf16. */
    static void single(String op, DType dtype, Device device) {
        if (dtype != DType.F32 && dtype != DType.BF16) {
            throw new IllegalArgumentException(op + " on " + device + " computes in f32 or bf16 but was given " + dtype
                    + "; convert to f32, or compute on the cpu");
        }
    }

    /** 1 for bf16, as kernels are told of a buffer that may have either type. */
    static int isBf16(@Nullable Buffer buffer) {
        return buffer != null && buffer.dtype() == DType.BF16 ? 1 : 0;
    }
}
