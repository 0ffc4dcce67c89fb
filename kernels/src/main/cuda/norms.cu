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
// Geometry: layer_norm*_N_TYPE: a warp per one or two rows of at most N columns, which stay in registers; four warps per block.
//   The backward kernel, of eight, walks over rows with a stride, reading the next row (all that it needs of it) before it computes
//   one where registers allow; it keeps the warp's sums for dgamma and dbeta in registers; blocks write partial sums, which
//   layer_norm_total adds. *_long_TYPE: a block per row, read again for each pass (from the cache, mostly); the parameter
//   sums then have a kernel of their own. Softmax: a warp per one or two rows of at most 512
//   columns, which stay in registers, else a warp or a block per row.
// Registers: the backward kernels promise the blocks per multiprocessor that they are launched with, or what longer rows allow.
// Accesses of 16 bytes where base addresses and row length allow, else single elements.
// Bytes per element (b = 2 or 4): layer norm 2b, backward 3b or with an addend 4b, softmax 2b and its backward 3b (warp per row:
//   from the cache after the first pass). FLOPs per element about 8, 14, 6 and 5.
#include "tessera.cuh"

constexpr int NORM_THREADS = 128;
constexpr int BACKWARD_WARPS = 8;
constexpr int LONG_THREADS = 256;
constexpr int TOTAL_WARPS = 32;

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

/** Whether rows of `cols` elements that follow each other from `base` on can be read N at a time. */
template <class T, int N = Pack<T>::COUNT>
DEVICE bool packed_rows(const void* base, int cols) {
    return aligned<N>(static_cast<const T*>(base)) && cols % N == 0;
}

/** The part of a row of at most WARP PACKS N elements that a lane holds: packs of N, WARP packs apart. */
template <class T, int N, int PACKS>
struct RowPart {
    Pack<T, N> packs[PACKS];

    DEVICE static int column(int p) {
        return (p * WARP + lane_index()) * N;
    }

    /** Loads only, so that whatever is computed between this and the first use hides their latency; 0 beyond the end. */
    DEVICE void load(const T* row, int cols, bool packed) {
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            const int col = column(p);
            packs[p] = {};
            if (packed) {
                if (col < cols) {
                    packs[p] = load_pack<N>(row + col);
                }
            } else {
#pragma unroll
                for (int i = 0; i < N; i++) {
                    if (col + i < cols) {
                        packs[p].values[i] = row[col + i];
                    }
                }
            }
        }
    }

    /** Stores pack p; nothing is written beyond the end of the row. */
    DEVICE static void store(T* row, int p, int cols, bool packed, const float (&values)[N]) {
        const int col = column(p);
        if (packed) {
            if (col < cols) {
                write(row + col, values);
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
};

/** N weights of a norm from `col` on, 0 beyond the end. */
template <int N>
DEVICE void load_weights(const float* weights, int col, int cols, bool packed, float (&values)[N]) {
    constexpr int WIDTH = N < 4 ? N : 4;
#pragma unroll
    for (int i = 0; i < N; i += WIDTH) {
        Pack<float, WIDTH> pack = {};
        if (packed) {
            if (col + i < cols) {
                pack = load_pack<WIDTH>(weights + col + i);
            }
        } else {
#pragma unroll
            for (int k = 0; k < WIDTH; k++) {
                pack.values[k] = col + i + k < cols ? weights[col + i + k] : 0.0f;
            }
        }
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            values[i + k] = pack.values[k];
        }
    }
}

/** The counterpart of load_weights. */
template <int N>
DEVICE void store_weights(float* weights, int col, int cols, bool packed, const float (&values)[N]) {
    constexpr int WIDTH = N < 4 ? N : 4;
#pragma unroll
    for (int i = 0; i < N; i += WIDTH) {
        if (packed) {
            float four[WIDTH];
#pragma unroll
            for (int k = 0; k < WIDTH; k++) {
                four[k] = values[i + k];
            }
            if (col + i < cols) {
                write(weights + col + i, four);
            }
        } else {
#pragma unroll
            for (int k = 0; k < WIDTH; k++) {
                if (col + i + k < cols) {
                    weights[col + i + k] = values[i + k];
                }
            }
        }
    }
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

/** A warp takes ROWS rows, all of which it loads first. */
template <class T, int N, int PACKS, int ROWS>
DEVICE void layer_norm(const LayerNormArgs& args) {
    using Part = RowPart<T, N, PACKS>;
    const i64 row = group_row<WARP>() * ROWS;
    if (row >= args.rows) {
        return;
    }
    const int cols = args.cols;
    const int count = static_cast<int>(min(static_cast<i64>(ROWS), args.rows - row));
    const bool packed = packed_rows<T, N>(args.x, cols) && packed_rows<T, N>(args.y, cols);
    const bool packed_weights = packed_rows<float>(args.gamma, cols) && packed_rows<float>(args.beta, cols);
    const T* x = static_cast<const T*>(args.x) + row * cols;
    T* y = static_cast<T*>(args.y) + row * cols;
    Part parts[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r < count) {
            parts[r].load(x + r * cols, cols, packed);
        }
    }
    float v[ROWS][PACKS][N];
    float mean[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            unpack(parts[r].packs[p], v[r][p]);
#pragma unroll
            for (int i = 0; i < N; i++) {
                mean[r] += v[r][p][i];
            }
        }
    }
    warp_sums(mean);
    const float scale = 1.0f / static_cast<float>(max(cols, 1));
    float rstd[ROWS] = {};  // first the sums of squares
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        mean[r] *= scale;
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
#pragma unroll
            for (int i = 0; i < N; i++) {
                v[r][p][i] -= mean[r];
                if (Part::column(p) + i < cols) {
                    rstd[r] = fmaf(v[r][p][i], v[r][p][i], rstd[r]);
                }
            }
        }
    }
    warp_sums(rstd);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        rstd[r] = 1.0f / sqrtf(rstd[r] * scale + args.eps);
    }
#pragma unroll
    for (int p = 0; p < PACKS; p++) {
        const int col = Part::column(p);
        float gamma[N];
        float beta[N];
        load_weights(args.gamma, col, cols, packed_weights, gamma);
        load_weights(args.beta, col, cols, packed_weights, beta);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (r < count) {
#pragma unroll
                for (int i = 0; i < N; i++) {
                    v[r][p][i] = fmaf(v[r][p][i] * rstd[r], gamma[i], beta[i]);
                }
                Part::store(y + r * cols, p, cols, packed, v[r][p]);
            }
        }
    }
    if (lane_index() == 0) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (r < count && args.mean != nullptr) {
                args.mean[row + r] = mean[r];
            }
            if (r < count && args.rstd != nullptr) {
                args.rstd[row + r] = rstd[r];
            }
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

/** What the backward kernel reads of a row, as it stands in memory. */
template <class T, int N, int PACKS>
struct BackwardRow {
    RowPart<T, N, PACKS> x;
    RowPart<T, N, PACKS> dy;
    RowPart<T, N, PACKS> addend;
    float mean;
    float rstd;

    DEVICE void load(const LayerNormBackwardArgs& args, i64 row, int cols, bool packed) {
        x.load(static_cast<const T*>(args.x) + row * cols, cols, packed);
        dy.load(static_cast<const T*>(args.dy) + row * cols, cols, packed);
        if (args.addend != nullptr) {
            addend.load(static_cast<const T*>(args.addend) + row * cols, cols, packed);
        }
        mean = args.mean[row];
        rstd = args.rstd[row];
    }
};

/** WARPS warps walk over the rows; AHEAD: each reads its next row while it computes one, which takes more registers. */
template <class T, int N, int PACKS, int WARPS, bool AHEAD>
DEVICE void layer_norm_backward(const LayerNormBackwardArgs& args) {
    using Part = RowPart<T, N, PACKS>;
    constexpr int CAPACITY = WARP * N * PACKS;
    SHARED(float, sums, WARPS * CAPACITY);
    const int cols = static_cast<int>(args.cols);
    const bool packed = packed_rows<T, N>(args.x, cols) && packed_rows<T, N>(args.dy, cols)
        && packed_rows<T, N>(args.dx, cols) && packed_rows<T, N>(args.addend, cols);
    const bool packed_weights = packed_rows<float>(args.gamma, cols) && packed_rows<float>(args.partials, cols);
    const float scale = 1.0f / static_cast<float>(max(cols, 1));
    const i64 step = static_cast<i64>(gridDim.x) * WARPS;
    float dgamma[PACKS][N] = {};
    float dbeta[PACKS][N] = {};
    i64 row = group_row<WARP>();
    BackwardRow<T, N, PACKS> next = {};
    if (AHEAD && row < args.rows) {
        next.load(args, row, cols, packed);
    }
    for (; row < args.rows; row += step) {
        BackwardRow<T, N, PACKS> current = next;
        if (!AHEAD) {
            current.load(args, row, cols, packed);
        } else if (row + step < args.rows) {
            next.load(args, row + step, cols, packed);
        }
        float h[PACKS][N];
        float g[PACKS][N];
        float dots[2] = {};  // of g with 1 and with h
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            float gamma[N];
            load_weights(args.gamma, Part::column(p), cols, packed_weights, gamma);
            unpack(current.x.packs[p], h[p]);
            unpack(current.dy.packs[p], g[p]);
#pragma unroll
            for (int i = 0; i < N; i++) {
                h[p][i] = (h[p][i] - current.mean) * current.rstd;
                dgamma[p][i] = fmaf(g[p][i], h[p][i], dgamma[p][i]);
                dbeta[p][i] += g[p][i];
                g[p][i] *= gamma[i];
                dots[0] += g[p][i];
                dots[1] = fmaf(g[p][i], h[p][i], dots[1]);
            }
        }
        if (args.dx != nullptr) {
            T* dx = static_cast<T*>(args.dx) + row * cols;
            warp_sums(dots);
            dots[0] *= scale;
            dots[1] *= scale;
#pragma unroll
            for (int p = 0; p < PACKS; p++) {
                float addend[N];
                unpack(current.addend.packs[p], addend);
#pragma unroll
                for (int i = 0; i < N; i++) {
                    g[p][i] = current.rstd * (g[p][i] - dots[0] - h[p][i] * dots[1]);
                    g[p][i] += addend[i];
                }
                Part::store(dx, p, cols, packed, g[p]);
            }
        }
    }
    if (args.partials == nullptr) {
        return;
    }
#pragma unroll
    for (int half = WARPS / 2; half > 0; half /= 2) {  // in pairs, so that the order is fixed
        const int warp = warp_index();
        float* slot = sums + (warp < half ? warp : warp - half) * 2 * CAPACITY + lane_index();
        if (warp >= half && warp < 2 * half) {
#pragma unroll
            for (int k = 0; k < PACKS * N; k++) {
                slot[k * WARP] = dgamma[k / N][k % N];
                slot[CAPACITY + k * WARP] = dbeta[k / N][k % N];
            }
        }
        __syncthreads();
        if (warp < half) {
#pragma unroll
            for (int k = 0; k < PACKS * N; k++) {
                dgamma[k / N][k % N] += slot[k * WARP];
                dbeta[k / N][k % N] += slot[CAPACITY + k * WARP];
            }
        }
        __syncthreads();
    }
    if (warp_index() == 0) {
        float* partials = args.partials + static_cast<i64>(blockIdx.x) * 2 * cols;
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            store_weights(partials, Part::column(p), cols, packed_weights, dgamma[p]);
            store_weights(partials + cols, Part::column(p), cols, packed_weights, dbeta[p]);
        }
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

/** A warp per ROWS rows of at most WARP N PACKS columns, which it reads once; y may be x. */
template <class T, int N, int PACKS, int ROWS>
DEVICE void softmax_short(const SoftmaxArgs& args) {
    using Part = RowPart<T, N, PACKS>;
    const i64 row = group_row<WARP>() * ROWS;
    if (row >= args.rows) {
        return;
    }
    const int cols = args.cols;
    const int count = static_cast<int>(min(static_cast<i64>(ROWS), args.rows - row));
    const bool packed = packed_rows<T, N>(args.x, cols) && packed_rows<T, N>(args.y, cols);
    const T* x = static_cast<const T*>(args.x) + row * cols;
    T* y = static_cast<T*>(args.y) + row * cols;
    Part parts[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r < count) {
            parts[r].load(x + r * cols, cols, packed);
        }
    }
    float v[ROWS][PACKS][N];
    float most[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        most[r] = -infinity();
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            unpack(parts[r].packs[p], v[r][p]);
#pragma unroll
            for (int i = 0; i < N; i++) {
                most[r] = Part::column(p) + i < cols ? fmaxf(most[r], v[r][p][i]) : most[r];
            }
        }
    }
    warp_maxima(most);
    float sum[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
#pragma unroll
            for (int i = 0; i < N; i++) {
                v[r][p][i] -= most[r];
                const float power = exp_fast(v[r][p][i]);
                sum[r] += Part::column(p) + i < cols ? power : 0.0f;
                v[r][p][i] = args.log ? v[r][p][i] : power;
            }
        }
    }
    warp_sums(sum);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r < count) {
            const float factor = args.log ? 1.0f : 1.0f / sum[r];
            const float shift = args.log ? -logf(sum[r]) : 0.0f;
#pragma unroll
            for (int p = 0; p < PACKS; p++) {
#pragma unroll
                for (int i = 0; i < N; i++) {
                    v[r][p][i] = fmaf(v[r][p][i], factor, shift);
                }
                Part::store(y + r * cols, p, cols, packed, v[r][p]);
            }
        }
    }
}

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
            sum += col + i < cols ? exp_fast(v[i] - max) : 0.0f;
        }
    }
    sum = group_sum<GROUP>(sum);
    const float shift = logf(sum);
    const float factor = 1.0f / sum;
    for (int col = first; col < cols; col += GROUP * N) {
        load_values(x, col, cols, packed, v);
        for (int i = 0; i < N; i++) {
            v[i] = args.log ? v[i] - max - shift : exp_fast(v[i] - max) * factor;
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

template <class T, int N, int PACKS, int ROWS>
DEVICE void softmax_backward_short(const SoftmaxBackwardArgs& args) {
    using Part = RowPart<T, N, PACKS>;
    const i64 row = group_row<WARP>() * ROWS;
    if (row >= args.rows) {
        return;
    }
    const int cols = args.cols;
    const int count = static_cast<int>(min(static_cast<i64>(ROWS), args.rows - row));
    const bool packed =
        packed_rows<T, N>(args.y, cols) && packed_rows<T, N>(args.dy, cols) && packed_rows<T, N>(args.dx, cols);
    const T* y = static_cast<const T*>(args.y) + row * cols;
    const T* dy = static_cast<const T*>(args.dy) + row * cols;
    T* dx = static_cast<T*>(args.dx) + row * cols;
    Part values[ROWS] = {};
    Part gradients[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r < count) {
            values[r].load(y + r * cols, cols, packed);
            gradients[r].load(dy + r * cols, cols, packed);
        }
    }
    float sum[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
#pragma unroll
            for (int i = 0; i < N; i++) {  // 0 beyond the end
                const float g = to_float(gradients[r].packs[p].values[i]);
                sum[r] = args.log ? sum[r] + g : fmaf(to_float(values[r].packs[p].values[i]), g, sum[r]);
            }
        }
    }
    warp_sums(sum);
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r < count) {
#pragma unroll
            for (int p = 0; p < PACKS; p++) {
                float v[N];
                float g[N];
                unpack(values[r].packs[p], v);
                unpack(gradients[r].packs[p], g);
#pragma unroll
                for (int i = 0; i < N; i++) {
                    g[i] = args.log ? g[i] - exp_fast(v[i]) * sum[r] : v[i] * (g[i] - sum[r]);
                }
                Part::store(dx + r * cols, p, cols, packed, g);
            }
        }
    }
}

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
            g[i] = args.log ? g[i] - exp_fast(p[i]) * sum : p[i] * (g[i] - sum);
        }
        store_values(dx, col, cols, packed, g);
    }
}

// ----------------------------------------------------------------------------------------------------------- kernels

// Rows of at most WARP n packs elements: packs of n elements, `rows` rows a warp forward; backward `blocks` blocks a
// multiprocessor, as in CudaNorms, and whether a warp reads ahead.
#define LAYER_NORM(T, name, capacity, n, packs, rows, blocks, ahead)                                              \
    static_assert(WARP * n * packs == capacity, "capacity");                                              \
    KERNEL(NORM_THREADS, layer_norm_##capacity##_##name, LayerNormArgs) {                                  \
        layer_norm<T, n, packs, rows>(args);                                                               \
    }                                                                                                      \
    KERNEL_BLOCKS(BACKWARD_WARPS * WARP, blocks, layer_norm_backward_##capacity##_##name, LayerNormBackwardArgs) { \
        layer_norm_backward<T, n, packs, BACKWARD_WARPS, ahead>(args);                                     \
    }

#define ROWS(T, name)                                                                                 \
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

#define SOFTMAX(T, name, n, packs)                                       \
    static_assert(WARP * n * packs == 512, "capacity");                  \
    KERNEL(NORM_THREADS, softmax_512_##name, SoftmaxArgs) {              \
        softmax_short<T, n, packs, 2>(args);                             \
    }                                                                    \
    KERNEL(NORM_THREADS, softmax_backward_512_##name, SoftmaxBackwardArgs) { \
        softmax_backward_short<T, n, packs, 1>(args);                    \
    }

SOFTMAX(float, f32, 4, 4)
SOFTMAX(bf16, bf16, 8, 2)
LAYER_NORM(float, f32, 256, 4, 2, 2, 2, true)
LAYER_NORM(float, f32, 384, 4, 3, 2, 2, true)
LAYER_NORM(float, f32, 512, 4, 4, 1, 2, false)
LAYER_NORM(float, f32, 768, 4, 6, 1, 1, true)
LAYER_NORM(float, f32, 1024, 4, 8, 1, 1, false)
LAYER_NORM(float, f32, 1280, 4, 10, 1, 1, false)
LAYER_NORM(bf16, bf16, 256, 8, 1, 2, 2, true)
LAYER_NORM(bf16, bf16, 384, 4, 3, 2, 2, true)
LAYER_NORM(bf16, bf16, 512, 8, 2, 1, 2, false)
LAYER_NORM(bf16, bf16, 768, 8, 3, 1, 1, true)
LAYER_NORM(bf16, bf16, 1024, 8, 4, 1, 1, false)
LAYER_NORM(bf16, bf16, 1280, 8, 5, 1, 1, false)

ROWS(float, f32)
ROWS(bf16, bf16)

KERNEL(TOTAL_WARPS * WARP, layer_norm_total, LayerNormTotalArgs) {
    layer_norm_total_body(args);
}
