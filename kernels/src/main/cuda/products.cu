// Matrix products on Hopper's tensor cores with what follows them: y = x w^T + bias, + addend or with GELU.
//
// Layouts: x [m, k], w [n, k], y, addend and z [m, n] by rows, all bf16 and 16-byte aligned, k and n multiples of 8; bias [n] bf16.
// Accumulation: f32, along k in ascending order; what follows is computed in f32 and rounded once.
// Determinism: every element of y is computed by one warpgroup in a fixed order; no atomics.
// Geometry: product_VARIANT[_add|_gelu]: blocks that stay on their multiprocessor walk over the tiles of y, columns first, so that blocks
//   that run together share the rows of x in the L2 cache. The last warp is the producer: it keeps STAGES boxes of x and w, 64 wide,
//   coming by the tensor memory accelerator. The warps before it form warpgroups that consume them. Either all warpgroups
//   work on one tile, each on its rows (together), or each has tiles of its own, one after another in the order of the boxes
//   (taking turns): then one's epilogue runs while the other multiplies, which matters where k is small.
// Where k is small, the boxes of w for a column of tiles may stay in shared memory (resident): then blocks walk down the columns, and
//   the L2 cache, which is what bounds products of small tiles, delivers x alone.
// Epilogue: by warp, 16 rows at a time, through shared memory so that rows are read and written in pieces of 128 bytes; the
//   addend comes by asynchronous copies while the tile is multiplied.
// Bytes: x is read once per column of tiles from the L2 cache, from memory about once; FLOPs: 2 m n k.
#include "tessera.cuh"
#include "tma.cuh"
#include "wgmma.cuh"

/** Columns of a box of x and w: 128 bytes, what the swizzle takes. */
constexpr int PRODUCT_DEPTH = 64;

/**
 * How tiles are cut: see the top. Rows and columns are those of one warpgroup's part.
 *
 * RESIDENT: 0, or as many boxes of w, the whole depth of a column of tiles, as stay in shared memory; x alone then comes in stages.
 */
template <int ROWS, int COLUMNS, int STAGES, int GROUPS, bool TOGETHER, int RESIDENT>
struct ProductShape {
    static constexpr int rows = ROWS;
    static constexpr int columns = COLUMNS;
    static constexpr int stages = STAGES;
    static constexpr int groups = GROUPS;
    static constexpr bool together = TOGETHER;
    static constexpr int resident = RESIDENT;
    static constexpr int tile_rows = TOGETHER ? ROWS * GROUPS : ROWS;
    // Where the sums leave too few of the registers that a thread is launched with, the producer's are given away.
    static constexpr bool many_sums = ROWS * COLUMNS >= 64 * 192 || GROUPS > 2;
    static constexpr int registers = GROUPS > 2 ? 160 : 240;
    static constexpr int threads = WARPGROUP * GROUPS + (many_sums ? WARPGROUP : WARP);
    static constexpr int x_bytes = tile_rows * PRODUCT_DEPTH * 2;
    static constexpr int w_bytes = COLUMNS * PRODUCT_DEPTH * 2;
    static constexpr int stage_bytes = x_bytes + (RESIDENT > 0 ? 0 : w_bytes);
    static constexpr int staged_bytes = 16 * ((COLUMNS + 63) / 64 * 64) * 2;  // of 16 rows
    static constexpr int staging_bytes = ROWS / 16 * staged_bytes;               // of a warpgroup
    static constexpr int barriers = 2 * STAGES + GROUPS + RESIDENT + (RESIDENT > 0 ? 1 : 0);
    static constexpr int shared_bytes =
        SWIZZLE_SLACK + STAGES * stage_bytes + RESIDENT * w_bytes + GROUPS * staging_bytes + barriers * 8;
};

/** What follows beside the bias. */
enum class ProductKind { PLAIN, ADD, GELU };

/** No kernel before this one can have written w: it is fetched before they end. */
constexpr int PRODUCT_FIXED = 1;

/** x is read from memory for the first time: what the next tile needs is brought to the L2 cache beforehand. */
constexpr int PRODUCT_PREFETCH = 2;

struct ProductArgs {
    TensorMap x;  // boxes of tile_rows x 64
    TensorMap w;  // boxes of columns x 64
    const bf16* bias;    // or null
    const bf16* addend;  // for ADD
    bf16* y;
    int m;
    int n;
    int k;
    int ldy;    // distance of rows of y and the addend, a multiple of 8
    int how;    // of PRODUCT_FIXED and PRODUCT_PREFETCH
};

/** Where a warp keeps 16 rows of `columns` values: 64-wide pieces of rows of 128 bytes, swizzled like a box. */
DEVICE int staged(int row, int column) {
    return (column / 64 * 16 + row) * 128 + (((column % 64 / 8) ^ (row % 8)) * 16) + column % 8 * 2;
}

/** Calls step(first row, lane's row, lane's column, offset) for each 16-byte piece of this lane in a warp's 16 staged rows. */
template <int COLUMNS, class Step>
DEVICE void for_staged(Step step) {
    constexpr int WIDTH = COLUMNS % 64 == 0 ? 64 : 32;
    constexpr int LANES = WIDTH / 8;  // for a row
    const int lane_row = lane_index() / LANES;
    const int lane_column = lane_index() % LANES * 8;
#pragma unroll
    for (int row = 0; row < 16; row += WARP / LANES) {
#pragma unroll
        for (int column = 0; column < COLUMNS; column += WIDTH) {
            step(row, lane_row, column + lane_column, staged(row + lane_row, column + lane_column));
        }
    }
}

/** The order in which a block computes tiles. */
template <class Shape>
struct ProductTiles {
    int columns;  // of tiles
    int rows;
    int first;
    int end;
    int stride;

    DEVICE explicit ProductTiles(const ProductArgs& args) {
        columns = (args.n + Shape::columns - 1) / Shape::columns;
        rows = (args.m + Shape::tile_rows - 1) / Shape::tile_rows;
        const int tiles = columns * rows;
        if (Shape::resident > 0) {
            // A run of neighbours in one column of tiles, or at most a few.
            first = static_cast<int>(static_cast<i64>(tiles) * blockIdx.x / gridDim.x);
            end = static_cast<int>(static_cast<i64>(tiles) * (blockIdx.x + 1) / gridDim.x);
            stride = 1;
        } else {
            first = static_cast<int>(blockIdx.x);
            end = tiles;
            stride = static_cast<int>(gridDim.x);
        }
    }

    DEVICE int row(int tile) const {
        return (Shape::resident > 0 ? tile % rows : tile / columns) * Shape::tile_rows;
    }

    DEVICE int column(int tile) const {
        return (Shape::resident > 0 ? tile / rows : tile % columns) * Shape::columns;
    }
};

/** The barriers of a block. */
template <class Shape>
struct ProductBarriers {
    Mbarrier* full;    // of each stage: its boxes are there
    Mbarrier* empty;   // of each stage: its boxes have been used
    Mbarrier* turns;   // of each warpgroup that takes turns: the one before has all boxes of its tile
    Mbarrier* w_full;  // of each resident box of w
    Mbarrier* w_free;  // nobody uses the resident boxes any more

    DEVICE explicit ProductBarriers(Mbarrier* first) {
        full = first;
        empty = full + Shape::stages;
        turns = empty + Shape::stages;
        w_full = turns + Shape::groups;
        w_free = w_full + Shape::resident;
    }

    DEVICE void init() const {
        for (int i = 0; i < Shape::stages; i++) {
            mbarrier_init(&full[i], 1);
            mbarrier_init(&empty[i], Shape::together ? 4 * Shape::groups : 4);
        }
        for (int i = 0; i < Shape::groups; i++) {
            mbarrier_init(&turns[i], 4);
        }
        for (int i = 0; i < Shape::resident; i++) {
            mbarrier_init(&w_full[i], 1);
        }
        if (Shape::resident > 0) {
            mbarrier_init(w_free, 4 * Shape::groups);
        }
        mbarrier_init_done();
    }
};

/** Fetches boxes of w for all depths, which stay. */
template <class Shape>
DEVICE void product_fetch_resident(
    const ProductArgs& args, unsigned char* w, const ProductBarriers<Shape>& barriers, int column, int steps) {
    for (int step = 0; step < steps; step++) {
        mbarrier_arrive_expect(&barriers.w_full[step], Shape::w_bytes);
        tma_load(w + step * Shape::w_bytes, &args.w, &barriers.w_full[step], column, step * PRODUCT_DEPTH);
    }
}

/** Announces the boxes of a stage and fetches that of w, where it does not stay. */
template <class Shape>
DEVICE void product_fetch_w(const ProductArgs& args, unsigned char* stage, Mbarrier* full, int column, int step) {
    mbarrier_arrive_expect(full, Shape::stage_bytes);
    if (Shape::resident == 0) {
        tma_load(stage + Shape::x_bytes, &args.w, full, column, step * PRODUCT_DEPTH);
    }
}

template <class Shape>
DEVICE void product_producer(const ProductArgs& args, unsigned char* stages, const ProductBarriers<Shape>& barriers, int steps) {
    const ProductTiles<Shape> tiles(args);
    unsigned char* const w = stages + Shape::stages * Shape::stage_bytes;
    int resident = -1;  // first column of the tiles whose w is there
    u32 columns = 0;    // of tiles so far
    u32 box = 0;
    int ahead = 0;  // boxes of the first tile of which w has been fetched
    if ((args.how & PRODUCT_FIXED) != 0 && tiles.first < tiles.end) {
        const int column = tiles.column(tiles.first);
        if (Shape::resident > 0) {
            product_fetch_resident<Shape>(args, w, barriers, column, steps);
            resident = column;
            columns = 1;
        } else {
            for (; ahead < steps && ahead < Shape::stages; ahead++) {
                product_fetch_w<Shape>(
                    args, stages + ahead * Shape::stage_bytes, &barriers.full[ahead], column, ahead);
            }
        }
    }
    wait_for_earlier_kernels();
    for (int tile = tiles.first; tile < tiles.end; tile += tiles.stride) {
        const int row = tiles.row(tile);
        const int column = tiles.column(tile);
        if (Shape::resident > 0 && column != resident) {
            if (columns > 0) {
                mbarrier_wait(barriers.w_free, (columns - 1) & 1);
            }
            product_fetch_resident<Shape>(args, w, barriers, column, steps);
            resident = column;
            columns++;
        }
        const int next = tile + tiles.stride;
        const bool prefetch = (args.how & PRODUCT_PREFETCH) != 0 && Shape::resident == 0 && next < tiles.end;
        for (int step = 0; step < steps; step++, box++) {
            // The blocks that compute the tiles beside the next one take the other boxes.
            if (prefetch && step % tiles.columns == next % tiles.columns) {
                tma_prefetch_box(&args.x, tiles.row(next), step * PRODUCT_DEPTH);
            }
            const u32 stage = box % Shape::stages;
            const u32 round = box / Shape::stages;
            if (round > 0) {
                mbarrier_wait(&barriers.empty[stage], (round - 1) & 1);
            }
            unsigned char* const at = stages + stage * Shape::stage_bytes;
            Mbarrier* const full = &barriers.full[stage];
            if (ahead > 0) {
                ahead--;
            } else {
                product_fetch_w<Shape>(args, at, full, column, step);
            }
            tma_load(at, &args.x, full, row, step * PRODUCT_DEPTH);
        }
    }
}

/** Copies 16 bytes from shared to global memory; as packs they would be stored in parts. */
DEVICE void copy_piece(void* to, const void* from) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    *static_cast<uint4*>(to) = *static_cast<const uint4*>(from);
#else
    emulation::copy_aligned(to, from, 16);
#endif
}

/** Starts the copies of the addend's rows of this warp. */
template <class Shape>
DEVICE void product_addend(const ProductArgs& args, unsigned char* staging, int row0, int column0) {
#pragma unroll
    for (int part = 0; part < Shape::rows / 64; part++) {
        for_staged<Shape::columns>([&](int first, int row, int column, int offset) {
            const int r = row0 + part * 64 + first + row;
            const int c = column0 + column;
            const bool valid = r < args.m && c < args.n;
            cp_async16(staging + part * Shape::staged_bytes + offset,
                args.addend + (valid ? static_cast<i64>(r) * args.ldy + c : 0), valid);
        });
    }
    cp_async_commit();
}

/** This lane's values of the bias in a tile: two of every 8 columns; 0 without a bias and beyond the last column. */
template <int COLUMNS>
DEVICE void product_bias(const ProductArgs& args, int column0, u32 (&bias)[COLUMNS / 8]) {
    const bf16* const from = args.bias + column0 + lane_index() % 4 * 2;
    const int columns = args.bias == nullptr ? 0 : args.n - column0;
#pragma unroll
    for (int j = 0; j < COLUMNS / 8; j++) {
        bias[j] = j * 8 < columns ? *reinterpret_cast<const u32*>(from + j * 8) : 0;
    }
}

DEVICE float low_of(u32 word) {
    return __uint_as_float(word << 16);
}

DEVICE float high_of(u32 word) {
    return __uint_as_float(word & 0xFFFF0000u);
}

/** The smaller; NaN where x is NaN. */
DEVICE float at_most(float x, float limit) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    float result;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(x), "f"(limit));
    return result;
#else
    return x > limit ? limit : x;
#endif
}

/**
 * x Phi(x) for results that are rounded to bf16: x+ - |x| Phi(-|x|), where log2 Phi(-|x|) is a polynomial, fitted so that
 * Phi(-|x|) is within 2^-12 of its value for |x| < 5.5; beyond, what is subtracted is below 2^-23.
 */
DEVICE float gelu_to_bf16(float x) {
    const float a = at_most(fabsf(x), 12.0f);
    float log = fmaf(a, -2.33252156e-4f, 4.86980500e-3f);
    log = fmaf(a, log, -4.45992835e-2f);
    log = fmaf(a, log, -4.69680204e-1f);
    log = fmaf(a, log, -1.14626189f);
    log = fmaf(a, log, -1.00035873f);
    return fmaf(-a, exp2_fast(log), fmaxf(x, 0.0f));
}

/** Finishes and writes 64 rows of a warpgroup's sums: this warp's 16. */
template <class Shape, ProductKind KIND>
DEVICE void product_epilogue(
    const ProductArgs& args,
    const float (&sums)[Shape::columns / 2],
    const u32 (&bias)[Shape::columns / 8],
    unsigned char* staging,
    int row0,
    int column0) {
    // Four 8 x 8 matrices at a time, which lie as the sums do: rows 0 to 7 and 8 to 15 of 8 columns, then of the next 8.
    const int matrix = lane_index() / 8;
    const int row = lane_index() % 8 + matrix % 2 * 8;
#pragma unroll
    for (int j = 0; j < Shape::columns / 8; j += 2) {
        unsigned char* const place = staging + staged(row, (j + matrix / 2) * 8);
        u32 words[4];
        if (KIND == ProductKind::ADD) {
            ldmatrix_x4(words, place);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int at = 4 * (j + i / 2) + 2 * (i % 2);
            float low = sums[at] + low_of(bias[j + i / 2]);
            float high = sums[at + 1] + high_of(bias[j + i / 2]);
            if (KIND == ProductKind::ADD) {
                low += low_of(words[i]);
                high += high_of(words[i]);
            }
            words[i] = KIND == ProductKind::GELU ? pack_bf16(gelu_to_bf16(low), gelu_to_bf16(high)) : pack_bf16(low, high);
        }
        stmatrix_x4(place, words);
    }
    __syncwarp();
    bf16* const y = args.y + static_cast<i64>(row0) * args.ldy + column0;
    if (row0 + 16 <= args.m && column0 + Shape::columns <= args.n) {
        for_staged<Shape::columns>([&](int first, int row_of_lane, int column, int offset) {
            copy_piece(y + row_of_lane * static_cast<i64>(args.ldy) + column + first * static_cast<i64>(args.ldy), staging + offset);
        });
    } else {
        for_staged<Shape::columns>([&](int first, int row_of_lane, int column, int offset) {
            const int r = first + row_of_lane;
            if (row0 + r < args.m && column0 + column < args.n) {
                copy_piece(y + r * static_cast<i64>(args.ldy) + column, staging + offset);
            }
        });
    }
    __syncwarp();  // before the next tile's addend takes the place
}

/** A warp has used the boxes of a stage. */
DEVICE void product_release(Mbarrier* empty) {
    if (lane_index() == 0) {
        mbarrier_arrive(empty);
    }
}

template <class Shape, ProductKind KIND>
DEVICE void product_consumer(
    const ProductArgs& args,
    unsigned char* stages,
    unsigned char* staging,
    const ProductBarriers<Shape>& barriers,
    int steps) {
    constexpr int PARTS = Shape::rows / 64;
    const ProductTiles<Shape> tiles(args);
    const unsigned char* const resident_w = stages + Shape::stages * Shape::stage_bytes;
    const int group = warpgroup_index();
    const int warp = warp_index() % 4;
    const bool leader = lane_index() == 0;
    staging += group * Shape::staging_bytes + warp * (Shape::staging_bytes / 4);
    const int rows_before = Shape::together ? group * Shape::rows : 0;  // of the tile
    u32 box = 0;
    int turn = 0;
    u32 parity = group == 0 ? 1 : 0;  // of the phase at whose end this warpgroup's next tile begins; the first's first begins at once
    int resident = -1;
    u32 w_parity = 1;
    wait_for_earlier_kernels();
    for (int tile = tiles.first; tile < tiles.end; tile += tiles.stride) {
        const int column0 = tiles.column(tile);
        if (Shape::resident > 0 && column0 != resident) {
            if (resident >= 0 && leader) {
                mbarrier_arrive(barriers.w_free);
            }
            resident = column0;
            w_parity ^= 1;
        }
        const bool mine = Shape::together || turn == group;
        turn = turn + 1 == Shape::groups ? 0 : turn + 1;
        if (!mine) {
            box += steps;
            continue;
        }
        const int row0 = tiles.row(tile) + rows_before + warp * 16;
        if (KIND == ProductKind::ADD) {
            product_addend<Shape>(args, staging, row0, column0);
        }
        u32 bias[Shape::columns / 8];
        product_bias<Shape::columns>(args, column0, bias);
        if (!Shape::together) {
            // Not before all boxes of the tile before have come: phases of `full` are known by parity, so none may be skipped.
            mbarrier_wait(&barriers.turns[group], parity);
            parity ^= 1;
        }
        float sums[PARTS][Shape::columns / 2];
        for (int step = 0; step < steps; step++, box++) {
            const u32 stage = box % Shape::stages;
            if (Shape::resident > 0) {
                mbarrier_wait(&barriers.w_full[step], w_parity);
            }
            mbarrier_wait(&barriers.full[stage], box / Shape::stages & 1);
            const unsigned char* const at = stages + stage * Shape::stage_bytes;
            const u64 w = wgmma_descriptor(
                Shape::resident > 0 ? resident_w + step * Shape::w_bytes : at + Shape::x_bytes, 0, 1024);
            const u64 x = wgmma_descriptor(at + rows_before * PRODUCT_DEPTH * 2, 0, 1024);
            wgmma_fence();
#pragma unroll
            for (int depth = 0; depth < PRODUCT_DEPTH / 16; depth++) {
#pragma unroll
                for (int part = 0; part < PARTS; part++) {
                    wgmma<Shape::columns, Majors::K, Majors::K>(sums[part], wgmma_advance(x, depth * 32 + part * 64 * 128),
                        wgmma_advance(w, depth * 32), step > 0 || depth > 0);
                }
            }
            wgmma_commit();
            wgmma_wait<1>();
            if (step > 0) {
                product_release(&barriers.empty[(box - 1) % Shape::stages]);
            }
        }
        if (!Shape::together && leader) {
            mbarrier_arrive(&barriers.turns[turn]);
        }
        wgmma_wait<0>();
        const u32 released = leader ? mbarrier_arrive_word(&barriers.empty[(box - 1) % Shape::stages]) : 0;
#pragma unroll
        for (int j = 0; j < Shape::columns / 8; j++) {
            // Zero, of which the assembler knows nothing: or else it would compute half the epilogue before it releases the stage.
            bias[j] |= released & static_cast<u32>(args.how >> 2);
        }
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            wgmma_hold(sums[part]);
        }
        if (KIND == ProductKind::ADD) {
            cp_async_wait<0>();
            __syncwarp();
        }
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            product_epilogue<Shape, KIND>(
                args, sums[part], bias, staging + part * Shape::staged_bytes, row0 + part * 64, column0);
        }
    }
}

template <class Shape, ProductKind KIND>
DEVICE void product(const ProductArgs& args) {
    if constexpr (HOPPER) {
        DYNAMIC_SHARED(unsigned char, shared);
        unsigned char* const stages = align_swizzled(shared);
        unsigned char* const staging = stages + Shape::stages * Shape::stage_bytes + Shape::resident * Shape::w_bytes;
        const ProductBarriers<Shape> barriers(
            reinterpret_cast<Mbarrier*>(staging + Shape::groups * Shape::staging_bytes));
        if (threadIdx.x == Shape::groups * WARPGROUP) {
            tma_prefetch(&args.x);
            tma_prefetch(&args.w);
            barriers.init();
        }
        __syncthreads();
        let_later_kernels_begin();
        const int steps = (args.k + PRODUCT_DEPTH - 1) / PRODUCT_DEPTH;
        if (warp_index() >= Shape::groups * 4) {
            if (Shape::many_sums) {
                fewer_registers<24>();
            }
            if (threadIdx.x == Shape::groups * WARPGROUP) {
                product_producer<Shape>(args, stages, barriers, steps);
            }
        } else {
            if (Shape::many_sums) {
                more_registers<Shape::registers>();
            }
            product_consumer<Shape, KIND>(args, stages, staging, barriers, steps);
        }
    }
}

#define PRODUCT_KERNEL(name, kind, blocks, ...)                                                \
    KERNEL_AHEAD((ProductShape<__VA_ARGS__>::threads), blocks, product_##name, ProductArgs) {  \
        product<ProductShape<__VA_ARGS__>, ProductKind::kind>(args);                           \
    }

/** The kernels of a shape, so many blocks on a multiprocessor. */
#define PRODUCT(name, blocks, ...)                          \
    PRODUCT_KERNEL(name, PLAIN, blocks, __VA_ARGS__)        \
    PRODUCT_KERNEL(name##_add, ADD, blocks, __VA_ARGS__)    \
    PRODUCT_KERNEL(name##_gelu, GELU, blocks, __VA_ARGS__)

#if !defined(PRODUCTS) && (defined(HOPPER_CODE) || !(defined(__CUDA_ARCH__) || defined(__CUDACC_RTC__)))
// Rows and columns of the tile in the name; t: warpgroups take turns.
PRODUCT(128x128t, 1, 128, 128, 5, 2, false, 0)
PRODUCT(128x64, 1, 64, 64, 6, 2, true, 0)
PRODUCT(64x64, 1, 64, 64, 8, 1, true, 0)
PRODUCT(64x32, 1, 64, 32, 12, 1, true, 0)
#endif
