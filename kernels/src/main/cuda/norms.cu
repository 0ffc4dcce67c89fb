// Layer normalisation and softmax over the last axis of [rows, cols].
//
// Formulas
//   layer norm      y = (x - mean) rstd gamma + beta, mean = sum(x) / cols, rstd = 1 / sqrt(sum((x - mean)^2) / cols + eps)
//   its scales      what products.cuh makes a norm of that has a linear layer behind it: rstd and -mean rstd
//   its gradients   with h = (x - mean) rstd and g = dy gamma: dx = rstd (g - sum(g) / cols - h sum(g h) / cols),
//                   dgamma = sum over rows of dy h, dbeta = sum over rows of dy; where an addend is given, the gradient of the
//                   residual path around the norm, dx includes it
//   softmax         y = exp(x - max) / sum(exp(x - max)); its logarithm y = x - max - log(sum(exp(x - max)))
//   its gradients   dx = y (dy - sum(y dy)); dx = dy - exp(y) sum(dy)
// Layouts: rows are contiguous; x, y, dx, dy and the addend are f32 or bf16, all of one type; gamma, beta, mean, rstd, dgamma,
//   dbeta are f32.
// Accumulation: f32. The variance is computed in a second pass, from registers where the row fits.
// Determinism: every sum has an order fixed by the shape and the number of blocks, which depends on the device alone.
// Geometry: layer_norm*_N_TYPE: a warp per one or two rows of at most N columns, which stay in registers; four warps per block. In
//   bf16, whose rows are short, as many warps as run at once walk over the rows, reading the next before they compute one.
//   The backward kernel, of eight, walks over rows with a stride, reading the next row (all that it needs of it) before it computes
//   one where registers allow; it keeps the warp's sums for dgamma and dbeta in registers; blocks write partial sums, which
//   layer_norm_total adds. *_long_TYPE: a block per row, read again for each pass (from the cache, mostly); the parameter
//   sums then have a kernel of their own. Softmax: a warp per row of at most 512
//   columns, which stays in registers, else a warp or a block per row.
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
            float part[COUNT] = {};
            if (col + p < cols) {
                read(row + col + p, part);
            }
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                values[p + i] = part[i];
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
            float part[COUNT];
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                part[i] = values[p + i];
            }
            if (col + p < cols) {
                write(row + col + p, part);
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

/**
 * The part of a row of at most WARP PACKS N elements that a lane holds: packs of N, WARP packs apart. PACKED: rows can be read and
 * written N elements at a time. It is known to the compiler, since loads of two kinds into the same registers would wait for each other.
 */
template <class T, int N, int PACKS, bool PACKED>
struct RowPart {
    Pack<T, N> packs[PACKS];

    DEVICE static int column(int p) {
        return (p * WARP + lane_index()) * N;
    }

    /** Whether value i of pack p is one of the row's. */
    DEVICE static bool inside(int p, int i, int cols) {
        return PACKED ? column(p) < cols : column(p) + i < cols;
    }

    /** Loads only, so that whatever is computed between this and the first use hides their latency; 0 beyond the end. */
    DEVICE void load(const T* row, int cols) {
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            packs[p] = {};
            if (PACKED) {
                if (inside(p, 0, cols)) {
                    packs[p] = load_pack<N>(row + column(p));
                }
            } else {
#pragma unroll
                for (int i = 0; i < N; i++) {
                    if (inside(p, i, cols)) {
                        packs[p].set(i, row[column(p) + i]);
                    }
                }
            }
        }
    }

    /** Stores pack p; nothing is written beyond the end of the row. */
    DEVICE static void store(T* row, int p, int cols, const float (&values)[N]) {
        if (PACKED) {
            if (inside(p, 0, cols)) {
                write(row + column(p), values);
            }
        } else {
#pragma unroll
            for (int i = 0; i < N; i++) {
                if (inside(p, i, cols)) {
                    row[column(p) + i] = from_float<T>(values[i]);
                }
            }
        }
    }
};

/** N weights of a norm from `col` on, 0 beyond the end; PACKED as in RowPart. */
template <bool PACKED, int N>
DEVICE void load_weights(const float* weights, int col, int cols, float (&values)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) {
        values[i] = 0.0f;
        if (!PACKED && col + i < cols) {
            values[i] = weights[col + i];
        }
    }
    if (PACKED && col < cols) {
        read(weights + col, values);
    }
}

/** The counterpart of load_weights. */
template <bool PACKED, int N>
DEVICE void store_weights(float* weights, int col, int cols, const float (&values)[N]) {
    if (PACKED && col < cols) {
        write(weights + col, values);
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (!PACKED && col + i < cols) {
            weights[col + i] = values[i];
        }
    }
}

/** Whether N weights can be read at a time. */
template <int N>
DEVICE bool packed_weights(const float* weights, int cols) {
    return packed_rows<float, N < 4 ? N : 4>(weights, cols);
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

/**
 * A warp takes ROWS rows, all of which it loads first, and goes on with others where the grid is small. WALK: it loads them before it
 * computes these, and keeps the weights.
 */
template <class T, int N, int PACKS, int ROWS, bool WALK, bool PACKED>
DEVICE void layer_norm_rows(const LayerNormArgs& args) {
    using Part = RowPart<T, N, PACKS, PACKED>;
    const int cols = args.cols;
    const float scale = 1.0f / static_cast<float>(max(cols, 1));
    const i64 step = static_cast<i64>(gridDim.x) * (blockDim.x / WARP) * ROWS;
    i64 row = group_row<WARP>() * ROWS;
    Part parts[ROWS] = {};
    const auto load_rows = [&](i64 first) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (first + r < args.rows) {
                parts[r].load(static_cast<const T*>(args.x) + (first + r) * cols, cols);
            }
        }
    };
    load_rows(row);
    float gamma[PACKS][N];
    float beta[PACKS][N];
    const auto load_pack_weights = [&](int p) {
        load_weights<PACKED>(args.gamma, Part::column(p), cols, gamma[p]);
        load_weights<PACKED>(args.beta, Part::column(p), cols, beta[p]);
    };
    if (WALK) {
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            load_pack_weights(p);
        }
    }
    for (; row < args.rows; row += step) {
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
        if (WALK) {
            load_rows(row + step);
        }
        warp_sums(mean);
        float rstd[ROWS] = {};  // first the sums of squares
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            mean[r] *= scale;
#pragma unroll
            for (int p = 0; p < PACKS; p++) {
#pragma unroll
                for (int i = 0; i < N; i++) {
                    v[r][p][i] -= mean[r];
                    if (Part::inside(p, i, cols)) {
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
            if (!WALK) {
                load_pack_weights(p);
            }
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                if (row + r < args.rows) {
#pragma unroll
                    for (int i = 0; i < N; i++) {
                        v[r][p][i] = fmaf(v[r][p][i] * rstd[r], gamma[p][i], beta[p][i]);
                    }
                    Part::store(static_cast<T*>(args.y) + (row + r) * cols, p, cols, v[r][p]);
                }
            }
        }
        if (lane_index() == 0) {
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                if (row + r < args.rows && args.mean != nullptr) {
                    args.mean[row + r] = mean[r];
                }
                if (row + r < args.rows && args.rstd != nullptr) {
                    args.rstd[row + r] = rstd[r];
                }
            }
        }
        if (!WALK) {
            load_rows(row + step);
        }
    }
}

template <class T, int N, int PACKS, int ROWS, bool WALK>
DEVICE void layer_norm(const LayerNormArgs& args) {
    if (packed_rows<T, N>(args.x, args.cols) && packed_rows<T, N>(args.y, args.cols)
        && packed_weights<N>(args.gamma, args.cols) && packed_weights<N>(args.beta, args.cols)) {
        layer_norm_rows<T, N, PACKS, ROWS, WALK, true>(args);
    } else {
        layer_norm_rows<T, N, PACKS, 1, WALK, false>(args);
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

struct LayerNormScalesArgs {
    const void* x;
    float* scales;  // [rows, 2]: rstd and -mean rstd
    i64 rows;
    int cols;
    float eps;
};

/** A warp per row, which the second pass reads from the cache. */
template <class T>
DEVICE void layer_norm_scales(const LayerNormScalesArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    const i64 row = group_row<WARP>();
    if (row >= args.rows) {
        return;
    }
    const int cols = args.cols;
    const T* const x = static_cast<const T*>(args.x) + row * cols;
    const bool packed = packed_rows<T>(args.x, cols);
    float v[N];
    float sum = 0.0f;
    for (int col = lane_index() * N; col < cols; col += WARP * N) {
        load_values(x, col, cols, packed, v);
#pragma unroll
        for (int i = 0; i < N; i++) {
            sum += v[i];
        }
    }
    const float mean = warp_sum(sum) / static_cast<float>(cols);
    float squares = 0.0f;
    for (int col = lane_index() * N; col < cols; col += WARP * N) {
        load_values(x, col, cols, packed, v);
#pragma unroll
        for (int i = 0; i < N; i++) {
            if (col + i < cols) {
                squares = fmaf(v[i] - mean, v[i] - mean, squares);
            }
        }
    }
    const float rstd = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(cols) + args.eps);
    if (lane_index() == 0) {
        write(args.scales + 2 * row, {rstd, -mean * rstd});
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
template <class T, int N, int PACKS, bool PACKED>
struct BackwardRow {
    RowPart<T, N, PACKS, PACKED> x;
    RowPart<T, N, PACKS, PACKED> dy;
    RowPart<T, N, PACKS, PACKED> addend;
    float mean;
    float rstd;

    DEVICE void load(const LayerNormBackwardArgs& args, i64 row, int cols) {
        x.load(static_cast<const T*>(args.x) + row * cols, cols);
        dy.load(static_cast<const T*>(args.dy) + row * cols, cols);
        if (args.addend != nullptr) {
            addend.load(static_cast<const T*>(args.addend) + row * cols, cols);
        }
        mean = args.mean[row];
        rstd = args.rstd[row];
    }
};

/** WARPS warps walk over the rows; AHEAD: each reads its next row while it computes one, which takes more registers. */
template <class T, int N, int PACKS, int WARPS, bool AHEAD, bool PACKED>
DEVICE void layer_norm_backward_rows(const LayerNormBackwardArgs& args, float* sums) {
    using Part = RowPart<T, N, PACKS, PACKED>;
    constexpr int CAPACITY = WARP * N * PACKS;
    const int cols = static_cast<int>(args.cols);
    const float scale = 1.0f / static_cast<float>(max(cols, 1));
    const i64 step = static_cast<i64>(gridDim.x) * WARPS;
    float dgamma[PACKS][N] = {};
    float dbeta[PACKS][N] = {};
    i64 row = group_row<WARP>();
    float gamma[PACKS][N];
    const auto load_gamma = [&] {
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            load_weights<PACKED>(args.gamma, Part::column(p), cols, gamma[p]);
        }
    };
    constexpr bool KEEP = AHEAD && sizeof(T) == 2;  // as registers allow
    if (KEEP) {
        load_gamma();
    }
    BackwardRow<T, N, PACKS, PACKED> next = {};
    if (AHEAD && row < args.rows) {
        next.load(args, row, cols);
    }
    for (; row < args.rows; row += step) {
        BackwardRow<T, N, PACKS, PACKED> current = next;
        if (!AHEAD) {
            current.load(args, row, cols);
        } else if (row + step < args.rows) {
            next.load(args, row + step, cols);
        }
        if (!KEEP) {
            load_gamma();
        }
        float h[PACKS][N];
        float g[PACKS][N];
        float dots[2] = {};  // of g with 1 and with h
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            unpack(current.x.packs[p], h[p]);
            unpack(current.dy.packs[p], g[p]);
#pragma unroll
            for (int i = 0; i < N; i++) {
                h[p][i] = (h[p][i] - current.mean) * current.rstd;
                dgamma[p][i] = fmaf(g[p][i], h[p][i], dgamma[p][i]);
                dbeta[p][i] += g[p][i];
                g[p][i] *= gamma[p][i];
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
                Part::store(dx, p, cols, g[p]);
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
            store_weights<PACKED>(partials, Part::column(p), cols, dgamma[p]);
            store_weights<PACKED>(partials + cols, Part::column(p), cols, dbeta[p]);
        }
    }
}

template <class T, int N, int PACKS, int WARPS, bool AHEAD>
DEVICE void layer_norm_backward(const LayerNormBackwardArgs& args) {
    SHARED(float, sums, WARPS * WARP * N * PACKS);
    const int cols = static_cast<int>(args.cols);
    if (packed_rows<T, N>(args.x, cols) && packed_rows<T, N>(args.dy, cols) && packed_rows<T, N>(args.dx, cols)
        && packed_rows<T, N>(args.addend, cols) && packed_weights<N>(args.gamma, cols)
        && packed_weights<N>(args.partials, cols)) {
        layer_norm_backward_rows<T, N, PACKS, WARPS, AHEAD, true>(args, sums);
    } else {
        layer_norm_backward_rows<T, N, PACKS, WARPS, false, false>(args, sums);
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
template <class T, int N, int PACKS, int ROWS, bool PACKED>
DEVICE void softmax_rows(const SoftmaxArgs& args) {
    using Part = RowPart<T, N, PACKS, PACKED>;
    const i64 row = group_row<WARP>() * ROWS;
    if (row >= args.rows) {
        return;
    }
    const int cols = args.cols;
    const int count = static_cast<int>(min(static_cast<i64>(ROWS), args.rows - row));
    const T* x = static_cast<const T*>(args.x) + row * cols;
    T* y = static_cast<T*>(args.y) + row * cols;
    Part parts[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r < count) {
            parts[r].load(x + r * cols, cols);
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
                most[r] = Part::inside(p, i, cols) ? fmaxf(most[r], v[r][p][i]) : most[r];
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
                sum[r] += Part::inside(p, i, cols) ? power : 0.0f;
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
                Part::store(y + r * cols, p, cols, v[r][p]);
            }
        }
    }
}

template <class T, int N, int PACKS, int ROWS>
DEVICE void softmax_short(const SoftmaxArgs& args) {
    if (packed_rows<T, N>(args.x, args.cols) && packed_rows<T, N>(args.y, args.cols)) {
        softmax_rows<T, N, PACKS, ROWS, true>(args);
    } else {
        softmax_rows<T, N, PACKS, ROWS, false>(args);
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

template <class T, int N, int PACKS, int ROWS, bool PACKED>
DEVICE void softmax_backward_rows(const SoftmaxBackwardArgs& args) {
    using Part = RowPart<T, N, PACKS, PACKED>;
    const i64 row = group_row<WARP>() * ROWS;
    if (row >= args.rows) {
        return;
    }
    const int cols = args.cols;
    const int count = static_cast<int>(min(static_cast<i64>(ROWS), args.rows - row));
    const T* y = static_cast<const T*>(args.y) + row * cols;
    const T* dy = static_cast<const T*>(args.dy) + row * cols;
    T* dx = static_cast<T*>(args.dx) + row * cols;
    Part values[ROWS] = {};
    Part gradients[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (r < count) {
            values[r].load(y + r * cols, cols);
            gradients[r].load(dy + r * cols, cols);
        }
    }
    float sum[ROWS] = {};
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
#pragma unroll
        for (int p = 0; p < PACKS; p++) {
            float v[N];
            float g[N];
            unpack(values[r].packs[p], v);
            unpack(gradients[r].packs[p], g);
#pragma unroll
            for (int i = 0; i < N; i++) {  // 0 beyond the end
                sum[r] = args.log ? sum[r] + g[i] : fmaf(v[i], g[i], sum[r]);
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
                Part::store(dx + r * cols, p, cols, g);
            }
        }
    }
}

template <class T, int N, int PACKS, int ROWS>
DEVICE void softmax_backward_short(const SoftmaxBackwardArgs& args) {
    if (packed_rows<T, N>(args.y, args.cols) && packed_rows<T, N>(args.dy, args.cols)
        && packed_rows<T, N>(args.dx, args.cols)) {
        softmax_backward_rows<T, N, PACKS, ROWS, true>(args);
    } else {
        softmax_backward_rows<T, N, PACKS, ROWS, false>(args);
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

// Rows of at most WARP n packs elements: packs of n elements. Forward `rows` rows a warp, whether it walks, and blocks a
// multiprocessor; backward blocks a multiprocessor and whether a warp reads ahead. Rows and blocks are as in CudaNorms.
#define LAYER_NORM(T, name, capacity, n, packs, rows, walk, blocks, backward_blocks, ahead)                     \
    static_assert(WARP * n * packs == capacity, "capacity");                                                    \
    KERNEL_BLOCKS(NORM_THREADS, blocks, layer_norm_##capacity##_##name, LayerNormArgs) {                        \
        layer_norm<T, n, packs, rows, walk>(args);                                                              \
    }                                                                                                           \
    KERNEL_BLOCKS(                                                                                              \
        BACKWARD_WARPS * WARP, backward_blocks, layer_norm_backward_##capacity##_##name, LayerNormBackwardArgs) { \
        layer_norm_backward<T, n, packs, BACKWARD_WARPS, ahead>(args);                                          \
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

#define SOFTMAX(T, name, n, packs, rows)                                     \
    static_assert(WARP * n * packs == 512, "capacity");                  \
    KERNEL(NORM_THREADS, softmax_512_##name, SoftmaxArgs) {              \
        softmax_short<T, n, packs, rows>(args);                             \
    }                                                                    \
    KERNEL(NORM_THREADS, softmax_backward_512_##name, SoftmaxBackwardArgs) { \
        softmax_backward_short<T, n, packs, 1>(args);                    \
    }

SOFTMAX(float, f32, 4, 4, 1)
SOFTMAX(bf16, bf16, 8, 2, 1)
LAYER_NORM(float, f32, 256, 4, 2, 2, false, 4, 2, true)
LAYER_NORM(float, f32, 384, 4, 3, 2, false, 4, 2, true)
LAYER_NORM(float, f32, 512, 4, 4, 1, false, 4, 2, false)
LAYER_NORM(float, f32, 768, 4, 6, 1, false, 4, 1, true)
LAYER_NORM(float, f32, 1024, 4, 8, 1, false, 4, 1, false)
LAYER_NORM(float, f32, 1280, 4, 10, 1, false, 4, 1, false)
LAYER_NORM(bf16, bf16, 256, 8, 1, 2, true, 7, 3, true)
LAYER_NORM(bf16, bf16, 384, 4, 3, 1, true, 8, 2, true)
LAYER_NORM(bf16, bf16, 512, 8, 2, 1, true, 4, 2, false)
LAYER_NORM(bf16, bf16, 768, 8, 3, 1, true, 3, 1, true)
LAYER_NORM(bf16, bf16, 1024, 8, 4, 1, false, 4, 1, true)
LAYER_NORM(bf16, bf16, 1280, 8, 5, 1, false, 4, 1, false)

ROWS(float, f32)
ROWS(bf16, bf16)

KERNEL(NORM_THREADS, layer_norm_scales_bf16, LayerNormScalesArgs) {
    layer_norm_scales<bf16>(args);
}

KERNEL(TOTAL_WARPS * WARP, layer_norm_total, LayerNormTotalArgs) {
    layer_norm_total_body(args);
}
