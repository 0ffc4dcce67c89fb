package tessera.natives.interop;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import jcuda.NativePointerObject;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.runtime.cudaStream_t;

/**
 * Hands device memory, contexts and streams to JCuda and takes them in, without a copy.
 *
 * <p>Needs the library {@code org.jcuda:jcuda} at run time, an optional dependency of this module. Nothing changes hands:
 * who made the memory, context or stream frees it, after the other has stopped using it. Both sides must work on one
 * context, which is the device's primary one here, and order their work by sharing a stream or by waiting.
 *
 * <p>Thread-safe.
 */
public final class JCudaBridge {
    private static final VarHandle NATIVE_POINTER;

    static {
        try {
            // JCuda has no public way to make a handle from its number.
            NATIVE_POINTER = MethodHandles.privateLookupIn(NativePointerObject.class, MethodHandles.lookup())
                    .findVarHandle(NativePointerObject.class, "nativePointer", long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private JCudaBridge() {}

    /** A device address as JCuda's runtime, JCublas and JCudnn take it. */
    public static Pointer pointer(long address) {
        return new AtAddress(address);
    }

    /** A device address as JCuda's driver calls take it. */
    public static CUdeviceptr devicePointer(long address) {
        return new CUdeviceptr().withByteOffset(address);
    }

    /**
     * The device address in a pointer of JCuda's.
     *
     * @throws IllegalArgumentException if it points to a Java array, a buffer or other pointers, or is null
     */
    public static long address(Pointer pointer) {
        long address = new Copy(pointer).address();
        if (address == 0) {
            throw new IllegalArgumentException(
                    "the pointer holds no device address: " + pointer + "; pass one made by cuMemAlloc or cudaMalloc");
        }
        return address;
    }

    /** A context, for {@code JCudaDriver.cuCtxSetCurrent}. */
    public static CUcontext context(long handle) {
        CUcontext context = new CUcontext();
        NATIVE_POINTER.set(context, handle);
        return context;
    }

    /** A stream, for JCuda's driver calls. */
    public static CUstream stream(long handle) {
        CUstream stream = new CUstream();
        NATIVE_POINTER.set(stream, handle);
        return stream;
    }

    /** A stream, for JCuda's runtime, {@code JCublas2.cublasSetStream} and {@code JCudnn.cudnnSetStream}. */
    public static cudaStream_t runtimeStream(long handle) {
        return new cudaStream_t(stream(handle));
    }

    /** The number of a context, stream or other handle of JCuda's. */
    public static long handle(NativePointerObject object) {
        return (long) NATIVE_POINTER.get(object);
    }

    private static final class AtAddress extends Pointer {
        AtAddress(long address) {
            super(address);
        }
    }

    /** A copy of a pointer, because only subclasses may read what it holds. */
    private static final class Copy extends Pointer {
        Copy(Pointer pointer) {
            super(pointer);
        }

        long address() {
            return getNativePointer() + getByteOffset();
        }
    }
}
