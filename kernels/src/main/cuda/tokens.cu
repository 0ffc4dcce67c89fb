// Rows of tokens picked by index: gathered, scattered, given positions, assembled for the decoder.
//
// Formula       gather_rows y[b, j] = x[b, i[b, j]]; scatter_rows dx[b, t] = sum of dy[b, j] over all j with i[b, j] = t;
//               add_rows y[b, j] = x[b, j] + table[i[b, j]]; assemble_decoder y = [visible + table[iv]; mask_token + table[im]].
// Layouts       rows of d contiguous values, tokens of a sample one after the other, indices i32.
// Accumulation  f32; bf16 is rounded once at the end.
// Determinism   every output value is computed by one thread. scatter_rows asks a table made before (invert_indices) which
//               row goes to a token; where there are several, it adds them in ascending j.
// Bad indices   an index outside the table is not followed: gathered and added rows become NaN (-1 for integers), scattered
//               rows are left out.
// Geometry      256 threads, 4 x 16 bytes per thread, all indices of a thread before the first row that one names; misaligned rows
//               go element by element. invert_indices: a block per sample.
// Bytes         every row read and written once, plus 4 per index. FLOPs: 1 per value that is added.
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
    const int* indices;
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

template <class U>
DEVICE void gather_rows(const GatherArgs& args) {
    const U* x = static_cast<const U*>(args.x);
    U* y = static_cast<U*>(args.y);
    i64 count = args.rows * args.width;
    i64 rows[VECTORS];
    int indices[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        rows[k] = divide(i, args.width);
        indices[k] = i < count ? args.indices[rows[k]] : NONE;
    }
    U units[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        if (indices[k] >= 0 && indices[k] < args.n) {
            i64 sample = divide(rows[k], args.m);
            units[k] = x[(sample * args.n + indices[k]) * args.width + (own_unit(k) - rows[k] * args.width)];
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

KERNEL_BLOCKS(256, 2, gather_rows_1, GatherArgs) {
    gather_rows<unsigned char>(args);
}

KERNEL_BLOCKS(256, 2, gather_rows_2, GatherArgs) {
    gather_rows<unsigned short>(args);
}

KERNEL_BLOCKS(256, 2, gather_rows_4, GatherArgs) {
    gather_rows<u32>(args);
}

KERNEL_BLOCKS(256, 2, gather_rows_16, GatherArgs) {
    gather_rows<Pack<u32>>(args);
}

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

/** N consecutive values, in one access if N is more than 1. */
template <class T, int N>
struct Lanes {
    T values[N];
};

template <class T, int N>
DEVICE Lanes<T, N> load_lanes(const T* at) {
    Lanes<T, N> lanes;
    if constexpr (N == 1) {
        lanes.values[0] = *at;
    } else {
        Pack<T> pack = load_pack(at);
#pragma unroll
        for (int j = 0; j < N; j++) {
            lanes.values[j] = pack.values[j];
        }
    }
    return lanes;
}

template <class T, int N>
DEVICE void store_lanes(T* at, const Lanes<T, N>& lanes) {
    if constexpr (N == 1) {
        *at = lanes.values[0];
    } else {
        Pack<T> pack;
#pragma unroll
        for (int j = 0; j < N; j++) {
            pack.values[j] = lanes.values[j];
        }
        store_pack(at, pack);
    }
}

template <class T, int N>
DEVICE Lanes<T, N> sum_of_several(const ScatterArgs& args, i64 sample, int token, i64 column) {
    float sums[N] = {};
    for (i64 j = sample * args.m; j < (sample + 1) * args.m; j++) {
        if (args.indices[j] == token) {
            Lanes<T, N> lanes = load_lanes<T, N>(static_cast<const T*>(args.dy) + j * args.d + column);
#pragma unroll
            for (int l = 0; l < N; l++) {
                sums[l] += to_float(lanes.values[l]);
            }
        }
    }
    Lanes<T, N> result;
#pragma unroll
    for (int l = 0; l < N; l++) {
        result.values[l] = from_float<T>(sums[l]);
    }
    return result;
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
    Lanes<T, N> lanes[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 column = (own_unit(k) - rows[k] * width) * N;
        i64 sample = divide(rows[k], args.n);
        if (sources[k] >= 0) {
            lanes[k] = load_lanes<T, N>(dy + (sample * args.m + sources[k]) * args.d + column);
        } else if (sources[k] == NONE) {
#pragma unroll
            for (int l = 0; l < N; l++) {
                lanes[k].values[l] = from_float<T>(0.0f);
            }
        } else {
            lanes[k] = sum_of_several<T, N>(args, sample, static_cast<int>(rows[k] - sample * args.n), column);
        }
    }
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        if (i < count) {
            store_lanes<T, N>(dx + i * N, lanes[k]);
        }
    }
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
DEVICE Lanes<T, N> load_position(const T* table, i64 position, i64 positions, i64 d, i64 column) {
    if (position >= 0 && position < positions) {
        return load_lanes<T, N>(table + position * d + column);
    }
    Lanes<T, N> lanes;
#pragma unroll
    for (int l = 0; l < N; l++) {
        lanes.values[l] = from_float<T>(not_a_number());
    }
    return lanes;
}

template <class T, int N>
DEVICE void store_sum(T* y, const Lanes<T, N>& a, const Lanes<T, N>& b) {
    Lanes<T, N> sum;
#pragma unroll
    for (int l = 0; l < N; l++) {
        sum.values[l] = from_float<T>(to_float(a.values[l]) + to_float(b.values[l]));
    }
    store_lanes<T, N>(y, sum);
}

template <class T, int N>
DEVICE void add_rows(const AddRowsArgs& args) {
    const T* x = static_cast<const T*>(args.x);
    const T* table = static_cast<const T*>(args.table);
    i64 width = args.d / N;
    i64 count = args.rows * width;
    i64 rows[VECTORS];
    i64 positions[VECTORS];
    Lanes<T, N> values[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own_unit(k);
        rows[k] = divide(i, width);
        positions[k] = NONE;
        if (i < count) {
            positions[k] = args.indices == nullptr ? rows[k] - divide(rows[k], args.m) * args.m : args.indices[rows[k]];
            values[k] = load_lanes<T, N>(x + i * N);
        }
    }
    Lanes<T, N> added[VECTORS];
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
    Lanes<T, N> values[VECTORS];
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
            values[k] = load_lanes<T, N>(seen ? visible + source * args.d + columns[k] : mask_token + columns[k]);
        }
    }
    Lanes<T, N> added[VECTORS];
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
ROWS(add_rows, AddRowsArgs)
ROWS(assemble_decoder, AssembleArgs)
