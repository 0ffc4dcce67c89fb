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
        CudaTypes.single(name, dtype, f32.device());
        return (dtype == DType.F32 ? f32 : bf16).begin();
    }
}
