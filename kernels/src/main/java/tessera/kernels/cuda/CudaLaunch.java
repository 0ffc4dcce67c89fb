package tessera.kernels.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.natives.cuda.CudaDriver;

/**
 * The arguments of one launch, written in the order of the kernel's struct, each at its natural alignment.
 *
 * <p>One per thread, reused by every launch of the thread, so a launch allocates nothing. The driver copies the block before
 * the launch returns.
 */
final class CudaLaunch {
    /** The most that a kernel's parameters may take on every device. */
    private static final int PARAMETER_BYTES = 4096;

    /** Behind the parameters, the list of their addresses: one, as a kernel has one struct. */
    private static final long LIST = PARAMETER_BYTES;

    /** Behind that, for launches with an attribute, what is launched how. */
    private static final long CONFIG = LIST + Long.BYTES;

    private static final long ATTRIBUTE = CONFIG + CudaDriver.CONFIG_BYTES;
    private static final long SIZE = ATTRIBUTE + CudaDriver.LAUNCH_ATTRIBUTE_BYTES;
    private static final int LARGEST_X = Integer.MAX_VALUE;
    private static final int LARGEST_YZ = 65535;

    /** Compares what is written with the structs of the sources, in tests; null elsewhere. */
    private static @Nullable Watch watch;

    private final CudaThread thread;
    private final MemorySegment block = Arena.ofAuto().allocate(SIZE, CudaDriver.TENSOR_MAP_ALIGNMENT);
    private final long params = block.address() + LIST;
    private @Nullable CudaFunction function;
    private int used;
    private int alignment;

    /** What is written where, for the {@link #watch} alone. */
    private final StringBuilder layout = new StringBuilder();

    /** Sees each launch before it is made. */
    @FunctionalInterface
    interface Watch {
        /**
         * Looks at a launch.
         *
         * @param kernel its name
         * @param layout for each argument its kind and the byte where it begins, with a blank behind; valid until the call returns. Kinds are
         *     {@code p}, an address, {@code l}, an i64, {@code i}, an i32, {@code f}, an f32, {@code d}, an f64, {@code m}, a matrix, and
         *     {@code z}, 8 bytes of zeros, whatever they stand for
         */
        void launched(String kernel, CharSequence layout);
    }

    /** Lets tests see every launch from here on; called before the first. */
    static void watch(Watch next) {
        watch = next;
    }

    CudaLaunch(CudaThread thread) {
        this.thread = thread;
        block.set(ValueLayout.JAVA_LONG, LIST, block.address());
        block.set(ValueLayout.JAVA_LONG, CONFIG + CudaDriver.CONFIG_ATTRIBUTES, block.address() + ATTRIBUTE);
        block.set(ValueLayout.JAVA_INT, CONFIG + CudaDriver.CONFIG_ATTRIBUTE_COUNT, 1);
        block.set(ValueLayout.JAVA_INT, ATTRIBUTE, CudaDriver.LAUNCH_PROGRAMMATIC);
        block.set(ValueLayout.JAVA_INT, ATTRIBUTE + CudaDriver.LAUNCH_ATTRIBUTE_VALUE, 1);
    }

    CudaLaunch begin(CudaFunction next) {
        function = next;
        used = 0;
        alignment = 1;
        if (watch != null) {
            layout.setLength(0);
        }
        return this;
    }

    /** The address of a buffer, 0 for null. */
    CudaLaunch buffer(@Nullable Buffer value) {
        return address(value == null ? 0 : value.address());
    }

    /** An address on the device, or 0. */
    CudaLaunch address(long value) {
        return put('p', value);
    }

    // Not a variable number of arguments, which would make an array for each launch.

    CudaLaunch buffers(@Nullable Buffer a, @Nullable Buffer b) {
        return buffer(a).buffer(b);
    }

    CudaLaunch buffers(@Nullable Buffer a, @Nullable Buffer b, @Nullable Buffer c) {
        return buffer(a).buffer(b).buffer(c);
    }

    CudaLaunch buffers(@Nullable Buffer a, @Nullable Buffer b, @Nullable Buffer c, @Nullable Buffer d) {
        return buffer(a).buffer(b).buffer(c).buffer(d);
    }

    /** The addresses of the first {@code count} buffers, 0 without buffers, filled up with 0 to the kernel's array of a length. */
    CudaLaunch array(Buffer @Nullable [] values, int count, int length) {
        for (int i = 0; i < count; i++) {
            buffer(values == null ? null : values[i]);
        }
        return zeros(length - count);
    }

    /** So many i64 or null, or twice as many i32 or f32, that are all 0. */
    CudaLaunch zeros(int count) {
        for (int i = 0; i < count; i++) {
            put('z', 0L);
        }
        return this;
    }

    CudaLaunch i64(long value) {
        return put('l', value);
    }

    CudaLaunch i64(long a, long b) {
        return i64(a).i64(b);
    }

    CudaLaunch i64(long a, long b, long c) {
        return i64(a).i64(b).i64(c);
    }

    CudaLaunch i64(long a, long b, long c, long d) {
        return i64(a, b).i64(c, d);
    }

    CudaLaunch i32(int value) {
        return put('i', value);
    }

    CudaLaunch i32(int a, int b) {
        return i32(a).i32(b);
    }

    CudaLaunch i32(int a, int b, int c, int d) {
        return i32(a, b).i32(c, d);
    }

    CudaLaunch f64(double value) {
        return put('d', Double.doubleToRawLongBits(value));
    }

    /** Rounds to f32. */
    CudaLaunch f32(double value) {
        return put('f', Float.floatToRawIntBits((float) value));
    }

    CudaLaunch f32(double a, double b) {
        return f32(a).f32(b);
    }

    /**
     * A matrix of bf16 or of bytes by rows as the tensor memory accelerator takes it, in boxes that are 128 bytes wide; see tma.cuh.
     *
     * @param stride distance of rows in elements, of 16 bytes or a multiple
     */
    CudaLaunch matrix(Buffer value, long rows, long columns, long stride, int boxRows) {
        int at = place('m', CudaDriver.TENSOR_MAP_BYTES, CudaDriver.TENSOR_MAP_ALIGNMENT);
        CudaDriver.encodeTensorMap(
                block.address() + at,
                value.address(),
                rows,
                columns,
                value.dtype().bytes(),
                stride * value.dtype().bytes(),
                boxRows);
        return this;
    }

    private CudaLaunch put(char kind, long value) {
        block.set(ValueLayout.JAVA_LONG, place(kind, Long.BYTES, Long.BYTES), value);
        return this;
    }

    private CudaLaunch put(char kind, int value) {
        block.set(ValueLayout.JAVA_INT, place(kind, Integer.BYTES, Integer.BYTES), value);
        return this;
    }

    private int place(char kind, int bytes, int multiple) {
        int at = (used + multiple - 1) & -multiple;
        if (at + bytes > PARAMETER_BYTES) {
            throw new IllegalStateException(
                    "the arguments of " + function + " take more than the " + PARAMETER_BYTES + " bytes of a launch");
        }
        clear(used, at);
        used = at + bytes;
        alignment = Math.max(alignment, multiple);
        if (watch != null) {
            layout.append(kind).append(at).append(' ');
        }
        return at;
    }

    /** What lies between a struct's members is not left from another launch: it could look like an address. */
    private void clear(int from, int to) {
        for (int i = from; i < to; i++) {
            block.set(ValueLayout.JAVA_BYTE, i, (byte) 0);
        }
    }

    /** Launches on the thread's current stream; a grid of zero blocks is no launch. */
    void launch(long blocks, int threads, int sharedBytes) {
        launch(blocks, 1, 1, threads, sharedBytes);
    }

    /**
     * Launches on the thread's current stream; a grid of zero blocks is no launch.
     *
     * @param threads per block
     * @param sharedBytes of dynamic shared memory per block
     * @throws IllegalArgumentException if the grid is larger than CUDA allows
     * @throws DeviceException if the arguments do not fill the kernel's struct, or the driver refuses the launch or reports an
     *     earlier one's failure
     */
    void launch(long gridX, long gridY, long gridZ, int threads, int sharedBytes) {
        CudaFunction kernel = function;
        if (kernel == null) {
            throw new IllegalStateException("launch without begin()");
        }
        function = null;
        if (gridX == 0 || gridY == 0 || gridZ == 0) {
            return;
        }
        if (gridX > LARGEST_X || gridY > LARGEST_YZ || gridZ > LARGEST_YZ) {
            throw new IllegalArgumentException(kernel + ": a grid of " + gridX + " x " + gridY + " x " + gridZ
                    + " blocks is too large; use smaller tensors");
        }
        CudaDevice device = kernel.device();
        CudaThread current = thread;
        // First what may wait for a lock: a virtual thread that waits comes back on any carrier, which has its own
        // context.
        kernel.allowShared(sharedBytes);
        int size = (used + alignment - 1) & -alignment;
        clear(used, size);
        kernel.requireParameters(size);
        Watch watching = watch;
        if (watching != null) {
            watching.launched(kernel.toString(), layout);
        }
        current.use(device);
        CudaStream stream = current.stream(device);
        int x = (int) gridX;
        int y = (int) gridY;
        int z = (int) gridZ;
        int status = stream.launchesProgrammatically()
                ? launchProgrammatically(kernel, x, y, z, threads, sharedBytes, stream)
                : CudaDriver.launchKernel(
                        kernel.handle(), x, y, z, threads, 1, 1, sharedBytes, stream.handle(), params, 0);
        if (status != 0) {
            throw device.failed(CudaDriver.failure("cuLaunchKernel of " + kernel, status));
        }
        if (CudaDevice.DEBUG) {
            device.checkLaunch(kernel, stream);
        }
    }

    /** Lets the kernel wait for the one before it by itself, see begin_in_order in tessera.cuh. */
    private int launchProgrammatically(
            CudaFunction kernel, int x, int y, int z, int threads, int sharedBytes, CudaStream stream) {
        long grid = CONFIG + CudaDriver.CONFIG_GRID;
        block.set(ValueLayout.JAVA_INT, grid, x);
        block.set(ValueLayout.JAVA_INT, grid + 4, y);
        block.set(ValueLayout.JAVA_INT, grid + 8, z);
        long size = CONFIG + CudaDriver.CONFIG_BLOCK;
        block.set(ValueLayout.JAVA_INT, size, threads);
        block.set(ValueLayout.JAVA_INT, size + 4, 1);
        block.set(ValueLayout.JAVA_INT, size + 8, 1);
        block.set(ValueLayout.JAVA_INT, CONFIG + CudaDriver.CONFIG_SHARED_BYTES, sharedBytes);
        block.set(ValueLayout.JAVA_LONG, CONFIG + CudaDriver.CONFIG_STREAM, stream.handle());
        return CudaDriver.launchKernelEx(block.address() + CONFIG, kernel.handle(), params, 0);
    }
}
