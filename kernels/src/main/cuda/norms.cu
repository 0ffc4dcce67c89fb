// Layer normalisation and softmax over the last axis of [rows, cols].
//
// Formulas
//   layer norm      y = (x - mean) rstd gamma + beta, mean = sum(x) / cols, rstd = 1 / sqrt(sum((x - mean)^2) / cols + eps)
//   its gradients   with h = (x - mean) rstd and g = dy gamma: dx = rstd (g - sum(g) / cols - h sum(g h) / cols),
//                   dgamma = sum over rows of dy h, dbeta = sum over rows of dy; where an addend is given, the gradient of the
//                   residual path around the norm, dx includes it
//   softmax         y = exp(x - max) / sum(exp(x - max)); its logarithm y = x - max - log(sum(exp(x - max)))
//   its gradients   dx = y (dy - sum(y dy)); dx = dy - exp(y) sum(dy)
// Layouts: rows are contiguous; x, y, dx, dy and the addend are f32 or bf16, all of one type; gamma, beta, mean, rstd, dgamma,
//   dbeta are f32.
// Accumulation: f32. The variance is computed in a second pass, from registers where the row fits.
// Determinism: every sum has an order fixed by the shape and the number of blocks, which depends on the device alone.
// Geometry: layer_norm*_N_TYPE: a warp per row of at most N columns, which stay in registers; four warps per block. The backward
//   kernel walks over rows with a stride, keeping the warp's sums for dgamma and dbeta in registers; blocks write partial sums,
//   which layer_norm_total adds. *_long_TYPE: a block per row, read again for each pass (from the cache, mostly); the parameter
//   sums then have a kernel of their own. Softmax: a warp or a block per row.
// Registers: the backward kernels promise the blocks per multiprocessor that they are launched with, or what longer rows allow.
// Accesses of 16 bytes where base addresses and row length allow, else single elements.
// Bytes per element (b = 2 or 4): layer norm 2b, backward 3b or with an addend 4b, softmax 2b and its backward 3b (warp per row:
//   from the cache after the first pass). FLOPs per element about 8, 14, 6 and 5.
#include "tessera.cuh"

constexpr int NORM_THREADS = 128;
constexpr int NORM_WARPS = NORM_THREADS / WARP;
constexpr int LONG_THREADS = 256;
constexpr int TOTAL_WARPS = 16;

/** N values of a row from `col` on as f32, 0 beyond the end; `packed`: address and length allow 16-byte accesses. */
template <class T, int N>
DEVICE void load_values(const T* row, int col, int cols, bool packed, float (&values)[N]) {
    constexpr int COUNT = Pack<T>::COUNT;
    if (packed) {
#pragma unroll
        for (int p = 0; p < N; p += COUNT) {
            Pack<T> pack = {};
            if (col + p < cols) {
                pack = load_pack(row + col + p);
            }
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                values[p + i] = to_float(pack.values[i]);
            }
        }
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) {
            values[i] = col + i < cols ? to_float(row[col + i]) : 0.0f;
        }
    }
}

/** The counterpart of load_values: nothing is written beyond the end of the row. */
template <class T, int N>
DEVICE void store_values(T* row, int col, int cols, bool packed, const float (&values)[N]) {
    constexpr int COUNT = Pack<T>::COUNT;
    if (packed) {
#pragma unroll
        for (int p = 0; p < N; p += COUNT) {
            Pack<T> pack;
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                pack.values[i] = from_float<T>(values[p + i]);
            }
            if (col + p < cols) {
                store_pack(row + col + p, pack);
            }
        }
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) {
            if (col + i < cols) {
                row[col + i] = from_float<T>(values[i]);
            }
        }
    }
}

/** Whether rows of `cols` elements that follow each other from `base` on can be read 16 bytes at a time. */
template <class T>
DEVICE bool packed_rows(const void* base, int cols) {
    return aligned16(base) && cols % Pack<T>::COUNT == 0;
}

/** Sum over the threads that share a row: a warp or the block. */
template <int GROUP>
DEVICE float group_sum(float value) {
    return GROUP == WARP ? warp_sum(value) : block_sum<GROUP>(value);
}

template <int GROUP>
DEVICE float group_max(float value) {
    return GROUP == WARP ? warp_max(value) : block_max<GROUP>(value);
}

/** The row of a group of threads; `blockDim.x / GROUP` groups per block. */
template <int GROUP>
DEVICE i64 group_row() {
    return static_cast<i64>(blockIdx.x) * (blockDim.x / GROUP) + threadIdx.x / GROUP;
}

// -------------------------------------------------------------------------------------------------------- layer norm

struct LayerNormArgs {
    const void* x;
    const float* gamma;
    const float* beta;
    void* y;
    float* mean;  // or null
    float* rstd;  // or null
    i64 rows;
    int cols;
    float eps;
};

template <class T, int CAPACITY>
DEVICE void layer_norm(const LayerNormArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    constexpr int PACKS = CAPACITY / (WARP * N);
    const i64 row = group_row<WARP>();
    if (row >= args.rows) {
        return;
    }
    const int cols = args.cols;
    const int lane = lane_index();
    const bool packed = packed_rows<T>(args.x, cols) && packed_rows<T>(args.y, cols);
    const bool packed_weights = packed_rows<float>(args.gamma, cols) && packed_rows<float>(args.beta, cols);
    const T* x = static_cast<const T*>(args.x) + row * cols;
    T* y = static_cast<T*>(args.y) + row * cols;
    float v[PACKS][N];
    float sum = 0.0f;
#pragma unroll
    for (int p = 0; p < PACKS; p++) {
        load_values(x, (p * WARP + lane) * N, cols, packed, v[p]);
#pragma unroll
        for (int i = 0; i < N; i++) {
            sum += v[p][i];
        }
    }
    const float mean = warp_sum(sum) / static_cast<float>(max(cols, 1));
    float squares = 0.0f;
#pragma unroll
    for (int p = 0; p < PACKS; p++) {
#pragma unroll
        for (int i = 0; i < N; i++) {
            v[p][i] -= mean;
            if ((p * WARP + lane) * N + i < cols) {
                squares = fmaf(v[p][i], v[p][i], squares);
            }
        }
    }
    const float rstd = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(max(cols, 1)) + args.eps);
#pragma unroll
    for (int p = 0; p < PACKS; p++) {
        const int col = (p * WARP + lane) * N;
        float gamma[N];
        float beta[N];
        load_values(args.gamma, col, cols, packed_weights, gamma);
        load_values(args.beta, col, cols, packed_weights, beta);
#pragma unroll
        for (int i = 0; i < N; i++) {
            v[p][i] = fmaf(v[p][i] * rstd, gamma[i], beta[i]);
        }
        store_values(y, col, cols, packed, v[p]);
    }
    if (lane == 0) {
        if (args.mean != nullptr) {
            args.mean[row] = mean;
        }
        if (args.rstd != nullptr) {
            args.rstd[row] = rstd;
        }
    }
}

template <class T>
DEVICE void layer_norm_long(const LayerNormArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    const i64 row = blockIdx.x;
    const int cols = args.cols;
    const bool packed = packed_rows<T>(args.x, cols) && packed_rows<T>(args.y, cols);
    const bool packed_weights = packed_rows<float>(args.gamma, cols) && packed_rows<float>(args.beta, cols);
    const T* x = static_cast<const T*>(args.x) + row * cols;
    T* y = static_cast<T*>(args.y) + row * cols;
    const int first = static_cast<int>(threadIdx.x) * N;
    float v[N];
    float sum = 0.0f;
    for (int col = first; col < cols; col += LONG_THREADS * N) {
        load_values(x, col, cols, packed, v);
        for (int i = 0; i < N; i++) {
            sum += v[i];
        }
    }
    const float mean = block_sum<LONG_THREADS>(sum) / static_cast<float>(cols);
    float squares = 0.0f;
    for (int col = first; col < cols; col += LONG_THREADS * N) {
        load_values(x, col, cols, packed, v);
        for (int i = 0; i < N; i++) {
            if (col + i < cols) {
                squares = fmaf(v[i] - mean, v[i] - mean, squares);
            }
        }
    }
    const float rstd = 1.0f / sqrtf(block_sum<LONG_THREADS>(squares) / static_cast<float>(cols) + args.eps);
    for (int col = first; col < cols; col += LONG_THREADS * N) {
        float gamma[N];
        float beta[N];
        load_values(x, col, cols, packed, v);
        load_values(args.gamma, col, cols, packed_weights, gamma);
        load_values(args.beta, col, cols, packed_weights, beta);
        for (int i = 0; i < N; i++) {
            v[i] = fmaf((v[i] - mean) * rstd, gamma[i], beta[i]);
        }
        store_values(y, col, cols, packed, v);
    }
    if (threadIdx.x == 0) {
        if (args.mean != nullptr) {
            args.mean[row] = mean;
        }
        if (args.rstd != nullptr) {
            args.rstd[row] = rstd;
        }
    }
}

struct LayerNormBackwardArgs {
    const void* x;
    const float* gamma;
    const float* mean;
    const float* rstd;
    const void* dy;
    const void* addend;  // to dx, or null
    void* dx;            // or null
    float* partials;     // [blocks, 2, cols]: sums of dy h and of dy; or null
    i64 rows;
    i64 cols;
};

template <class T, int CAPACITY>
DEVICE void layer_norm_backward(const LayerNormBackwardArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    constexpr int PACKS = CAPACITY / (WARP * N);
    SHARED(float, sums, 2 * CAPACITY);
    const int cols = static_cast<int>(args.cols);
    const int lane = lane_index();
    const bool packed = packed_rows<T>(args.x, cols) && packed_rows<T>(args.dy, cols) && packed_rows<T>(args.dx, cols)
        && packed_rows<T>(args.addend, cols);
    const bool packed_weights = packed_rows<float>(args.gamma, cols);
    float dgamma[PACKS][N] = {};
    float dbeta[PACKS][N] = {};
    for (i64 row = group_row<WARP>(); row < args.rows; row += static_cast<i64>(gridDim.x) * NORM_WARPS) {
        const T* x = static_cast<const T*>(args.x) + row * cols;
        const T* dy = static_cast<const T*>(args.dy) + row * cols;
        const float mean = args.mean[row];
        const float rstd = args.rstd[row];
        float h[PACKS][N];
        float g[PACKS][N];
        float sum = 0.0f;
        float dot = 0.0f;
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            load_values(x, (p * WARP + lane) * N, cols, packed, h[p]);
            load_values(dy, (p * WARP + lane) * N, cols, packed, g[p]);
        }
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            float gamma[N];
            load_values(args.gamma, (p * WARP + lane) * N, cols, packed_weights, gamma);
#pragma unroll
            for (int i = 0; i < N; i++) {
                h[p][i] = (h[p][i] - mean) * rstd;
                dgamma[p][i] = fmaf(g[p][i], h[p][i], dgamma[p][i]);
                dbeta[p][i] += g[p][i];
                g[p][i] *= gamma[i];
                sum += g[p][i];
                dot = fmaf(g[p][i], h[p][i], dot);
            }
        }
        if (args.dx != nullptr) {
            T* dx = static_cast<T*>(args.dx) + row * cols;
            sum = warp_sum(sum) / static_cast<float>(max(cols, 1));
            dot = warp_sum(dot) / static_cast<float>(cols);
#pragma unroll
            for (int p = 0; p < PACKS; p++) {
#pragma unroll
                for (int i = 0; i < N; i++) {
                    g[p][i] = rstd * (g[p][i] - sum - h[p][i] * dot);
                }
            }
            if (args.addend != nullptr) {  // read into the registers of h, all of it before the first store
                const T* addend = static_cast<const T*>(args.addend) + row * cols;
#pragma unroll
                for (int p = 0; p < PACKS; p++) {
                    load_values(addend, (p * WARP + lane) * N, cols, packed, h[p]);
                }
#pragma unroll
                for (int p = 0; p < PACKS; p++) {
#pragma unroll
                    for (int i = 0; i < N; i++) {
                        g[p][i] += h[p][i];
                    }
                }
            }
#pragma unroll
            for (int p = 0; p < PACKS; p++) {
                store_values(dx, (p * WARP + lane) * N, cols, packed, g[p]);
            }
        }
    }
    if (args.partials == nullptr) {
        return;
    }
    for (int w = 0; w < NORM_WARPS; w++) {  // one warp after the other, so that the order is fixed
        if (warp_index() == w) {
#pragma unroll
            for (int p = 0; p < PACKS; p++) {
#pragma unroll
                for (int i = 0; i < N; i++) {
                    const int col = (p * WARP + lane) * N + i;
                    sums[col] = w == 0 ? dgamma[p][i] : sums[col] + dgamma[p][i];
                    sums[CAPACITY + col] = w == 0 ? dbeta[p][i] : sums[CAPACITY + col] + dbeta[p][i];
                }
            }
        }
        __syncthreads();
    }
    float* partials = args.partials + static_cast<i64>(blockIdx.x) * 2 * cols;
    for (int col = static_cast<int>(threadIdx.x); col < cols; col += NORM_THREADS) {
        partials[col] = sums[col];
        partials[cols + col] = sums[CAPACITY + col];
    }
}

/** dx alone. */
template <class T>
DEVICE void layer_norm_backward_long(const LayerNormBackwardArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    const i64 row = blockIdx.x;
    const int cols = static_cast<int>(args.cols);
    const bool packed = packed_rows<T>(args.x, cols) && packed_rows<T>(args.dy, cols) && packed_rows<T>(args.dx, cols)
        && packed_rows<T>(args.addend, cols);
    const bool packed_weights = packed_rows<float>(args.gamma, cols);
    const T* x = static_cast<const T*>(args.x) + row * cols;
    const T* dy = static_cast<const T*>(args.dy) + row * cols;
    T* dx = static_cast<T*>(args.dx) + row * cols;
    const float mean = args.mean[row];
    const float rstd = args.rstd[row];
    const int first = static_cast<int>(threadIdx.x) * N;
    float h[N];
    float g[N];
    float gamma[N];
    float sum = 0.0f;
    float dot = 0.0f;
    for (int col = first; col < cols; col += LONG_THREADS * N) {
        load_values(x, col, cols, packed, h);
        load_values(dy, col, cols, packed, g);
        load_values(args.gamma, col, cols, packed_weights, gamma);
        for (int i = 0; i < N; i++) {
            sum = fmaf(g[i], gamma[i], sum);
            dot = fmaf(g[i] * gamma[i], (h[i] - mean) * rstd, dot);
        }
    }
    sum = block_sum<LONG_THREADS>(sum) / static_cast<float>(cols);
    dot = block_sum<LONG_THREADS>(dot) / static_cast<float>(cols);
    for (int col = first; col < cols; col += LONG_THREADS * N) {
        load_values(x, col, cols, packed, h);
        load_values(dy, col, cols, packed, g);
        load_values(args.gamma, col, cols, packed_weights, gamma);
        for (int i = 0; i < N; i++) {
            g[i] = rstd * (g[i] * gamma[i] - sum - (h[i] - mean) * rstd * dot);
        }
        if (args.addend != nullptr) {
            load_values(static_cast<const T*>(args.addend) + row * cols, col, cols, packed, h);
            for (int i = 0; i < N; i++) {
                g[i] += h[i];
            }
        }
        store_values(dx, col, cols, packed, g);
    }
}

/** Partial sums of dgamma and dbeta; block (x, y) takes 32 columns and every gridDim.y-th group of rows. */
template <class T>
DEVICE void layer_norm_columns(const LayerNormBackwardArgs& args) {
    constexpr int WARPS = LONG_THREADS / WARP;
    SHARED(float, sums, 2 * LONG_THREADS);
    const i64 col = static_cast<i64>(blockIdx.x) * WARP + lane_index();
    const T* x = static_cast<const T*>(args.x);
    const T* dy = static_cast<const T*>(args.dy);
    float dgamma = 0.0f;
    float dbeta = 0.0f;
    if (col < args.cols) {
        const i64 step = static_cast<i64>(gridDim.y) * WARPS;
        for (i64 row = static_cast<i64>(blockIdx.y) * WARPS + warp_index(); row < args.rows; row += step) {
            const float g = to_float(dy[row * args.cols + col]);
            dgamma = fmaf(g, (to_float(x[row * args.cols + col]) - args.mean[row]) * args.rstd[row], dgamma);
            dbeta += g;
        }
    }
    sums[threadIdx.x] = dgamma;
    sums[LONG_THREADS + threadIdx.x] = dbeta;
    __syncthreads();
    if (warp_index() == 0 && col < args.cols) {
        for (int w = 1; w < WARPS; w++) {
            dgamma += sums[w * WARP + lane_index()];
            dbeta += sums[LONG_THREADS + w * WARP + lane_index()];
        }
        float* partials = args.partials + static_cast<i64>(blockIdx.y) * 2 * args.cols;
        partials[col] = dgamma;
        partials[args.cols + col] = dbeta;
    }
}

struct LayerNormTotalArgs {
    const float* partials;  // [count, 2, cols]
    float* dgamma;          // or null
    float* dbeta;           // or null
    i64 count;
    i64 cols;
};

/** Adds the partial sums: a lane per column of [2, cols], a warp per TOTAL_WARPS-th part. */
DEVICE void layer_norm_total_body(const LayerNormTotalArgs& args) {
    SHARED(float, sums, TOTAL_WARPS * WARP);
    const i64 col = static_cast<i64>(blockIdx.x) * WARP + lane_index();
    float sum = 0.0f;
    if (col < 2 * args.cols) {
#pragma unroll 8
        for (i64 part = warp_index(); part < args.count; part += TOTAL_WARPS) {
            sum += args.partials[part * 2 * args.cols + col];
        }
    }
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (warp_index() == 0 && col < 2 * args.cols) {
        for (int w = 1; w < TOTAL_WARPS; w++) {
            sum += sums[w * WARP + lane_index()];
        }
        float* total = col < args.cols ? args.dgamma : args.dbeta;
        if (total != nullptr) {
            total[col < args.cols ? col : col - args.cols] = sum;
        }
    }
}

// ----------------------------------------------------------------------------------------------------------- softmax

struct SoftmaxArgs {
    const void* x;
    void* y;
    i64 rows;
    int cols;
    int log;
};

/** A group of threads per row; every thread reads and writes the same columns in each pass, so y may be x. */
template <class T, int GROUP>
DEVICE void softmax(const SoftmaxArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    const i64 row = group_row<GROUP>();
    if (row >= args.rows) {
        return;
    }
    const int cols = args.cols;
    const bool packed = packed_rows<T>(args.x, cols) && packed_rows<T>(args.y, cols);
    const T* x = static_cast<const T*>(args.x) + row * cols;
    T* y = static_cast<T*>(args.y) + row * cols;
    const int first = static_cast<int>(threadIdx.x % GROUP) * N;
    float v[N];
    float max = -infinity();
    for (int col = first; col < cols; col += GROUP * N) {
        load_values(x, col, cols, packed, v);
        for (int i = 0; i < N; i++) {
            max = col + i < cols ? fmaxf(max, v[i]) : max;
        }
    }
    max = group_max<GROUP>(max);
    float sum = 0.0f;
    for (int col = first; col < cols; col += GROUP * N) {
        load_values(x, col, cols, packed, v);
        for (int i = 0; i < N; i++) {
            sum += col + i < cols ? expf(v[i] - max) : 0.0f;
        }
    }
    sum = group_sum<GROUP>(sum);
    const float shift = logf(sum);
    for (int col = first; col < cols; col += GROUP * N) {
        load_values(x, col, cols, packed, v);
        for (int i = 0; i < N; i++) {
            v[i] = args.log ? v[i] - max - shift : expf(v[i] - max) / sum;
        }
        store_values(y, col, cols, packed, v);
    }
}

struct SoftmaxBackwardArgs {
    const void* y;
    const void* dy;
    void* dx;
    i64 rows;
    int cols;
    int log;
};

template <class T, int GROUP>
DEVICE void softmax_backward(const SoftmaxBackwardArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    const i64 row = group_row<GROUP>();
    if (row >= args.rows) {
        return;
    }
    const int cols = args.cols;
    const bool packed = packed_rows<T>(args.y, cols) && packed_rows<T>(args.dy, cols) && packed_rows<T>(args.dx, cols);
    const T* y = static_cast<const T*>(args.y) + row * cols;
    const T* dy = static_cast<const T*>(args.dy) + row * cols;
    T* dx = static_cast<T*>(args.dx) + row * cols;
    const int first = static_cast<int>(threadIdx.x % GROUP) * N;
    float p[N];
    float g[N];
    float sum = 0.0f;
    for (int col = first; col < cols; col += GROUP * N) {
        load_values(y, col, cols, packed, p);
        load_values(dy, col, cols, packed, g);
        for (int i = 0; i < N; i++) {
            sum = args.log ? sum + g[i] : fmaf(p[i], g[i], sum);
        }
    }
    sum = group_sum<GROUP>(sum);
    for (int col = first; col < cols; col += GROUP * N) {
        load_values(y, col, cols, packed, p);
        load_values(dy, col, cols, packed, g);
        for (int i = 0; i < N; i++) {
            g[i] = args.log ? g[i] - expf(p[i]) * sum : p[i] * (g[i] - sum);
        }
        store_values(dx, col, cols, packed, g);
    }
}

// ----------------------------------------------------------------------------------------------------------- kernels

#define LAYER_NORM(T, name, capacity, blocks)                                                         \
    KERNEL(NORM_THREADS, layer_norm_##capacity##_##name, LayerNormArgs) {                             \
        layer_norm<T, capacity>(args);                                                                \
    }                                                                                                 \
    KERNEL_BLOCKS(NORM_THREADS, blocks, layer_norm_backward_##capacity##_##name, LayerNormBackwardArgs) { \
        layer_norm_backward<T, capacity>(args);                                                       \
    }

#define ROWS(T, name)                                                                                 \
    LAYER_NORM(T, name, 256, 4)                                                                       \
    LAYER_NORM(T, name, 512, 4)                                                                       \
    LAYER_NORM(T, name, 768, 4)                                                                       \
    LAYER_NORM(T, name, 1024, 3)                                                                      \
    LAYER_NORM(T, name, 1280, 2)                                                                      \
    KERNEL(LONG_THREADS, layer_norm_long_##name, LayerNormArgs) {                                   \
        layer_norm_long<T>(args);                                                                     \
    }                                                                                                 \
    KERNEL(LONG_THREADS, layer_norm_backward_long_##name, LayerNormBackwardArgs) {                  \
        layer_norm_backward_long<T>(args);                                                            \
    }                                                                                                 \
    KERNEL(LONG_THREADS, layer_norm_columns_##name, LayerNormBackwardArgs) {                          \
        layer_norm_columns<T>(args);                                                                  \
    }                                                                                                 \
    KERNEL(NORM_THREADS, softmax_##name, SoftmaxArgs) {                                               \
        softmax<T, WARP>(args);                                                                       \
    }                                                                                                 \
    KERNEL(LONG_THREADS, softmax_long_##name, SoftmaxArgs) {                                        \
        softmax<T, LONG_THREADS>(args);                                                               \
    }                                                                                                 \
    KERNEL(NORM_THREADS, softmax_backward_##name, SoftmaxBackwardArgs) {                              \
        softmax_backward<T, WARP>(args);                                                              \
    }                                                                                                 \
    KERNEL(LONG_THREADS, softmax_backward_long_##name, SoftmaxBackwardArgs) {                       \
        softmax_backward<T, LONG_THREADS>(args);                                                      \
    }

ROWS(float, f32)
ROWS(bf16, bf16)

KERNEL(TOTAL_WARPS * WARP, layer_norm_total, LayerNormTotalArgs) {
    layer_norm_total_body(args);
}
