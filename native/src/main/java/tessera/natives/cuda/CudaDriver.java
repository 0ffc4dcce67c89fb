package tessera.natives.cuda;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Bindings of the CUDA driver by its C functions: devices, memory, modules, launches, streams, events and graphs.
 *
 * <p>Handles and device addresses are {@code long}s; who creates one destroys it. Most calls need a context that is current
 * for the calling thread. A call that fails throws {@link CudaException}; a driver that is missing or lacks a function,
 * {@link tessera.natives.NativeLibraryException} with the reason. Symbols are named with the versions that drivers of CUDA
 * 12 and 13 both export, and looked up at the first call. Thread-safe; a call that returns a value allocates nothing.
 */
@CName("cuda.h")
public final class CudaDriver {
    @CName("CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN")
    public static final int ATTRIBUTE_MAX_SHARED_BYTES_OPT_IN = 97;

    @CName("CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT")
    public static final int ATTRIBUTE_MULTIPROCESSORS = 16;

    @CName("CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR")
    public static final int ATTRIBUTE_CAPABILITY_MAJOR = 75;

    @CName("CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR")
    public static final int ATTRIBUTE_CAPABILITY_MINOR = 76;

    @CName("CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED")
    public static final int ATTRIBUTE_MEMORY_POOLS = 115;

    @CName("CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES")
    public static final int FUNCTION_MAX_DYNAMIC_SHARED_BYTES = 8;

    @CName("CU_MEMPOOL_ATTR_RELEASE_THRESHOLD")
    public static final int POOL_RELEASE_THRESHOLD = 4;

    @CName("CU_STREAM_NON_BLOCKING")
    public static final int STREAM_NON_BLOCKING = 1;

    @CName("CU_EVENT_DISABLE_TIMING")
    public static final int EVENT_NO_TIMING = 2;

    @CName("CU_STREAM_CAPTURE_MODE_RELAXED")
    public static final int CAPTURE_RELAXED = 2;

    /** Entries of the list that {@link #launchKernel} may take: a name, then a value, and {@link #LAUNCH_PARAM_END} last. */
    @CName("CU_LAUNCH_PARAM_END_AS_INT")
    public static final long LAUNCH_PARAM_END = 0;

    @CName("CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT")
    public static final long LAUNCH_PARAM_BUFFER = 1;

    @CName("CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT")
    public static final long LAUNCH_PARAM_BUFFER_SIZE = 2;

    /** What a tensor map takes, at an address that is a multiple of {@link #TENSOR_MAP_ALIGNMENT}. */
    @CName("sizeof(CUtensorMap)")
    public static final int TENSOR_MAP_BYTES = 128;

    @CName("alignof(CUtensorMap)")
    public static final int TENSOR_MAP_ALIGNMENT = 128;

    @CName("CU_TENSOR_MAP_DATA_TYPE_UINT8")
    private static final int TENSOR_UINT8 = 0;

    @CName("CU_TENSOR_MAP_DATA_TYPE_BFLOAT16")
    private static final int TENSOR_BFLOAT16 = 9;

    /** Bytes of a row of a box, over which it is swizzled. */
    private static final int TENSOR_BOX_BYTES = 128;

    @CName("CU_TENSOR_MAP_INTERLEAVE_NONE")
    private static final int TENSOR_PLAIN = 0;

    @CName("CU_TENSOR_MAP_SWIZZLE_128B")
    private static final int TENSOR_SWIZZLE_128 = 3;

    @CName("CU_TENSOR_MAP_L2_PROMOTION_L2_256B")
    private static final int TENSOR_PROMOTE_256 = 3;

    @CName("CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE")
    private static final int TENSOR_ZEROS_OUTSIDE = 0;

    private static final int GRAPH_NODE_KERNEL = 0;

    /** What {@link #functionParameterBytes} says where the driver cannot tell. */
    public static final int UNKNOWN_BYTES = -1;

    /** Where {@link #launchKernelEx} finds what; bytes from the beginning of its configuration. */
    @CName("offsetof(CUlaunchConfig, gridDimX)")
    public static final long CONFIG_GRID = 0;

    @CName("offsetof(CUlaunchConfig, blockDimX)")
    public static final long CONFIG_BLOCK = 12;

    @CName("offsetof(CUlaunchConfig, sharedMemBytes)")
    public static final long CONFIG_SHARED_BYTES = 24;

    @CName("offsetof(CUlaunchConfig, hStream)")
    public static final long CONFIG_STREAM = 32;

    @CName("offsetof(CUlaunchConfig, attrs)")
    public static final long CONFIG_ATTRIBUTES = 40;

    @CName("offsetof(CUlaunchConfig, numAttrs)")
    public static final long CONFIG_ATTRIBUTE_COUNT = 48;

    @CName("sizeof(CUlaunchConfig)")
    public static final long CONFIG_BYTES = 56;

    /** The same of an attribute, from its own beginning. */
    @CName("offsetof(CUlaunchAttribute, value)")
    public static final long LAUNCH_ATTRIBUTE_VALUE = 8;

    @CName("sizeof(CUlaunchAttribute)")
    public static final long LAUNCH_ATTRIBUTE_BYTES = 72;

    /** The attribute with which a kernel may be brought to the device while the one before it still runs: an int that is not 0. */
    @CName("CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION")
    public static final int LAUNCH_PROGRAMMATIC = 6;

    @CName("CU_MEM_ALLOCATION_TYPE_PINNED")
    private static final int ALLOCATION_PINNED = 1;

    @CName("CU_MEM_LOCATION_TYPE_DEVICE")
    private static final int LOCATION_DEVICE = 1;

    @CName("offsetof(CUmemPoolProps, allocType)")
    private static final long POOL_TYPE = 0;

    @CName("offsetof(CUmemPoolProps, location.type)")
    private static final long POOL_LOCATION_TYPE = 8;

    @CName("offsetof(CUmemPoolProps, location.id)")
    private static final long POOL_LOCATION_ID = 12;

    @CName("sizeof(CUmemPoolProps)")
    private static final long POOL_PROPERTIES_BYTES = 88;

    @CName("CUDA_ERROR_NOT_READY")
    private static final int NOT_READY = 600;

    /** Where a call of this thread writes its result. */
    private static final ThreadLocal<MemorySegment> OUT =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(32, 8));

    private CudaDriver() {}

    // ---------------------------------------------------------------------------------------------- device and context

    /** Starts the driver in this process; further calls do nothing. */
    public static void init(int flags) {
        try {
            check("cuInit", (int) Init.HANDLE.invokeExact(flags));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class Init {
        static final MethodHandle HANDLE = status("cuInit", JAVA_INT);
    }

    /** Version of CUDA the driver supports, 1000 * major + 10 * minor. */
    public static int driverVersion() {
        try {
            check("cuDriverGetVersion", (int) DriverGetVersion.HANDLE.invokeExact(out()));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_INT, 0);
    }

    private static final class DriverGetVersion {
        static final MethodHandle HANDLE = status("cuDriverGetVersion", JAVA_LONG);
    }

    /** Number of devices that this process may use. */
    public static int deviceCount() {
        try {
            check("cuDeviceGetCount", (int) DeviceGetCount.HANDLE.invokeExact(out()));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_INT, 0);
    }

    private static final class DeviceGetCount {
        static final MethodHandle HANDLE = status("cuDeviceGetCount", JAVA_LONG);
    }

    /** Handle of the device with a number below {@link #deviceCount}. */
    public static int device(int ordinal) {
        try {
            check("cuDeviceGet", (int) DeviceGet.HANDLE.invokeExact(out(), ordinal));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_INT, 0);
    }

    private static final class DeviceGet {
        static final MethodHandle HANDLE = status("cuDeviceGet", JAVA_LONG, JAVA_INT);
    }

    /** One of the {@code ATTRIBUTE_} values of a device. */
    public static int deviceAttribute(int attribute, int device) {
        try {
            check("cuDeviceGetAttribute", (int) DeviceGetAttribute.HANDLE.invokeExact(out(), attribute, device));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_INT, 0);
    }

    private static final class DeviceGetAttribute {
        static final MethodHandle HANDLE = status("cuDeviceGetAttribute", JAVA_LONG, JAVA_INT, JAVA_INT);
    }

    /** Bytes of memory of a device. */
    public static long deviceTotalMemory(int device) {
        try {
            check("cuDeviceTotalMem", (int) DeviceTotalMem.HANDLE.invokeExact(out(), device));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_LONG, 0);
    }

    private static final class DeviceTotalMem {
        static final MethodHandle HANDLE = status("cuDeviceTotalMem_v2", JAVA_LONG, JAVA_INT);
    }

    /** The device's primary context, which is made if need be and kept until it is released as often as retained. */
    public static long primaryContextRetain(int device) {
        try {
            check("cuDevicePrimaryCtxRetain", (int) DevicePrimaryCtxRetain.HANDLE.invokeExact(out(), device));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_LONG, 0);
    }

    private static final class DevicePrimaryCtxRetain {
        static final MethodHandle HANDLE = status("cuDevicePrimaryCtxRetain", JAVA_LONG, JAVA_INT);
    }

    public static void primaryContextRelease(int device) {
        try {
            check("cuDevicePrimaryCtxRelease", (int) DevicePrimaryCtxRelease.HANDLE.invokeExact(device));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class DevicePrimaryCtxRelease {
        static final MethodHandle HANDLE = status("cuDevicePrimaryCtxRelease_v2", JAVA_INT);
    }

    /** Makes a context current for the calling thread; 0 for none. */
    public static void contextSetCurrent(long context) {
        try {
            check("cuCtxSetCurrent", (int) CtxSetCurrent.HANDLE.invokeExact(context));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class CtxSetCurrent {
        static final MethodHandle HANDLE = status("cuCtxSetCurrent", JAVA_LONG);
    }

    /** The calling thread's context, or 0. */
    public static long contextGetCurrent() {
        try {
            check("cuCtxGetCurrent", (int) CtxGetCurrent.HANDLE.invokeExact(out()));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_LONG, 0);
    }

    private static final class CtxGetCurrent {
        static final MethodHandle HANDLE = status("cuCtxGetCurrent", JAVA_LONG);
    }

    /** Waits until everything enqueued in the current context is done. */
    public static void contextSynchronize() {
        try {
            check("cuCtxSynchronize", (int) CtxSynchronize.HANDLE.invokeExact());
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class CtxSynchronize {
        static final MethodHandle HANDLE = status("cuCtxSynchronize");
    }

    /** Name of a device as its maker gives it. */
    public static String deviceName(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment name = arena.allocate(256);
            check("cuDeviceGetName", (int) DeviceGetName.HANDLE.invokeExact(name.address(), 256, device));
            return name.getString(0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class DeviceGetName {
        static final MethodHandle HANDLE = status("cuDeviceGetName", JAVA_LONG, JAVA_INT, JAVA_INT);
    }

    /** Bytes of the current context's device that nobody uses. */
    public static long freeMemory() {
        long out = out();
        try {
            check("cuMemGetInfo", (int) MemGetInfo.HANDLE.invokeExact(out, out + 8));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_LONG, 0);
    }

    private static final class MemGetInfo {
        static final MethodHandle HANDLE = status("cuMemGetInfo_v2", JAVA_LONG, JAVA_LONG);
    }

    // ---------------------------------------------------------------------------------------------------------- memory

    /** Memory of the current context's device; usable by all streams at once. */
    public static long memAlloc(long bytes) {
        try {
            check("cuMemAlloc", (int) MemAlloc.HANDLE.invokeExact(out(), bytes));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_LONG, 0);
    }

    private static final class MemAlloc {
        static final MethodHandle HANDLE = status("cuMemAlloc_v2", JAVA_LONG, JAVA_LONG);
    }

    public static void memFree(long pointer) {
        try {
            check("cuMemFree", (int) MemFree.HANDLE.invokeExact(pointer));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemFree {
        static final MethodHandle HANDLE = status("cuMemFree_v2", JAVA_LONG);
    }

    /** Memory from a pool, usable by work enqueued on the stream after this call. */
    public static long memAllocFromPoolAsync(long bytes, long pool, long stream) {
        try {
            check("cuMemAllocFromPoolAsync", (int)
                    MemAllocFromPoolAsync.HANDLE.invokeExact(out(), bytes, pool, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_LONG, 0);
    }

    private static final class MemAllocFromPoolAsync {
        static final MethodHandle HANDLE =
                status("cuMemAllocFromPoolAsync", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    /** Gives memory back to its pool once the stream gets there. */
    public static void memFreeAsync(long pointer, long stream) {
        try {
            check("cuMemFreeAsync", (int) MemFreeAsync.HANDLE.invokeExact(pointer, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemFreeAsync {
        static final MethodHandle HANDLE = status("cuMemFreeAsync", JAVA_LONG, JAVA_LONG);
    }

    public static void memPoolDestroy(long pool) {
        try {
            check("cuMemPoolDestroy", (int) MemPoolDestroy.HANDLE.invokeExact(pool));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemPoolDestroy {
        static final MethodHandle HANDLE = status("cuMemPoolDestroy", JAVA_LONG);
    }

    /** Gives unused memory of a pool beyond {@code keep} bytes back to the system. */
    public static void memPoolTrimTo(long pool, long keep) {
        try {
            check("cuMemPoolTrimTo", (int) MemPoolTrimTo.HANDLE.invokeExact(pool, keep));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemPoolTrimTo {
        static final MethodHandle HANDLE = status("cuMemPoolTrimTo", JAVA_LONG, JAVA_LONG);
    }

    /** Copies host memory to the device; the source must stay as it is until the stream gets there if it is pinned. */
    public static void memcpyHtoDAsync(long device, long host, long bytes, long stream) {
        try {
            check("cuMemcpyHtoDAsync", (int) MemcpyHtoDAsync.HANDLE.invokeExact(device, host, bytes, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemcpyHtoDAsync {
        static final MethodHandle HANDLE = status("cuMemcpyHtoDAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    /** Copies device memory to the host; complete when the stream has got there. */
    public static void memcpyDtoHAsync(long host, long device, long bytes, long stream) {
        try {
            check("cuMemcpyDtoHAsync", (int) MemcpyDtoHAsync.HANDLE.invokeExact(host, device, bytes, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemcpyDtoHAsync {
        static final MethodHandle HANDLE = status("cuMemcpyDtoHAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    /** Copies memory of one device. */
    public static void memcpyDtoDAsync(long to, long from, long bytes, long stream) {
        try {
            check("cuMemcpyDtoDAsync", (int) MemcpyDtoDAsync.HANDLE.invokeExact(to, from, bytes, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemcpyDtoDAsync {
        static final MethodHandle HANDLE = status("cuMemcpyDtoDAsync_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    /** Copies between devices, each address with its context. */
    public static void memcpyPeerAsync(long to, long toContext, long from, long fromContext, long bytes, long stream) {
        try {
            check("cuMemcpyPeerAsync", (int)
                    MemcpyPeerAsync.HANDLE.invokeExact(to, toContext, from, fromContext, bytes, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemcpyPeerAsync {
        static final MethodHandle HANDLE =
                status("cuMemcpyPeerAsync", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    /** Fills {@code count} bytes. */
    public static void memsetD8Async(long pointer, byte value, long count, long stream) {
        try {
            check("cuMemsetD8Async", (int) MemsetD8Async.HANDLE.invokeExact(pointer, value, count, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemsetD8Async {
        static final MethodHandle HANDLE = status("cuMemsetD8Async", JAVA_LONG, JAVA_BYTE, JAVA_LONG, JAVA_LONG);
    }

    /** Fills {@code count} 32-bit words. */
    public static void memsetD32Async(long pointer, int value, long count, long stream) {
        try {
            check("cuMemsetD32Async", (int) MemsetD32Async.HANDLE.invokeExact(pointer, value, count, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemsetD32Async {
        static final MethodHandle HANDLE = status("cuMemsetD32Async", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_LONG);
    }

    public static void memFreeHost(long host) {
        try {
            check("cuMemFreeHost", (int) MemFreeHost.HANDLE.invokeExact(host));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemFreeHost {
        static final MethodHandle HANDLE = status("cuMemFreeHost", JAVA_LONG);
    }

    /** A pool of device memory of one device. */
    public static long memPoolCreate(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment properties = arena.allocate(POOL_PROPERTIES_BYTES, 8);
            properties.set(JAVA_INT, POOL_TYPE, ALLOCATION_PINNED);
            properties.set(JAVA_INT, POOL_LOCATION_TYPE, LOCATION_DEVICE);
            properties.set(JAVA_INT, POOL_LOCATION_ID, device);
            long out = out();
            check("cuMemPoolCreate", (int) MemPoolCreate.HANDLE.invokeExact(out, properties.address()));
            return OUT.get().get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemPoolCreate {
        static final MethodHandle HANDLE = status("cuMemPoolCreate", JAVA_LONG, JAVA_LONG);
    }

    /** Sets a 64-bit attribute of a pool, see {@link #POOL_RELEASE_THRESHOLD}. */
    public static void memPoolSetAttribute(long pool, int attribute, long value) {
        MemorySegment out = OUT.get();
        out.set(JAVA_LONG, 0, value);
        try {
            check("cuMemPoolSetAttribute", (int)
                    MemPoolSetAttribute.HANDLE.invokeExact(pool, attribute, out.address()));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class MemPoolSetAttribute {
        static final MethodHandle HANDLE = status("cuMemPoolSetAttribute", JAVA_LONG, JAVA_INT, JAVA_LONG);
    }

    /** Pinned host memory, freed by {@link #memFreeHost} and not usable after that, though nothing checks it. */
    public static MemorySegment memHostAlloc(long bytes, int flags) {
        try {
            check("cuMemHostAlloc", (int) MemHostAlloc.HANDLE.invokeExact(out(), bytes, flags));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return MemorySegment.ofAddress(OUT.get().get(JAVA_LONG, 0)).reinterpret(bytes);
    }

    private static final class MemHostAlloc {
        static final MethodHandle HANDLE = status("cuMemHostAlloc", JAVA_LONG, JAVA_LONG, JAVA_INT);
    }

    // -------------------------------------------------------------------------------------------- modules and launches

    public static void moduleUnload(long module) {
        try {
            check("cuModuleUnload", (int) ModuleUnload.HANDLE.invokeExact(module));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class ModuleUnload {
        static final MethodHandle HANDLE = status("cuModuleUnload", JAVA_LONG);
    }

    /** Changes a kernel's attribute, see {@link #FUNCTION_MAX_DYNAMIC_SHARED_BYTES}. */
    public static void functionSetAttribute(long function, int attribute, int value) {
        try {
            check("cuFuncSetAttribute", (int) FuncSetAttribute.HANDLE.invokeExact(function, attribute, value));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class FuncSetAttribute {
        static final MethodHandle HANDLE = status("cuFuncSetAttribute", JAVA_LONG, JAVA_INT, JAVA_INT);
    }

    /**
     * Bytes of the first parameter of a kernel, which ours have alone, as its machine code has it; {@link #UNKNOWN_BYTES} where
     * it has none or the driver cannot tell, as those before CUDA 12.4.
     */
    public static int functionParameterBytes(long function) {
        if (!FuncGetParamInfo.KNOWN) {
            return UNKNOWN_BYTES;
        }
        MemorySegment out = OUT.get();
        try {
            // Its size, not where it lies: a struct with tensor maps does not begin at 0, so that they are aligned
            // there.
            // No second is asked for, which tools that watch for errors would report.
            int status =
                    (int) FuncGetParamInfo.HANDLE.invokeExact(function, 0L, out.address(), out.address() + Long.BYTES);
            if (status == CudaStatus.CUDA_ERROR_INVALID_VALUE.code()) {
                return UNKNOWN_BYTES;
            }
            check("cuFuncGetParamInfo", status);
            return (int) out.get(JAVA_LONG, Long.BYTES);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class FuncGetParamInfo {
        static final boolean KNOWN = CudaLibraries.driver().has("cuFuncGetParamInfo");
        static final MethodHandle HANDLE = status("cuFuncGetParamInfo", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    /**
     * Describes a matrix of bf16 or of bytes by rows, and boxes of it, 128 bytes wide and swizzled over as many, for the copies of
     * compute capability 9.0 and later; zeros lie outside the matrix.
     *
     * @param map address of {@link #TENSOR_MAP_BYTES} bytes to write
     * @param address of the matrix on the device, a multiple of 16
     * @param elementBytes 2 for bf16, 1 for bytes
     * @param rowBytes distance of rows, a multiple of 16
     * @param boxRows at most 256
     */
    public static void encodeTensorMap(
            long map, long address, long rows, long columns, int elementBytes, long rowBytes, int boxRows) {
        MemorySegment sizes = TensorMapEncodeTiled.SIZES.get();
        sizes.set(JAVA_LONG, 0, columns);
        sizes.set(JAVA_LONG, 8, rows);
        sizes.set(JAVA_LONG, 16, rowBytes);
        sizes.set(JAVA_INT, 24, TENSOR_BOX_BYTES / elementBytes);
        sizes.set(JAVA_INT, 28, boxRows);
        sizes.set(JAVA_INT, 32, 1);
        sizes.set(JAVA_INT, 36, 1);
        long at = sizes.address();
        try {
            check("cuTensorMapEncodeTiled", (int) TensorMapEncodeTiled.HANDLE.invokeExact(
                    map,
                    elementBytes == 1 ? TENSOR_UINT8 : TENSOR_BFLOAT16,
                    2,
                    address,
                    at,
                    at + 16,
                    at + 24,
                    at + 32,
                    TENSOR_PLAIN,
                    TENSOR_SWIZZLE_128,
                    TENSOR_PROMOTE_256,
                    TENSOR_ZEROS_OUTSIDE));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class TensorMapEncodeTiled {
        /** Two dimensions, a stride, a box and two steps. */
        static final ThreadLocal<MemorySegment> SIZES =
                ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(40, 8));

        static final MethodHandle HANDLE = status(
                "cuTensorMapEncodeTiled",
                JAVA_LONG,
                JAVA_INT,
                JAVA_INT,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT);
    }

    /**
     * Enqueues a kernel.
     *
     * @param params address of the list of the parameters' addresses; the driver knows their sizes and copies them
     * @param extra 0, or instead of them the address of the list of parameter block and size, see {@link #LAUNCH_PARAM_BUFFER}
     * @return the status, for {@link #failure} if not 0; no exception, so that the caller can name the kernel
     */
    public static int launchKernel(
            long function,
            int gridX,
            int gridY,
            int gridZ,
            int blockX,
            int blockY,
            int blockZ,
            int sharedBytes,
            long stream,
            long params,
            long extra) {
        try {
            return (int) LaunchKernel.HANDLE.invokeExact(
                    function, gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes, stream, params, extra);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class LaunchKernel {
        static final MethodHandle HANDLE = status(
                "cuLaunchKernel",
                JAVA_LONG,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_INT,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG);
    }

    /** Whether the driver has {@link #launchKernelEx} and {@link #capturesBehindKernel}, as those from CUDA 12.3 on. */
    public static boolean launchesProgrammatically() {
        return CudaLibraries.driver().has("cuLaunchKernelEx")
                && CudaLibraries.driver().has("cuStreamGetCaptureInfo_v3");
    }

    /**
     * Enqueues a kernel with attributes.
     *
     * @param config address of {@link #CONFIG_BYTES} that say the grid, the block, the stream and the attributes
     * @param params as {@link #launchKernel} takes them
     * @return as {@link #launchKernel}
     */
    public static int launchKernelEx(long config, long function, long params, long extra) {
        try {
            return (int) LaunchKernelEx.HANDLE.invokeExact(config, function, params, extra);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class LaunchKernelEx {
        static final MethodHandle HANDLE = status("cuLaunchKernelEx", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    /** Loads a cubin, or PTX text with a zero at its end, into the current context. */
    public static long moduleLoadData(byte[] image) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment data = arena.allocate(image.length + 1L, 64);
            MemorySegment.copy(image, 0, data, JAVA_BYTE, 0, image.length);
            check("cuModuleLoadData", (int) ModuleLoadData.HANDLE.invokeExact(out(), data.address()));
            return OUT.get().get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class ModuleLoadData {
        static final MethodHandle HANDLE = status("cuModuleLoadData", JAVA_LONG, JAVA_LONG);
    }

    /** A kernel of a module by its C name. */
    public static long moduleFunction(long module, String name) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocateFrom(name);
            check("cuModuleGetFunction of " + name, (int)
                    ModuleGetFunction.HANDLE.invokeExact(out(), module, text.address()));
            return OUT.get().get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class ModuleGetFunction {
        static final MethodHandle HANDLE = status("cuModuleGetFunction", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    // ---------------------------------------------------------------------------------------------- streams and events

    /** A stream of the current context. */
    public static long streamCreate(int flags, int priority) {
        try {
            check("cuStreamCreateWithPriority", (int)
                    StreamCreateWithPriority.HANDLE.invokeExact(out(), flags, priority));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_LONG, 0);
    }

    private static final class StreamCreateWithPriority {
        static final MethodHandle HANDLE = status("cuStreamCreateWithPriority", JAVA_LONG, JAVA_INT, JAVA_INT);
    }

    public static void streamDestroy(long stream) {
        try {
            check("cuStreamDestroy", (int) StreamDestroy.HANDLE.invokeExact(stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class StreamDestroy {
        static final MethodHandle HANDLE = status("cuStreamDestroy_v2", JAVA_LONG);
    }

    /** Waits until all work of a stream is done. */
    public static void streamSynchronize(long stream) {
        try {
            check("cuStreamSynchronize", (int) StreamSynchronize.HANDLE.invokeExact(stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class StreamSynchronize {
        static final MethodHandle HANDLE = status("cuStreamSynchronize", JAVA_LONG);
    }

    /** Lets later work of a stream wait for an event. */
    public static void streamWaitEvent(long stream, long event, int flags) {
        try {
            check("cuStreamWaitEvent", (int) StreamWaitEvent.HANDLE.invokeExact(stream, event, flags));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class StreamWaitEvent {
        static final MethodHandle HANDLE = status("cuStreamWaitEvent", JAVA_LONG, JAVA_LONG, JAVA_INT);
    }

    /** An event of the current context. */
    public static long eventCreate(int flags) {
        try {
            check("cuEventCreate", (int) EventCreate.HANDLE.invokeExact(out(), flags));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_LONG, 0);
    }

    private static final class EventCreate {
        static final MethodHandle HANDLE = status("cuEventCreate", JAVA_LONG, JAVA_INT);
    }

    /** Puts an event behind the work that a stream has now. */
    public static void eventRecord(long event, long stream) {
        try {
            check("cuEventRecord", (int) EventRecord.HANDLE.invokeExact(event, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class EventRecord {
        static final MethodHandle HANDLE = status("cuEventRecord", JAVA_LONG, JAVA_LONG);
    }

    /** Waits for an event. */
    public static void eventSynchronize(long event) {
        try {
            check("cuEventSynchronize", (int) EventSynchronize.HANDLE.invokeExact(event));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class EventSynchronize {
        static final MethodHandle HANDLE = status("cuEventSynchronize", JAVA_LONG);
    }

    /** Milliseconds between two events that were made with timing. */
    public static float eventElapsedTime(long start, long end) {
        try {
            check("cuEventElapsedTime", (int) EventElapsedTime.HANDLE.invokeExact(out(), start, end));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_FLOAT, 0);
    }

    private static final class EventElapsedTime {
        static final MethodHandle HANDLE = status("cuEventElapsedTime", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    public static void eventDestroy(long event) {
        try {
            check("cuEventDestroy", (int) EventDestroy.HANDLE.invokeExact(event));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class EventDestroy {
        static final MethodHandle HANDLE = status("cuEventDestroy_v2", JAVA_LONG);
    }

    /** Whether all work of a stream is done. */
    public static boolean streamQuery(long stream) {
        try {
            return done("cuStreamQuery", (int) StreamQuery.HANDLE.invokeExact(stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class StreamQuery {
        static final MethodHandle HANDLE = status("cuStreamQuery", JAVA_LONG);
    }

    /** Whether an event has been reached. */
    public static boolean eventQuery(long event) {
        try {
            return done("cuEventQuery", (int) EventQuery.HANDLE.invokeExact(event));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class EventQuery {
        static final MethodHandle HANDLE = status("cuEventQuery", JAVA_LONG);
    }

    // ---------------------------------------------------------------------------------------------------------- graphs

    /** Records what is enqueued on a stream instead of running it. */
    public static void streamBeginCapture(long stream, int mode) {
        try {
            check("cuStreamBeginCapture", (int) StreamBeginCapture.HANDLE.invokeExact(stream, mode));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class StreamBeginCapture {
        static final MethodHandle HANDLE = status("cuStreamBeginCapture_v2", JAVA_LONG, JAVA_INT);
    }

    /** Ends the recording. */
    public static long streamEndCapture(long stream) {
        try {
            check("cuStreamEndCapture", (int) StreamEndCapture.HANDLE.invokeExact(stream, out()));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_LONG, 0);
    }

    private static final class StreamEndCapture {
        static final MethodHandle HANDLE = status("cuStreamEndCapture", JAVA_LONG, JAVA_LONG);
    }

    /** Makes a graph ready to launch. */
    public static long graphInstantiate(long graph, long flags) {
        try {
            check("cuGraphInstantiateWithFlags", (int)
                    GraphInstantiateWithFlags.HANDLE.invokeExact(out(), graph, flags));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return OUT.get().get(JAVA_LONG, 0);
    }

    private static final class GraphInstantiateWithFlags {
        static final MethodHandle HANDLE = status("cuGraphInstantiateWithFlags", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    /** Enqueues a whole graph. */
    public static void graphLaunch(long exec, long stream) {
        try {
            check("cuGraphLaunch", (int) GraphLaunch.HANDLE.invokeExact(exec, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class GraphLaunch {
        static final MethodHandle HANDLE = status("cuGraphLaunch", JAVA_LONG, JAVA_LONG);
    }

    /** Sends a graph to the device ahead of its first launch. */
    public static void graphUpload(long exec, long stream) {
        try {
            check("cuGraphUpload", (int) GraphUpload.HANDLE.invokeExact(exec, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class GraphUpload {
        static final MethodHandle HANDLE = status("cuGraphUpload", JAVA_LONG, JAVA_LONG);
    }

    public static void graphExecDestroy(long exec) {
        try {
            check("cuGraphExecDestroy", (int) GraphExecDestroy.HANDLE.invokeExact(exec));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class GraphExecDestroy {
        static final MethodHandle HANDLE = status("cuGraphExecDestroy", JAVA_LONG);
    }

    public static void graphDestroy(long graph) {
        try {
            check("cuGraphDestroy", (int) GraphDestroy.HANDLE.invokeExact(graph));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static final class GraphDestroy {
        static final MethodHandle HANDLE = status("cuGraphDestroy", JAVA_LONG);
    }

    /** Whether what a stream captures next comes behind one kernel, and nothing else. */
    public static boolean capturesBehindKernel(long stream) {
        MemorySegment out = OUT.get();
        long at = out.address();
        try {
            check("cuStreamGetCaptureInfo", (int)
                    StreamGetCaptureInfo.HANDLE.invokeExact(stream, at + 24, 0L, 0L, at, at + 16, at + 8));
            if (out.get(JAVA_LONG, 8) != 1) {
                return false;
            }
            long node = MemorySegment.ofAddress(out.get(JAVA_LONG, 0))
                    .reinterpret(Long.BYTES)
                    .get(JAVA_LONG, 0);
            check("cuGraphNodeGetType", (int) GraphNodeGetType.HANDLE.invokeExact(node, at));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return out.get(JAVA_INT, 0) == GRAPH_NODE_KERNEL;
    }

    private static final class StreamGetCaptureInfo {
        static final MethodHandle HANDLE = status(
                "cuStreamGetCaptureInfo_v3",
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG,
                JAVA_LONG);
    }

    private static final class GraphNodeGetType {
        static final MethodHandle HANDLE = status("cuGraphNodeGetType", JAVA_LONG, JAVA_LONG);
    }

    /** How many nodes a graph has. */
    public static long graphNodes(long graph) {
        MemorySegment out = OUT.get();
        out.set(JAVA_LONG, 0, 0);
        try {
            check("cuGraphGetNodes", (int) GraphGetNodes.HANDLE.invokeExact(graph, 0L, out.address()));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return out.get(JAVA_LONG, 0);
    }

    private static final class GraphGetNodes {
        static final MethodHandle HANDLE = status("cuGraphGetNodes", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    }

    // ----------------------------------------------------------------------------------------------------- plumbing

    /** The exception for a status other than 0. */
    public static CudaException failure(String call, int status) {
        return CudaException.driver(call, status, text(true, status), text(false, status));
    }

    private static String text(boolean name, int status) {
        try {
            int found = name
                    ? (int) GetErrorName.HANDLE.invokeExact(status, out())
                    : (int) GetErrorString.HANDLE.invokeExact(status, out());
            long address = OUT.get().get(JAVA_LONG, 0);
            if (found == 0 && address != 0) {
                return MemorySegment.ofAddress(address).reinterpret(256).getString(0);
            }
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
        return name ? "CUresult" : "";
    }

    private static final class GetErrorName {
        static final MethodHandle HANDLE = status("cuGetErrorName", JAVA_INT, JAVA_LONG);
    }

    private static final class GetErrorString {
        static final MethodHandle HANDLE = status("cuGetErrorString", JAVA_INT, JAVA_LONG);
    }

    private static long out() {
        return OUT.get().address();
    }

    private static boolean done(String call, int status) {
        if (status == NOT_READY) {
            return false;
        }
        check(call, status);
        return true;
    }

    private static void check(String call, int status) {
        if (status != 0) {
            throw failure(call, status);
        }
    }

    private static MethodHandle status(String name, MemoryLayout... arguments) {
        return CudaLibraries.driver().status(name, arguments);
    }
}
