// Matrix products on Hopper's tensor cores with what follows them: y = x w^T + bias, + addend or with GELU.
//
// Layouts: x [m, k] and w [n, k] by rows, bf16 or s8; y, addend and z [m, n] by rows and bias [n], all bf16; 16-byte aligned, n a
//   multiple of 8, rows of x and w multiples of 16 bytes.
// Bytes: x is (q scale + shift), a scale and a shift for each row, and w is q scale, a scale for each column of y, see
//   products_int8.cu. The sums of their products are exact, unless bytes are e4m3: then sums are f32, of which the hardware may keep
//   fewer bits.
// Norm: x stands for its layer norm in the same way, q rstd - mean rstd, where w has the norm's scale and the bias its shift, see
//   layer_norm_scales in norms.cu. Of a row whose mean is large the sums are too, of which the sum of w times the mean is taken: their
//   rounding, at most |mean| rstd (k / 16 + 3) 2^-23 times the sum of |w|, stays; that of norms as bf16 values, 2^-9 of each, is spared.
// Accumulation: f32 or s32, along k in ascending order; what follows is computed in f32 and rounded once.
// Determinism: every element of y is computed by one warpgroup in a fixed order; no atomics. Sums of columns (_gelu_gradient_sums, of the
//   f32 values before they are rounded) are written for each warp and row of tiles, to be added up in the order of rows.
// Geometry: product_VARIANT[_add|_gelu|_norm|_norm_gelu]: blocks that stay on their multiprocessor walk over the tiles of y, columns
//   first, so that blocks that run together share the rows of x in the L2 cache. The last warp is the producer: it keeps STAGES boxes of x and w, 64 wide,
//   coming by the tensor memory accelerator. The warps before it form warpgroups that consume them. Either all warpgroups
//   work on one tile, each on its rows (together), or each has tiles of its own, one after another in the order of the boxes
//   (taking turns): then one's epilogue runs while the other multiplies, which matters where k is small.
// Where k is small, the boxes of x for a row of tiles may stay in shared memory (resident): then blocks walk along the rows, and
//   the L2 cache, which is what bounds products of small tiles, delivers w alone.
// Epilogue: by warp, 16 rows at a time, through shared memory so that rows are read and written in pieces of 128 bytes; the
//   addend comes by asynchronous copies while the tile is multiplied.
// Traffic: x is read once per column of tiles from the L2 cache, from memory about once; FLOPs: 2 m n k.
#pragma once
#include "product_shapes.cuh"
#include "tessera.cuh"
#include "tma.cuh"
#include "wgmma.cuh"

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

    template <class Args>
    DEVICE explicit ProductTiles(const Args& args) {
        columns = (args.n + Shape::columns - 1) / Shape::columns;
        rows = (args.m + Shape::tile_rows - 1) / Shape::tile_rows;
        const int tiles = columns * rows;
        if (Shape::resident > 0) {
            // A run of neighbours in one row of tiles, or at most a few.
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
        return tile / columns * Shape::tile_rows;
    }

    DEVICE int column(int tile) const {
        return tile % columns * Shape::columns;
    }

    /** Whether a tile is the first of its row that this block computes. */
    DEVICE bool begins(int tile) const {
        return tile == first || tile % columns == 0;
    }

    /** Whether it is the last of its row that this block computes. */
    DEVICE bool ends(int tile) const {
        return tile + 1 == end || (tile + 1) % columns == 0;
    }
};

/** The barriers of a block. */
template <class Shape>
struct ProductBarriers {
    Mbarrier* full;    // of each stage: its boxes are there
    Mbarrier* empty;   // of each stage: its boxes have been used
    Mbarrier* turns;   // of each warpgroup that takes turns: the one before has all boxes of its tile
    Mbarrier* x_full;  // of each resident box of x
    Mbarrier* x_free;  // of each: no warpgroup uses it any more

    DEVICE explicit ProductBarriers(Mbarrier* first) {
        full = first;
        empty = full + Shape::stages;
        turns = empty + Shape::stages;
        x_full = turns + Shape::groups;
        x_free = x_full + Shape::resident;
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
            mbarrier_init(&x_full[i], 1);
            mbarrier_init(&x_free[i], 4 * Shape::groups);
        }
        mbarrier_init_done();
    }
};

/** Announces the boxes of a stage and fetches that of w. */
template <class Shape, ProductKind KIND, class Args>
DEVICE void product_fetch_w(const Args& args, unsigned char* stage, Mbarrier* full, int column, int step) {
    mbarrier_arrive_expect(full, Shape::stage_bytes);
    unsigned char* const w = stage + Shape::staged_x_bytes;
    if (w_by_depth(KIND)) {
#pragma unroll
        for (int panel = 0; panel < Shape::columns / 64; panel++) {
            tma_load(w + panel * W_PANEL, &args.w, full, step * Args::DEPTH, column + panel * 64);
        }
    } else {
        tma_load(w, &args.w, full, column, step * Args::DEPTH);
    }
}

template <class Shape, ProductKind KIND, class Args>
DEVICE void product_producer(const Args& args, unsigned char* stages, const ProductBarriers<Shape>& barriers, int steps) {
    const ProductTiles<Shape> tiles(args);
    unsigned char* const resident_x = stages + Shape::stages * Shape::stage_bytes;
    u32 rows = 0;  // of tiles so far
    u32 box = 0;
    int ahead = 0;  // boxes of the first tile of which w has been fetched
    if (args.fixed != 0 && tiles.first < tiles.end) {
        for (; ahead < steps && ahead < Shape::stages; ahead++) {
            product_fetch_w<Shape, KIND>(args, stages + ahead * Shape::stage_bytes, &barriers.full[ahead],
                tiles.column(tiles.first), ahead);
        }
    }
    wait_for_earlier_kernels();
    for (int tile = tiles.first; tile < tiles.end; tile += tiles.stride) {
        const int row = tiles.row(tile);
        const int column = tiles.column(tile);
        const bool begins = Shape::resident > 0 && tiles.begins(tile);
        rows += begins ? 1 : 0;
        for (int step = 0; step < steps; step++, box++) {
            if (begins) {
                if (rows > 1) {
                    mbarrier_wait(&barriers.x_free[step], rows & 1);
                }
                mbarrier_arrive_expect(&barriers.x_full[step], Shape::x_bytes);
                tma_load(resident_x + step * Shape::x_bytes, &args.x, &barriers.x_full[step], row, step * Args::DEPTH);
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
                product_fetch_w<Shape, KIND>(args, at, full, column, step);
            }
            if (Shape::resident == 0) {
                tma_load(at, &args.x, full, row, step * Args::DEPTH);
            }
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
template <class Shape, class Args>
DEVICE void product_addend(const Args& args, unsigned char* staging, int row0, int column0) {
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
template <int COLUMNS, class Args>
DEVICE void product_bias(const Args& args, int column0, u32 (&bias)[COLUMNS / 8]) {
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

/** log2 Phi(-a) for 0 <= a <= 12, fitted so that Phi(-a) is within 2^-12 of its value for a < 5.5; beyond it is below 2^-25. */
DEVICE float log2_tail(float a) {
    float log = fmaf(a, -2.33252156e-4f, 4.86980500e-3f);
    log = fmaf(a, log, -4.45992835e-2f);
    log = fmaf(a, log, -4.69680204e-1f);
    log = fmaf(a, log, -1.14626189f);
    log = fmaf(a, log, -1.00035873f);
    return log;
}

/** x Phi(x) for results that are rounded to bf16: x+ - |x| Phi(-|x|). */
DEVICE float gelu_to_bf16(float x) {
    const float a = at_most(fabsf(x), 12.0f);
    return fmaf(-a, exp2_fast(log2_tail(a)), fmaxf(x, 0.0f));
}

/** Phi(x) + x phi(x), the derivative of x Phi(x), for results that are rounded to bf16; see gelu_to_bf16. */
DEVICE float gelu_slope_to_bf16(float x) {
    const float a = at_most(fabsf(x), 12.0f);
    const float tail = exp2_fast(log2_tail(a));
    const float bell = exp2_fast(a * a * -0.72134752f) * 0.39894228f;
    return fmaf(x, bell, x > 0.0f ? 1.0f - tail : tail);
}

/** Writes a warp's 16 staged rows to y, whose first element is at (row0, column0) of the matrix. */
template <int COLUMNS, class Args>
DEVICE void product_write(const Args& args, const unsigned char* staging, bf16* matrix, int row0, int column0) {
    __syncwarp();
    bf16* const y = matrix + static_cast<i64>(row0) * args.ldy + column0;
    if (row0 + 16 <= args.m && column0 + COLUMNS <= args.n) {
        for_staged<COLUMNS>([&](int first, int row_of_lane, int column, int offset) {
            bf16* const lanes = y + row_of_lane * static_cast<i64>(args.ldy) + column;
            copy_piece(lanes + first * static_cast<i64>(args.ldy), staging + offset);
        });
    } else {
        for_staged<COLUMNS>([&](int first, int row_of_lane, int column, int offset) {
            const int r = first + row_of_lane;
            if (row0 + r < args.m && column0 + column < args.n) {
                copy_piece(y + r * static_cast<i64>(args.ldy) + column, staging + offset);
            }
        });
    }
    __syncwarp();  // before the place is taken by what follows
}

/** Finishes and writes 64 rows of a warpgroup's sums: this warp's 16. */
template <class Shape, ProductKind KIND, class Args>
DEVICE void product_epilogue(
    const Args& args,
    float (&sums)[Shape::columns / 2],
    const u32 (&bias)[Shape::columns / 8],
    unsigned char* staging,
    int row0,
    int column0) {
    // Four 8 x 8 matrices at a time, which lie as the sums do: rows 0 to 7 and 8 to 15 of 8 columns, then of the next 8.
    const int matrix = lane_index() / 8;
    const int row = lane_index() % 8 + matrix % 2 * 8;
    if constexpr (KIND == ProductKind::GELU_KEEP) {
#pragma unroll
        for (int j = 0; j < Shape::columns / 8; j += 2) {
            u32 words[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int at = 4 * (j + i / 2) + 2 * (i % 2);
                sums[at] += low_of(bias[j + i / 2]);
                sums[at + 1] += high_of(bias[j + i / 2]);
                words[i] = pack_bf16(sums[at], sums[at + 1]);
            }
            stmatrix_x4(staging + staged(row, (j + matrix / 2) * 8), words);
        }
        product_write<Shape::columns>(args, staging, args.z, row0, column0);
    }
#pragma unroll
    for (int j = 0; j < Shape::columns / 8; j += 2) {
        unsigned char* const place = staging + staged(row, (j + matrix / 2) * 8);
        u32 words[4];
        if (has_addend(KIND)) {
            ldmatrix_x4(words, place);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int at = 4 * (j + i / 2) + 2 * (i % 2);
            float low = sums[at];
            float high = sums[at + 1];
            if (KIND != ProductKind::GELU_KEEP) {
                low += low_of(bias[j + i / 2]);
                high += high_of(bias[j + i / 2]);
            }
            if (KIND == ProductKind::ADD) {
                low += low_of(words[i]);
                high += high_of(words[i]);
            } else if (is_gradient(KIND)) {
                low *= gelu_slope_to_bf16(low_of(words[i]));
                high *= gelu_slope_to_bf16(high_of(words[i]));
                sums[at] = low;  // for product_column_sums
                sums[at + 1] = high;
            } else if (has_gelu(KIND)) {
                low = gelu_to_bf16(low);
                high = gelu_to_bf16(high);
            }
            words[i] = pack_bf16(low, high);
        }
        stmatrix_x4(place, words);
    }
    product_write<Shape::columns>(args, staging, args.y, row0, column0);
}

/** Writes the sums of this warp's rows of y in a tile, which has zeros beyond the last row. */
template <class Shape, class Args>
DEVICE void product_column_sums(const Args& args, const float (&y)[Shape::rows / 64][Shape::columns / 2], int tile_row, int column0) {
    static_assert(!Shape::together, "each warpgroup has a tile of its own");
    const i64 row = static_cast<i64>(tile_row / Shape::tile_rows) * 4 + warp_index() % 4;
    float* const to = args.sums + row * args.n + column0 + lane_index() % 4 * 2;
#pragma unroll
    for (int j = 0; j < Shape::columns / 8; j++) {
        float two[2] = {};
#pragma unroll
        for (int i = 0; i < 2; i++) {
#pragma unroll
            for (int part = 0; part < Shape::rows / 64; part++) {
                two[i] += y[part][4 * j + i] + y[part][4 * j + 2 + i];
            }
#pragma unroll
            for (int offset = 4; offset < WARP; offset *= 2) {
                two[i] += __shfl_xor_sync(ALL_LANES, two[i], offset);
            }
        }
        if (lane_index() < 4 && column0 + j * 8 < args.n) {
            write(to + j * 8, two);
        }
    }
}

/** Where a warp keeps 16 rows of bytes: rows of 128, swizzled. */
DEVICE int staged_byte(int row, int column) {
    return row * BOX_BYTES + ((column / 16 ^ row % 8) * 16) + column % 16;
}

/** Writes two bytes to shared memory; an instruction of its own, so that nothing is computed ahead for which there are no registers. */
DEVICE void store_two(void* shared, u32 bytes) {
    const auto two = static_cast<unsigned short>(bytes);
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(shared_address(shared)), "h"(two) : "memory");
#else
    *static_cast<unsigned short*>(shared) = two;
#endif
}

/** Makes GELUs of 64 rows of a warpgroup's sums into bytes and writes them: this warp's 16. */
template <class Shape>
DEVICE void product_bytes(
    const ByteProductArgs& args,
    const ProductScales& scales,
    const int (&sums)[Shape::columns / 2],
    const u32 (&bias)[Shape::columns / 8],
    unsigned char* staging,
    int row0,
    int column0) {
    static_assert(Shape::columns <= BOX_BYTES, "a row of bytes is staged in one of 128");
    float finite[2] = {};  // 0, or NaN
#pragma unroll
    for (int j = 0; j < Shape::columns / 8; j++) {
        float values[4];
        scales.apply(j, sums, values);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const float low = gelu_to_bf16(values[2 * half] + low_of(bias[j]));
            const float high = gelu_to_bf16(values[2 * half + 1] + high_of(bias[j]));
            // A zero times infinity is NaN.
            finite[half] += 0.0f * low + 0.0f * high;
            const u32 two = (static_cast<u32>(to_byte(args.to, low)) & 0xFF) | (static_cast<u32>(to_byte(args.to, high)) & 0xFF) << 8;
            const int place = staged_byte(lane_index() / 4 + half * 8, j * 8 + lane_index() % 4 * 2);
            store_two(staging + place, two);
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = row0 + lane_index() / 4 + half * 8;
        if (finite[half] != 0.0f && row < args.m) {
            args.next[row].scale = not_a_number();
        }
    }
    __syncwarp();
    constexpr int LANES = Shape::columns / 16;  // for a row
    const int column = lane_index() % LANES * 16;
#pragma unroll
    for (int first = 0; first < 16; first += WARP / LANES) {
        const int row = first + lane_index() / LANES;
        if (row0 + row < args.m && column0 + column < args.n) {
            copy_piece(args.q + static_cast<i64>(row0 + row) * args.ldq + column0 + column, staging + staged_byte(row, column));
        }
    }
    __syncwarp();  // before the place is taken by what follows
}

/** A warp has used the boxes of a stage. */
DEVICE void product_release(Mbarrier* empty) {
    if (lane_index() == 0) {
        mbarrier_arrive(empty);
    }
}

/** A warp does not use the boxes of x any more that a tile is computed of. */
template <class Shape>
DEVICE void product_release_x(const ProductBarriers<Shape>& barriers, int steps) {
    for (int step = 0; step < steps; step++) {
        product_release(&barriers.x_free[step]);
    }
}

template <class Shape, ProductKind KIND, class Args>
DEVICE void product_consumer(
    const Args& args,
    unsigned char* stages,
    unsigned char* staging,
    const ProductBarriers<Shape>& barriers,
    int steps) {
    constexpr int PARTS = Shape::rows / 64;
    const ProductTiles<Shape> tiles(args);
    const unsigned char* const resident_x = stages + Shape::stages * Shape::stage_bytes;
    const int group = warpgroup_index();
    const int warp = warp_index() % 4;
    const bool leader = lane_index() == 0;
    staging += group * Shape::staging_bytes + warp * (Shape::staging_bytes / 4);
    const int rows_before = Shape::together ? group * Shape::rows : 0;  // of the tile
    u32 box = 0;
    int turn = 0;
    u32 parity = group == 0 ? 1 : 0;  // of the phase at whose end this warpgroup's next tile begins; the first's first begins at once
    u32 rows = 0;  // of tiles so far
    wait_for_earlier_kernels();
    for (int tile = tiles.first; tile < tiles.end; tile += tiles.stride) {
        const int column0 = tiles.column(tile);
        const bool ends = Shape::resident > 0 && tiles.ends(tile);
        rows += Shape::resident > 0 && tiles.begins(tile) ? 1 : 0;
        const bool mine = Shape::together || turn == group;
        turn = turn + 1 == Shape::groups ? 0 : turn + 1;
        if (!mine) {
            if (ends && tiles.begins(tile)) {
                product_release_x<Shape>(barriers, steps);
            }
            box += steps;
            continue;
        }
        const int row0 = tiles.row(tile) + rows_before + warp * 16;
        if (has_addend(KIND)) {
            product_addend<Shape>(args, staging, row0, column0);
        }
        u32 bias[Shape::columns / 8];
        product_bias<Shape::columns>(args, column0, bias);
        if (!Shape::together) {
            // Not before all boxes of the tile before have come: phases of `full` are known by parity, so none may be skipped.
            mbarrier_wait(&barriers.turns[group], parity);
            parity ^= 1;
        }
        typename Args::Sum sums[PARTS][Shape::columns / 2];
        for (int step = 0; step < steps; step++, box++) {
            const u32 stage = box % Shape::stages;
            if (Shape::resident > 0) {
                mbarrier_wait(&barriers.x_full[step], (rows - 1) & 1);
            }
            mbarrier_wait(&barriers.full[stage], box / Shape::stages & 1);
            const unsigned char* const at = stages + stage * Shape::stage_bytes;
            const u64 w = wgmma_descriptor(at + Shape::staged_x_bytes, W_PANEL, 1024);
            const u64 x = wgmma_descriptor(
                Shape::resident > 0 ? resident_x + step * Shape::x_bytes : at + rows_before * BOX_BYTES, 0, 1024);
            wgmma_fence();
#pragma unroll
            for (int depth = 0; depth < BOX_BYTES / STEP_BYTES; depth++) {
#pragma unroll
                for (int part = 0; part < PARTS; part++) {
                    const u64 rows_of_x = wgmma_advance(x, depth * STEP_BYTES + part * 64 * BOX_BYTES);
                    const u64 rows_of_w = wgmma_advance(w, depth * (w_by_depth(KIND) ? 2048 : STEP_BYTES));
                    const bool more = step > 0 || depth > 0;
                    if constexpr (Args::BYTES) {
                        wgmma_bytes<Shape::columns>(sums[part], rows_of_x, rows_of_w, more);
                    } else {
                        constexpr int W_MAJOR = w_by_depth(KIND) ? Majors::MN : Majors::K;
                        wgmma<Shape::columns, Majors::K, W_MAJOR>(sums[part], rows_of_x, rows_of_w, more);
                    }
                }
            }
            wgmma_commit();
            wgmma_wait<1>();
            if (step > 0) {
                product_release(&barriers.empty[(box - 1) % Shape::stages]);
                if (ends) {
                    product_release(&barriers.x_free[step - 1]);
                }
            }
        }
        if (!Shape::together && leader) {
            mbarrier_arrive(&barriers.turns[turn]);
        }
        wgmma_wait<0>();
        const u32 released = leader ? mbarrier_arrive_word(&barriers.empty[(box - 1) % Shape::stages]) : 0;
        if (ends) {
            product_release(&barriers.x_free[steps - 1]);
        } else if (Shape::resident > 0 && tiles.ends(tile + 1)) {
            product_release_x<Shape>(barriers, steps);  // the other warpgroup has the last tile of the row
        }
#pragma unroll
        for (int j = 0; j < Shape::columns / 8; j++) {
            // Zero, of which the assembler knows nothing: or else it would compute half the epilogue before it releases the stage.
            bias[j] |= released & static_cast<u32>(args.fixed >> 1);
        }
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            wgmma_hold(sums[part]);
        }
        if (has_addend(KIND)) {
            cp_async_wait<0>();
            __syncwarp();
        }
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
            unsigned char* const place = staging + part % Shape::parts * Shape::staged_bytes;
            if constexpr (Args::BYTES || is_normed(KIND)) {
                wgmma_hold(sums[part]);  // not before the part before has been written: there are no registers for both
                const ProductScales scales(args, row0 + part * 64, column0);
                if constexpr (KIND == ProductKind::GELU_BYTES) {
                    product_bytes<Shape>(args, scales, sums[part], bias, place, row0 + part * 64, column0);
                } else {
                    float values[Shape::columns / 2];
#pragma unroll
                    for (int j = 0; j < Shape::columns / 8; j++) {
                        float four[4];
                        scales.apply(j, sums[part], four);
#pragma unroll
                        for (int i = 0; i < 4; i++) {
                            values[4 * j + i] = four[i];
                        }
                    }
                    product_epilogue<Shape, KIND>(args, values, bias, place, row0 + part * 64, column0);
                }
            } else {
                product_epilogue<Shape, KIND>(args, sums[part], bias, place, row0 + part * 64, column0);
            }
        }
        if constexpr (KIND == ProductKind::GELU_GRADIENT_SUMS) {
            product_column_sums<Shape>(args, sums, tiles.row(tile), column0);
        }
    }
}

template <class Shape, ProductKind KIND, class Args>
DEVICE void product(const Args& args) {
    static_assert(!Args::BYTES || !w_by_depth(KIND), "bytes lie by k");
    static_assert(Shape::resident == 0 || !has_addend(KIND), "an addend needs the place where all rows are staged");
    if constexpr (HOPPER) {
        DYNAMIC_SHARED(unsigned char, shared);
        unsigned char* const stages = align_swizzled(shared);
        unsigned char* const staging = stages + Shape::stages * Shape::stage_bytes + Shape::resident * Shape::x_bytes;
        const ProductBarriers<Shape> barriers(
            reinterpret_cast<Mbarrier*>(staging + Shape::groups * Shape::staging_bytes));
        if (threadIdx.x == Shape::groups * WARPGROUP) {
            tma_prefetch(&args.x);
            tma_prefetch(&args.w);
            barriers.init();
        }
        __syncthreads();
        let_later_kernels_begin();
        const int steps = (args.k + Args::DEPTH - 1) / Args::DEPTH;
        if (warp_index() >= Shape::groups * 4) {
            if (Shape::many_sums) {
                fewer_registers<24>();
            }
            if (threadIdx.x == Shape::groups * WARPGROUP) {
                product_producer<Shape, KIND>(args, stages, barriers, steps);
            }
        } else {
            if (Shape::many_sums) {
                more_registers<Shape::registers>();
            }
            product_consumer<Shape, KIND>(args, stages, staging, barriers, steps);
        }
    }
}
