// Scaled dot-product attention O = softmax(scale Q K^T + bias + mask) V and its gradients, tiled: no matrix of scores in memory.
//
// Formulas (natural logarithm; the kernels work in powers of two)
//   S = scale Q K^T + bias + mask, L = log(rowsum(exp(S))), P = exp(S - L), O = P V; mask = -100 between tokens of two regions
//   D = rowsum(dO O), dV = P^T dO, dS = P (dO V^T - D), dbias = dS, dQ = scale dS K, dK = scale dS^T Q
// Source of the algorithm: T. Dao, "FlashAttention-2", 2023 (online softmax, L saved, P recomputed in the backward pass).
// Layouts: element (sample b, head h, row n, dim d) of a tensor lies at b batch + h head + n row + d of that tensor's strides, so
//   q, k, v may be slices of one packed [B, N, 3, heads, dim]; q, k, v, out and their gradients are all f32 or all bf16; bias and
//   dbias [1 or B, heads, queries, keys] are f32 or bf16; L is f32 [B, heads, queries]; regions are i32 [R, queries], those of a
//   sample in row b mod R. Head dims up to 80; each is computed with the next multiple of 16, zeros behind.
// Accumulation: f32. bf16 runs on tensor cores (mma.sync m16n8k16), P and dS rounded to bf16 as operands; f32 runs on FMA units
//   without any rounding to a shorter type.
// Determinism: no atomics. A block owns its output tile and walks over the other axis in order. The gradients take two kernels,
//   one over tiles of keys (dK, dV) and one over tiles of queries (dQ): that is 7 products where one kernel needs 5; that one, for
//   bf16 without a bias and regions, is in attention_backward.cu. dbias: a block per tile adds over its share of the samples in
//   order; shares are then added in order.
// Geometry: bf16: 4 warps own 64 rows, 16 each, the other operand comes in tiles of 64 rows, two in flight (cp.async); the last tile
//   is worked on in steps of 16, and warps beyond the last row only help to load, so 392 rows cost as 400. Forward there is another
//   geometry, attention_tall: 4 warps own 128 rows, 32 each. f32: 2 warps, 32 rows, tiles of 32 rows, 4 x 4 scores per thread. Rows
//   in shared memory are padded by 16 bytes: eight rows start in eight different groups of banks, so neither ldmatrix nor 16-byte
//   reads conflict. At most 48 KiB of shared memory, so all architectures alike. Where addresses, strides or the head dim are not
//   multiples of 16 bytes, tiles are copied element by element.
// Bytes: q, k, v read and out written once, K and V again from L2 for each tile of queries. FLOPs: 4 N M dim per head forward,
//   14 N M dim backward (10 useful), 4 more for dbias.
#include "attention.cuh"

constexpr int TAIL = 16;  // columns per step in the last tile

/**
 * What turns products Q K^T into exponents of 2. Without a bias and regions that is one positive factor, which the multiply-add
 * before the exponential takes in; BIASED replaces the products by exponents first, and the factor is 1.
 */
template <bool BIASED>
struct Exponent {
    float factor;
    float scale;
    const void* bias;    // or null
    const int* regions;  // of the sample, or null; then there are as many keys as queries
    i64 offset;          // of the head's bias
    int queries;
    int keys;
    int bias_bf16;

    DEVICE int region(int token) const {
        return token < keys ? regions[token] : 0;
    }
};

template <bool BIASED>
DEVICE Exponent<BIASED> exponent_of(const AttentionArgs& args, i64 sample, int head) {
    Exponent<BIASED> exponent;
    exponent.scale = args.scale * LOG2E;
    exponent.factor = BIASED ? 1.0f : exponent.scale;
    exponent.bias = args.bias;
    exponent.regions = args.regions == nullptr ? nullptr : args.regions + sample % args.region_batch * args.keys;
    exponent.offset = ((args.shared_bias ? 0 : sample) * args.heads + head) * args.queries * args.keys;
    exponent.queries = args.queries;
    exponent.keys = args.keys;
    exponent.bias_bf16 = args.bias_bf16;
    return exponent;
}

// ----------------------------------------------------------------------------------------------------------- engines
//
// An engine multiplies tiles. A thread holds ROWS rows of the block's tile: of `scores` the columns col(j), of accumulators the
// dims dim(j). The first operand of `scores` is an Operand, taken once from a tile in shared memory; the second a tile.

/**
 * bf16 on tensor cores. A warp owns BLOCKS times 16 rows and reads what it needs of a tile once for all of them: with two, half the
 * bytes of keys and values come from shared memory per row.
 */
template <int HD, int BLOCKS = 1>
struct Mma {
    using T = bf16;
    static constexpr int THREADS = 128;
    static constexpr int TILE = 64;
    static constexpr int OWN = 64 * BLOCKS;  // rows of the block's own tile, of which two tiles of memory hold all
    static constexpr int STAGES = 2;
    static constexpr int WIDTH = HD;
    static constexpr int PITCH = HD + 8;
    static constexpr int ROWS = 2 * BLOCKS;
    static constexpr int DIMS = HD / 4;
    static constexpr int STEP = 32;          // columns per step in the backward pass: bounded by registers
    static constexpr int FORWARD_STEP = 64;
    static constexpr int SCRATCH = 4;        // not used
    static constexpr int PER_THREAD = 4;     // columns of a step of 16 that a thread holds

    struct Operand {
        u32 fragments[BLOCKS][HD / 16][4];
    };

    static DEVICE int row(int i) {
        return warp_index() * 16 * BLOCKS + lane_index() / 4 + 8 * i;
    }

    static DEVICE int col(int j) {
        return j / 2 * 8 + lane_index() % 4 * 2 + j % 2;
    }

    static DEVICE int dim(int j) {
        return col(j);
    }

    /** Whether this warp holds any of the first `rows` rows. */
    static DEVICE bool active(int rows) {
        return warp_index() * 16 * BLOCKS < rows;
    }

    /** Reduction over the threads that hold the same rows. */
    static DEVICE float row_max(float value) {
        return lanes_max<4>(value);
    }

    static DEVICE float row_sum(float value) {
        return lanes_sum<4>(value);
    }

    static DEVICE Operand operand(const bf16* tile) {
        Operand result;
        const bf16* from = tile + (warp_index() * 16 * BLOCKS + lane_index() % 16) * PITCH + lane_index() / 16 * 8;
#pragma unroll
        for (int m = 0; m < BLOCKS; m++) {
#pragma unroll
            for (int k = 0; k < HD / 16; k++) {
                ldmatrix_x4(result.fragments[m][k], from + m * 16 * PITCH + k * 16);
            }
        }
        return result;
    }

    /** s = a tile^T for COLS rows of the tile. */
    template <int COLS>
    static DEVICE void scores(float (&s)[ROWS][COLS / 4], const Operand& a, const bf16* tile) {
        const bf16* from = tile + (lane_index() / 16 * 8 + lane_index() % 8) * PITCH + lane_index() / 8 % 2 * 8;
#pragma unroll
        for (int j = 0; j < COLS / 16; j++) {
            float d[BLOCKS][2][4] = {};
#pragma unroll
            for (int k = 0; k < HD / 16; k++) {
                u32 b[4];
                ldmatrix_x4(b, from + j * 16 * PITCH + k * 16);
#pragma unroll
                for (int m = 0; m < BLOCKS; m++) {
                    mma_bf16_16x8x16(d[m][0], a.fragments[m][k], b);
                    mma_bf16_16x8x16(d[m][1], a.fragments[m][k], b + 2);
                }
            }
#pragma unroll
            for (int m = 0; m < BLOCKS; m++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    s[2 * m + i / 2][j * 4 + i % 2] = d[m][0][i];
                    s[2 * m + i / 2][j * 4 + 2 + i % 2] = d[m][1][i];
                }
            }
        }
    }

    /** acc += p tile for COLS rows of the tile; p as it came from scores. */
    template <int COLS>
    static DEVICE void accumulate(float (&acc)[ROWS][DIMS], const float (&p)[ROWS][COLS / 4], const bf16* tile, float*) {
        const bf16* from = tile + lane_index() % 16 * PITCH + lane_index() / 16 * 8;
#pragma unroll
        for (int j = 0; j < COLS / 16; j++) {
            u32 a[BLOCKS][4];
#pragma unroll
            for (int m = 0; m < BLOCKS; m++) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float* pair = &p[2 * m + i % 2][j * 4 + i / 2 * 2];
                    a[m][i] = pack_bf16(pair[0], pair[1]);
                }
            }
#pragma unroll
            for (int n = 0; n < HD / 16; n++) {
                u32 b[4];
                ldmatrix_x4_trans(b, from + j * 16 * PITCH + n * 16);
#pragma unroll
                for (int m = 0; m < BLOCKS; m++) {
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        float* top = &acc[2 * m][n * 4 + half * 2];
                        float* bottom = &acc[2 * m + 1][n * 4 + half * 2];
                        float d[4] = {top[0], top[1], bottom[0], bottom[1]};
                        mma_bf16_16x8x16(d, a[m], b + half * 2);
                        top[0] = d[0];
                        top[1] = d[1];
                        bottom[0] = d[2];
                        bottom[1] = d[3];
                    }
                }
            }
        }
    }
};

/** f32 on FMA units. */
template <int HD>
struct Fma {
    using T = float;
    static constexpr int THREADS = 64;
    static constexpr int TILE = 32;
    static constexpr int OWN = TILE;
    static constexpr int STAGES = 1;
    static constexpr int WIDTH = HD;
    static constexpr int PITCH = HD + 4;
    static constexpr int ROWS = 4;
    static constexpr int DIMS = HD / 8;
    static constexpr int STEP = 32;
    static constexpr int FORWARD_STEP = 32;
    static constexpr int P_PITCH = 40;
    static constexpr int SCRATCH = TILE * P_PITCH;
    static constexpr int PER_THREAD = 2;

    struct Operand {
        const float* tile;
    };

    static DEVICE int row(int i) {
        return static_cast<int>(threadIdx.x) / 8 + 8 * i;
    }

    static DEVICE int col(int j) {
        return lane_index() % 8 + 8 * j;
    }

    static DEVICE int dim(int j) {
        return j < HD / 32 * 4 ? j / 4 * 32 + lane_index() % 8 * 4 + j % 4 : HD - 16 + lane_index() % 8 * 2 + j % 2;
    }

    static DEVICE bool active(int) {
        return true;
    }

    static DEVICE float row_max(float value) {
        return lanes_max<8>(value);
    }

    static DEVICE float row_sum(float value) {
        return lanes_sum<8>(value);
    }

    static DEVICE Operand operand(const float* tile) {
        Operand result;
        result.tile = tile;
        return result;
    }

    template <int COLS>
    static DEVICE void scores(float (&s)[ROWS][COLS / 8], const Operand& a, const float* tile) {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
#pragma unroll
            for (int j = 0; j < COLS / 8; j++) {
                s[i][j] = 0.0f;
            }
        }
#pragma unroll 2
        for (int d = 0; d < HD; d += 4) {
            Pack<float> x[ROWS];
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                x[i] = load_pack(a.tile + row(i) * PITCH + d);
            }
#pragma unroll
            for (int j = 0; j < COLS / 8; j++) {
                const Pack<float> y = load_pack(tile + col(j) * PITCH + d);
#pragma unroll
                for (int i = 0; i < ROWS; i++) {
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        s[i][j] = fmaf(x[i].values[e], y.values[e], s[i][j]);
                    }
                }
            }
        }
    }

    /** Threads of a warp pass p to each other through their rows of the scratch. */
    template <int COLS>
    static DEVICE void accumulate(
            float (&acc)[ROWS][DIMS], const float (&p)[ROWS][COLS / 8], const float* tile, float* scratch) {
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
#pragma unroll
            for (int j = 0; j < COLS / 8; j++) {
                scratch[row(i) * P_PITCH + col(j)] = p[i][j];
            }
        }
        __syncwarp();
#pragma unroll 1
        for (int n = 0; n < COLS; n += 4) {
            Pack<float> x[ROWS];
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                x[i] = load_pack(scratch + row(i) * P_PITCH + n);
            }
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float* from = tile + (n + e) * PITCH;
                float y[DIMS];
#pragma unroll
                for (int d = 0; d < HD / 32 * 4; d += 4) {
                    const Pack<float> four = load_pack(from + dim(d));
#pragma unroll
                    for (int f = 0; f < 4; f++) {
                        y[d + f] = four.values[f];
                    }
                }
#pragma unroll
                for (int d = HD / 32 * 4; d < DIMS; d++) {
                    y[d] = from[dim(d)];
                }
#pragma unroll
                for (int i = 0; i < ROWS; i++) {
#pragma unroll
                    for (int d = 0; d < DIMS; d++) {
                        acc[i][d] = fmaf(x[i].values[e], y[d], acc[i][d]);
                    }
                }
            }
        }
        __syncwarp();
    }
};

// ------------------------------------------------------------------------------------------------------------- tiles

/** Elements of a tile in shared memory. A block has four: two stages of two, of which the second first holds the operands. */
template <class E>
constexpr int TILE_SIZE = E::TILE * E::PITCH;

/** Starts to copy rows [first, first + COPIED) of one head; zeros beyond `rows` and beyond the head dim. */
template <class E, int COPIED = E::TILE>
DEVICE void load_tile(
        typename E::T* tile, const void* tensor, i64 offset, i64 stride, int first, int rows, const AttentionArgs& args) {
    using T = typename E::T;
    constexpr int COUNT = Pack<T>::COUNT;
    constexpr int CHUNKS = E::WIDTH / COUNT;
    const T* head = static_cast<const T*>(tensor) + offset;
    if (!args.aligned) {
#pragma unroll 1
        for (int i = static_cast<int>(threadIdx.x); i < COPIED * E::WIDTH; i += E::THREADS) {
            const int row = i / E::WIDTH;
            const int col = i % E::WIDTH;
            const bool valid = first + row < rows && col < args.dim;
            tile[row * E::PITCH + col] = valid ? head[(first + row) * stride + col] : from_float<T>(0.0f);
        }
        return;
    }
    constexpr int ROWS = E::THREADS / CHUNKS;  // rows at a time, a thread staying in its column
    const int col = static_cast<int>(threadIdx.x) % CHUNKS * COUNT;
    const int start = static_cast<int>(threadIdx.x) / CHUNKS;
    const T* from = head + (first + start) * stride + col;
#pragma unroll
    for (int i = 0; i < COPIED; i += ROWS) {
        const int row = i + start;
        if (start < ROWS && row < COPIED) {
            const bool valid = first + row < rows && col < args.dim;
            cp_async16(tile + row * E::PITCH + col, valid ? from : head, valid);
        }
        from += ROWS * stride;
    }
}

/** Adds a head's bias to exponents; rows and columns as for apply_bias. */
template <class E, bool TRANSPOSED, class B, int COUNT>
DEVICE void add_bias(float (&s)[E::ROWS][COUNT], int row, int col, const B* bias, int queries, int keys) {
    const int rows = TRANSPOSED ? keys : queries;
    const int cols = TRANSPOSED ? queries : keys;
#pragma unroll
    for (int i = 0; i < E::ROWS; i++) {
        const int r = row + E::row(i);
        const B* from = bias + (TRANSPOSED ? r : static_cast<i64>(r) * keys);
#pragma unroll
        for (int j = 0; j < COUNT; j++) {
            const int c = col + E::col(j);
            if (r < rows && c < cols) {
                s[i][j] = fmaf(to_float(from[TRANSPOSED ? static_cast<i64>(c) * keys : c]), LOG2E, s[i][j]);
            }
        }
    }
}

/** Replaces products by exponents where BIASED; TRANSPOSED: rows are keys, columns queries. */
template <class E, bool TRANSPOSED, bool BIASED, int COUNT>
DEVICE void apply_bias(float (&s)[E::ROWS][COUNT], int row, int col, const Exponent<BIASED>& exponent) {
    if constexpr (BIASED) {
#pragma unroll
        for (int i = 0; i < E::ROWS; i++) {
#pragma unroll
            for (int j = 0; j < COUNT; j++) {
                s[i][j] *= exponent.scale;
            }
        }
        if (exponent.bias != nullptr && exponent.bias_bf16) {
            const bf16* bias = static_cast<const bf16*>(exponent.bias) + exponent.offset;
            add_bias<E, TRANSPOSED>(s, row, col, bias, exponent.queries, exponent.keys);
        } else if (exponent.bias != nullptr) {
            const float* bias = static_cast<const float*>(exponent.bias) + exponent.offset;
            add_bias<E, TRANSPOSED>(s, row, col, bias, exponent.queries, exponent.keys);
        }
        if (exponent.regions != nullptr) {
            int regions[E::ROWS];
#pragma unroll
            for (int i = 0; i < E::ROWS; i++) {
                regions[i] = exponent.region(row + E::row(i));
            }
#pragma unroll
            for (int j = 0; j < COUNT; j++) {
                const int region = exponent.region(col + E::col(j));
#pragma unroll
                for (int i = 0; i < E::ROWS; i++) {
                    s[i][j] += regions[i] == region ? 0.0f : SEPARATION;
                }
            }
        }
    }
}

/** Writes factor * acc, rounded, to a tile in shared memory. */
template <class E>
DEVICE void put_tile(typename E::T* tile, const float (&acc)[E::ROWS][E::DIMS], const float (&factor)[E::ROWS]) {
    using T = typename E::T;
#pragma unroll
    for (int i = 0; i < E::ROWS; i++) {
#pragma unroll
        for (int d = 0; d < E::DIMS; d++) {
            tile[E::row(i) * E::PITCH + E::dim(d)] = from_float<T>(acc[i][d] * factor[i]);
        }
    }
}

/** Writes a tile in shared memory to rows [first, first + COPIED) of one head, none beyond `rows`. */
template <class E, int COPIED = E::TILE>
DEVICE void store_tile(
        const typename E::T* tile, void* tensor, i64 offset, i64 stride, int first, int rows, const AttentionArgs& args) {
    using T = typename E::T;
    constexpr int COUNT = Pack<T>::COUNT;
    constexpr int CHUNKS = E::WIDTH / COUNT;
    T* head = static_cast<T*>(tensor) + offset;
    if (!args.aligned) {
#pragma unroll 1
        for (int i = static_cast<int>(threadIdx.x); i < COPIED * E::WIDTH; i += E::THREADS) {
            const int row = i / E::WIDTH;
            const int col = i % E::WIDTH;
            if (first + row < rows && col < args.dim) {
                head[(first + row) * stride + col] = tile[row * E::PITCH + col];
            }
        }
        return;
    }
    for (int i = static_cast<int>(threadIdx.x); i < COPIED * CHUNKS; i += E::THREADS) {
        const int row = i / CHUNKS;
        const int col = i % CHUNKS * COUNT;
        if (first + row < rows && col < args.dim) {
            store_pack(head + (first + row) * stride + col, load_pack(tile + row * E::PITCH + col));
        }
    }
}

// ----------------------------------------------------------------------------------------------------------- forward

/** Running state of the online softmax of a thread's rows. `max` is of s before the multiplication by `factor`. */
template <class E>
struct Forward {
    float acc[E::ROWS][E::DIMS];
    float max[E::ROWS];
    float sum[E::ROWS];  // of this thread's columns
};

template <class E, int COLS, bool LAST, bool BIASED>
DEVICE void forward_step(
        Forward<E>& state,
        const typename E::Operand& q,
        const typename E::T* keys,
        const typename E::T* values,
        float* scratch,
        int query,
        int key,
        const AttentionArgs& args,
        const Exponent<BIASED>& exponent) {
    constexpr int COUNT = COLS / 16 * E::PER_THREAD;
    float s[E::ROWS][COUNT];
    E::template scores<COLS>(s, q, keys);
    apply_bias<E, false>(s, query, key, exponent);
#pragma unroll
    for (int i = 0; i < E::ROWS; i++) {
        float max = -infinity();
#pragma unroll
        for (int j = 0; j < COUNT; j++) {
            if (LAST && key + E::col(j) >= args.keys) {
                s[i][j] = -infinity();
            }
            max = fmaxf(max, s[i][j]);
        }
        max = fmaxf(state.max[i], E::row_max(max));
        const float base = max == -infinity() ? 0.0f : max * exponent.factor;  // a row of minus infinities stays 0
        const float shrink = exp2_fast(fmaf(state.max[i], exponent.factor, -base));
        state.max[i] = max;
        state.sum[i] *= shrink;
#pragma unroll
        for (int j = 0; j < COUNT; j++) {
            s[i][j] = exp2_fast(fmaf(s[i][j], exponent.factor, -base));
            state.sum[i] += s[i][j];
        }
#pragma unroll
        for (int d = 0; d < E::DIMS; d++) {
            state.acc[i][d] *= shrink;
        }
    }
    E::template accumulate<COLS>(state.acc, s, values, scratch);
}

template <class E, bool BIASED>
DEVICE void attention_forward(const AttentionArgs& args) {
    using T = typename E::T;
    static_assert(E::OWN <= 2 * E::TILE);
    SHARED(T, tiles, 4 * TILE_SIZE<E>);
    SHARED(float, scratch, E::SCRATCH);
    const Place place = place_of_block(args, tiles_of(args.queries, E::OWN));
    const int first = place.tile * E::OWN;
    const i64 k = offset_of(args.ks, place.sample, place.head);
    const i64 v = offset_of(args.vs, place.sample, place.head);
    const i64 o = offset_of(args.os, place.sample, place.head);
    const Exponent<BIASED> exponent = exponent_of<BIASED>(args, place.sample, place.head);
    load_tile<E, E::OWN>(
            tiles + 2 * TILE_SIZE<E>,
            args.q,
            offset_of(args.qs, place.sample, place.head),
            args.qs.row,
            first,
            args.queries,
            args);
    const int count = tiles_of(args.keys, E::TILE);
    if (E::STAGES == 2 && count > 0) {
        load_tile<E>(tiles, args.k, k, args.ks.row, 0, args.keys, args);
        load_tile<E>(tiles + TILE_SIZE<E>, args.v, v, args.vs.row, 0, args.keys, args);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    const typename E::Operand q = E::operand(tiles + 2 * TILE_SIZE<E>);
    Forward<E> state;
#pragma unroll
    for (int i = 0; i < E::ROWS; i++) {
        state.max[i] = -infinity();
        state.sum[i] = 0.0f;
#pragma unroll
        for (int d = 0; d < E::DIMS; d++) {
            state.acc[i][d] = 0.0f;
        }
    }
    const bool active = E::active(args.queries - first);
    for (int t = 0; t < count; t++) {
        cp_async_wait<0>();
        __syncthreads();  // two stages: tile t has come, tile t - 1 is done with; one stage: tile t - 1 is done with
        const int next = E::STAGES == 2 ? t + 1 : t;
        T* to = tiles + next % E::STAGES * 2 * TILE_SIZE<E>;
        if (next < count) {
            load_tile<E>(to, args.k, k, args.ks.row, next * E::TILE, args.keys, args);
            load_tile<E>(to + TILE_SIZE<E>, args.v, v, args.vs.row, next * E::TILE, args.keys, args);
            cp_async_commit();
        }
        if (E::STAGES == 1) {
            cp_async_wait<0>();
            __syncthreads();
        }
        const T* keys = tiles + t % E::STAGES * 2 * TILE_SIZE<E>;
        const T* values = keys + TILE_SIZE<E>;
        const int key = t * E::TILE;
        if (!active) {
            continue;
        }
        if (key + E::TILE <= args.keys) {
#pragma unroll 1
            for (int c = 0; c < E::TILE; c += E::FORWARD_STEP) {
                forward_step<E, E::FORWARD_STEP, false>(
                        state, q, keys + c * E::PITCH, values + c * E::PITCH, scratch, first, key + c, args, exponent);
            }
        } else {
#pragma unroll 1
            for (int c = 0; key + c < args.keys; c += TAIL) {
                forward_step<E, TAIL, true>(
                        state, q, keys + c * E::PITCH, values + c * E::PITCH, scratch, first, key + c, args, exponent);
            }
        }
    }
    float factor[E::ROWS];
#pragma unroll
    for (int i = 0; i < E::ROWS; i++) {
        const float sum = E::row_sum(state.sum[i]);
        const int query = first + E::row(i);
        factor[i] = sum > 0.0f ? 1.0f / sum : sum;  // keeps a NaN
        if (args.log_sum_exp != nullptr && E::col(0) == 0 && query < args.queries) {
            const i64 head = place.sample * args.heads + place.head;
            args.log_sum_exp[head * args.queries + query] =
                    sum == 0.0f ? -infinity() : fmaf(state.max[i] * exponent.factor, LN2, logf(sum));
        }
    }
    __syncthreads();
    put_tile<E>(tiles, state.acc, factor);
    __syncthreads();
    store_tile<E, E::OWN>(tiles, args.out, o, args.os.row, first, args.queries, args);
}

// ---------------------------------------------------------------------------------------------------------- backward

/** stats: L / ln 2 and D of each query; eight threads per query. */
template <class T>
DEVICE void attention_stats(const AttentionArgs& args) {
    constexpr int COUNT = Pack<T>::COUNT;
    const i64 index = global_index() / 8;
    const int part = lane_index() % 8;
    const i64 head = index / args.padded;
    const int query = static_cast<int>(index % args.padded);
    const bool exists = head < args.batch * args.heads;
    const bool inside = exists && query < args.queries;
    float sum = 0.0f;
    if (inside) {
        const i64 row = offset_of(args.os, head / args.heads, static_cast<int>(head % args.heads)) + query * args.os.row;
        const T* out = static_cast<const T*>(args.out) + row;
        const T* dout = static_cast<const T*>(args.dout) + row;
        if (args.aligned) {
            for (int d = part * COUNT; d < args.dim; d += 8 * COUNT) {
                const Pack<T> a = load_pack(out + d);
                const Pack<T> b = load_pack(dout + d);
#pragma unroll
                for (int e = 0; e < COUNT; e++) {
                    sum = fmaf(to_float(a[e]), to_float(b[e]), sum);
                }
            }
        } else {
            for (int d = part; d < args.dim; d += 8) {
                sum = fmaf(to_float(out[d]), to_float(dout[d]), sum);
            }
        }
    }
    sum = lanes_sum<8>(sum);
    if (exists && part == 0) {
        float log = infinity();  // makes P = 0
        if (inside) {
            const float value = args.log_sum_exp[head * args.queries + query];
            log = value == -infinity() ? log : value * LOG2E;
        }
        args.stats[index * 2] = log;
        args.stats[index * 2 + 1] = sum;
    }
}

/** dK and dV of a tile of keys: the block's rows are keys, the columns of a step queries. */
template <class E>
struct Keys {
    typename E::Operand k;
    typename E::Operand v;
    float dk[E::ROWS][E::DIMS];
    float dv[E::ROWS][E::DIMS];
};

template <class E, int COLS, bool BIASED>
DEVICE void keys_step(
        Keys<E>& state,
        const typename E::T* queries,
        const typename E::T* douts,
        const float* stats,
        float* scratch,
        int query,
        int key,
        const Exponent<BIASED>& exponent) {
    constexpr int COUNT = COLS / 16 * E::PER_THREAD;
    float p[E::ROWS][COUNT];
    E::template scores<COLS>(p, state.k, queries);
    apply_bias<E, true>(p, key, query, exponent);
#pragma unroll
    for (int j = 0; j < COUNT; j++) {
        const float log = stats[2 * E::col(j)];
#pragma unroll
        for (int i = 0; i < E::ROWS; i++) {
            p[i][j] = exp2_fast(fmaf(p[i][j], exponent.factor, -log));
        }
    }
    E::template accumulate<COLS>(state.dv, p, douts, scratch);
    float ds[E::ROWS][COUNT];
    E::template scores<COLS>(ds, state.v, douts);
#pragma unroll
    for (int j = 0; j < COUNT; j++) {
        const float mean = stats[2 * E::col(j) + 1];
#pragma unroll
        for (int i = 0; i < E::ROWS; i++) {
            ds[i][j] = p[i][j] * (ds[i][j] - mean);
        }
    }
    E::template accumulate<COLS>(state.dk, ds, queries, scratch);
}

/** Starts to copy the stats of a tile of queries; the padding makes every tile whole. */
template <class E>
DEVICE void load_stats(float* to, const float* stats, int first) {
    const int i = static_cast<int>(threadIdx.x) * 4;
    if (i < 2 * E::TILE) {
        cp_async16(to + i, stats + 2 * first + i, true);
    }
}

template <class E, bool BIASED>
DEVICE void attention_keys(const AttentionArgs& args) {
    using T = typename E::T;
    SHARED(T, tiles, 4 * TILE_SIZE<E>);
    SHARED(float, scratch, E::SCRATCH);
    SHARED(float, stats, E::STAGES * 2 * E::TILE);
    const Place place = place_of_block(args, tiles_of(args.keys, E::TILE));
    const int first = place.tile * E::TILE;
    const i64 q = offset_of(args.qs, place.sample, place.head);
    const i64 k = offset_of(args.ks, place.sample, place.head);
    const i64 v = offset_of(args.vs, place.sample, place.head);
    const i64 o = offset_of(args.os, place.sample, place.head);
    const float* all_stats = args.stats + (place.sample * args.heads + place.head) * args.padded * 2;
    const Exponent<BIASED> exponent = exponent_of<BIASED>(args, place.sample, place.head);
    load_tile<E>(tiles + 2 * TILE_SIZE<E>, args.k, k, args.ks.row, first, args.keys, args);
    load_tile<E>(tiles + 3 * TILE_SIZE<E>, args.v, v, args.vs.row, first, args.keys, args);
    const int count = tiles_of(args.queries, E::TILE);
    if (E::STAGES == 2 && count > 0) {
        load_tile<E>(tiles, args.q, q, args.qs.row, 0, args.queries, args);
        load_tile<E>(tiles + TILE_SIZE<E>, args.dout, o, args.os.row, 0, args.queries, args);
        load_stats<E>(stats, all_stats, 0);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    Keys<E> state;
    state.k = E::operand(tiles + 2 * TILE_SIZE<E>);
    state.v = E::operand(tiles + 3 * TILE_SIZE<E>);
#pragma unroll
    for (int i = 0; i < E::ROWS; i++) {
#pragma unroll
        for (int d = 0; d < E::DIMS; d++) {
            state.dk[i][d] = 0.0f;
            state.dv[i][d] = 0.0f;
        }
    }
    const bool active = E::active(args.keys - first);
    for (int t = 0; t < count; t++) {
        cp_async_wait<0>();
        __syncthreads();
        const int next = E::STAGES == 2 ? t + 1 : t;
        T* to = tiles + next % E::STAGES * 2 * TILE_SIZE<E>;
        if (next < count) {
            load_tile<E>(to, args.q, q, args.qs.row, next * E::TILE, args.queries, args);
            load_tile<E>(to + TILE_SIZE<E>, args.dout, o, args.os.row, next * E::TILE, args.queries, args);
            load_stats<E>(stats + next % E::STAGES * 2 * E::TILE, all_stats, next * E::TILE);
            cp_async_commit();
        }
        if (E::STAGES == 1) {
            cp_async_wait<0>();
            __syncthreads();
        }
        const T* queries = tiles + t % E::STAGES * 2 * TILE_SIZE<E>;
        const T* douts = queries + TILE_SIZE<E>;
        const float* now = stats + t % E::STAGES * 2 * E::TILE;
        const int query = t * E::TILE;
        if (!active) {
            continue;
        }
        // The padding of stats makes P vanish beyond the last query.
        if (query + E::TILE <= args.queries) {
#pragma unroll 1
            for (int c = 0; c < E::TILE; c += E::STEP) {
                keys_step<E, E::STEP>(
                        state, queries + c * E::PITCH, douts + c * E::PITCH, now + 2 * c, scratch, query + c, first, exponent);
            }
        } else {
#pragma unroll 1
            for (int c = 0; query + c < args.queries; c += TAIL) {
                keys_step<E, TAIL>(
                        state, queries + c * E::PITCH, douts + c * E::PITCH, now + 2 * c, scratch, query + c, first, exponent);
            }
        }
    }
    float scale[E::ROWS];
    float one[E::ROWS];
#pragma unroll
    for (int i = 0; i < E::ROWS; i++) {
        scale[i] = args.scale;
        one[i] = 1.0f;
    }
    __syncthreads();
    put_tile<E>(tiles, state.dk, scale);
    put_tile<E>(tiles + TILE_SIZE<E>, state.dv, one);
    __syncthreads();
    store_tile<E>(tiles, args.dk, k, args.ks.row, first, args.keys, args);
    store_tile<E>(tiles + TILE_SIZE<E>, args.dv, v, args.vs.row, first, args.keys, args);
}

/** L / ln 2 and D of a thread's queries. */
template <class E>
struct RowStats {
    float log[E::ROWS];
    float mean[E::ROWS];
};

template <class E>
DEVICE RowStats<E> row_stats(const AttentionArgs& args, i64 sample, int head, int first) {
    const float* stats = args.stats + ((sample * args.heads + head) * args.padded + first) * 2;
    RowStats<E> result;
#pragma unroll
    for (int i = 0; i < E::ROWS; i++) {
        result.log[i] = stats[2 * E::row(i)];
        result.mean[i] = stats[2 * E::row(i) + 1];
    }
    return result;
}

/** dS of a thread's queries and COLS keys, 0 beyond the last key. */
template <class E, int COLS, bool LAST, bool BIASED>
DEVICE void score_gradients(
        float (&ds)[E::ROWS][COLS / 16 * E::PER_THREAD],
        const typename E::Operand& q,
        const typename E::Operand& dout,
        const RowStats<E>& stats,
        const typename E::T* keys,
        const typename E::T* values,
        int query,
        int key,
        const AttentionArgs& args,
        const Exponent<BIASED>& exponent) {
    constexpr int COUNT = COLS / 16 * E::PER_THREAD;
    float p[E::ROWS][COUNT];
    E::template scores<COLS>(p, q, keys);
    apply_bias<E, false>(p, query, key, exponent);
    E::template scores<COLS>(ds, dout, values);
#pragma unroll
    for (int i = 0; i < E::ROWS; i++) {
#pragma unroll
        for (int j = 0; j < COUNT; j++) {
            ds[i][j] = exp2_fast(fmaf(p[i][j], exponent.factor, -stats.log[i])) * (ds[i][j] - stats.mean[i]);
            if (LAST && key + E::col(j) >= args.keys) {
                ds[i][j] = 0.0f;
            }
        }
    }
}

template <class E, int COLS, bool LAST, bool BIASED>
DEVICE void queries_step(
        float (&dq)[E::ROWS][E::DIMS],
        const typename E::Operand& q,
        const typename E::Operand& dout,
        const RowStats<E>& stats,
        const typename E::T* keys,
        const typename E::T* values,
        float* scratch,
        int query,
        int key,
        const AttentionArgs& args,
        const Exponent<BIASED>& exponent) {
    float ds[E::ROWS][COLS / 16 * E::PER_THREAD];
    score_gradients<E, COLS, LAST>(ds, q, dout, stats, keys, values, query, key, args, exponent);
    E::template accumulate<COLS>(dq, ds, keys, scratch);
}

/** dQ of a tile of queries. */
template <class E, bool BIASED>
DEVICE void attention_queries(const AttentionArgs& args) {
    using T = typename E::T;
    SHARED(T, tiles, 4 * TILE_SIZE<E>);
    SHARED(float, scratch, E::SCRATCH);
    const Place place = place_of_block(args, tiles_of(args.queries, E::TILE));
    const int first = place.tile * E::TILE;
    const i64 q = offset_of(args.qs, place.sample, place.head);
    const i64 k = offset_of(args.ks, place.sample, place.head);
    const i64 v = offset_of(args.vs, place.sample, place.head);
    const i64 o = offset_of(args.os, place.sample, place.head);
    const Exponent<BIASED> exponent = exponent_of<BIASED>(args, place.sample, place.head);
    load_tile<E>(tiles + 2 * TILE_SIZE<E>, args.q, q, args.qs.row, first, args.queries, args);
    load_tile<E>(tiles + 3 * TILE_SIZE<E>, args.dout, o, args.os.row, first, args.queries, args);
    const int count = tiles_of(args.keys, E::TILE);
    if (E::STAGES == 2 && count > 0) {
        load_tile<E>(tiles, args.k, k, args.ks.row, 0, args.keys, args);
        load_tile<E>(tiles + TILE_SIZE<E>, args.v, v, args.vs.row, 0, args.keys, args);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    const typename E::Operand query_operand = E::operand(tiles + 2 * TILE_SIZE<E>);
    const typename E::Operand dout_operand = E::operand(tiles + 3 * TILE_SIZE<E>);
    const RowStats<E> stats = row_stats<E>(args, place.sample, place.head, first);
    float dq[E::ROWS][E::DIMS] = {};
    const bool active = E::active(args.queries - first);
    for (int t = 0; t < count; t++) {
        cp_async_wait<0>();
        __syncthreads();
        const int next = E::STAGES == 2 ? t + 1 : t;
        T* to = tiles + next % E::STAGES * 2 * TILE_SIZE<E>;
        if (next < count) {
            load_tile<E>(to, args.k, k, args.ks.row, next * E::TILE, args.keys, args);
            load_tile<E>(to + TILE_SIZE<E>, args.v, v, args.vs.row, next * E::TILE, args.keys, args);
            cp_async_commit();
        }
        if (E::STAGES == 1) {
            cp_async_wait<0>();
            __syncthreads();
        }
        const T* keys = tiles + t % E::STAGES * 2 * TILE_SIZE<E>;
        const T* values = keys + TILE_SIZE<E>;
        const int key = t * E::TILE;
        if (!active) {
            continue;
        }
        if (key + E::TILE <= args.keys) {
#pragma unroll 1
            for (int c = 0; c < E::TILE; c += E::STEP) {
                queries_step<E, E::STEP, false>(
                        dq,
                        query_operand,
                        dout_operand,
                        stats,
                        keys + c * E::PITCH,
                        values + c * E::PITCH,
                        scratch,
                        first,
                        key + c,
                        args,
                        exponent);
            }
        } else {
#pragma unroll 1
            for (int c = 0; key + c < args.keys; c += TAIL) {
                queries_step<E, TAIL, true>(
                        dq,
                        query_operand,
                        dout_operand,
                        stats,
                        keys + c * E::PITCH,
                        values + c * E::PITCH,
                        scratch,
                        first,
                        key + c,
                        args,
                        exponent);
            }
        }
    }
    float scale[E::ROWS];
#pragma unroll
    for (int i = 0; i < E::ROWS; i++) {
        scale[i] = args.scale;
    }
    __syncthreads();
    put_tile<E>(tiles, dq, scale);
    __syncthreads();
    store_tile<E>(tiles, args.dq, q, args.qs.row, first, args.queries, args);
}

/** dbias of a tile of queries and keys, summed over the block's share of the samples. */
template <class E>
DEVICE void attention_bias(const AttentionArgs& args) {
    using T = typename E::T;
    constexpr int STEPS = E::TILE / E::STEP;
    constexpr int COUNT = E::STEP / 16 * E::PER_THREAD;
    SHARED(T, tiles, 4 * TILE_SIZE<E>);
    const int key_tiles = tiles_of(args.keys, E::TILE);
    const Place place = place_of_block(args, tiles_of(args.queries, E::TILE) * key_tiles);
    const int query = place.tile / key_tiles * E::TILE;
    const int key = place.tile % key_tiles * E::TILE;
    const i64 split = place.sample;
    float sum[STEPS][E::ROWS][COUNT] = {};
    for (i64 sample = split; sample < args.batch; sample += args.splits) {
        const Exponent<true> exponent = exponent_of<true>(args, sample, place.head);
        __syncthreads();
        load_tile<E>(tiles, args.k, offset_of(args.ks, sample, place.head), args.ks.row, key, args.keys, args);
        load_tile<E>(
                tiles + TILE_SIZE<E>, args.v, offset_of(args.vs, sample, place.head), args.vs.row, key, args.keys, args);
        load_tile<E>(
                tiles + 2 * TILE_SIZE<E>,
                args.q,
                offset_of(args.qs, sample, place.head),
                args.qs.row,
                query,
                args.queries,
                args);
        load_tile<E>(
                tiles + 3 * TILE_SIZE<E>,
                args.dout,
                offset_of(args.os, sample, place.head),
                args.os.row,
                query,
                args.queries,
                args);
        cp_async_commit();
        cp_async_wait<0>();
        __syncthreads();
        const typename E::Operand q = E::operand(tiles + 2 * TILE_SIZE<E>);
        const typename E::Operand dout = E::operand(tiles + 3 * TILE_SIZE<E>);
        const RowStats<E> stats = row_stats<E>(args, sample, place.head, query);
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            const int c = step * E::STEP;
            float ds[E::ROWS][COUNT];
            score_gradients<E, E::STEP, true>(
                    ds,
                    q,
                    dout,
                    stats,
                    tiles + c * E::PITCH,
                    tiles + TILE_SIZE<E> + c * E::PITCH,
                    query,
                    key + c,
                    args,
                    exponent);
#pragma unroll
            for (int i = 0; i < E::ROWS; i++) {
#pragma unroll
                for (int j = 0; j < COUNT; j++) {
                    sum[step][i][j] += ds[i][j];
                }
            }
        }
    }
#pragma unroll
    for (int step = 0; step < STEPS; step++) {
#pragma unroll
        for (int i = 0; i < E::ROWS; i++) {
#pragma unroll
            for (int j = 0; j < COUNT; j++) {
                const int row = query + E::row(i);
                const int col = key + step * E::STEP + E::col(j);
                if (row < args.queries && col < args.keys) {
                    const i64 at = ((split * args.heads + place.head) * args.queries + row) * args.keys + col;
                    if (args.dbias_bf16) {
                        static_cast<bf16*>(args.dbias)[at] = from_float<bf16>(sum[step][i][j]);
                    } else {
                        static_cast<float*>(args.dbias)[at] = sum[step][i][j];
                    }
                }
            }
        }
    }
}

struct BiasTotalArgs {
    const float* partials;  // [splits, count]
    void* dbias;
    i64 count;
    int splits;
    int dbias_bf16;
};

KERNEL(256, attention_bias_total, BiasTotalArgs) {
    for (i64 i = global_index(); i < args.count; i += global_count()) {
        float sum = 0.0f;
        for (int split = 0; split < args.splits; split++) {
            sum += args.partials[split * args.count + i];
        }
        if (args.dbias_bf16) {
            static_cast<bf16*>(args.dbias)[i] = from_float<bf16>(sum);
        } else {
            static_cast<float*>(args.dbias)[i] = sum;
        }
    }
}

KERNEL(256, attention_stats_f32, AttentionArgs) {
    attention_stats<float>(args);
}

KERNEL(256, attention_stats_bf16, AttentionArgs) {
    attention_stats<bf16>(args);
}

#define ATTENTION(LAUNCH, Engine, name, BIASED)          \
    LAUNCH(attention##name, AttentionArgs) {             \
        attention_forward<Engine, BIASED>(args);         \
    }                                                    \
    LAUNCH(attention_keys##name, AttentionArgs) {        \
        attention_keys<Engine, BIASED>(args);            \
    }                                                    \
    LAUNCH(attention_queries##name, AttentionArgs) {     \
        attention_queries<Engine, BIASED>(args);         \
    }

// Fewer blocks per multiprocessor asked for than fit: else the compiler spills a few registers to fit one more.
#define MMA_KERNEL(name, Args) KERNEL(128, name, Args)
#define MMA_BIASED(name, Args) KERNEL_BLOCKS(128, 2, name, Args)
#define NARROW_KERNEL(name, Args) KERNEL(128, name, Args)
#define NARROW_BIASED(name, Args) KERNEL_BLOCKS(128, 3, name, Args)
#define FMA_KERNEL(name, Args) KERNEL_BLOCKS(64, 4, name, Args)
#define FMA_BIASED(name, Args) KERNEL_BLOCKS(64, 4, name, Args)

/** The forward pass by warps of 32 rows each; more dims than 64 would not fit into registers. */
#define TALL(dim)                                                            \
    KERNEL_BLOCKS(128, 2, attention_tall_##dim##_bf16, AttentionArgs) {      \
        attention_forward<Mma<dim, 2>, false>(args);                         \
    }

#define HEAD_DIM(ENGINE, Engine, type, dim)                                       \
    ATTENTION(ENGINE##_KERNEL, Engine<dim>, _##dim##_##type, false)               \
    ATTENTION(ENGINE##_BIASED, Engine<dim>, _biased_##dim##_##type, true)         \
    ENGINE##_BIASED(attention_bias_##dim##_##type, AttentionArgs) {               \
        attention_bias<Engine<dim>>(args);                                        \
    }

HEAD_DIM(NARROW, Mma, bf16, 16)
HEAD_DIM(NARROW, Mma, bf16, 32)
HEAD_DIM(MMA, Mma, bf16, 48)
HEAD_DIM(MMA, Mma, bf16, 64)
HEAD_DIM(MMA, Mma, bf16, 80)
HEAD_DIM(FMA, Fma, f32, 32)
HEAD_DIM(FMA, Fma, f32, 64)
HEAD_DIM(FMA, Fma, f32, 80)
TALL(32)
TALL(48)
TALL(64)
