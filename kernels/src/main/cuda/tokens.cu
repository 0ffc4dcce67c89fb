// Rows of tokens picked by index: gathered, scattered, given positions, assembled for the decoder.
//
// Formula       gather_rows y[b, j] = x[b, i[b, j]]; scatter_rows dx[b, t] = sum of dy[b, j] over all j with i[b, j] = t;
//               select_rows and sum_selected the same with one i[j] for all samples, in which -1 is a row of zeros;
//               add_rows y[b, j] = x[b, j] + table[i[b, j]]; assemble_decoder y = [visible + table[iv]; mask_token + table[im]].
// Layouts       rows of d contiguous values, tokens of a sample one after the other, indices i32.
// Accumulation  f32; bf16 is rounded once at the end.
// Determinism   every output value is computed by one thread. scatter_rows asks a table made before (invert_indices) which
//               row goes to a token; where there are several, it adds them in ascending j. sum_selected cuts the j into shares,
//               adds each in ascending j by one thread and then the shares in order; their number depends on the shape and device.
// Bad indices   an index outside the table is not followed: gathered, selected and added rows become NaN (-1 for integers),
//               scattered and summed rows are left out.
// Geometry      256 threads, 4 x 16 bytes per thread, all indices of a thread before the first row that one names; misaligned rows
//               go element by element. invert_indices: a block per sample. sum_selected: a warp per 4 or 8 tokens, 32 units of columns and
//               share of the j reads all indices of its share, 128 at a time, and the rows that go to its tokens, 4 in flight.
// Bytes         every row read and written once, plus 4 per index; sum_selected reads an index once for each warp that may
//               need it, from L2, and writes a share's sums as f32. FLOPs: 1 per value that is added.
// Registers     two blocks per multiprocessor are promised, far from the limit: without a promise ptxas spills a word here and
//               there to fit more threads.
#include "tessera.cuh"

constexpr int THREADS = 256;
constexpr int VECTORS = 4;
constexpr int NONE = -1;
constexpr int SEVERAL = -2;

/** Value number k of those that this thread computes: consecutive threads take consecutive values. */
DEVICE i64 own_unit(int k) {
    return (static_cast<i64>(blockIdx.x) * VECTORS + k) * THREADS + threadIdx.x;
}

// ------------------------------------------------------------------------------------------------------------- gather

struct GatherArgs {
    const void* x;
    const int* indices;  // [batch, m] to gather, [m] to select
    void* y;
    i64 rows;  // batch * m
    i64 n;
    i64 m;
    i64 width;  // units of U per row
};

template <class U>
DEVICE U all_ones();

template <>
DEVICE unsigned char all_ones() {
    return 0xFF;
}

template <>
DEVICE unsigned short all_ones() {
    return 0xFFFF;
}

template <>
DEVICE u32 all_ones() {
    return 0xFFFFFFFFu;
}

template <>
DEVICE Pack<u32> all_ones() {
    return {{0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu, 0xFFFFFFFFu}};
}

/** SHARED_INDEX: all samples have the same indices, and NONE stands for a row of zeros. */
template <class U, bool SHARED_INDEX>
DEVICE void gather_rows(const GatherArgs& args) {
    const U* x = static_cast<const U*>(args.x);
    U* y = static_cast<U*>(args.y);
    i64 count = args.rows * args.width;
    i64 rows[VECTORS];
    i64 samples[VECTORS];
    int indices[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        rows[k] = divide(i, args.width);
        samples[k] = divide(rows[k], args.m);
        indices[k] = i < count ? args.indices[SHARED_INDEX ? rows[k] - samples[k] * args.m : rows[k]] : NONE;
    }
    U units[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        if (indices[k] >= 0 && indices[k] < args.n) {
            units[k] = x[(samples[k] * args.n + indices[k]) * args.width + (own_unit(k) - rows[k] * args.width)];
        } else if (SHARED_INDEX && indices[k] == NONE) {
            units[k] = U();
        } else {
            units[k] = all_ones<U>();
        }
    }
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        if (i < count) {
            y[i] = units[k];
        }
    }
}

#define GATHER(size, U) \
    KERNEL_BLOCKS(256, 2, gather_rows_##size, GatherArgs) { \
        gather_rows<U, false>(args); \
    } \
    KERNEL_BLOCKS(256, 2, select_rows_##size, GatherArgs) { \
        gather_rows<U, true>(args); \
    }

GATHER(1, unsigned char)
GATHER(2, unsigned short)
GATHER(4, u32)
GATHER(16, Pack<u32>)

// ------------------------------------------------------------------------------------------------------------ scatter

struct InvertArgs {
    const int* indices;  // [batch, m]
    int* source;  // [batch, n]: the j that goes to a token, NONE or SEVERAL
    i64 n;
    i64 m;
};

KERNEL_BLOCKS(256, 2, invert_indices, InvertArgs) {
    const int* indices = args.indices + blockIdx.x * args.m;
    int* source = args.source + blockIdx.x * args.n;
    for (i64 t = threadIdx.x; t < args.n; t += THREADS) {
        source[t] = NONE;
    }
    __syncthreads();
    for (i64 j = threadIdx.x; j < args.m; j += THREADS) {
        int token = indices[j];
        if (token >= 0 && token < args.n && atomicCAS(&source[token], NONE, static_cast<int>(j)) != NONE) {
            atomicExch(&source[token], SEVERAL);
        }
    }
}

struct ScatterArgs {
    const void* dy;
    const int* indices;
    const int* source;
    void* dx;
    i64 rows;  // batch * n
    i64 n;
    i64 m;
    i64 d;
};

template <class T, int N>
DEVICE Pack<T, N> sum_of_several(const ScatterArgs& args, i64 sample, int token, i64 column) {
    float sums[N] = {};
    for (i64 j = sample * args.m; j < (sample + 1) * args.m; j++) {
        if (args.indices[j] == token) {
            Pack<T, N> lanes = load_pack<N>(static_cast<const T*>(args.dy) + j * args.d + column);
#pragma unroll
            for (int l = 0; l < N; l++) {
                sums[l] += to_float(lanes[l]);
            }
        }
    }
    return pack<T>(sums);
}

template <class T, int N>
DEVICE void scatter_rows(const ScatterArgs& args) {
    const T* dy = static_cast<const T*>(args.dy);
    T* dx = static_cast<T*>(args.dx);
    i64 width = args.d / N;
    i64 count = args.rows * width;
    i64 rows[VECTORS];
    int sources[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        rows[k] = divide(i, width);
        sources[k] = i < count ? args.source[rows[k]] : NONE;
    }
    Pack<T, N> lanes[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 column = (own_unit(k) - rows[k] * width) * N;
        i64 sample = divide(rows[k], args.n);
        if (sources[k] >= 0) {
            lanes[k] = load_pack<N>(dy + (sample * args.m + sources[k]) * args.d + column);
        } else if (sources[k] == NONE) {
            lanes[k] = {};
        } else {
            lanes[k] = sum_of_several<T, N>(args, sample, static_cast<int>(rows[k] - sample * args.n), column);
        }
    }
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        if (i < count) {
            store_pack(dx + i * N, lanes[k]);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------- sum

constexpr int SUM_ROWS = 4;  // read ahead of the sum

/** How many tokens a warp sums: bounded by registers; as in CudaTokens. */
template <int N>
constexpr int SUM_TOKENS = N > 4 ? 4 : 8;

struct SumArgs {
    const void* dy;      // [batch, m, d]
    const int* indices;  // [m]
    void* dx;            // [batch, n, d], or f32 [shares, batch, n, d]
    i64 batch;
    i64 n;
    i64 m;
    i64 d;
    i64 share;   // j of one share, a multiple of the indices that a warp reads at a time
    i64 shares;  // where there are several, dx is f32
};

/** Adds rows of dy, for every bit of `found` in ascending order; `token` is the place in sums of the row of a lane's bit. */
template <class T, int N>
DEVICE void add_found(float (&sums)[SUM_TOKENS<N>][N], u32 found, int token, const T* dy, i64 d, bool inside) {
    while (found != 0) {
        Pack<T, N> lanes[SUM_ROWS];
        int tokens[SUM_ROWS];
#pragma unroll
        for (int r = 0; r < SUM_ROWS; r++) {
            const int bit = __ffs(static_cast<int>(found)) - 1;
            tokens[r] = __shfl_sync(ALL_LANES, token, bit & (WARP - 1));
            if (found == 0) {
                tokens[r] = NONE;
            } else if (inside) {
                lanes[r] = load_pack<N>(dy + bit * d);
            }
            found &= found - 1;
        }
#pragma unroll
        for (int r = 0; r < SUM_ROWS; r++) {
#pragma unroll
            for (int t = 0; t < SUM_TOKENS<N>; t++) {
                if (inside && tokens[r] == t) {
#pragma unroll
                    for (int l = 0; l < N; l++) {
                        sums[t][l] += to_float(lanes[r][l]);
                    }
                }
            }
        }
    }
}

template <class T, int N>
DEVICE void sum_selected(const SumArgs& args) {
    constexpr int TOKENS = SUM_TOKENS<N>;
    const i64 groups = (args.n + TOKENS - 1) / TOKENS;
    const i64 parts = (args.d + WARP * N - 1) / (WARP * N);
    i64 place = static_cast<i64>(blockIdx.x) * (THREADS / WARP) + warp_index();
    const i64 part = place % parts;
    place /= parts;
    const i64 first = place % groups * TOKENS;
    place /= groups;
    const i64 sample = place % args.batch;
    const i64 share = place / args.batch;
    if (share >= args.shares) {
        return;
    }
    const i64 column = (part * WARP + lane_index()) * N;
    const bool inside = column < args.d;
    const T* dy = static_cast<const T*>(args.dy) + sample * args.m * args.d + column;
    const i64 end = min(args.m, (share + 1) * args.share);
    float sums[TOKENS][N] = {};
    for (i64 j = share * args.share; j < end; j += WARP * VECTORS) {
        int tokens[VECTORS];
        bool any = false;
#pragma unroll
        for (int k = 0; k < VECTORS; k++) {
            const i64 at = j + k * WARP + lane_index();
            const i64 token = (at < end ? args.indices[at] : NONE) - first;
            tokens[k] = token >= 0 && token < TOKENS && token + first < args.n ? static_cast<int>(token) : NONE;
            any |= tokens[k] != NONE;
        }
        if (__ballot_sync(ALL_LANES, any) == 0) {
            continue;
        }
#pragma unroll
        for (int k = 0; k < VECTORS; k++) {
            const u32 found = __ballot_sync(ALL_LANES, tokens[k] != NONE);
            add_found<T, N>(sums, found, tokens[k], dy + (j + k * WARP) * args.d, args.d, inside);
        }
    }
    if (!inside) {
        return;
    }
#pragma unroll
    for (int t = 0; t < TOKENS; t++) {
        if (first + t < args.n) {
            const i64 at = ((share * args.batch + sample) * args.n + first + t) * args.d + column;
            if (args.shares == 1) {
                write<N>(static_cast<T*>(args.dx) + at, sums[t]);
            } else {
#pragma unroll
                for (int l = 0; l < N; l++) {
                    static_cast<float*>(args.dx)[at + l] = sums[t][l];
                }
            }
        }
    }
}

struct SharesArgs {
    const float* partials;  // [shares, count]
    void* dx;
    i64 count;
    i64 shares;
};

template <class T>
DEVICE void sum_of_shares(const SharesArgs& args) {
    const i64 i = global_index();
    if (i >= args.count) {
        return;
    }
    float sum = 0.0f;
#pragma unroll 4
    for (i64 share = 0; share < args.shares; share++) {
        sum += args.partials[share * args.count + i];
    }
    static_cast<T*>(args.dx)[i] = from_float<T>(sum);
}

KERNEL(256, sum_of_shares_f32, SharesArgs) {
    sum_of_shares<float>(args);
}

KERNEL(256, sum_of_shares_bf16, SharesArgs) {
    sum_of_shares<bf16>(args);
}

// ---------------------------------------------------------------------------------------------------------- positions

struct AddRowsArgs {
    const void* x;
    const void* table;
    const int* indices;  // or null: row j itself
    void* y;
    i64 rows;  // batch * m
    i64 m;
    i64 d;
    i64 positions;  // rows of the table
};

/** Part of a row of the table, NaN where there is no such row. */
template <class T, int N>
DEVICE Pack<T, N> load_position(const T* table, i64 position, i64 positions, i64 d, i64 column) {
    if (position >= 0 && position < positions) {
        return load_pack<N>(table + position * d + column);
    }
    float row[N];
#pragma unroll
    for (int l = 0; l < N; l++) {
        row[l] = not_a_number();
    }
    return pack<T>(row);
}

template <class T, int N>
DEVICE void store_sum(T* y, const Pack<T, N>& a, const Pack<T, N>& b) {
    float sum[N];
    float added[N];
    unpack(a, sum);
    unpack(b, added);
#pragma unroll
    for (int l = 0; l < N; l++) {
        sum[l] += added[l];
    }
    write(y, sum);
}

template <class T, int N>
DEVICE void add_rows(const AddRowsArgs& args) {
    const T* x = static_cast<const T*>(args.x);
    const T* table = static_cast<const T*>(args.table);
    i64 width = args.d / N;
    i64 count = args.rows * width;
    i64 rows[VECTORS];
    i64 positions[VECTORS];
    Pack<T, N> values[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        rows[k] = divide(i, width);
        positions[k] = NONE;
        if (i < count) {
            positions[k] = args.indices == nullptr ? rows[k] - divide(rows[k], args.m) * args.m : args.indices[rows[k]];
            values[k] = load_pack<N>(x + i * N);
        }
    }
    Pack<T, N> added[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 column = (own_unit(k) - rows[k] * width) * N;
        added[k] = load_position<T, N>(table, positions[k], args.positions, args.d, column);
    }
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        if (i < count) {
            store_sum<T, N>(static_cast<T*>(args.y) + i * N, values[k], added[k]);
        }
    }
}

// ------------------------------------------------------------------------------------------------------------ decoder

struct AssembleArgs {
    const void* visible;
    const int* visible_indices;
    const int* masked_indices;
    const void* mask_token;
    const void* table;
    void* y;
    i64 batch;
    i64 visible_count;
    i64 masked_count;
    i64 d;
    i64 positions;  // rows of the table
};

template <class T, int N>
DEVICE void assemble_decoder(const AssembleArgs& args) {
    const T* visible = static_cast<const T*>(args.visible);
    const T* mask_token = static_cast<const T*>(args.mask_token);
    const T* table = static_cast<const T*>(args.table);
    i64 tokens = args.visible_count + args.masked_count;
    i64 width = args.d / N;
    i64 count = args.batch * tokens * width;
    i64 columns[VECTORS];
    int positions[VECTORS];
    Pack<T, N> values[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        i64 row = divide(i, width);
        columns[k] = (i - row * width) * N;
        positions[k] = NONE;
        if (i < count) {
            i64 sample = divide(row, tokens);
            i64 j = row - sample * tokens;
            bool seen = j < args.visible_count;
            i64 source = seen ? sample * args.visible_count + j : sample * args.masked_count + j - args.visible_count;
            positions[k] = seen ? args.visible_indices[source] : args.masked_indices[source];
            values[k] = load_pack<N>(seen ? visible + source * args.d + columns[k] : mask_token + columns[k]);
        }
    }
    Pack<T, N> added[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        added[k] = load_position<T, N>(table, positions[k], args.positions, args.d, columns[k]);
    }
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        if (i < count) {
            store_sum<T, N>(static_cast<T*>(args.y) + i * N, values[k], added[k]);
        }
    }
}

// One kernel for rows that allow 16-byte accesses and one for all others.
#define ROWS(name, Args) \
    KERNEL_BLOCKS(256, 2, name##_f32, Args) { \
        name<float, Pack<float>::COUNT>(args); \
    } \
    KERNEL_BLOCKS(256, 2, name##_bf16, Args) { \
        name<bf16, Pack<bf16>::COUNT>(args); \
    } \
    KERNEL_BLOCKS(256, 2, name##_single_f32, Args) { \
        name<float, 1>(args); \
    } \
    KERNEL_BLOCKS(256, 2, name##_single_bf16, Args) { \
        name<bf16, 1>(args); \
    }

ROWS(scatter_rows, ScatterArgs)
ROWS(sum_selected, SumArgs)
ROWS(add_rows, AddRowsArgs)
ROWS(assemble_decoder, AssembleArgs)
