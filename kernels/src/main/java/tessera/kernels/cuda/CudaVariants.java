package tessera.kernels.cuda;

import tessera.kernels.DType;

/** One kernel compiled for f32 and for bf16 data, {@code NAME_f32} and {@code NAME_bf16}. */
record CudaVariants(String name, CudaFunction f32, CudaFunction bf16) {
    /**
     * Begins a launch of the variant for data of a type.
     *
     * @throws IllegalArgumentException for another type than f32 or bf16
     */
    CudaLaunch begin(DType dtype) {
        if (dtype != DType.F32 && dtype != DType.BF16) {
            throw new IllegalArgumentException(name + " on " + f32.device() + " computes in f32 or bf16 but was given "
                    + dtype + "; convert to f32, or compute on the cpu");
        }
        return (dtype == DType.F32 ? f32 : bf16).begin();
    }
}
