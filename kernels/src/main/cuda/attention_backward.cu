// The gradients of attention in one kernel of five products on Hopper's tensor cores, for bf16; formulas and layouts: attention.cu.
//
// A block of two warpgroups owns 128 keys, 64 each, and walks over the queries in tiles of 64. Scores come transposed, a
// warpgroup's keys as rows, so that P^T and dS^T are the first operands of dV += P^T dO and dK += dS^T Q as they are; 32 queries at
// a time, which is what 128 registers a thread allow, so that two blocks share a multiprocessor. dS^T also goes through shared
// memory for the block's share of dQ = dS K, of which each warpgroup computes half the dims. While it does, the scores of the next
// tile are under way. Where keys are left for one warpgroup only, both work on them, each on half the queries.
// One barrier a tile: behind it the dS of tile t is complete, tile t + 1 has come (cp.async) and nobody reads tile t - 1, whose
// place tile t + 2 takes. The warpgroups tell each other by named barriers when dS has been read.
// Order: the shares of the tiles of keys are added to f32 sums in the order of these tiles, so the result is the same bit for bit. A
// word for each adding warp and tile of queries says whose turn it is; the first block writes, the last adds and writes dQ itself,
// so sums are neither cleared nor read again, and a head of one tile needs none. Blocks take numbers as they start and wait only for
// lower numbers: who is waited for runs already, whatever the order in which blocks start. Heads come in groups, all first tiles of
// a group, then all second ones: the blocks of a head start apart, yet soon enough to find its queries in the cache.
// The statistics of the queries come from a kernel before this one, except for heads of one tile of keys and two of queries.
// A bias and regions are what the sums of the scores begin with, divided by the scale. The gradient of the bias, which adds up over
// samples, is a kernel of attention.cu.
// Shared memory: rows of 128 bytes, 128-byte swizzled; head dims over 64 take two panels of 64, of which one block fits on a
// multiprocessor. Each warpgroup then computes half the dims of dQ in either panel.
#include "attention.cuh"
#include "tma.cuh"
#include "wgmma.cuh"

constexpr int QUERIES = 64;  // of a tile
constexpr int TURNS = 8;     // words of a tile of queries, one for each warp that adds to it

// ------------------------------------------------------------------------------------------------------------- stats

/** log / ln 2, which the exponents of a query's row are less by; infinite beyond the last query and without keys, so that P = 0. */
DEVICE float row_log(const AttentionArgs& args, i64 head, int query) {
    if (query >= args.queries) {
        return infinity();
    }
    const float log = args.log_sum_exp[head * args.queries + query];
    return log == -infinity() ? infinity() : log * LOG2E;
}

/**
 * What TILES tiles of queries from `first` on, of at most 64 PANELS dims, need beside q and dout, [tile][2][64]: row_log and
 * D = rowsum(dO O). By 256 threads, eight per query; `os` is the offset of the head in out and dout.
 */
template <int TILES, int PANELS>
DEVICE void compute_stats(float* stats, i64 os, i64 head, int first, const AttentionArgs& args) {
    constexpr int ROWS = 32;  // at a time
    const int thread = static_cast<int>(threadIdx.x);
    float sums[TILES * 2] = {};
#pragma unroll
    for (int panel = 0; panel < PANELS; panel++) {
        const int col = panel * 64 + thread % 8 * 8;
        Pack<bf16> out[TILES * 2];
        Pack<bf16> dout[TILES * 2];
#pragma unroll
        for (int i = 0; i < TILES * 2; i++) {
            const int query = first + thread / 8 + i * ROWS;
            if (query < args.queries && col < args.dim) {
                out[i] = load_pack(static_cast<const bf16*>(args.out) + os + query * args.os.row + col);
                dout[i] = load_pack(static_cast<const bf16*>(args.dout) + os + query * args.os.row + col);
            }
        }
#pragma unroll
        for (int i = 0; i < TILES * 2; i++) {
            if (first + thread / 8 + i * ROWS < args.queries && col < args.dim) {
#pragma unroll
                for (int e = 0; e < 8; e++) {
                    sums[i] = fmaf(to_float(out[i][e]), to_float(dout[i][e]), sums[i]);
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < TILES * 2; i++) {
        const int row = thread / 8 + i * ROWS;
        sums[i] = lanes_sum<8>(sums[i]);
        if (thread % 8 == 0) {
            float* tile = stats + row / QUERIES * 2 * QUERIES + row % QUERIES;
            tile[0] = row_log(args, head, first + row);
            tile[QUERIES] = sums[i];
        }
    }
}

/** Computes the statistics of a tile of queries per block and clears the count of blocks and the turns. */
KERNEL(256, attention_backward_stats_bf16, AttentionArgs) {
    const int tiles = args.padded / QUERIES;
    const i64 number = blockIdx.x;
    const i64 head = divide(number, tiles);
    const i64 sample = divide(head, args.heads);
    if (threadIdx.x < TURNS) {
        args.turns[1 + number * TURNS + threadIdx.x] = 0;
        if (number == 0) {
            args.turns[0] = 0;
        }
    }
    compute_stats<1, 2>(
            args.stats + number * 2 * QUERIES,
            offset_of(args.os, sample, static_cast<int>(head - sample * args.heads)),
            head,
            static_cast<int>(number - head * tiles) * QUERIES,
            args);
}

// Machine code for other targets lacks these kernels, so that nobody takes an empty one for one that computes.
#if defined(HOPPER_CODE) || !(defined(__CUDA_ARCH__) || defined(__CUDACC_RTC__))

constexpr int KEYS = 128;  // of a block
constexpr int SMALL = 16;  // queries of a small last tile
constexpr int ROW = 128;   // bytes of a row in shared memory

/** Sizes of a block, for head dims up to HD. */
template <int HD_, bool BIASED_>
struct Backward {
    static constexpr int HD = HD_;
    static constexpr bool BIASED = BIASED_;
    static constexpr int THREADS = 2 * WARPGROUP;
    static constexpr int BLOCKS = HD > 64 ? 1 : 2;  // on a multiprocessor
    static constexpr int COLS = 32;                 // queries that are worked on at a time
    static constexpr int PANELS = (HD + 63) / 64;
    static constexpr int HALF = (HD > 64 ? 64 : HD) / 2;  // dims of dQ that a warpgroup computes of the first panel
    static constexpr int MORE = HD / 2 - HALF;            // and of the second
    static constexpr int SUMS = HD / 4;                   // of all these in a lane
    static constexpr int PLACES = 3;                      // for tiles of queries
    // Bytes in shared memory.
    static constexpr int K = 0;
    static constexpr int V = K + PANELS * KEYS * ROW;
    static constexpr int DS = V + PANELS * KEYS * ROW;  // [key][query]
    static constexpr int TILES = DS + KEYS * ROW;
    static constexpr int DOUT = PANELS * QUERIES * ROW;  // of a tile: Q, then dO
    static constexpr int TILE = 2 * DOUT;
    static constexpr int STATS = TILES + PLACES * TILE;
    static constexpr int STAT = 2 * QUERIES * 4;
    static constexpr int NUMBER = STATS + PLACES * STAT;
    static constexpr int POINTERS = NUMBER + 16;
    static constexpr int BYTES = POINTERS + 48 + SWIZZLE_SLACK;
};

/** What all threads know and seldom need: in shared memory, not in registers. */
struct Pointers {
    const bf16* q;
    const bf16* dout;
    bf16* dq;
    const float* stats;
    float* sums;
    u32* words;
};

/** dK and dV of a warpgroup's keys, as accumulators. */
template <int HD>
struct State {
    float dk[HD / 2];
    float dv[HD / 2];
};

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

template <bool VALUE>
struct Flag {
    static constexpr bool value = VALUE;
};

// ------------------------------------------------------------------------------------------------------------- tiles

/** Starts to copy as many 16-byte chunks of ROWS rows from `first` on to a swizzled panel; zeros beyond `rows` and `dims`. */
template <class B, int ROWS, int CHUNKS>
DEVICE void load_panel(unsigned char* panel, const bf16* from, i64 stride, int first, int rows, int dims) {
    constexpr int PASS = B::THREADS / CHUNKS;
    const int thread = afresh(static_cast<int>(threadIdx.x));
    const int row = thread / CHUNKS;
    const int col = thread % CHUNKS * 8;
    unsigned char* to = panel + swizzled(row * ROW + col * 2);
    const bf16* at = from + (first + row) * stride + col;
#pragma unroll
    for (int i = 0; i < ROWS; i += PASS) {
        if (ROWS % PASS == 0 || row < ROWS) {
            const bool valid = first + i + row < rows && col < dims;
            cp_async16(to + i * ROW, valid ? at : from, valid);
        }
        at += PASS * stride;
    }
}

/** Starts to copy ROWS rows from `first` on to a swizzled tile; zeros beyond `rows` and the head dim. */
template <class B, int ROWS>
DEVICE void load_rows(unsigned char* tile, const bf16* from, i64 stride, int first, int rows, int dim) {
    load_panel<B, ROWS, 8>(tile, from, stride, first, rows, dim);
    if constexpr (B::PANELS > 1) {
        load_panel<B, ROWS, (B::HD - 64) / 8>(tile + ROWS * ROW, from + 64, stride, first, rows, dim - 64);
    }
}

/** Writes a swizzled tile of KEYS rows to rows from `first` on, none beyond `rows`. */
template <class B>
DEVICE void store_rows(const unsigned char* tile, bf16* to, i64 stride, int first, int rows, int dim) {
    constexpr int CHUNKS = B::PANELS > 1 ? B::HD / 8 : 8;
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < KEYS * CHUNKS; i += B::THREADS) {
        const int row = i / CHUNKS;
        const int chunk = i % CHUNKS;
        if (first + row < rows && chunk * 8 < dim) {
            const unsigned char* panel = tile + chunk / 8 * KEYS * ROW;
            store_pack(
                    to + (first + row) * stride + chunk * 8,
                    load_pack(reinterpret_cast<const bf16*>(panel + swizzled(row * ROW + chunk % 8 * 16))));
        }
    }
}

/** Writes factor * acc, rounded, to a swizzled tile of KEYS rows, from `row` on. */
template <int COUNT>
DEVICE void put_rows(unsigned char* tile, int row, const float (&acc)[COUNT], float factor) {
#pragma unroll
    for (int n = 0; n < COUNT / 4; n++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int at = (row + lane_index() / 4 + half * 8) * ROW + n % 8 * 16 + lane_index() % 4 * 4;
            *reinterpret_cast<u32*>(tile + n / 8 * KEYS * ROW + swizzled(at)) =
                    pack_bf16(acc[4 * n + half * 2] * factor, acc[4 * n + half * 2 + 1] * factor);
        }
    }
}

/** Writes a warp's 16 rows of COUNT * 2 values of dQ. */
template <int COUNT>
DEVICE void store_queries(const float (&dq)[COUNT], bf16* to, int first_row, int first_dim, const AttentionArgs& args) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = first_row + lane_index() / 4 + half * 8;
#pragma unroll
        for (int n = 0; n < COUNT / 4; n++) {
            const int dim = first_dim + n * 8 + lane_index() % 4 * 2;
            const u32 two = pack_bf16(dq[4 * n + half * 2] * args.scale, dq[4 * n + half * 2 + 1] * args.scale);
            if (row < args.queries && dim < args.dim) {
                *reinterpret_cast<u32*>(to + row * args.qs.row + dim) = two;
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------------------- order

/** What a block works on. */
struct Work {
    i64 head;  // of all samples'
    int tile;  // of keys
    int tiles;
};

/** Takes the next number, where there is an order, and the work that goes with it; all threads call, `shared` is one word. */
DEVICE Work next_work(u32* shared, const AttentionArgs& args) {
    const i64 heads = args.batch * args.heads;
    Work work;
    work.tiles = tiles_of(args.keys, KEYS);
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
 * Adds a warp's share of a tile of dQ, in turn, to sums that lie as the warps hold them, 16 bytes per lane side by side; returns
 * whether it was the last share and dq is the whole.
 */
template <int COUNT>
DEVICE bool add_share(float (&dq)[COUNT], float* sums, const Work& work) {
    if (work.tile + 1 < work.tiles) {
#pragma unroll
        for (int n = 0; n < COUNT; n += 4) {
            Pack<float> share;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                share.values[i] = dq[n + i];
            }
            if (work.tile > 0) {
                reduce_sum(sums + n * WARP, share);
            } else {
                store_pack(sums + n * WARP, share);
            }
        }
        return false;
    }
    if (work.tile > 0) {
#pragma unroll
        for (int n = 0; n < COUNT; n += 4) {
            const Pack<float> others = load_sum(sums + n * WARP);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                dq[n + i] += others.values[i];
            }
        }
    }
    return true;
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

/** Lets the scores of COUNT / 4 queries from `query` on begin with the bias and the regions; `key` is the lane's first. */
template <int COUNT>
DEVICE void begin_scores(float* s, const ScoreBias& bias, int query, int key) {
    const auto read_bias = [&](const auto* from) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int row = query + i / 4 * 8 + lane_index() % 4 * 2 + i % 2;
            const int col = key + i / 2 % 2 * 8;
            const bool inside = row < bias.queries && col < bias.keys;
            s[i] = inside ? to_float(from[static_cast<i64>(row) * bias.keys + col]) * bias.inverse : 0.0f;
        }
    };
    if (bias.bias == nullptr) {
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            s[i] = 0.0f;
        }
    } else if (bias.bf16_bias) {
        read_bias(static_cast<const bf16*>(bias.bias));
    } else {
        read_bias(static_cast<const float*>(bias.bias));
    }
    if (bias.regions != nullptr) {
        int own[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            own[h] = bias.regions[min(key + 8 * h, bias.keys - 1)];
        }
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int row = query + i / 4 * 8 + lane_index() % 4 * 2 + i % 2;
            s[i] += own[i / 2 % 2] == bias.regions[min(row, bias.queries - 1)] ? 0.0f : bias.separation;
        }
    }
}

/**
 * Replaces dP by dS, rounded to first operands; P comes as rounded for dV, which saves its registers and adds to the error of dS
 * what dV has too.
 */
template <int STEPS>
DEVICE void score_gradients(u32 (*ds)[4], const u32 (*p)[4], const float* dp, const float* stats) {
#pragma unroll
    for (int j = 0; j < STEPS; j++) {
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const Two mean = *reinterpret_cast<const Two*>(stats + QUERIES + j * 16 + k * 8 + lane_index() % 4 * 2);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const u32 both = p[j][h + 2 * k];
                const float* two = dp + 8 * j + 4 * k + 2 * h;
                ds[j][h + 2 * k] = pack_bf16(
                        __uint_as_float(both << 16) * (two[0] - mean.values[0]),
                        __uint_as_float(both & 0xFFFF0000u) * (two[1] - mean.values[1]));
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- products
//
// Operands in shared memory are given by their address / 16, to which the rest of the descriptor is added.

constexpr u32 K_MAJOR = 1u << 16;
constexpr u32 MN_MAJOR = (QUERIES * ROW / 16u) << 16;  // from a panel of queries to the next

/** wgmma_descriptor of an operand a number of bytes further, with fewer instructions. */
DEVICE u64 operand(u32 place, int bytes) {
    return static_cast<u64>(1024u >> 4 | 1u << 30) << 32 | (place + static_cast<u32>(bytes >> 4));
}

/** Starts s = 64 of KEYS rows times COLS of QUERIES rows, S^T or dP^T; ADDED to what is there. */
template <int HD, int COLS, bool ADDED>
DEVICE void start_scores(float (&s)[COLS / 2], u32 rows, u32 columns) {
#pragma unroll
    for (int k = 0; k < HD / 16; k++) {
        wgmma<COLS, Majors::K, Majors::K>(
                s,
                operand(rows | K_MAJOR, k / 4 * KEYS * ROW + k % 4 * 32),
                operand(columns | K_MAJOR, k / 4 * QUERIES * ROW + k % 4 * 32),
                ADDED || k > 0);
    }
    wgmma_commit();
}

/** Starts acc += p^T tile. */
template <int HD, int STEPS>
DEVICE void start_accumulate(float (&acc)[HD / 2], const u32 (&p)[STEPS][4], u32 tile) {
#pragma unroll
    for (int j = 0; j < STEPS; j++) {
        wgmma<HD, Majors::MN>(acc, p[j], operand(tile | MN_MAJOR, 2048 * j), true);
    }
    wgmma_commit();
}

/** Where a warpgroup works on its keys. */
struct Side {
    int warpgroup;
    bool halves;   // both warpgroups have the same keys and half the queries each
    int keys;      // that exist of the warp's 16
    u32 k;         // operands
    u32 v;
    unsigned char* ds;  // the row of dS where this lane stores
    int chunk;          // and the place of its first 16 bytes there
    float factor;
    int key;  // the lane's first
};

/**
 * Adds a tile of queries, COLUMNS of them, COLS at a time, to dK and dV and writes its dS.
 *
 * @param STARTED the first scores are under way
 * @param tile Q as an operand
 * @param begin called with scores and the number of their first query in the tile, before they are added to
 * @param pending dS of the tile before is perhaps still read
 * @param meanwhile called while the first scores are computed
 */
template <class B, int COLS, int COLUMNS, bool STARTED, class Begin, class Meanwhile>
DEVICE void add_tile(
        State<B::HD>& state,
        float (&p)[COLS / 2],
        const Side& side,
        u32 tile,
        const float* stats,
        bool pending,
        [[maybe_unused]] Begin begin,
        Meanwhile meanwhile) {
#pragma unroll
    for (int c = 0; c < COLUMNS; c += COLS) {
        if (side.halves && c / COLS != side.warpgroup) {
            if (c == 0) {
                meanwhile();
            }
            if (COLUMNS == COLS && pending) {
                named_barrier_sync(1 + side.warpgroup, B::THREADS);
            }
            if (STARTED && c == 0) {
                wgmma_wait<0>();
                wgmma_hold(p);
            }
            continue;
        }
        float dp[COLS / 2];
        u32 p_operand[COLS / 16][4];
        u32 ds_operand[COLS / 16][4];
        const u32 queries = tile + c * ROW / 16;
        const u32 douts = queries + B::DOUT / 16;
        if constexpr (B::BIASED) {
            if (!STARTED || c > 0) {
                begin(p, c);
            }
        }
        wgmma_fence();
        if (!STARTED || c > 0) {
            start_scores<B::HD, COLS, B::BIASED>(p, side.k, queries);
        }
        start_scores<B::HD, COLS, false>(dp, side.v, douts);
        if (c == 0) {
            meanwhile();
        }
        wgmma_wait<1>();
        wgmma_hold(p);
        probabilities<COLS / 2>(p, stats + c, side.keys, side.factor);
        pack_operands<COLS / 16>(p_operand, p);
        wgmma_fence();
        start_accumulate<B::HD>(state.dv, p_operand, douts);
        wgmma_wait<1>();
        wgmma_hold(dp);
        score_gradients<COLS / 16>(ds_operand, p_operand, dp, stats + c);
        if (pending && (c == 0 || side.halves)) {
            named_barrier_sync(1 + side.warpgroup, B::THREADS);
        }
#pragma unroll
        for (int j = 0; j < COLS / 16; j++) {
            stmatrix_x4(side.ds + (side.chunk ^ (2 * c + 32 * j)), ds_operand[j]);
        }
        wgmma_fence();
        start_accumulate<B::HD>(state.dk, ds_operand, queries);
        wgmma_wait<0>();
        wgmma_hold(state.dk);
        wgmma_hold(state.dv);
    }
}

/** All of a block's work. */
template <class B>
DEVICE void attention_backward(const AttentionArgs& args) {
    DYNAMIC_SHARED(unsigned char, unaligned);
    unsigned char* shared = align_swizzled(unaligned);
    const Work work = next_work(reinterpret_cast<u32*>(shared + B::NUMBER), args);
    const int first = work.tile * KEYS;
    const i64 sample = divide(work.head, args.heads);
    const int head = static_cast<int>(work.head - sample * args.heads);
    const int count = tiles_of(args.queries, QUERIES);
    Pointers* const pointers = reinterpret_cast<Pointers*>(shared + B::POINTERS);
    if (threadIdx.x == 0) {
        Pointers here;
        here.q = static_cast<const bf16*>(args.q) + offset_of(args.qs, sample, head);
        here.dout = static_cast<const bf16*>(args.dout) + offset_of(args.os, sample, head);
        here.dq = static_cast<bf16*>(args.dq) + offset_of(args.qs, sample, head);
        here.stats = args.stats + work.head * args.padded * 2;
        here.sums = args.sums + work.head * args.padded * B::HD;
        here.words = args.turns + 1 + work.head * count * TURNS;
        *pointers = here;
    }
    __syncthreads();
    const auto load = [&](int t, int place) {
        const Pointers* here = afresh(pointers);
        unsigned char* to = shared + B::TILES + place * B::TILE;
        load_rows<B, QUERIES>(to, here->q, args.qs.row, t * QUERIES, args.queries, args.dim);
        load_rows<B, QUERIES>(to + B::DOUT, here->dout, args.os.row, t * QUERIES, args.queries, args.dim);
    };
    const auto load_stats = [&](int t, int place) {
        const Pointers* here = afresh(pointers);
        const int i = static_cast<int>(threadIdx.x) * 4;
        if (i < 2 * QUERIES) {
            cp_async16(shared + B::STATS + place * B::STAT + i * 4, here->stats + t * 2 * QUERIES + i, true);
        }
    };
    const i64 k = offset_of(args.ks, sample, head);
    const i64 v = offset_of(args.vs, sample, head);
    load_rows<B, KEYS>(shared + B::K, static_cast<const bf16*>(args.k) + k, args.ks.row, first, args.keys, args.dim);
    load_rows<B, KEYS>(shared + B::V, static_cast<const bf16*>(args.v) + v, args.vs.row, first, args.keys, args.dim);
    const bool alone = work.tiles == 1 && count <= 2;
    load(0, 0);
    if (!alone) {
        load_stats(0, 0);
    }
    cp_async_commit();
    if (count > 1) {
        load(1, 1);
        if (!alone) {
            load_stats(1, 1);
        }
    }
    cp_async_commit();
    if (alone) {
        compute_stats<2, B::PANELS>(
                reinterpret_cast<float*>(shared + B::STATS), offset_of(args.os, sample, head), work.head, 0, args);
    }
    State<B::HD> state;
#pragma unroll
    for (int i = 0; i < B::HD / 2; i++) {
        state.dk[i] = 0.0f;
        state.dv[i] = 0.0f;
    }
    const int lane = lane_index();
    const int warp = warp_index() % 4;
    const int block_keys = min(args.keys - first, KEYS);
    const u32 base = shared_address(shared) >> 4;
    Side side;
    side.warpgroup = warpgroup_index();
    side.halves = block_keys <= 64;
    const int own = side.halves ? 0 : side.warpgroup * 64;
    side.keys = block_keys - own - 16 * warp;
    side.k = base + (B::K + own * ROW) / 16;
    side.v = base + (B::V + own * ROW) / 16;
    side.ds = shared + B::DS + (own + 16 * warp + lane % 16) * ROW;
    side.chunk = lane / 16 * 16 ^ lane % 8 * 16;
    side.factor = args.scale * LOG2E;
    side.key = first + own + 16 * warp + lane / 4;
    if (side.halves) {  // nobody writes the dS of the other keys
#pragma unroll 1
        for (int i = static_cast<int>(threadIdx.x) * 16; i < 64 * ROW; i += B::THREADS * 16) {
            Pack<float> zeros;
#pragma unroll
            for (int e = 0; e < 4; e++) {
                zeros.values[e] = 0.0f;
            }
            store_pack(reinterpret_cast<float*>(shared + B::DS + 64 * ROW + i), zeros);
        }
    }
    cp_async_wait<1>();
    fence_proxy_async();
    __syncthreads();
    float p[B::COLS / 2];
    int place = 0;
    bool passing = false;
    const auto pass = [&](int t) {
        if (passing) {
            pass_turn(afresh(pointers)->words + t * TURNS + warp_index(), static_cast<u32>(work.tile + 1));
            passing = false;
        }
    };
    const auto stats_of_tile = [&] { return reinterpret_cast<const float*>(shared + B::STATS + place * B::STAT); };
    // Scores of tile t: what they begin with.
    const auto begin = [&]([[maybe_unused]] int t) {
        return [&, t](auto& s, int query) {
            constexpr int COUNT = sizeof(s) / sizeof(float);
            begin_scores<COUNT>(s, ScoreBias(args, sample, head), t * QUERIES + query, side.key);
        };
    };
    const auto tile_operand = [&] { return afresh(base) + (B::TILES + place * B::TILE) / 16; };
    // After the dS of tile t: its dQ; `ahead`: the first scores of the next tile are started meanwhile.
    const auto finish = [&](int t, auto ahead) {
        if constexpr (B::BIASED && ahead.value) {
            begin(t + 1)(p, 0);
        }
        cp_async_wait<0>();
        fence_proxy_async();
        __syncthreads();
        if (t + 2 < count) {
            load(t + 2, place == 0 ? 2 : place - 1);
            load_stats(t + 2, place == 0 ? 2 : place - 1);
            cp_async_commit();
        }
        place = place == 2 ? 0 : place + 1;
        const int dims = side.warpgroup * B::HALF;
        const u32 now = afresh(base);
        float dq[B::HALF / 2];
        [[maybe_unused]] float more[B::MORE > 0 ? B::MORE / 2 : 1];
        wgmma_fence();
#pragma unroll
        for (int j = 0; j < KEYS / 16; j++) {
            wgmma<B::HALF, Majors::MN, Majors::MN>(
                    dq,
                    operand((now + B::DS / 16) | MN_MAJOR, 2048 * j),
                    operand((now + (B::K + dims * 2) / 16) | MN_MAJOR, 2048 * j),
                    j > 0);
            if constexpr (B::MORE > 0) {
                wgmma<B::MORE, Majors::MN, Majors::MN>(
                        more,
                        operand((now + B::DS / 16) | MN_MAJOR, 2048 * j),
                        operand((now + (B::K + KEYS * ROW + side.warpgroup * B::MORE * 2) / 16) | MN_MAJOR, 2048 * j),
                        j > 0);
            }
        }
        wgmma_commit();
        if constexpr (ahead.value) {
            start_scores<B::HD, B::COLS, B::BIASED>(p, side.k, tile_operand());
        }
        const int row = t * QUERIES + 16 * warp;
        if (row < args.queries && work.tile > 0) {
            wait_turn(afresh(pointers)->words + t * TURNS + warp_index(), static_cast<u32>(work.tile));
        }
        wgmma_wait<ahead.value ? 1 : 0>();
        wgmma_hold(dq);
        if constexpr (B::MORE > 0) {
            wgmma_hold(more);
        }
        if (t + 1 < count) {
            named_barrier_arrive(2 - side.warpgroup, B::THREADS);
        }
        if (row < args.queries) {
            float* sums = afresh(pointers)->sums + (t * 8 + warp_index()) * (WARP * B::SUMS) + lane * 4;
            if constexpr (B::MORE > 0) {
                if (add_share(more, sums + B::HALF / 2 * WARP, work)) {
                    store_queries(more, afresh(pointers)->dq, row, 64 + side.warpgroup * B::MORE, args);
                }
            }
            if (add_share(dq, sums, work)) {
                store_queries(dq, afresh(pointers)->dq, row, dims, args);
            } else {
                passing = true;
            }
        }
    };
    const int rest = args.queries % QUERIES;
    const int whole = rest > 0 && rest <= SMALL ? count - 1 : count;
    if (whole > 0) {
        add_tile<B, B::COLS, QUERIES, false>(
                state, p, side, tile_operand(), stats_of_tile(), false, begin(0), [] {});
        for (int t = 1; t < whole; t++) {
            finish(t - 1, Flag<true>());
            add_tile<B, B::COLS, QUERIES, true>(
                    state, p, side, tile_operand(), stats_of_tile(), true, begin(t), [&] { pass(t - 1); });
        }
        finish(whole - 1, Flag<false>());
    }
    if (whole < count) {
        float few[SMALL / 2];
        add_tile<B, SMALL, SMALL, false>(
                state, few, side, tile_operand(), stats_of_tile(), whole > 0, begin(whole), [&] { pass(whole - 1); });
        finish(whole, Flag<false>());
    }
    pass(count - 1);
    __syncthreads();
    if (side.halves) {
        float* other = reinterpret_cast<float*>(shared + B::TILES) + threadIdx.x % WARPGROUP;
        if (side.warpgroup == 1) {
#pragma unroll
            for (int i = 0; i < B::HD / 2; i++) {
                other[i * WARPGROUP] = state.dk[i];
                other[(B::HD / 2 + i) * WARPGROUP] = state.dv[i];
            }
        }
        __syncthreads();
        if (side.warpgroup == 0) {
#pragma unroll
            for (int i = 0; i < B::HD / 2; i++) {
                state.dk[i] += other[i * WARPGROUP];
                state.dv[i] += other[(B::HD / 2 + i) * WARPGROUP];
            }
        }
    }
    if (own == side.warpgroup * 64) {
        put_rows(shared + B::K, own + 16 * warp, state.dk, args.scale);
        put_rows(shared + B::V, own + 16 * warp, state.dv, 1.0f);
    }
    __syncthreads();
    store_rows<B>(shared + B::K, static_cast<bf16*>(args.dk) + k, args.ks.row, first, args.keys, args.dim);
    store_rows<B>(shared + B::V, static_cast<bf16*>(args.dv) + v, args.vs.row, first, args.keys, args.dim);
}

#define BACKWARD(name, ...)                                                                                                   \
    KERNEL_BLOCKS((Backward<__VA_ARGS__>::THREADS), (Backward<__VA_ARGS__>::BLOCKS), attention_backward_##name##_bf16, AttentionArgs) { \
        attention_backward<Backward<__VA_ARGS__>>(args);                                                                      \
    }

BACKWARD(32, 32, false)
BACKWARD(48, 48, false)
BACKWARD(64, 64, false)
BACKWARD(80, 80, false)
BACKWARD(biased_32, 32, true)
#endif
