// Linear layers on bytes: rows of bf16 are rounded to bytes with sign, and multiplied on Hopper's tensor cores; see Int8Kernels.java.
//
// Formula       quantise: u = round((x + offset) / scale) between least and most, q = u + zero, so that x is about q row.scale + row.shift
//               with row.scale = scale and row.shift = -zero scale - offset. The scale is given, or that of the row: its largest
//               |x + offset| over `parts`. product_int8_VARIANT[_add|_gelu|_gelu_bytes]: y = x w^T + bias, + addend or with GELU, whose
//               results may become the bytes of the next layer at once, see products.cuh.
//               quantise_rows_e4m3 and product_e4m3_VARIANT[_add|_gelu]: the same with bytes that are floats of four bits of exponent and
//               three of mantissa: q = u = x / scale to the nearest, and parts = 448, their largest.
// Layouts       x [m, k] bf16 without gaps at any address; q [m, k] with a distance of rows that is a multiple of 16.
// Accumulation  s32, exact; what follows is f32 and rounded once. A row with a value that is not finite has the scale NaN.
// Determinism   a row is one warp's; no atomics.
// Geometry      quantise: 256 threads, a warp for a row, 8 values a lane and step; where rows are not in pieces of 16 bytes, one.
// Bytes         x is read from memory once and from the L1 cache once more, q is written.
// Registers     quantise about 30.
#include "products.cuh"

constexpr int THREADS = 256;
[[maybe_unused]] constexpr int ROWS = THREADS / WARP;  // of a block

struct QuantiseArgs {
    const bf16* x;
    signed char* q;
    RowScale* rows;
    RowScale* next;  // or null: rows of the next layer's bytes, all alike where this layer's are finite
    i64 m;
    int k;
    int ldq;
    ByteSteps to;   // steps 0 where each row has its own
    float parts;    // of the largest value that is a row's own scale
    float scale;    // 0 or 1 / steps
    float offset;
    RowScale next_row;
};

/** The bits of |x|, which are in the order of sizes: infinity after all numbers, NaN after infinity. */
DEVICE u32 size_bits(float x) {
    return __float_as_uint(fabsf(x));
}

/** The largest over the warp, in every lane. */
DEVICE u32 warp_largest(u32 value) {
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        const u32 other = __shfl_xor_sync(ALL_LANES, value, offset);
        value = other > value ? other : value;
    }
    return value;
}

/** Calls step(values, first column) for the N neighbouring columns at a time of this lane. */
template <int N, class Step>
DEVICE void for_columns(const bf16* row, int k, Step step) {
    for (int column = lane_index() * N; column < k; column += WARP * N) {
        float values[N];
        read(row + column, values);
        step(values, column);
    }
}

template <int N, bool FLOATS>
DEVICE void quantise_row(const QuantiseArgs& args, i64 row) {
    constexpr u32 INFINITE = 0x7F800000u;
    constexpr float SMALLEST_NORMAL = 1.17549435e-38f;
    const bf16* const x = args.x + row * args.k;
    u32 largest = 0;
    for_columns<N>(x, args.k, [&](const float(&values)[N], int) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            const u32 size = size_bits(values[i] + args.offset);
            largest = size > largest ? size : largest;
        }
    });
    largest = warp_largest(largest);
    float scale = args.scale > 0 ? args.scale : __uint_as_float(largest) / args.parts;
    if (scale < SMALLEST_NORMAL) {
        scale = 0;
    }
    ByteSteps to = args.to;
    if (args.scale == 0) {
        to.steps = scale > 0 ? 1.0f / scale : 0.0f;
    }
    const bool finite = largest < INFINITE;
    if (lane_index() == 0) {
        args.rows[row] = {finite ? scale : not_a_number(), -args.to.zero * scale - args.offset};
        if (args.next != nullptr) {
            args.next[row] = {finite ? args.next_row.scale : not_a_number(), args.next_row.shift};
        }
    }
    signed char* const q = args.q + row * args.ldq;
    for_columns<N>(x, args.k, [&](const float(&values)[N], int column) {
        Pack<signed char, N> bytes;
        if constexpr (FLOATS) {
#pragma unroll
            for (int i = 0; i < N; i += 2) {
                const u32 two = pack_e4m3(values[i] * to.steps, i + 1 < N ? values[i + 1] * to.steps : 0.0f);
                bytes.set(i, static_cast<signed char>(two));
                if (i + 1 < N) {
                    bytes.set(i + 1, static_cast<signed char>(two >> 8));
                }
            }
        } else {
#pragma unroll
            for (int i = 0; i < N; i++) {
                bytes.set(i, static_cast<signed char>(to_byte(to, values[i] + args.offset)));
            }
        }
        store_pack(q + column, bytes);
    });
}

template <bool FLOATS>
DEVICE void quantise_rows_of_block(const QuantiseArgs& args) {
    const i64 row = static_cast<i64>(blockIdx.x) * ROWS + warp_index();
    if (row >= args.m) {
        return;
    }
    if (args.k % 8 == 0 && aligned16(args.x)) {
        quantise_row<8, FLOATS>(args, row);
    } else {
        quantise_row<1, FLOATS>(args, row);
    }
}

#if defined(HOPPER_CODE) || !(defined(__CUDA_ARCH__) || defined(__CUDACC_RTC__))
KERNEL(THREADS, quantise_rows, QuantiseArgs) {
    quantise_rows_of_block<false>(args);
}

KERNEL(THREADS, quantise_rows_e4m3, QuantiseArgs) {
    quantise_rows_of_block<true>(args);
}

#define PRODUCT_KERNEL(type, Args, name, kind, blocks, ...)                                       \
    KERNEL_AHEAD((ProductShape<__VA_ARGS__>::threads), blocks, product_##type##_##name, Args) {   \
        product<ProductShape<__VA_ARGS__>, ProductKind::kind>(args);                              \
    }

#define PRODUCT_OF(type, Args, name, blocks, ...)                      \
    PRODUCT_KERNEL(type, Args, name, PLAIN, blocks, __VA_ARGS__)       \
    PRODUCT_KERNEL(type, Args, name##_gelu, GELU, blocks, __VA_ARGS__) \
    PRODUCT_KERNEL(type, Args, name##_add, ADD, blocks, __VA_ARGS__)

#define PRODUCT(name, blocks, ...)                                                             \
    PRODUCT_OF(int8, ByteProductArgs, name, blocks, __VA_ARGS__)                               \
    PRODUCT_KERNEL(int8, ByteProductArgs, name##_gelu_bytes, GELU_BYTES, blocks, __VA_ARGS__)  \
    PRODUCT_OF(e4m3, Float8ProductArgs, name, blocks, __VA_ARGS__)

PRODUCT(128x128t, 1, 128, 128, 5, 2, false, 0)
PRODUCT(64x64, 1, 64, 64, 8, 1, true, 0)
#endif
