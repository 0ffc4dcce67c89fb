// Matrix products of bf16 on Hopper's tensor cores: the kernels of products.cuh.
#include "products.cuh"

#define PRODUCT_KERNEL(name, kind, blocks, ...)                                                \
    KERNEL_AHEAD((ProductShape<__VA_ARGS__>::threads), blocks, product_##name, ProductArgs) {  \
        product<ProductShape<__VA_ARGS__>, ProductKind::kind>(args);                           \
    }

/** The kernels of a shape, so many blocks on a multiprocessor. */
#define PRODUCT(name, blocks, ...)                   \
    PRODUCT_WITHOUT_ADDEND(name, blocks, __VA_ARGS__) \
    PRODUCT_KERNEL(name##_add, ADD, blocks, __VA_ARGS__)

#define PRODUCT_WITHOUT_ADDEND(name, blocks, ...)    \
    PRODUCT_KERNEL(name, PLAIN, blocks, __VA_ARGS__) \
    PRODUCT_KERNEL(name##_gelu, GELU, blocks, __VA_ARGS__) \
    PRODUCT_KERNEL(name##_norm, NORM, blocks, __VA_ARGS__) \
    PRODUCT_KERNEL(name##_norm_gelu, NORM_GELU, blocks, __VA_ARGS__)

/** Those that training needs beside them. */
#define PRODUCT_TRAINING(name, blocks, ...)                          \
    PRODUCT_KERNEL(name##_gelu_keep, GELU_KEEP, blocks, __VA_ARGS__) \
    PRODUCT_KERNEL(name##_gelu_gradient, GELU_GRADIENT, blocks, __VA_ARGS__) \
    PRODUCT_KERNEL(name##_gelu_gradient_sums, GELU_GRADIENT_SUMS, blocks, __VA_ARGS__)

#if defined(HOPPER_CODE) || !(defined(__CUDA_ARCH__) || defined(__CUDACC_RTC__))
// Rows and columns of the tile in the name; t: warpgroups take turns; x: as many boxes of x stay.
PRODUCT_WITHOUT_ADDEND(128x128tx6, 1, 128, 128, 6, 2, false, 6)
PRODUCT(128x128t, 1, 128, 128, 5, 2, false, 0)
PRODUCT(128x192, 1, 64, 192, 4, 2, true, 0)
PRODUCT_TRAINING(128x128t, 1, 128, 128, 5, 2, false, 0)
PRODUCT(128x64, 1, 64, 64, 6, 2, true, 0)
PRODUCT(64x64, 1, 64, 64, 8, 1, true, 0)
PRODUCT(64x32, 1, 64, 32, 12, 1, true, 0)
#endif
