// The forward pass of attention on Hopper's tensor cores, for bf16 without a bias and regions; formulas and layouts: attention.cu.
//
// A warpgroup owns 64 queries; GROUPS of them share the tiles of KEYS keys and values that come by cp.async into STAGES buffers. The
// products S = Q K^T and O += P V are wgmma: K as it lies is a K-major operand, V an MN-major one, P goes from the accumulators of S
// to operand A in registers. OVERLAP: the scores of the next tile are computed while the exponentials of this one are, so the order
// is S(0), softmax(0), then S(t) and P V(t - 1) together, softmax(t). Other overlap comes from several warpgroups in one
// multiprocessor. The last tile of keys takes 16, 32, 64 or all columns; a warpgroup without queries only helps to load, a warp
// without queries takes no exponentials. Up to 16 queries behind the last whole 64 would cost as much as 64: a warp of their own
// takes them by mma.sync, straight from global memory; a block has a warp for each of as many heads, and comes before the blocks of
// those heads.
// Shared memory: rows of 128 bytes, 128-byte swizzled; head dims over 64 take two panels of 64. Per block Q, which becomes the place
// from which O is stored, and the buffers of K and V.
// Balance at head dim 64, per 64 x 64 scores and multiprocessor: 256 cycles of tensor core, 256 of exponentials (16 a cycle), about
// 300 issue slots of a scheduler; 16 KiB from L2 for each GROUPS x 64 queries.
#include "attention.cuh"
#include "tessera.cuh"
#include "wgmma.cuh"

/** What can be chosen; see above. */
template <int HD_, int KEYS_, int STAGES_, int GROUPS_, bool Q_REGISTERS_, bool OVERLAP_>
struct WgmmaPlan {
    static constexpr int HD = HD_;
    static constexpr int KEYS = KEYS_;
    static constexpr int STAGES = STAGES_;
    static constexpr int GROUPS = GROUPS_;
    static constexpr bool Q_REGISTERS = Q_REGISTERS_;  // operand Q from registers, not from shared memory
    static constexpr bool OVERLAP = OVERLAP_;
    static constexpr int TILES = OVERLAP ? 2 * STAGES : STAGES;
    static constexpr int ROWS = 64;                      // of a warpgroup
    static constexpr int THREADS = GROUPS * WARPGROUP;
    static constexpr int PANELS = (HD + 63) / 64;
    static constexpr int Q_BYTES = ROWS * 128 * PANELS;  // of a warpgroup
    static constexpr int TILE_BYTES = KEYS * 128 * PANELS;
    static constexpr int BYTES = GROUPS * Q_BYTES + TILES * TILE_BYTES + SWIZZLE_SLACK;
};

/** Position of a thread among those that copy rows, in 16-byte chunks; a row has SLOTS of them, of which the last may be unused. */
template <class P>
struct Copier {
    static constexpr int SLOTS = P::HD <= 16 ? 2 : P::HD <= 32 ? 4 : P::HD <= 64 ? 8 : 16;
    static constexpr int PASS = P::THREADS / SLOTS;  // rows at a time
    static_assert(PASS % 8 == 0, "all rows of a thread have the same swizzle");

    static DEVICE int chunk() {
        return static_cast<int>(threadIdx.x) % SLOTS;
    }

    static DEVICE int row() {
        return static_cast<int>(threadIdx.x) % P::THREADS / SLOTS;
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

/** Q as operand A. */
template <class P>
struct WgmmaQueries {
    u32 fragments[P::Q_REGISTERS ? P::HD / 16 : 1][4];
    u64 descriptor;
};

/** Starts s = Q K^T for COLS keys. */
template <class P, int COLS>
DEVICE void start_scores(float (&s)[COLS / 2], const WgmmaQueries<P>& q, u64 keys) {
#pragma unroll
    for (int k = 0; k < P::HD / 16; k++) {
        const u64 b = wgmma_advance(keys, k / 4 * P::KEYS * 128 + k % 4 * 32);
        if constexpr (P::Q_REGISTERS) {
            wgmma<COLS, Majors::K>(s, q.fragments[k], b, k > 0);
        } else {
            wgmma<COLS, Majors::K, Majors::K>(
                    s, wgmma_advance(q.descriptor, k / 4 * P::ROWS * 128 + k % 4 * 32), b, k > 0);
        }
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

DEVICE float quad_max(float value) {
    value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 1));
    return fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 2));
}

DEVICE float quad_sum(float value) {
    value += __shfl_xor_sync(ALL_LANES, value, 1);
    return value + __shfl_xor_sync(ALL_LANES, value, 2);
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
        max = fmaxf(state.max[h], quad_max(max));
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

/**
 * The scores of COLS keys and, with OVERLAP unless FIRST, the product of the tile before with its values; leaves the exponentials in
 * state.p, to be multiplied with this tile's values. `limit` is the number of keys that exist where MASK.
 */
template <class P, int COLS, bool FIRST, bool MASK>
DEVICE void wgmma_step(
        WgmmaState<P>& state, const WgmmaQueries<P>& q, u64 keys, u64 values_before, float factor, int limit, bool active) {
    constexpr bool BEHIND = P::OVERLAP && !FIRST;
    float s[COLS / 2];
    wgmma_fence();
    start_scores<P, COLS>(s, q, keys);
    wgmma_commit();
    if constexpr (BEHIND) {
        start_values<P, P::KEYS>(state, values_before);
        wgmma_commit();
        wgmma_wait<1>();
    } else {
        wgmma_wait<0>();
    }
    wgmma_hold(s);
    float shrink[2] = {1.0f, 1.0f};
    if (active) {
        softmax_step<P, COLS, MASK>(s, state, shrink, factor, limit);
    }
    if constexpr (BEHIND) {
        wgmma_wait<0>();
        wgmma_hold(state.acc);
    }
#pragma unroll
    for (int i = 0; i < P::HD / 2; i++) {
        state.acc[i] *= shrink[i / 2 % 2];
    }
    pack_scores<P, COLS>(state, s);
}

/** The product that wgmma_step has left over. */
template <class P, int COLS>
DEVICE void wgmma_values(WgmmaState<P>& state, u64 values) {
    wgmma_fence();
    start_values<P, COLS>(state, values);
    wgmma_commit();
    wgmma_wait<0>();
    wgmma_hold(state.acc);
}

template <class P>
DEVICE constexpr int wider(int columns) {
    return columns < 64 && columns * 2 < P::KEYS ? columns * 2 : P::KEYS;
}

/** The last tile, of `limit` keys, in as few columns as one of the instructions has. */
template <class P, int COLS>
DEVICE void wgmma_last_scores(
        WgmmaState<P>& state, const WgmmaQueries<P>& q, u64 keys, u64 values_before, float factor, int limit, bool active) {
    if constexpr (COLS < P::KEYS) {
        if (limit > COLS) {
            wgmma_last_scores<P, wider<P>(COLS)>(state, q, keys, values_before, factor, limit, active);
            return;
        }
    }
    wgmma_step<P, COLS, false, true>(state, q, keys, values_before, factor, limit, active);
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

/** Writes O and L of the warpgroup's queries; `tile` is its part of shared memory. */
template <class P>
DEVICE void store_attention(
        const AttentionArgs& args, const Place& place, WgmmaState<P>& state, unsigned char* tile, int first, float factor) {
    const int warp = warp_index() % 4;
    float inverse[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float sum = quad_sum(state.sum[h]);
        const int query = first + warp * 16 + lane_index() / 4 + 8 * h;
        inverse[h] = sum > 0.0f ? 1.0f / sum : sum;  // keeps a NaN
        if (args.log_sum_exp != nullptr && lane_index() % 4 == 0 && query < args.queries) {
            const i64 head = place.sample * args.heads + place.head;
            args.log_sum_exp[head * args.queries + query] =
                    sum == 0.0f ? -infinity() : fmaf(state.max[h] * factor, LN2, logf(sum));
        }
    }
    if constexpr (P::Q_REGISTERS) {
        __syncwarp();
    } else {
#pragma unroll
        for (int group = 0; group < P::GROUPS; group++) {  // barriers with known numbers: others would all be reserved
            if (warpgroup_index() == group) {
                named_barrier_sync(1 + group, WARPGROUP);
            }
        }
    }
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

template <class P>
DEVICE void attention_wgmma(const AttentionArgs& args) {
    DYNAMIC_SHARED(unsigned char, raw);
    unsigned char* shared = align_swizzled(raw);
    unsigned char* key_tiles = shared + P::GROUPS * P::Q_BYTES;
    using Copy = Copier<P>;
    const int rows = args.queries;
    const Place place = place_of_block(args, tiles_of(rows, P::GROUPS * P::ROWS));
    const int block_first = place.tile * P::GROUPS * P::ROWS;
    const int copied = Copy::chunk() * 8;
    const bf16* q = static_cast<const bf16*>(args.q) + offset_of(args.qs, place.sample, place.head)
            + Copy::row() * args.qs.row + copied;
    const bf16* k = static_cast<const bf16*>(args.k) + offset_of(args.ks, place.sample, place.head)
            + Copy::row() * args.ks.row + copied;
    const bf16* v = static_cast<const bf16*>(args.v) + offset_of(args.vs, place.sample, place.head)
            + Copy::row() * args.vs.row + copied;
    const int full = args.keys / P::KEYS;
    const int rest = args.keys % P::KEYS;
    const int count = full + (rest > 0 ? 1 : 0);
    for (int group = 0; group < P::GROUPS; group++) {
        Copy::template load<P::ROWS>(
                shared + group * P::Q_BYTES, q, args.qs.row, block_first + group * P::ROWS, rows, args.dim);
    }

    const int group = warpgroup_index();
    const int first = block_first + group * P::ROWS;
    const bool working = first < rows;
    const bool active = first + warp_index() % 4 * 16 < rows;
    const float factor = args.scale * LOG2E;
    unsigned char* own = shared + group * P::Q_BYTES;
    const u64 keys = wgmma_descriptor(key_tiles, 16, 1024);
    WgmmaQueries<P> queries;
    WgmmaState<P> state;
    queries.descriptor = wgmma_descriptor(own, 16, 1024);
#pragma unroll
    for (int i = 0; i < P::HD / 2; i++) {
        state.acc[i] = 0.0f;
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        state.max[h] = -infinity();
        state.sum[h] = 0.0f;
    }
    const auto read_queries = [&] {
        if constexpr (P::Q_REGISTERS) {
#pragma unroll
            for (int i = 0; i < P::HD / 16; i++) {
                const int row = warp_index() % 4 * 16 + lane_index() % 16;
                ldmatrix_x4(
                        queries.fragments[i],
                        own + i / 4 * P::ROWS * 128 + swizzled(row * 128 + i % 4 * 32 + lane_index() / 16 * 16));
            }
        }
    };
    {
        // Tiles come in the order K(0), V(0), K(1), ..., into STAGES places in turn, of which `place_now` is the next to be read.
        int place_now = 0;
        const auto load = [&](int i, int to) {
            if (i < 2 * count) {
                Copy::template load<P::KEYS>(
                        key_tiles + to * P::TILE_BYTES,
                        i % 2 == 0 ? k : v,
                        i % 2 == 0 ? args.ks.row : args.vs.row,
                        i / 2 * P::KEYS,
                        args.keys,
                        args.dim);
            }
            cp_async_commit();
        };
        const auto begin = [&](int i) {
            cp_async_wait<P::STAGES - 2>();
            fence_proxy_async();
            __syncthreads();
            load(i + P::STAGES - 1, place_now == 0 ? P::STAGES - 1 : place_now - 1);
            const int offset = place_now * P::TILE_BYTES;
            place_now = place_now == P::STAGES - 1 ? 0 : place_now + 1;
            return offset;
        };
        const u64 values = wgmma_descriptor(key_tiles, P::KEYS * 128, 1024);
        for (int i = 0; i < P::STAGES - 1; i++) {
            load(i, i);
        }
#pragma unroll 1
        for (int t = 0; t < full; t++) {
            const u64 at = wgmma_advance(keys, begin(2 * t));
            if (t == 0) {
                read_queries();
            }
            if (working) {
                wgmma_step<P, P::KEYS, false, false>(state, queries, at, 0, factor, 0, active);
            }
            const u64 then = wgmma_advance(values, begin(2 * t + 1));
            if (working) {
                wgmma_values<P, P::KEYS>(state, then);
            }
        }
        if (rest > 0) {
            const u64 at = wgmma_advance(keys, begin(2 * full));
            if (full == 0) {
                read_queries();
            }
            if (working) {
                wgmma_last_scores<P, 16>(state, queries, at, 0, factor, rest, active);
            }
            const u64 then = wgmma_advance(values, begin(2 * full + 1));
            if (working) {
                wgmma_last_values<P, 16>(state, then, rest);
            }
        }
    }
    cp_async_wait<0>();
    if (working) {
        store_attention<P>(args, place, state, own, first, factor);
    }
}

#define ATTENTION_WGMMA(name, blocks, HD, KEYS, STAGES, GROUPS, Q_REGISTERS, OVERLAP)                                      \
    KERNEL_BLOCKS(GROUPS * WARPGROUP, blocks, attention_wgmma_##name, AttentionArgs) {                                  \
        attention_wgmma<WgmmaPlan<HD, KEYS, STAGES, GROUPS, Q_REGISTERS, OVERLAP>>(args);                               \
    }

// Machine code for other targets lacks these kernels, so that nobody takes an empty one for one that computes.
#if defined(HOPPER_CODE) || !(defined(__CUDA_ARCH__) || defined(__CUDACC_RTC__))
ATTENTION_WGMMA(32, 4, 32, 112, 3, 1, false, false)
ATTENTION_WGMMA(48, 4, 48, 112, 3, 1, false, false)
ATTENTION_WGMMA(64, 4, 64, 112, 3, 1, false, false)
ATTENTION_WGMMA(80, 3, 80, 64, 3, 1, false, false)
#endif
