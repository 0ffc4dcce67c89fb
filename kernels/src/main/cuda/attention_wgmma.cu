// The forward pass of attention on Hopper's tensor cores, for bf16; formulas and layouts: attention.cu.
//
// A block is a warpgroup that owns 64 queries. Tiles of KEYS keys or values come by cp.async, in the order K(0), V(0), K(1), ..., into
// STAGES places in turn. The products S = Q K^T and O += P V are wgmma: Q and K as they lie are K-major operands, V an MN-major one, P
// goes from the accumulators of S to operand A in registers. A block does one thing after the other; what overlaps is the blocks of a
// multiprocessor, of which several fit. The last tile of keys takes 16, 32, 64 or all columns; a warp without queries takes no
// exponentials.
// A bias and regions are what the sums of the scores begin with, divided by the scale: they cost loads and no registers. Their keys
// are even in number and come in pairs.
// Shared memory: rows of 128 bytes, 128-byte swizzled; head dims over 64 take two panels of 64. Q, which becomes the place from which
// O is stored, and the places of K and V.
// Balance at head dim 64, per 64 x 64 scores and multiprocessor: 256 cycles of tensor core, 256 of exponentials (16 a cycle), about
// 290 issue slots of a scheduler; 16 KiB from L2. Measured and no better: two to four warpgroups in a block, the next scores while the
// exponentials of these are computed, TMA, rescaling only where maxima grow much, exponentials by polynomials, prefetches to L2.
#include "attention.cuh"
#include "tessera.cuh"
#include "wgmma.cuh"

/** What can be chosen; see above. */
template <int HD_, int KEYS_, int STAGES_, bool BIASED_>
struct WgmmaPlan {
    static constexpr int HD = HD_;
    static constexpr int KEYS = KEYS_;
    static constexpr int STAGES = STAGES_;
    static constexpr bool BIASED = BIASED_;
    static constexpr int ROWS = 64;
    static constexpr int PANELS = (HD + 63) / 64;
    static constexpr int Q_BYTES = ROWS * 128 * PANELS;
    static constexpr int TILE_BYTES = KEYS * 128 * PANELS;
};

/** Position of a thread among those that copy rows, in 16-byte chunks; a row has SLOTS of them, of which the last may be unused. */
template <class P>
struct Copier {
    static constexpr int SLOTS = P::HD <= 16 ? 2 : P::HD <= 32 ? 4 : P::HD <= 64 ? 8 : 16;
    static constexpr int PASS = WARPGROUP / SLOTS;  // rows at a time
    static_assert(PASS % 8 == 0, "all rows of a thread have the same swizzle");

    static DEVICE int chunk() {
        return static_cast<int>(threadIdx.x) % SLOTS;
    }

    static DEVICE int row() {
        return static_cast<int>(threadIdx.x) / SLOTS;
    }

    /**
     * Starts to copy ROWS rows from `first` on to a swizzled tile; zeros beyond `rows` and the head dim. `from` is the address of this
     * thread's chunk in row 0.
     */
    template <int ROWS>
    static DEVICE void load(unsigned char* tile, const bf16* from, i64 stride, int first, int rows, int dim) {
        unsigned char* to = tile + chunk() / 8 * ROWS * 128 + swizzled(row() * 128 + chunk() % 8 * 16);
        from += first * stride;
        if (first + ROWS <= rows && dim == P::HD) {
            copy<ROWS, true>(to, from, stride, 0, true);
        } else {
            copy<ROWS, false>(to, from, stride, rows - first - row(), chunk() * 8 < dim);
        }
    }

   private:
    template <int ROWS, bool WHOLE>
    static DEVICE void copy(unsigned char* to, const bf16* from, i64 stride, int rows, bool valid) {
#pragma unroll
        for (int i = 0; i < ROWS; i += PASS) {
            if ((ROWS % PASS == 0 || i + row() < ROWS) && (SLOTS * 8 == P::HD || chunk() * 8 < P::HD)) {
                cp_async16(to + i * 128, from, WHOLE || (valid && i < rows));
            }
            from += PASS * stride;
        }
    }
};

/** The state of a thread's two rows. */
template <class P>
struct WgmmaState {
    float acc[P::HD / 2];
    float max[2];
    float sum[2];  // of this thread's columns
    u32 p[P::KEYS / 16][4];
};

/** Of a thread's first row and the pairs of keys that are its own. */
struct WgmmaBias {
    ScoreBias scores;
    int query;
    int pair;

    DEVICE WgmmaBias(const AttentionArgs& args, const Place& place, int first)
        : scores(args, place.sample, place.head),
          query(first + warp_index() * 16 + lane_index() / 4),
          pair(lane_index() % 4 * 2) {}

    /** What the scores of COLS keys from `key` on begin with; zeros beyond the last key, anything beyond the last query. */
    template <int COLS, bool MASK>
    DEVICE void begin(float (&s)[COLS / 2], int key) const {
        if (scores.bias == nullptr) {
#pragma unroll
            for (int i = 0; i < COLS / 2; i++) {
                s[i] = 0.0f;
            }
        } else if (scores.bf16_bias) {
            read_bias<COLS, MASK>(s, static_cast<const bf16*>(scores.bias), key);
        } else {
            read_bias<COLS, MASK>(s, static_cast<const float*>(scores.bias), key);
        }
        if (scores.regions != nullptr) {
            int own[2];
#pragma unroll
            for (int h = 0; h < 2; h++) {
                own[h] = scores.regions[min(query + 8 * h, scores.queries - 1)];
            }
#pragma unroll
            for (int j = 0; j < COLS / 8; j++) {
                const int at = key + j * 8 + pair;
                if (!MASK || at < scores.keys) {
#pragma unroll
                    for (int e = 0; e < 2; e++) {
                        const int region = scores.regions[at + e];
#pragma unroll
                        for (int h = 0; h < 2; h++) {
                            s[4 * j + 2 * h + e] += own[h] == region ? 0.0f : scores.separation;
                        }
                    }
                }
            }
        }
    }

   private:
    template <int COLS, bool MASK, class T>
    DEVICE void read_bias(float (&s)[COLS / 2], const T* bias, int key) const {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int row = min(query + 8 * h, scores.queries - 1);
            const T* const from = bias + static_cast<i64>(row) * scores.keys + key + pair;
#pragma unroll
            for (int j = 0; j < COLS / 8; j++) {
                float two[2] = {};
                if (!MASK || key + j * 8 + pair < scores.keys) {
                    read(from + j * 8, two);
                }
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    s[4 * j + 2 * h + e] = two[e] * scores.inverse;
                }
            }
        }
    }
};

/** Where nothing is added to the products. */
struct NoBias {
    DEVICE NoBias(const AttentionArgs&, const Place&, int) {}
};

/** Starts s = Q K^T for COLS keys, added to what is there where there is a bias. */
template <class P, int COLS>
DEVICE void start_scores(float (&s)[COLS / 2], u64 queries, u64 keys) {
#pragma unroll
    for (int k = 0; k < P::HD / 16; k++) {
        wgmma<COLS, Majors::K, Majors::K>(
                s,
                wgmma_advance(queries, k / 4 * P::ROWS * 128 + k % 4 * 32),
                wgmma_advance(keys, k / 4 * P::KEYS * 128 + k % 4 * 32),
                P::BIASED || k > 0);
    }
}

/** Starts acc += P V for COLS keys. */
template <class P, int COLS>
DEVICE void start_values(WgmmaState<P>& state, u64 values) {
#pragma unroll
    for (int j = 0; j < COLS / 16; j++) {
        wgmma<P::HD, Majors::MN>(state.acc, state.p[j], wgmma_advance(values, j * 2048), true);
    }
}

/** Replaces scores by exponentials and takes them into maxima and sums; `shrink` receives the factors for acc. */
template <class P, int COLS, bool MASK>
DEVICE void softmax_step(float (&s)[COLS / 2], WgmmaState<P>& state, float (&shrink)[2], float factor, int limit) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float max = -infinity();
#pragma unroll
        for (int j = 0; j < COLS / 4; j++) {
            float& value = s[j / 2 * 4 + 2 * h + j % 2];
            if (MASK && j / 2 * 8 + lane_index() % 4 * 2 + j % 2 >= limit) {
                value = -infinity();
            }
            max = fmaxf(max, value);
        }
        max = fmaxf(state.max[h], lanes_max<4>(max));
        const float base = max == -infinity() ? 0.0f : max * factor;  // a row of minus infinities stays 0
        shrink[h] = exp2_fast(fmaf(state.max[h], factor, -base));
        state.max[h] = max;
        float sum = state.sum[h] * shrink[h];
#pragma unroll
        for (int j = 0; j < COLS / 4; j++) {
            float& value = s[j / 2 * 4 + 2 * h + j % 2];
            value = exp2_fast(fmaf(value, factor, -base));
            sum += value;
        }
        state.sum[h] = sum;
    }
}

template <class P, int COLS>
DEVICE void pack_scores(WgmmaState<P>& state, const float (&s)[COLS / 2]) {
#pragma unroll
    for (int j = 0; j < COLS / 16; j++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            state.p[j][i] = pack_bf16(s[j * 8 + i * 2], s[j * 8 + i * 2 + 1]);
        }
    }
}

/** The scores of COLS keys from `key` on, of which `limit` exist where MASK; leaves the exponentials in state.p. */
template <class P, int COLS, bool MASK, class Bias>
DEVICE void wgmma_scores(
        WgmmaState<P>& state,
        u64 queries,
        u64 keys,
        [[maybe_unused]] const Bias& bias,
        [[maybe_unused]] int key,
        float factor,
        int limit,
        bool active) {
    float s[COLS / 2];
    if constexpr (P::BIASED) {
        bias.template begin<COLS, MASK>(s, key);
    }
    wgmma_fence();
    start_scores<P, COLS>(s, queries, keys);
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(s);
    float shrink[2] = {1.0f, 1.0f};
    if (active) {
        softmax_step<P, COLS, MASK>(s, state, shrink, factor, limit);
    }
#pragma unroll
    for (int i = 0; i < P::HD / 2; i++) {
        state.acc[i] *= shrink[i / 2 % 2];
    }
    pack_scores<P, COLS>(state, s);
}

/** The product of what wgmma_scores has left with the values of the same keys. */
template <class P, int COLS>
DEVICE void wgmma_values(WgmmaState<P>& state, u64 values) {
    wgmma_fence();
    start_values<P, COLS>(state, values);
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(state.acc);
}

/** The number of columns to try next for the last tile. */
template <class P>
DEVICE constexpr int wider(int columns) {
    return columns < 64 && columns * 2 < P::KEYS ? columns * 2 : P::KEYS;
}

/** The last tile, of `limit` keys, in as few columns as hold it. */
template <class P, int COLS, class Bias>
DEVICE void wgmma_last_scores(
        WgmmaState<P>& state, u64 queries, u64 keys, const Bias& bias, int key, float factor, int limit, bool active) {
    if constexpr (COLS < P::KEYS) {
        if (limit > COLS) {
            wgmma_last_scores<P, wider<P>(COLS)>(state, queries, keys, bias, key, factor, limit, active);
            return;
        }
    }
    wgmma_scores<P, COLS, true>(state, queries, keys, bias, key, factor, limit, active);
}

template <class P, int COLS>
DEVICE void wgmma_last_values(WgmmaState<P>& state, u64 values, int limit) {
    if constexpr (COLS < P::KEYS) {
        if (limit > COLS) {
            wgmma_last_values<P, wider<P>(COLS)>(state, values, limit);
            return;
        }
    }
    wgmma_values<P, COLS>(state, values);
}

/** Writes O and L; `tile`, where Q was, is used on the way. */
template <class P>
DEVICE void store_attention(
        const AttentionArgs& args, const Place& place, WgmmaState<P>& state, unsigned char* tile, int first, float factor) {
    const int warp = warp_index();
    float inverse[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float sum = lanes_sum<4>(state.sum[h]);
        const int query = first + warp * 16 + lane_index() / 4 + 8 * h;
        inverse[h] = sum > 0.0f ? 1.0f / sum : sum;  // keeps a NaN
        if (args.log_sum_exp != nullptr && lane_index() % 4 == 0 && query < args.queries) {
            const i64 head = place.sample * args.heads + place.head;
            args.log_sum_exp[head * args.queries + query] =
                    sum == 0.0f ? -infinity() : fmaf(state.max[h] * factor, LN2, logf(sum));
        }
    }
    __syncthreads();  // nobody reads Q
#pragma unroll
    for (int i = 0; i < P::HD / 2; i += 2) {
        const int row = warp * 16 + lane_index() / 4 + i / 2 % 2 * 8;
        unsigned char* panel = tile + i / 32 * P::ROWS * 128;
        const float f = inverse[i / 2 % 2];
        *reinterpret_cast<u32*>(panel + swizzled(row * 128 + i / 4 % 8 * 16 + lane_index() % 4 * 4)) =
                pack_bf16(state.acc[i] * f, state.acc[i + 1] * f);
    }
    __syncwarp();
    constexpr int CHUNKS = P::HD / 8;
    bf16* out = static_cast<bf16*>(args.out) + place.sample * args.os.batch + place.head * args.os.head;
#pragma unroll
    for (int start = 0; start < 16 * CHUNKS; start += WARP) {
        const int i = start + lane_index();
        const int row = warp * 16 + i / CHUNKS;
        const int chunk = i % CHUNKS;
        if (first + row < args.queries && chunk * 8 < args.dim) {
            const unsigned char* from = tile + chunk / 8 * P::ROWS * 128 + swizzled(row * 128 + chunk % 8 * 16);
            store_pack(out + (first + row) * args.os.row + chunk * 8, load_pack(reinterpret_cast<const bf16*>(from)));
        }
    }
}

template <class P, class Bias>
DEVICE void attention_wgmma(const AttentionArgs& args) {
    DYNAMIC_SHARED(unsigned char, raw);
    unsigned char* query_tile = align_swizzled(raw);
    unsigned char* tiles = query_tile + P::Q_BYTES;
    using Copy = Copier<P>;
    const Place place = place_of_block(args, tiles_of(args.queries, P::ROWS));
    const int first = place.tile * P::ROWS;
    const int copied = Copy::chunk() * 8;
    const bf16* q = static_cast<const bf16*>(args.q) + offset_of(args.qs, place.sample, place.head)
            + Copy::row() * args.qs.row + copied;
    const bf16* k = static_cast<const bf16*>(args.k) + offset_of(args.ks, place.sample, place.head)
            + Copy::row() * args.ks.row + copied;
    const bf16* v = static_cast<const bf16*>(args.v) + offset_of(args.vs, place.sample, place.head)
            + Copy::row() * args.vs.row + copied;
    const int full = args.keys / P::KEYS;
    const int rest = args.keys % P::KEYS;
    const int count = 2 * (full + (rest > 0 ? 1 : 0));

    // Tile i, of keys where i is even, of values where it is odd.
    const auto load = [&](int i, int place_of_tile) {
        if (i < count) {
            const bool values = i % 2 != 0;
            Copy::template load<P::KEYS>(
                    tiles + place_of_tile * P::TILE_BYTES,
                    values ? v : k,
                    values ? args.vs.row : args.ks.row,
                    i / 2 * P::KEYS,
                    args.keys,
                    args.dim);
        }
        cp_async_commit();
    };
    Copy::template load<P::ROWS>(query_tile, q, args.qs.row, first, args.queries, args.dim);
#pragma unroll
    for (int i = 0; i < P::STAGES - 1; i++) {
        load(i, i);
    }
    // Lets tile i be read: it has come for all threads, and another comes to where the one before was read. Returns the distance from
    // the first place.
    int next = 0;  // place of tile i
    const auto begin = [&](int i) {
        cp_async_wait<P::STAGES - 2>();
        fence_proxy_async();
        __syncthreads();
        load(i + P::STAGES - 1, next == 0 ? P::STAGES - 1 : next - 1);
        const int distance = next * P::TILE_BYTES;
        next = next == P::STAGES - 1 ? 0 : next + 1;
        return distance;
    };

    const bool active = first + warp_index() * 16 < args.queries;
    const float factor = args.scale * LOG2E;
    const u64 queries = wgmma_descriptor(query_tile, 16, 1024);
    const u64 keys = wgmma_descriptor(tiles, 16, 1024);
    const u64 values = wgmma_descriptor(tiles, P::KEYS * 128, 1024);
    const Bias bias(args, place, first);
    WgmmaState<P> state;
#pragma unroll
    for (int i = 0; i < P::HD / 2; i++) {
        state.acc[i] = 0.0f;
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        state.max[h] = -infinity();
        state.sum[h] = 0.0f;
    }
#pragma unroll 1
    for (int t = 0; t < full; t++) {
        wgmma_scores<P, P::KEYS, false>(
                state, queries, wgmma_advance(keys, begin(2 * t)), bias, t * P::KEYS, factor, 0, active);
        wgmma_values<P, P::KEYS>(state, wgmma_advance(values, begin(2 * t + 1)));
    }
    if (rest > 0) {
        wgmma_last_scores<P, 16>(
                state, queries, wgmma_advance(keys, begin(2 * full)), bias, full * P::KEYS, factor, rest, active);
        wgmma_last_values<P, 16>(state, wgmma_advance(values, begin(2 * full + 1)), rest);
    }
    cp_async_wait<0>();
    store_attention<P>(args, place, state, query_tile, first, factor);
}

/** With the number of blocks that a multiprocessor is to hold. */
#define ATTENTION_WGMMA(HD, KEYS, STAGES, blocks)                                \
    KERNEL_BLOCKS(WARPGROUP, blocks, attention_wgmma_##HD, AttentionArgs) {      \
        attention_wgmma<WgmmaPlan<HD, KEYS, STAGES, false>, NoBias>(args);       \
    }

/** The same with a bias, regions or both. */
#define ATTENTION_WGMMA_BIASED(HD, KEYS, STAGES, blocks)                         \
    KERNEL_BLOCKS(WARPGROUP, blocks, attention_wgmma_biased_##HD, AttentionArgs) { \
        attention_wgmma<WgmmaPlan<HD, KEYS, STAGES, true>, WgmmaBias>(args);     \
    }

// Machine code for other targets lacks these kernels, so that nobody takes an empty one for one that computes.
#if defined(HOPPER_CODE) || !(defined(__CUDA_ARCH__) || defined(__CUDACC_RTC__))
ATTENTION_WGMMA(32, 112, 3, 4)
ATTENTION_WGMMA(48, 112, 3, 4)
ATTENTION_WGMMA(64, 112, 3, 4)
ATTENTION_WGMMA(80, 64, 3, 3)
ATTENTION_WGMMA_BIASED(32, 112, 3, 4)
#endif
