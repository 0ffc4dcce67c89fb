// Matrix products of any layout and alignment, for what the vendor's library refuses.
//
// Formula       C = op(A) op(B) + bias + addend, one product or a batch of them.
// Layouts       any distances between rows, columns and matrices; the result's columns lie next to each other. The addend is laid out
//               as C and may be C itself.
// Accumulation  f32, in the order of k; bias and addend are added before the only rounding.
// Determinism   no atomics: the same bits every time.
// Geometry      256 threads per tile of 16 x 16 elements of C, 16 terms of the sum at a time through shared memory.
// Bytes         each factor once per 16 columns or rows of the result: a remedy, not a fast path.
// Registers     about 40.
#include "tessera.cuh"

constexpr int EDGE = 16;
constexpr int THREADS = EDGE * EDGE;

struct ProductArgs {
    const void* a;
    const void* b;
    const void* bias;  // or null
    const void* addend;  // or null
    void* c;
    i64 m;
    i64 n;
    i64 k;
    i64 a_row;  // from one row of op(A) to the next, in elements
    i64 a_column;
    i64 b_row;
    i64 b_column;
    i64 c_row;
    i64 a_matrix;  // from one product of a batch to the next
    i64 b_matrix;
    i64 c_matrix;
};

template <class In, class Out>
DEVICE void plain_product(const ProductArgs& args) {
    SHARED(float, left, EDGE * EDGE);
    SHARED(float, right, EDGE * EDGE);
    i64 across = (args.n + EDGE - 1) / EDGE;
    i64 down = (args.m + EDGE - 1) / EDGE;
    i64 block = blockIdx.x;
    i64 tile = block % (across * down);
    i64 batch = block / (across * down);
    int x = static_cast<int>(threadIdx.x) % EDGE;
    int y = static_cast<int>(threadIdx.x) / EDGE;
    i64 row = tile / across * EDGE + y;
    i64 column = tile % across * EDGE + x;
    const In* a = static_cast<const In*>(args.a) + batch * args.a_matrix;
    const In* b = static_cast<const In*>(args.b) + batch * args.b_matrix;
    float sum = 0;
    for (i64 start = 0; start < args.k; start += EDGE) {
        i64 term = start + x;
        left[y * EDGE + x] = row < args.m && term < args.k ? to_float(a[row * args.a_row + term * args.a_column]) : 0.0f;
        term = start + y;
        right[y * EDGE + x] = column < args.n && term < args.k ? to_float(b[term * args.b_row + column * args.b_column]) : 0.0f;
        __syncthreads();
#pragma unroll
        for (int i = 0; i < EDGE; i++) {
            sum = fmaf(left[y * EDGE + i], right[i * EDGE + x], sum);
        }
        __syncthreads();
    }
    if (row < args.m && column < args.n) {
        i64 at = batch * args.c_matrix + row * args.c_row + column;
        if (args.bias != nullptr) {
            sum += to_float(static_cast<const Out*>(args.bias)[column]);
        }
        if (args.addend != nullptr) {
            sum += to_float(static_cast<const Out*>(args.addend)[at]);
        }
        static_cast<Out*>(args.c)[at] = from_float<Out>(sum);
    }
}

KERNEL(THREADS, plain_product_f32, ProductArgs) {
    plain_product<float, float>(args);
}

KERNEL(THREADS, plain_product_bf16, ProductArgs) {
    plain_product<bf16, bf16>(args);
}

KERNEL(THREADS, plain_product_bf16_to_f32, ProductArgs) {
    plain_product<bf16, float>(args);
}
