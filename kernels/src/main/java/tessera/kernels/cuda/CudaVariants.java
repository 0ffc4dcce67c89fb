package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;

/** One kernel compiled for f32 and for bf16 data, {@code NAME_f32} and {@code NAME_bf16}, each looked up on first use. */
final class CudaVariants {
    private final CudaDevice device;
    private final String module;
    private final String name;
    private volatile @Nullable CudaFunction f32;
    private volatile @Nullable CudaFunction bf16;

    CudaVariants(CudaDevice device, String module, String name) {
        this.device = device;
        this.module = module;
        this.name = name;
    }

    /**
     * The variant for data of a type.
     *
     * @throws IllegalArgumentException for another type than f32 or bf16
     */
    CudaFunction of(DType dtype) {
        CudaFunction found = dtype == DType.F32 ? f32 : dtype == DType.BF16 ? bf16 : null;
        return found == null ? find(dtype) : found;
    }

    private CudaFunction find(DType dtype) {
        CudaFunction found;
        switch (dtype) {
            case F32 -> {
                found = device.module(module).function(name + "_f32");
                f32 = found;
            }
            case BF16 -> {
                found = device.module(module).function(name + "_bf16");
                bf16 = found;
            }
            default ->
                throw new IllegalArgumentException(name + " on " + device + " computes in f32 or bf16 but was given "
                        + dtype + "; convert to f32, or compute on the cpu");
        }
        return found;
    }
}
