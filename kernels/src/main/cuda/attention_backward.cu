// The gradients of attention in one kernel of five products, for bf16 without a bias and regions; formulas and layouts: attention.cu.
//
// A block owns a tile of keys and walks over the queries in tiles of 64, of which the next is copied meanwhile (cp.async). Scores
// come transposed, a warp's keys as rows, so that P^T and dS^T are the first operands of dV += P^T dO and dK += dS^T Q as they are;
// dS^T also goes through shared memory for the block's share of dQ = dS K.
// Order: the shares of the tiles of keys are added to f32 sums in the order of these tiles, so the result is the same bit for bit. A
// word for each adding warp and tile of queries says whose turn it is; the first block writes, the last adds and writes dQ itself,
// so sums are neither cleared nor read again, and a head of one tile needs none. Blocks take numbers as they start and wait only for
// lower numbers: who is waited for runs already, whatever the order in which blocks start. Heads come in groups, all first tiles of
// a group, then all second ones: the blocks of a head start apart, yet soon enough to find its queries in the cache.
// Variants: Fused on mma.sync for every GPU, 16 keys a warp (operands K and V stay in registers) or 32 (each byte from shared memory
// serves twice as many products); Warpgroups on Hopper's wgmma, 64 keys a warpgroup.
// Bytes from L2 per tile of 64 queries and head dim 64: 16 KiB of Q and dO, 32 KiB of sums; so larger tiles of keys need less.
#include "attention.cuh"
#include "wgmma.cuh"

constexpr int QUERIES = 64;  // of a tile
constexpr int SMALL = 16;    // queries per step in the last tile
constexpr int TURNS = 8;     // words of a tile of queries, one for each warp that adds to it

// ------------------------------------------------------------------------------------------------------------- stats

/**
 * What a tile of queries needs beside q and dout, in `stats` [batch, heads, padded / 64, 2, 64]: L / ln 2 (infinite where there is
 * no query, so that P = 0), and D = rowsum(dO O). Clears the count of blocks and the turns. Eight threads per query.
 */
KERNEL(256, attention_backward_stats_bf16, AttentionArgs) {
    constexpr int COUNT = Pack<bf16>::COUNT;
    const i64 index = global_index() / 8;
    const int part = lane_index() % 8;
    const i64 head = divide(index, args.padded);
    const int query = static_cast<int>(index - head * args.padded);
    const bool exists = head < args.batch * args.heads;
    const bool inside = exists && query < args.queries;
    if (exists && part == 1 && index % TURNS == 0) {
        args.turns[1 + index / TURNS] = 0;
        if (index == 0) {
            args.turns[0] = 0;
        }
    }
    float sum = 0.0f;
    if (inside) {
        const i64 sample = divide(head, args.heads);
        const i64 row = offset_of(args.os, sample, static_cast<int>(head - sample * args.heads)) + query * args.os.row;
        const bf16* out = static_cast<const bf16*>(args.out) + row;
        const bf16* dout = static_cast<const bf16*>(args.dout) + row;
        if (args.aligned) {
            for (int d = part * COUNT; d < args.dim; d += 8 * COUNT) {
                const Pack<bf16> a = load_pack(out + d);
                const Pack<bf16> b = load_pack(dout + d);
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
    for (int offset = 4; offset > 0; offset /= 2) {
        sum += __shfl_xor_sync(ALL_LANES, sum, offset);
    }
    if (exists && part == 0) {
        float log = infinity();
        if (inside) {
            const float value = args.log_sum_exp[head * args.queries + query];
            log = value == -infinity() ? log : value * LOG2E;
        }
        float* tile = args.stats + index / QUERIES * 2 * QUERIES + index % QUERIES;
        tile[0] = log;
        tile[QUERIES] = sum;
    }
}

// ------------------------------------------------------------------------------------------------------------- tiles

/** Where the bf16 at (row, col) lies in a tile of rows of WIDTH columns, padded by 16 bytes: eight rows start in different banks. */
template <int WIDTH>
struct Padded {
    static constexpr int PITCH = WIDTH + 8;

    static DEVICE int at(int row, int col) {
        return row * PITCH + col;
    }
};

/** The same for rows of 64 columns, 128-byte swizzled. */
struct Swizzled {
    static constexpr int PITCH = 64;

    static DEVICE int at(int row, int col) {
        return swizzled(row * 128 + col * 2) / 2;
    }
};

/** Copies tiles of ROWS rows by all THREADS threads of a block; a tile's columns beyond the head dim are zeros. */
template <class Layout, int THREADS, int ROWS, int HD>
struct Tile {
    static constexpr int COUNT = Pack<bf16>::COUNT;
    static constexpr int CHUNKS = HD / COUNT;
    static constexpr int PASS = THREADS / CHUNKS;  // rows at a time, a thread staying in its column

    /** Starts to copy rows [first, first + ROWS) of one head; zeros beyond `rows`. */
    static DEVICE void load(
            bf16* tile, const void* tensor, i64 offset, i64 stride, int first, int rows, const AttentionArgs& args) {
        const bf16* head = static_cast<const bf16*>(tensor) + offset;
        if (!args.aligned) {
#pragma unroll 1
            for (int i = static_cast<int>(threadIdx.x); i < ROWS * HD; i += THREADS) {
                const int row = i / HD;
                const int col = i % HD;
                const bool valid = first + row < rows && col < args.dim;
                tile[Layout::at(row, col)] = valid ? head[(first + row) * stride + col] : from_float<bf16>(0.0f);
            }
            return;
        }
        const int col = static_cast<int>(threadIdx.x) % CHUNKS * COUNT;
        const int start = static_cast<int>(threadIdx.x) / CHUNKS;
        const bf16* from = head + (first + start) * stride + col;
#pragma unroll
        for (int i = 0; i < ROWS; i += PASS) {
            const int row = i + start;
            if (start < PASS && row < ROWS) {
                const bool valid = first + row < rows && col < args.dim;
                cp_async16(tile + Layout::at(row, col), valid ? from : head, valid);
            }
            from += PASS * stride;
        }
    }

    /** Writes a tile to rows [first, first + ROWS) of one head, none beyond `rows`. */
    static DEVICE void store(
            const bf16* tile, void* tensor, i64 offset, i64 stride, int first, int rows, const AttentionArgs& args) {
        bf16* head = static_cast<bf16*>(tensor) + offset;
        if (!args.aligned) {
#pragma unroll 1
            for (int i = static_cast<int>(threadIdx.x); i < ROWS * HD; i += THREADS) {
                const int row = i / HD;
                const int col = i % HD;
                if (first + row < rows && col < args.dim) {
                    head[(first + row) * stride + col] = tile[Layout::at(row, col)];
                }
            }
            return;
        }
#pragma unroll 1
        for (int i = static_cast<int>(threadIdx.x); i < ROWS * CHUNKS; i += THREADS) {
            const int row = i / CHUNKS;
            const int col = i % CHUNKS * COUNT;
            if (first + row < rows && col < args.dim) {
                store_pack(head + (first + row) * stride + col, load_pack(tile + Layout::at(row, col)));
            }
        }
    }
};

/** Starts to copy the stats of tile t of queries; the padding makes every tile whole. */
DEVICE void load_stats(float* to, const float* stats, int t) {
    const int i = static_cast<int>(threadIdx.x) * 4;
    if (i < 2 * QUERIES) {
        cp_async16(to + i, stats + t * 2 * QUERIES + i, true);
    }
}

/** Two neighbouring floats in shared memory, at a multiple of 8 bytes. */
struct alignas(8) Two {
    float values[2];
};

/**
 * The same value, of which the compiler does not know that: what is computed from it is computed again where it is needed instead of
 * being kept in registers for all tiles.
 */
template <class T>
DEVICE T afresh(T value) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    if constexpr (sizeof(T) == 8) {
        asm volatile("" : "+l"(value));
    } else {
        asm volatile("" : "+r"(value));
    }
#endif
    return value;
}

/** The word of two neighbouring values of a tile. */
DEVICE u32* word_of(bf16* value) {
    return reinterpret_cast<u32*>(value);
}

// ------------------------------------------------------------------------------------------------------------- order

/** What a block works on. */
struct Work {
    i64 head;  // of all samples'
    int tile;  // of keys
    int tiles;
};

/** Takes the next number, where there is an order, and the work that goes with it; all threads call, `shared` is one word. */
DEVICE Work next_work(u32* shared, int keys_per_block, const AttentionArgs& args) {
    const i64 heads = args.batch * args.heads;
    Work work;
    work.tiles = tiles_of(args.keys, keys_per_block);
    if (work.tiles == 1) {
        work.tile = 0;
        work.head = blockIdx.x;
        return work;
    }
    if (threadIdx.x == 0) {
        *shared = atomicAdd(args.turns, 1u);
    }
    __syncthreads();
    const i64 number = *shared;
    const i64 first = divide(number, static_cast<i64>(args.group) * work.tiles) * args.group;
    const i64 rest = number - first * work.tiles;
    const i64 size = min(static_cast<i64>(args.group), heads - first);
    work.tile = static_cast<int>(divide(rest, size));
    work.head = first + rest - work.tile * size;
    return work;
}

/** Waits for a word to become `turn`; what its writer's warp wrote before is seen by this warp afterwards. */
DEVICE void wait_turn(const u32* word, u32 turn) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    if (lane_index() == 0) {
        u32 value;
        do {
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(word) : "memory");
        } while (value != turn);
    }
#else
    emulation::wait_turn(word, turn);
#endif
    __syncwarp();
}

/** Gives the turn away after all that the warp wrote. */
DEVICE void pass_turn(u32* word, u32 turn) {
    __syncwarp();
    if (lane_index() == 0) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
        asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(word), "r"(turn) : "memory");
#else
        __threadfence();
        atomicExch(word, turn);
#endif
    }
}

/** Reads 16 bytes that another block has written: past the cache of the multiprocessor. */
DEVICE Pack<float> load_sum(const float* address) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    Pack<float> pack;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(pack.values[0]), "=f"(pack.values[1]), "=f"(pack.values[2]), "=f"(pack.values[3])
                 : "l"(address)
                 : "memory");
    return pack;
#else
    return load_pack(address);
#endif
}

/** Adds 16 bytes to what is there, without waiting for it. */
DEVICE void reduce_sum(float* address, const Pack<float>& pack) {
#ifdef HOPPER_CODE
#if defined(__CUDA_ARCH__)
    asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(address), "f"(pack.values[0]),
                 "f"(pack.values[1]), "f"(pack.values[2]), "f"(pack.values[3])
                 : "memory");
#else
    Pack<float> sum = load_pack(address);
    for (int i = 0; i < 4; i++) {
        sum.values[i] += pack.values[i];
    }
    store_pack(address, sum);
#endif
#endif
}

/**
 * Adds a warp's COUNT values per lane of a tile of dQ when it is the turn of the block's tile of keys; returns whether that was the
 * last one and dq the whole sum. The sums lie as the warps hold them, 16 bytes per lane side by side.
 *
 * @param REDUCE blocks between the first and the last add without reading; one block at a time, so this too is one order
 * @param place of the tile of queries among all
 * @param adder number of the warp among `adders` that share the tile
 */
template <bool REDUCE, int COUNT>
DEVICE bool add_in_turn(float (&dq)[COUNT], i64 place, int adder, int adders, const Work& work, const AttentionArgs& args) {
    float* sums = args.sums + (place * adders + adder) * (WARP * COUNT) + lane_index() * 4;
    u32* word = args.turns + 1 + place * TURNS + adder;
    const bool last = work.tile + 1 == work.tiles;
    if (work.tile > 0) {
        wait_turn(word, static_cast<u32>(work.tile));
    }
    if (work.tile > 0 && (last || !REDUCE)) {
#pragma unroll
        for (int n = 0; n < COUNT; n += 4) {
            const Pack<float> sum = load_sum(sums + n * WARP);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                dq[n + i] += sum.values[i];
            }
        }
    }
    if (last) {
        return true;
    }
#pragma unroll
    for (int n = 0; n < COUNT; n += 4) {
        Pack<float> sum;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            sum.values[i] = dq[n + i];
        }
        if (REDUCE && work.tile > 0) {
            reduce_sum(sums + n * WARP, sum);
        } else {
            store_pack(sums + n * WARP, sum);
        }
    }
    pass_turn(word, static_cast<u32>(work.tile + 1));
    return false;
}

/** Writes 16 x COUNT * 2 values of dQ, held like accumulators: dq[4 j + 2 h + e] is row lane / 4 + 8 h, dim 8 j + 2 (lane % 4) + e. */
template <int COUNT>
DEVICE void store_queries(const float* dq, i64 offset, int first_row, int first_dim, const AttentionArgs& args) {
    bf16* head = static_cast<bf16*>(args.dq) + offset;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = first_row + lane_index() / 4 + half * 8;
        bf16* to = head + row * args.qs.row;
#pragma unroll
        for (int n = 0; n < COUNT / 4; n++) {
            const int dim = first_dim + n * 8 + lane_index() % 4 * 2;
            const u32 two = pack_bf16(dq[4 * n + half * 2] * args.scale, dq[4 * n + half * 2 + 1] * args.scale);
            if (row >= args.queries || dim >= args.dim) {
                continue;
            }
            if (args.aligned) {
                *word_of(to + dim) = two;
            } else {
                to[dim].bits = static_cast<unsigned short>(two);
                if (dim + 1 < args.dim) {
                    to[dim + 1].bits = static_cast<unsigned short>(two >> 16);
                }
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------- exponents, as accumulators
//
// Tiles of 16 keys x COLS queries: s[4 j + 2 h + e] is key lane / 4 + 8 h, query 8 j + 2 (lane % 4) + e.

/** Replaces scores by P; `stats` are of the first of the queries, `keys` of the rows exist. */
template <int COUNT>
DEVICE void probabilities(float* s, const float* stats, int keys, float factor) {
#pragma unroll
    for (int j = 0; j < COUNT / 4; j++) {
        const Two log = *reinterpret_cast<const Two*>(stats + j * 8 + lane_index() % 4 * 2);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s[4 * j + i] = exp2_fast(fmaf(s[4 * j + i], factor, -log.values[i % 2]));
        }
    }
    if (keys < 16) {  // rows of zeros do not make P vanish
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (lane_index() / 4 + i / 2 * 8 >= keys) {
#pragma unroll
                for (int j = 0; j < COUNT / 4; j++) {
                    s[4 * j + i] = 0.0f;
                }
            }
        }
    }
}

/** Replaces dP by dS. */
template <int COUNT>
DEVICE void score_gradients(float* dp, const float* p, const float* stats) {
#pragma unroll
    for (int j = 0; j < COUNT / 4; j++) {
        const Two mean = *reinterpret_cast<const Two*>(stats + QUERIES + j * 8 + lane_index() % 4 * 2);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            dp[4 * j + i] = p[4 * j + i] * (dp[4 * j + i] - mean.values[i % 2]);
        }
    }
}

/** Rounds to first operands, one for 16 queries: to[j][h + 2 k] is key lane / 4 + 8 h, queries 16 j + 8 k + 2 (lane % 4) and next. */
template <int STEPS>
DEVICE void pack_operands(u32 (*to)[4], const float* from) {
#pragma unroll
    for (int j = 0; j < STEPS; j++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float* two = from + 8 * j + i / 2 * 4 + i % 2 * 2;
            to[j][i] = pack_bf16(two[0], two[1]);
        }
    }
}

/** Writes such operands of a warp to a tile in shared memory, at (row, col). */
template <class Layout, int STEPS>
DEVICE void put_operands(bf16* tile, int row, int col, const u32 (*from)[4]) {
    const int lane = afresh(lane_index());
#pragma unroll
    for (int j = 0; j < STEPS; j++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            *word_of(tile + Layout::at(row + lane / 4 + i % 2 * 8, col + 16 * j + i / 2 * 8 + lane % 4 * 2)) = from[j][i];
        }
    }
}

/** Writes factor * acc, rounded, to a tile in shared memory, from `row` on; acc as scores are held, with dims for queries. */
template <class Layout, int COUNT>
DEVICE void put_gradients(bf16* tile, int row, const float* acc, float factor) {
#pragma unroll
    for (int n = 0; n < COUNT / 4; n++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            *word_of(tile + Layout::at(row + lane_index() / 4 + half * 8, n * 8 + lane_index() % 4 * 2)) =
                    pack_bf16(acc[4 * n + half * 2] * factor, acc[4 * n + half * 2 + 1] * factor);
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- mma.sync

/** Sizes of a block of 4 warps, each of M x 16 keys; COLS queries are worked on at a time. */
template <int HD_, int M_, int COLS_>
struct Fused {
    static constexpr int HD = HD_;
    static constexpr int M = M_;
    static constexpr int COLS = COLS_;
    static constexpr int WARPS = 4;
    static constexpr int THREADS = WARPS * WARP;
    static constexpr int KEYS = WARPS * M * 16;
    static constexpr int DIMS = HD / 2;  // per lane, of 16 keys
    static constexpr bool KEEP = M == 1;  // operands of K and V in registers
    // A warp's part of a tile of dQ: QM x 16 queries, Q_DIMS dims.
    static constexpr int QM = HD % 32 == 0 ? 2 : 1;
    static constexpr int QUERY_WARPS = 4 / QM;
    static constexpr int Q_DIMS = HD / (WARPS / QUERY_WARPS);
    static constexpr int SUMS = QM * Q_DIMS / 2;  // per lane
    using Layout = Padded<HD>;
    using ScoreLayout = Padded<QUERIES>;
    static constexpr int PITCH = Layout::PITCH;
    static constexpr int DS_PITCH = ScoreLayout::PITCH;
    using KeyTile = Tile<Layout, THREADS, KEYS, HD>;
    using QueryTile = Tile<Layout, THREADS, QUERIES, HD>;
    // Elements in shared memory.
    static constexpr bool OVER_V = KEEP && PITCH >= DS_PITCH;  // dS where V was
    static constexpr int K = 0;
    static constexpr int V = K + KEYS * PITCH;
    static constexpr int STAGES = V + KEYS * PITCH;
    static constexpr int STAGE = 2 * QUERIES * PITCH;
    static constexpr int DS = OVER_V ? V : STAGES + 2 * STAGE;
    static constexpr int STATS = OVER_V ? STAGES + 2 * STAGE : DS + KEYS * DS_PITCH;
    static constexpr int BYTES = STATS * 2 + 2 * QUERIES * 2 * 4 + 16;
};

/** dK and dV of a warp's keys, as accumulators, by 16 keys. */
template <class F>
struct FusedState {
    u32 k[F::KEEP ? F::HD / 16 : 1][4];
    u32 v[F::KEEP ? F::HD / 16 : 1][4];
    float dk[F::M][F::DIMS];
    float dv[F::M][F::DIMS];
};

/** s = rows of a warp times COLS rows of `tile`: S^T or dP^T. */
template <class F, int COLS>
DEVICE void fused_scores(float (&s)[F::M][COLS / 2], const u32 (*kept)[4], const bf16* rows, const bf16* tile) {
    const bf16* from = tile + (lane_index() / 16 * 8 + lane_index() % 8) * F::PITCH + lane_index() / 8 % 2 * 8;
    const bf16* own = rows + lane_index() % 16 * F::PITCH + lane_index() / 16 * 8;
#pragma unroll
    for (int m = 0; m < F::M; m++) {
#pragma unroll
        for (int i = 0; i < COLS / 2; i++) {
            s[m][i] = 0.0f;
        }
    }
#pragma unroll
    for (int k = 0; k < F::HD / 16; k++) {
        u32 a[F::M][4];
#pragma unroll
        for (int m = 0; m < F::M; m++) {
            if constexpr (F::KEEP) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    a[m][i] = kept[k][i];
                }
            } else {
                ldmatrix_x4(a[m], own + m * 16 * F::PITCH + k * 16);
            }
        }
#pragma unroll
        for (int j = 0; j < COLS / 16; j++) {
            u32 b[4];
            ldmatrix_x4(b, from + j * 16 * F::PITCH + k * 16);
#pragma unroll
            for (int m = 0; m < F::M; m++) {
                mma_bf16_16x8x16(s[m] + 8 * j, a[m], b);
                mma_bf16_16x8x16(s[m] + 8 * j + 4, a[m], b + 2);
            }
        }
    }
}

/** acc += p^T tile. */
template <class F, int COLS>
DEVICE void fused_accumulate(float (&acc)[F::M][F::DIMS], const u32 (&p)[F::M][COLS / 16][4], const bf16* tile) {
    const bf16* from = tile + lane_index() % 16 * F::PITCH + lane_index() / 16 * 8;
#pragma unroll
    for (int j = 0; j < COLS / 16; j++) {
#pragma unroll
        for (int n = 0; n < F::HD / 16; n++) {
            u32 b[4];
            ldmatrix_x4_trans(b, from + j * 16 * F::PITCH + n * 16);
#pragma unroll
            for (int m = 0; m < F::M; m++) {
                mma_bf16_16x8x16(acc[m] + 8 * n, p[m][j], b);
                mma_bf16_16x8x16(acc[m] + 8 * n + 4, p[m][j], b + 2);
            }
        }
    }
}

/** COLS queries: adds to dK and dV and leaves dS^T in `ds`, whose rows are the warp's keys; `keys` of them exist. */
template <class F, int COLS>
DEVICE void fused_step(
        FusedState<F>& state,
        const bf16* k,
        const bf16* v,
        const bf16* queries,
        const bf16* douts,
        const float* stats,
        bf16* ds,
        int keys,
        float factor) {
    float p[F::M][COLS / 2];
    u32 operand[F::M][COLS / 16][4];
    fused_scores<F, COLS>(p, state.k, k, queries);
#pragma unroll
    for (int m = 0; m < F::M; m++) {
        probabilities<COLS / 2>(p[m], stats, keys - 16 * m, factor);
        pack_operands<COLS / 16>(operand[m], p[m]);
    }
    fused_accumulate<F, COLS>(state.dv, operand, douts);
    float dp[F::M][COLS / 2];
    fused_scores<F, COLS>(dp, state.v, v, douts);
#pragma unroll
    for (int m = 0; m < F::M; m++) {
        score_gradients<COLS / 2>(dp[m], p[m], stats);
        pack_operands<COLS / 16>(operand[m], dp[m]);
        put_operands<typename F::ScoreLayout, COLS / 16>(ds, 16 * m, 0, operand[m]);
    }
    fused_accumulate<F, COLS>(state.dk, operand, queries);
}

/** A warp's part of a tile of dQ from the first `keys` keys of the block: dq = dS K. */
template <class F>
DEVICE void fused_queries(float (&dq)[F::SUMS], const bf16* ds, const bf16* k, int keys) {
    const bf16* rows = ds + (lane_index() / 16 * 8 + lane_index() % 8) * F::DS_PITCH
            + warp_index() % F::QUERY_WARPS * F::QM * 16 + lane_index() / 8 % 2 * 8;
    const bf16* from =
            k + lane_index() % 16 * F::PITCH + warp_index() / F::QUERY_WARPS * F::Q_DIMS + lane_index() / 16 * 8;
#pragma unroll
    for (int i = 0; i < F::SUMS; i++) {
        dq[i] = 0.0f;
    }
#pragma unroll 4
    for (int key = 0; key < keys; key += 16) {
        u32 a[F::QM][4];
#pragma unroll
        for (int m = 0; m < F::QM; m++) {
            ldmatrix_x4_trans(a[m], rows + key * F::DS_PITCH + m * 16);
        }
#pragma unroll
        for (int n = 0; n < F::Q_DIMS / 16; n++) {
            u32 b[4];
            ldmatrix_x4_trans(b, from + key * F::PITCH + n * 16);
#pragma unroll
            for (int m = 0; m < F::QM; m++) {
                mma_bf16_16x8x16(dq + m * (F::Q_DIMS / 2) + 8 * n, a[m], b);
                mma_bf16_16x8x16(dq + m * (F::Q_DIMS / 2) + 8 * n + 4, a[m], b + 2);
            }
        }
    }
}

template <class F>
DEVICE void attention_fused(const AttentionArgs& args) {
    DYNAMIC_SHARED(bf16, shared);
    float* stats = reinterpret_cast<float*>(shared + F::STATS);
    const Work work = next_work(reinterpret_cast<u32*>(stats + 2 * QUERIES * 2), F::KEYS, args);
    const int first = work.tile * F::KEYS;
    const i64 sample = divide(work.head, args.heads);
    const int head = static_cast<int>(work.head - sample * args.heads);
    const i64 q = offset_of(args.qs, sample, head);
    const i64 k = offset_of(args.ks, sample, head);
    const i64 v = offset_of(args.vs, sample, head);
    const i64 o = offset_of(args.os, sample, head);
    const float* all_stats = args.stats + work.head * args.padded * 2;
    const int count = tiles_of(args.queries, QUERIES);
    F::KeyTile::load(shared + F::K, args.k, k, args.ks.row, first, args.keys, args);
    F::KeyTile::load(shared + F::V, args.v, v, args.vs.row, first, args.keys, args);
    F::QueryTile::load(shared + F::STAGES, args.q, q, args.qs.row, 0, args.queries, args);
    F::QueryTile::load(shared + F::STAGES + F::STAGE / 2, args.dout, o, args.os.row, 0, args.queries, args);
    load_stats(stats, all_stats, 0);
    cp_async_commit();
    FusedState<F> state;
#pragma unroll
    for (int m = 0; m < F::M; m++) {
#pragma unroll
        for (int i = 0; i < F::DIMS; i++) {
            state.dk[m][i] = 0.0f;
            state.dv[m][i] = 0.0f;
        }
    }
    const int own = warp_index() * F::M * 16;
    if constexpr (F::KEEP) {
        cp_async_wait<0>();
        __syncthreads();
        const int from = (own + lane_index() % 16) * F::PITCH + lane_index() / 16 * 8;
#pragma unroll
        for (int d = 0; d < F::HD / 16; d++) {
            ldmatrix_x4(state.k[d], shared + F::K + from + d * 16);
            ldmatrix_x4(state.v[d], shared + F::V + from + d * 16);
        }
    }
    const int block_keys = min(args.keys - first, F::KEYS);
    const int keys = block_keys - own;
    const float factor = args.scale * LOG2E;
    for (int t = 0; t < count; t++) {
        cp_async_wait<0>();
        __syncthreads();  // tile t has come, nobody reads tile t - 1 and its dS any more
        if (t + 1 < count) {
            bf16* to = shared + F::STAGES + (t + 1) % 2 * F::STAGE;
            F::QueryTile::load(to, args.q, q, args.qs.row, (t + 1) * QUERIES, args.queries, args);
            F::QueryTile::load(to + F::STAGE / 2, args.dout, o, args.os.row, (t + 1) * QUERIES, args.queries, args);
            load_stats(stats + (t + 1) % 2 * 2 * QUERIES, all_stats, t + 1);
            cp_async_commit();
        }
        const bf16* queries = shared + F::STAGES + t % 2 * F::STAGE;
        const bf16* douts = queries + F::STAGE / 2;
        const float* now = stats + t % 2 * 2 * QUERIES;
        const int left = args.queries - t * QUERIES;
        const bf16* own_k = shared + F::K + own * F::PITCH;
        const bf16* own_v = shared + F::V + own * F::PITCH;
        bf16* own_ds = shared + F::DS + own * F::DS_PITCH;
        if (keys > 0 && left >= QUERIES) {
#pragma unroll 1
            for (int c = 0; c < QUERIES; c += F::COLS) {
                fused_step<F, F::COLS>(
                        state, own_k, own_v, queries + c * F::PITCH, douts + c * F::PITCH, now + c, own_ds + c, keys, factor);
            }
        } else if (keys > 0) {
#pragma unroll 1
            for (int c = 0; c < left; c += SMALL) {
                fused_step<F, SMALL>(
                        state, own_k, own_v, queries + c * F::PITCH, douts + c * F::PITCH, now + c, own_ds + c, keys, factor);
            }
        }
        __syncthreads();  // dS is complete
        const int row = warp_index() % F::QUERY_WARPS * F::QM * 16;
        if (row < left) {
            float dq[F::SUMS];
            fused_queries<F>(dq, shared + F::DS, shared + F::K, (block_keys + 15) / 16 * 16);
            if (add_in_turn<false>(dq, work.head * count + t, warp_index(), F::WARPS, work, args)) {
#pragma unroll
                for (int m = 0; m < F::QM; m++) {
                    store_queries<F::Q_DIMS / 2>(
                            dq + m * (F::Q_DIMS / 2),
                            q,
                            t * QUERIES + row + 16 * m,
                            warp_index() / F::QUERY_WARPS * F::Q_DIMS,
                            args);
                }
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (int m = 0; m < F::M; m++) {
        put_gradients<typename F::Layout, F::DIMS>(shared + F::K, own + 16 * m, state.dk[m], args.scale);
        put_gradients<typename F::Layout, F::DIMS>(shared + F::V, own + 16 * m, state.dv[m], 1.0f);
    }
    __syncthreads();
    F::KeyTile::store(shared + F::K, args.dk, k, args.ks.row, first, args.keys, args);
    F::KeyTile::store(shared + F::V, args.dv, v, args.vs.row, first, args.keys, args);
}

// ------------------------------------------------------------------------------------------------------------- wgmma

/**
 * Sizes of a block of W warpgroups, each of 64 keys; head dim 64; COLS queries are worked on at a time. A tile of dQ is shared by the
 * warpgroups (SPLIT: 64 / W dims each), or they take turns. REDUCE: see add_in_turn. LATE: dQ is added while the next scores are
 * computed.
 */
template <int W_, int COLS_, bool SPLIT_, bool REDUCE_, bool LATE_>
struct Warpgroups {
    static constexpr int HD = 64;
    static constexpr int W = W_;
    static constexpr int COLS = COLS_;
    static constexpr bool SPLIT = SPLIT_ && W > 1;
    static constexpr bool REDUCE = REDUCE_;
    static constexpr bool LATE = LATE_;
    static constexpr int THREADS = W * WARPGROUP;
    static constexpr int KEYS = W * 64;
    static constexpr int Q_DIMS = SPLIT ? HD / W : HD;
    static constexpr int ADDERS = SPLIT ? 4 * W : 4;  // warps that share a tile of dQ
    using KeyTile = Tile<Swizzled, THREADS, KEYS, HD>;
    using QueryTile = Tile<Swizzled, THREADS, QUERIES, HD>;
    // Elements in shared memory; rows of 128 bytes.
    static constexpr int K = 0;
    static constexpr int V = K + KEYS * 64;
    static constexpr int STAGES = V + KEYS * 64;
    static constexpr int STAGE = 2 * QUERIES * 64;
    static constexpr int DS = STAGES + 2 * STAGE;  // [key][query]
    static constexpr int STATS = DS + KEYS * 64;
    static constexpr int BYTES = STATS * 2 + 2 * QUERIES * 2 * 4 + 16 + SWIZZLE_SLACK;
};

/** dK and dV of a warpgroup's keys, as accumulators. */
struct WarpgroupState {
    float dk[32];
    float dv[32];
};

/** Starts s = 64 rows times COLS rows of `tile`: S^T or dP^T. */
template <int COLS>
DEVICE void start_scores(float (&s)[COLS / 2], u64 rows, const bf16* tile) {
    const u64 columns = wgmma_descriptor(tile, 16, 1024);
#pragma unroll
    for (int k = 0; k < 4; k++) {
        wgmma<COLS, Majors::K, Majors::K>(s, wgmma_advance(rows, 32 * k), wgmma_advance(columns, 32 * k), k > 0);
    }
    wgmma_commit();
}

/** Starts acc += p^T tile. */
template <int STEPS>
DEVICE void start_accumulate(float (&acc)[32], const u32 (&p)[STEPS][4], const bf16* tile) {
    const u64 rows = wgmma_descriptor(tile, 8192, 1024);
#pragma unroll
    for (int j = 0; j < STEPS; j++) {
        wgmma<64, Majors::MN>(acc, p[j], wgmma_advance(rows, 2048 * j), true);
    }
    wgmma_commit();
}

/** As fused_step, for a warpgroup; `ds` is the warpgroup's part of the tile, `keys` exist of the warp's 16. */
template <int COLS, class Meanwhile>
DEVICE void warpgroup_step(
        WarpgroupState& state,
        u64 k,
        u64 v,
        const bf16* queries,
        const bf16* douts,
        const float* stats,
        bf16* ds,
        int col,
        int keys,
        float factor,
        Meanwhile meanwhile) {
    float p[COLS / 2];
    float dp[COLS / 2];
    u32 p_operand[COLS / 16][4];
    u32 ds_operand[COLS / 16][4];
    wgmma_fence();
    start_scores<COLS>(p, afresh(k), queries);
    start_scores<COLS>(dp, afresh(v), douts);
    meanwhile();
    wgmma_wait<1>();
    wgmma_hold(p);
    probabilities<COLS / 2>(p, stats, keys, factor);
    pack_operands<COLS / 16>(p_operand, p);
    wgmma_fence();
    start_accumulate(state.dv, p_operand, douts);
    wgmma_wait<1>();
    wgmma_hold(dp);
    score_gradients<COLS / 2>(dp, p, stats);
    pack_operands<COLS / 16>(ds_operand, dp);
    put_operands<Swizzled, COLS / 16>(ds, warp_index() % 4 * 16, col, ds_operand);
    wgmma_fence();
    start_accumulate(state.dk, ds_operand, queries);
    wgmma_wait<0>();
    wgmma_hold(state.dv);
    wgmma_hold(state.dk);
}

template <class F>
DEVICE void attention_warpgroups(const AttentionArgs& args) {
    DYNAMIC_SHARED(unsigned char, unaligned);
    bf16* shared = reinterpret_cast<bf16*>(align_swizzled(unaligned));
    float* stats = reinterpret_cast<float*>(shared + F::STATS);
    const Work work = next_work(reinterpret_cast<u32*>(stats + 2 * QUERIES * 2), F::KEYS, args);
    const int first = work.tile * F::KEYS;
    const i64 sample = divide(work.head, args.heads);
    const int head = static_cast<int>(work.head - sample * args.heads);
    const i64 q = offset_of(args.qs, sample, head);
    const i64 k = offset_of(args.ks, sample, head);
    const i64 v = offset_of(args.vs, sample, head);
    const i64 o = offset_of(args.os, sample, head);
    const float* all_stats = args.stats + work.head * args.padded * 2;
    const int count = tiles_of(args.queries, QUERIES);
    F::KeyTile::load(shared + F::K, args.k, k, args.ks.row, first, args.keys, args);
    F::KeyTile::load(shared + F::V, args.v, v, args.vs.row, first, args.keys, args);
    F::QueryTile::load(shared + F::STAGES, args.q, q, args.qs.row, 0, args.queries, args);
    F::QueryTile::load(shared + F::STAGES + F::STAGE / 2, args.dout, o, args.os.row, 0, args.queries, args);
    load_stats(stats, all_stats, 0);
    cp_async_commit();
    WarpgroupState state;
#pragma unroll
    for (int i = 0; i < 32; i++) {
        state.dk[i] = 0.0f;
        state.dv[i] = 0.0f;
    }
    const int warpgroup = warpgroup_index();
    const int warp = warp_index() % 4;
    const int own = warpgroup * 64;
    const u64 own_k = wgmma_descriptor(shared + F::K + own * 64, 16, 1024);
    const u64 own_v = wgmma_descriptor(shared + F::V + own * 64, 16, 1024);
    bf16* own_ds = shared + F::DS + own * 64;
    const int block_keys = min(args.keys - first, F::KEYS);
    const bool active = own < block_keys;
    const int keys = block_keys - own - 16 * warp;
    const float factor = args.scale * LOG2E;
    const int dims = F::SPLIT ? warpgroup * F::Q_DIMS : 0;
    float dq[F::Q_DIMS / 2];
    bool waiting = false;  // dq is still to be added
    const auto add = [&](int t) {
        const int row = t * QUERIES + 16 * warp;
        waiting = false;
        if (row < args.queries
            && add_in_turn<F::REDUCE>(
                    dq, work.head * count + t, F::SPLIT ? warp_index() : warp, F::ADDERS, work, args)) {
            store_queries<F::Q_DIMS / 2>(dq, q, row, dims, args);
        }
    };
    for (int t = 0; t < count; t++) {
        const auto add_last = [&] {
            if (F::LATE && waiting) {
                add(t - 1);
            }
        };
        cp_async_wait<0>();
        fence_proxy_async();
        __syncthreads();  // tile t has come, nobody reads tile t - 1 and its dS any more
        if (t + 1 < count) {
            bf16* to = shared + F::STAGES + (t + 1) % 2 * F::STAGE;
            F::QueryTile::load(to, args.q, q, args.qs.row, (t + 1) * QUERIES, args.queries, args);
            F::QueryTile::load(to + F::STAGE / 2, args.dout, o, args.os.row, (t + 1) * QUERIES, args.queries, args);
            load_stats(stats + (t + 1) % 2 * 2 * QUERIES, all_stats, t + 1);
            cp_async_commit();
        }
        const bf16* queries = shared + F::STAGES + t % 2 * F::STAGE;
        const bf16* douts = queries + F::STAGE / 2;
        const float* now = stats + t % 2 * 2 * QUERIES;
        const int left = args.queries - t * QUERIES;
        if (active && left >= QUERIES) {
#pragma unroll 1
            for (int c = 0; c < QUERIES; c += F::COLS) {
                warpgroup_step<F::COLS>(
                        state, own_k, own_v, queries + c * 64, douts + c * 64, now + c, own_ds, c, keys, factor, add_last);
            }
        } else if (active) {
#pragma unroll 1
            for (int c = 0; c < left; c += SMALL) {
                warpgroup_step<SMALL>(
                        state, own_k, own_v, queries + c * 64, douts + c * 64, now + c, own_ds, c, keys, factor, add_last);
            }
        }
        add_last();
        fence_proxy_async();
        __syncthreads();  // dS is complete
        if (F::SPLIT || t % F::W == warpgroup) {
            const u64 ds = afresh(wgmma_descriptor(shared + F::DS, 8192, 1024));
            const u64 all_k = afresh(wgmma_descriptor(shared + F::K + dims, 8192, 1024));
            wgmma_fence();
            wgmma<F::Q_DIMS, Majors::MN, Majors::MN>(dq, ds, all_k, false);
#pragma unroll
            for (int j = 1; j < F::KEYS / 16; j++) {
                if (16 * j < block_keys) {
                    wgmma<F::Q_DIMS, Majors::MN, Majors::MN>(
                            dq, wgmma_advance(ds, 2048 * j), wgmma_advance(all_k, 2048 * j), true);
                }
            }
            wgmma_commit();
            wgmma_wait<0>();
            wgmma_hold(dq);
            waiting = true;
            if (!F::LATE) {
                add(t);
            }
        }
    }
    if (F::LATE && waiting) {
        add(count - 1);
    }
    __syncthreads();
    put_gradients<Swizzled, 32>(shared + F::K, own + 16 * warp, state.dk, args.scale);
    put_gradients<Swizzled, 32>(shared + F::V, own + 16 * warp, state.dv, 1.0f);
    __syncthreads();
    F::KeyTile::store(shared + F::K, args.dk, k, args.ks.row, first, args.keys, args);
    F::KeyTile::store(shared + F::V, args.dv, v, args.vs.row, first, args.keys, args);
}

// The names end in the tile of keys; blocks per multiprocessor are asked for where registers allow them.
#define BACKWARD(name, blocks, Sizes)                                                                       \
    KERNEL_BLOCKS(Sizes::THREADS, blocks, attention_backward_##name##_bf16, AttentionArgs) {                 \
        attention_fused<Sizes>(args);                                                                       \
    }

#define BACKWARD_HOPPER(name, blocks, Sizes)                                                                \
    KERNEL_BLOCKS(Sizes::THREADS, blocks, attention_backward_wgmma_##name##_bf16, AttentionArgs) {           \
        attention_warpgroups<Sizes>(args);                                                                  \
    }

using Fused64 = Fused<64, 1, 32>;
using Fused128 = Fused<64, 2, 32>;
using Warpgroups64 = Warpgroups<1, 64, false, true, false>;
using Warpgroups128 = Warpgroups<2, 32, true, true, false>;

BACKWARD(64, 3, Fused64)
BACKWARD(128, 2, Fused128)

// Machine code for other targets lacks these kernels, so that nobody takes an empty one for one that computes.
#if defined(HOPPER_CODE) || !(defined(__CUDA_ARCH__) || defined(__CUDACC_RTC__))
BACKWARD_HOPPER(64, 3, Warpgroups64)
BACKWARD_HOPPER(128, 2, Warpgroups128)
#endif
