// What the products of products.cuh are told: how tiles are cut, what follows the product, matrices, and the scales of bytes.
#pragma once
#include "tessera.cuh"
#include "tma.cuh"
#include "wgmma.cuh"

/** Bytes of a box of w that lies by depth. */
[[maybe_unused]] constexpr int W_PANEL = 64 * 128;

/** Bytes of a row of a box of x and w, what the swizzle takes. */
constexpr int BOX_BYTES = 128;

/** Bytes of a row that one instruction takes, 16 values of bf16 or 32 bytes. */
constexpr int STEP_BYTES = 32;

/**
 * How tiles are cut: see the top. Rows and columns are those of one warpgroup's part.
 *
 * RESIDENT: 0, or as many boxes of x, the whole depth of a row of tiles, as stay in shared memory; w alone then comes in stages. For
 * two warpgroups that take turns and no addend.
 */
template <int ROWS, int COLUMNS, int STAGES, int GROUPS, bool TOGETHER, int RESIDENT>
struct ProductShape {
    static_assert(RESIDENT == 0 || (GROUPS == 2 && !TOGETHER), "boxes of x stay where two warpgroups take turns");
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
    static constexpr int x_bytes = tile_rows * BOX_BYTES;
    static constexpr int w_bytes = COLUMNS * BOX_BYTES;
    static constexpr int staged_x_bytes = RESIDENT > 0 ? 0 : x_bytes;
    static constexpr int stage_bytes = staged_x_bytes + w_bytes;
    static constexpr int staged_bytes = 16 * ((COLUMNS + 63) / 64 * 64) * 2;  // of 16 rows
    static constexpr int parts = RESIDENT > 0 ? 1 : ROWS / 64;                   // of 64 rows that are staged at once
    static constexpr int staging_bytes = parts * 4 * staged_bytes;               // of a warpgroup
    static constexpr int barriers = 2 * STAGES + GROUPS + 2 * RESIDENT;
    static constexpr int shared_bytes =
        SWIZZLE_SLACK + STAGES * stage_bytes + RESIDENT * x_bytes + GROUPS * staging_bytes + barriers * 8;
};

/**
 * What follows beside the bias: nothing, an addend, GELU, GELU where what goes into it is written too, GELU whose results become bytes
 * at once, or, for its gradient, a product with the derivative of GELU, alone or with sums of its columns. NORM: x is before a layer
 * norm, whose weights are in w.
 */
enum class ProductKind { PLAIN, ADD, GELU, GELU_KEEP, GELU_BYTES, GELU_GRADIENT, GELU_GRADIENT_SUMS, NORM, NORM_GELU };

/** Whether the derivative of GELU follows. */
DEVICE constexpr bool is_gradient(ProductKind kind) {
    return kind == ProductKind::GELU_GRADIENT || kind == ProductKind::GELU_GRADIENT_SUMS;
}

/** Whether w is [k, n]: then a box of it is 64 rows of k by 64 columns, as many as the tile needs side by side. */
DEVICE constexpr bool w_by_depth(ProductKind kind) {
    return is_gradient(kind);
}

/** Whether a matrix is read that lies as y does. */
DEVICE constexpr bool has_addend(ProductKind kind) {
    return kind == ProductKind::ADD || is_gradient(kind);
}

/** Whether GELU follows whose results are written as they are. */
DEVICE constexpr bool has_gelu(ProductKind kind) {
    return kind == ProductKind::GELU || kind == ProductKind::GELU_KEEP || kind == ProductKind::NORM_GELU;
}

/** Whether rows of x are read as what they stand for, see RowScale. */
DEVICE constexpr bool is_normed(ProductKind kind) {
    return kind == ProductKind::NORM || kind == ProductKind::NORM_GELU;
}

/** A row of bytes, or of values before a norm, stands for q scale + shift. */
struct RowScale {
    float scale;
    float shift;
};

/** A channel of the weight, a row of w: q scale. */
struct ChannelScale {
    float scale;
    float sum;  // of q scale
};

struct ProductArgs {
    using Sum = float;  // what products are added up in
    static constexpr bool BYTES = false;
    static constexpr int DEPTH = 64;  // columns of a box of x and w

    TensorMap x;  // boxes of tile_rows x 64
    TensorMap w;  // boxes of columns x 64, or 64 x 64 where w lies by depth
    const bf16* bias;    // or null
    const bf16* addend;  // for ADD; what GELU was computed of for its gradient
    bf16* y;
    bf16* z;  // for GELU_KEEP, laid out as y: what GELU is computed of
    const RowScale* rows;          // of x, m, for NORM
    const ChannelScale* channels;  // of w, n, for NORM
    float* sums;  // for GELU_GRADIENT_SUMS, of columns of y over the rows of each warp in each row of tiles: [row of tiles, 4, n]
    int m;
    int n;
    int k;
    int ldy;    // distance of rows of y and the addend, a multiple of 8
    int fixed;  // 1 where no kernel before this one can have written w: it is fetched before they end
};

/** How values become bytes: u = round(x steps) between least and most, q = u + zero. */
struct ByteSteps {
    float steps;
    float least;
    float most;
    float zero;
};

/** NaN becomes the least. */
DEVICE int to_byte(const ByteSteps& to, float x) {
    return static_cast<int>(fminf(fmaxf(rintf(x * to.steps), to.least), to.most) + to.zero);
}

/** The same where x and w are bytes with sign. */
struct ByteProductArgs {
    using Sum = int;
    static constexpr bool BYTES = true;
    static constexpr int DEPTH = 128;

    TensorMap x;
    TensorMap w;
    const bf16* bias;
    const bf16* addend;
    bf16* y;
    const RowScale* rows;          // of x, m
    const ChannelScale* channels;  // of w, n
    signed char* q;  // for GELU_BYTES, y as bytes
    RowScale* next;   // for GELU_BYTES, of q, m: there already, and made NaN where y is not finite
    int m;
    int n;
    int k;
    int ldy;
    int fixed;
    int ldq;       // distance of rows of q; it, n and addresses are multiples of 16
    ByteSteps to;  // for GELU_BYTES
};

/** The same where bytes are e4m3, whose rows have no shift; not for GELU_BYTES. */
struct Float8ProductArgs : ByteProductArgs {
    using Sum = float;
};

/** What this lane's sums stand for. */
struct ProductScales {
    RowScale rows[2];
    const ChannelScale* channels;
    int columns;  // of y from the tile's first on

    template <class Args>
    DEVICE ProductScales(const Args& args, int row0, int column0) {
        const int lane_row = row0 + lane_index() / 4;
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = lane_row + half * 8;
            rows[half] = args.rows[row < args.m ? row : 0];
        }
        channels = args.channels + column0 + lane_index() % 4 * 2;
        columns = args.n - column0;
    }

    /** Of the j-th 8 columns; anything beyond the last row and column. */
    template <class Sum, int COUNT>
    DEVICE void apply(int j, const Sum (&sums)[COUNT], float (&values)[4]) const {
        float two[4] = {};  // scale and sum of this channel, then of the next
        if (j * 8 < columns) {
            read(reinterpret_cast<const float*>(channels + j * 8), two);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            // The weight's scale first: inputs may be as large as f32 goes.
            const float product = two[i % 2 * 2] * static_cast<float>(sums[4 * j + i]);
            values[i] = fmaf(rows[i / 2].scale, product, rows[i / 2].shift * two[i % 2 * 2 + 1]);
        }
    }
};
