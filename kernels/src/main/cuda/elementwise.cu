// Functions of single elements, conversions, strided copies, sums over an axis.
//
// Formula       unary y = op(x), backward dx = dy op'(x); binary y = a op b with one operand possibly a scalar or one row;
//               affine y = alpha x + beta; axpy y += alpha x; scale_by y = x s[0];
//               cast between f32, bf16, i32, u8; copy and transpose of strided views; sum y[o, i] = scale sum_r x[o, r, i].
// Layouts       contiguous, except copy (strides per axis, in units of 1 to 16 bytes) and sum (a stride between outer slices).
// Accumulation  f32 throughout; bf16 is widened on load and rounded to nearest even on store.
// Determinism   every output is computed by one thread, or by one block in a fixed order; the partial sums of long axes are
//               added by a second launch of the same kernel. Chunks depend on sizes only: the same bits on every GPU.
// Geometry      256 threads. Element-wise: a tile of 4 x 256 vectors of up to 16 bytes per block, all four loads of a thread in
//               flight before the first store. Rows: a warp (short) or block (long) per row or chunk of a row. Columns: 16 lanes
//               of 16 bytes x 16 rows per block. Misaligned addresses: the same tiles, element by element.
// Bytes         what is read and written once, nothing else; sums read x once. FLOPs: 1 per element, GELU about 25 (bf16: 15).
//               fc1's backward is at its minimum of passes while GELU is erf's (cuBLASLt's dGELU epilogue is tanh's): dX of fc2
//               writes dy, backward_gelu reads x and dy and writes dx, and dW's product sums the bias's gradient as it reads dx.
// Registers     two blocks per multiprocessor are promised, far from the limit: without a promise ptxas spills a word here and
//               there to fit more threads.
#include "tessera.cuh"

constexpr int THREADS = 256;
constexpr int VECTORS = 4;
constexpr int MAX_RANK = 6;

/** The same value N times. */
template <class T>
struct Repeated {
    T value;

    DEVICE T operator[](int) const {
        return value;
    }
};

// ----------------------------------------------------------------------------------------------------------- operands

/** An operand with one value for each output. */
template <class T>
struct Direct {
    const T* at;

    template <int N>
    DEVICE bool wide() const {
        return aligned<N>(at);
    }

    template <int N>
    DEVICE Pack<T, N> load(i64 i) const {
        return load_pack<N>(at + i);
    }

    DEVICE T get(i64 i) const {
        return at[i];
    }
};

/** One value for all. */
template <class T>
struct Single {
    T value;

    template <int N>
    DEVICE bool wide() const {
        return true;
    }

    template <int N>
    DEVICE Repeated<T> load(i64) const {
        return {value};
    }

    DEVICE T get(i64) const {
        return value;
    }
};

/** One row for all rows of `cols` outputs. */
template <class T>
struct Row {
    const T* at;
    i64 cols;

    DEVICE i64 column(i64 i) const {
        return i - divide(i, cols) * cols;
    }

    template <int N>
    DEVICE bool wide() const {
        return aligned<N>(at) && cols % N == 0;
    }

    template <int N>
    DEVICE Pack<T, N> load(i64 i) const {
        return load_pack<N>(at + column(i));
    }

    DEVICE T get(i64 i) const {
        return at[column(i)];
    }
};

/** Computes in f32 with operands and result of other types. */
template <class Y, class F>
struct InFloat {
    F f;

    template <class A, class B>
    DEVICE Y operator()(A a, B b) const {
        return from_float<Y>(f(to_float(a), to_float(b)));
    }
};

/** N results of an operation as a pack. */
template <class Y, int N, class Op, class A, class B>
DEVICE Pack<Y, N> results(const Op& op, const A& a, const B& b) {
    Pack<Y, N> pack = {};
#pragma unroll
    for (int j = 0; j < N; j++) {
        pack.set(j, op(a[j], b[j]));
    }
    return pack;
}

template <class Y, int N, class F, class A, class B>
DEVICE Pack<Y, N> results(const InFloat<Y, F>& op, const A& a, const B& b) {
    float values[N];
#pragma unroll
    for (int j = 0; j < N; j++) {
        values[j] = op.f(to_float(a[j]), to_float(b[j]));
    }
    return pack<Y>(values);
}

/** y[i] = op(a[i], b[i]), N values at a time where all addresses allow it. y may be an operand. */
template <int N, class Y, class A, class B, class Op>
DEVICE void map(i64 n, Y* y, const A& a, const B& b, const Op& op) {
    constexpr int TILE = THREADS * VECTORS * N;
    i64 first = static_cast<i64>(blockIdx.x) * TILE;
    int count = static_cast<int>(min(n - first, static_cast<i64>(TILE)));
    int rest = 0;
    if (aligned<N>(y) && a.template wide<N>() && b.template wide<N>()) {
        rest = count - count % N;
        int own = threadIdx.x * N;
        decltype(a.template load<N>(0)) u[VECTORS];
        decltype(b.template load<N>(0)) v[VECTORS];
#pragma unroll
        for (int k = 0; k < VECTORS; k++) {
            int i = own + k * THREADS * N;
            if (i < rest) {
                u[k] = a.template load<N>(first + i);
                v[k] = b.template load<N>(first + i);
            }
        }
#pragma unroll
        for (int k = 0; k < VECTORS; k++) {
            int i = own + k * THREADS * N;
            if (i < rest) {
                store_pack(y + first + i, results<Y, N>(op, u[k], v[k]));
            }
        }
    }
    for (int i = rest + threadIdx.x; i < count; i += THREADS) {
        y[first + i] = op(a.get(first + i), b.get(first + i));
    }
}

template <class T, class A, class B, class F>
DEVICE void map_float(i64 n, T* y, const A& a, const B& b, const F& f) {
    map<Pack<T>::COUNT>(n, y, a, b, InFloat<T, F>{f});
}

/** Stands for a second operand where there is none. */
using Nothing = Single<float>;

// --------------------------------------------------------------------------------------------------------------- fill

struct FillArgs {
    void* y;
    i64 n;
    u32 bits;  // one element in the low bits
};

struct First {
    template <class A, class B>
    DEVICE A operator()(A a, B) const {
        return a;
    }
};

template <class T>
DEVICE void fill(const FillArgs& args) {
    map<16 / static_cast<int>(sizeof(T))>(
        args.n, static_cast<T*>(args.y), Single<T>{static_cast<T>(args.bits)}, Single<T>{0}, First{});
}

KERNEL_BLOCKS(256, 2, fill_1, FillArgs) {
    fill<unsigned char>(args);
}

KERNEL_BLOCKS(256, 2, fill_2, FillArgs) {
    fill<unsigned short>(args);
}

KERNEL_BLOCKS(256, 2, fill_4, FillArgs) {
    fill<u32>(args);
}

// --------------------------------------------------------------------------------------------------------------- cast

struct CastArgs {
    const void* x;
    void* y;
    i64 n;
};

/** Toward zero; saturates; 0 for NaN. */
DEVICE int to_int(float value) {
    if (value >= 2147483648.0f) {
        return 2147483647;
    }
    if (value <= -2147483648.0f) {
        return -2147483647 - 1;
    }
    return value == value ? static_cast<int>(value) : 0;
}

template <class Y>
struct Convert;

template <>
struct Convert<float> {
    template <class X>
    DEVICE float operator()(X x, float) const {
        return to_float(x);
    }

    DEVICE float operator()(int x, float) const {
        return static_cast<float>(x);
    }

    DEVICE float operator()(unsigned char x, float) const {
        return static_cast<float>(x);
    }
};

template <>
struct Convert<bf16> {
    DEVICE bf16 operator()(float x, float) const {
        return from_float<bf16>(x);
    }

    DEVICE bf16 operator()(int x, float) const {
        return from_double<bf16>(x);
    }

    DEVICE bf16 operator()(unsigned char x, float) const {
        return from_float<bf16>(x);
    }
};

template <>
struct Convert<int> {
    template <class X>
    DEVICE int operator()(X x, float) const {
        return to_int(to_float(x));
    }

    DEVICE int operator()(unsigned char x, float) const {
        return x;
    }
};

template <>
struct Convert<unsigned char> {
    template <class X>
    DEVICE unsigned char operator()(X x, float) const {
        return (*this)(to_int(to_float(x)), 0.0f);
    }

    DEVICE unsigned char operator()(int x, float) const {
        return static_cast<unsigned char>(max(0, min(255, x)));
    }
};

template <class X, class Y>
DEVICE void cast(const CastArgs& args) {
    constexpr int WIDEST = static_cast<int>(sizeof(X) > sizeof(Y) ? sizeof(X) : sizeof(Y));
    map<16 / WIDEST>(
        args.n, static_cast<Y*>(args.y), Direct<X>{static_cast<const X*>(args.x)}, Nothing{}, Convert<Y>{});
}

#define CAST(name, X, Y) \
    KERNEL_BLOCKS(256, 2, name, CastArgs) { \
        cast<X, Y>(args); \
    }

CAST(cast_f32_bf16, float, bf16)
CAST(cast_f32_i32, float, int)
CAST(cast_f32_u8, float, unsigned char)
CAST(cast_bf16_f32, bf16, float)
CAST(cast_bf16_i32, bf16, int)
CAST(cast_bf16_u8, bf16, unsigned char)
CAST(cast_i32_f32, int, float)
CAST(cast_i32_bf16, int, bf16)
CAST(cast_i32_u8, int, unsigned char)
CAST(cast_u8_f32, unsigned char, float)
CAST(cast_u8_bf16, unsigned char, bf16)
CAST(cast_u8_i32, unsigned char, int)

// -------------------------------------------------------------------------------------------------------------- unary

struct UnaryArgs {
    const void* x;
    const void* dy;  // backward only
    void* y;
    i64 n;
};

struct Neg {
    DEVICE float operator()(float x, float) const {
        return -x;
    }

    DEVICE static float derivative(float) {
        return -1.0f;
    }
};

struct Abs {
    DEVICE float operator()(float x, float) const {
        return fabsf(x);
    }

    DEVICE static float derivative(float x) {
        return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x;
    }
};

struct Square {
    DEVICE float operator()(float x, float) const {
        return x * x;
    }

    DEVICE static float derivative(float x) {
        return 2.0f * x;
    }
};

struct Sqrt {
    DEVICE float operator()(float x, float) const {
        return sqrtf(x);
    }

    DEVICE static float derivative(float x) {
        return 0.5f / sqrtf(x);
    }
};

struct Exp {
    DEVICE float operator()(float x, float) const {
        return expf(x);
    }

    DEVICE static float derivative(float x) {
        return expf(x);
    }
};

struct Log {
    DEVICE float operator()(float x, float) const {
        return logf(x);
    }

    DEVICE static float derivative(float x) {
        return 1.0f / x;
    }
};

/** Written with exp(-|x|), which neither overflows nor cancels. */
struct Sigmoid {
    DEVICE float operator()(float x, float) const {
        float e = expf(-fabsf(x));
        return (x >= 0.0f ? 1.0f : x < 0.0f ? e : x) / (1.0f + e);
    }

    DEVICE static float derivative(float x) {
        float e = expf(-fabsf(x));
        return e / ((1.0f + e) * (1.0f + e));
    }
};

struct Tanh {
    DEVICE float operator()(float x, float) const {
        return tanhf(x);
    }

    DEVICE static float derivative(float x) {
        return 4.0f * Sigmoid::derivative(2.0f * x);
    }
};

struct Relu {
    DEVICE float operator()(float x, float) const {
        return x > 0.0f || x != x ? x : 0.0f;
    }

    DEVICE static float derivative(float x) {
        return x <= 0.0f ? 0.0f : 1.0f;
    }
};

struct Gelu {
    DEVICE float operator()(float x, float) const {
        return gelu(x);
    }

    DEVICE static float derivative(float x) {
        return gelu_derivative(x);
    }
};

/** For bf16 data. */
struct FastGelu {
    DEVICE float operator()(float x, float) const {
        return gelu_fast(x);
    }

    DEVICE static float derivative(float x) {
        return gelu_derivative_fast(x);
    }
};

template <class F>
struct Derivative {
    DEVICE float operator()(float x, float dy) const {
        return dy * F::derivative(x);
    }
};

template <class T, class F>
DEVICE void unary(const UnaryArgs& args) {
    map_float(args.n, static_cast<T*>(args.y), Direct<T>{static_cast<const T*>(args.x)}, Nothing{}, F{});
}

template <class T, class F>
DEVICE void unary_backward(const UnaryArgs& args) {
    map_float(
        args.n,
        static_cast<T*>(args.y),
        Direct<T>{static_cast<const T*>(args.x)},
        Direct<T>{static_cast<const T*>(args.dy)},
        Derivative<F>{});
}

#define UNARY_OF_TYPES(name, F, NARROW) \
    KERNEL_BLOCKS(256, 2, unary_##name##_f32, UnaryArgs) { \
        unary<float, F>(args); \
    } \
    KERNEL_BLOCKS(256, 2, unary_##name##_bf16, UnaryArgs) { \
        unary<bf16, NARROW>(args); \
    } \
    KERNEL_BLOCKS(256, 2, backward_##name##_f32, UnaryArgs) { \
        unary_backward<float, F>(args); \
    } \
    KERNEL_BLOCKS(256, 2, backward_##name##_bf16, UnaryArgs) { \
        unary_backward<bf16, NARROW>(args); \
    }

#define UNARY(name, F) UNARY_OF_TYPES(name, F, F)

UNARY(neg, Neg)
UNARY(abs, Abs)
UNARY(square, Square)
UNARY(sqrt, Sqrt)
UNARY(exp, Exp)
UNARY(log, Log)
UNARY(tanh, Tanh)
UNARY(sigmoid, Sigmoid)
UNARY(relu, Relu)
UNARY_OF_TYPES(gelu, Gelu, FastGelu)

// ------------------------------------------------------------------------------------------------------------- binary

// How an operand is laid out beside the output, 0 for one value per output; as in CudaElementwise.
constexpr int SINGLE = 1;
constexpr int ROW = 2;

struct BinaryArgs {
    const void* a;
    const void* b;
    void* y;
    i64 n;
    i64 cols;  // of a row
    int a_kind;
    int b_kind;  // at least one of the two is 0
};

struct Add {
    DEVICE float operator()(float a, float b) const {
        return a + b;
    }
};

struct Sub {
    DEVICE float operator()(float a, float b) const {
        return a - b;
    }
};

struct Mul {
    DEVICE float operator()(float a, float b) const {
        return a * b;
    }
};

struct Div {
    DEVICE float operator()(float a, float b) const {
        return a / b;
    }
};

template <class T, class F>
DEVICE void binary(const BinaryArgs& args) {
    const T* a = static_cast<const T*>(args.a);
    const T* b = static_cast<const T*>(args.b);
    T* y = static_cast<T*>(args.y);
    if (args.a_kind == SINGLE) {
        map_float(args.n, y, Single<T>{*a}, Direct<T>{b}, F{});
    } else if (args.a_kind == ROW) {
        map_float(args.n, y, Row<T>{a, args.cols}, Direct<T>{b}, F{});
    } else if (args.b_kind == SINGLE) {
        map_float(args.n, y, Direct<T>{a}, Single<T>{*b}, F{});
    } else if (args.b_kind == ROW) {
        map_float(args.n, y, Direct<T>{a}, Row<T>{b, args.cols}, F{});
    } else {
        map_float(args.n, y, Direct<T>{a}, Direct<T>{b}, F{});
    }
}

#define BINARY(name, F) \
    KERNEL_BLOCKS(256, 2, binary_##name##_f32, BinaryArgs) { \
        binary<float, F>(args); \
    } \
    KERNEL_BLOCKS(256, 2, binary_##name##_bf16, BinaryArgs) { \
        binary<bf16, F>(args); \
    }

BINARY(add, Add)
BINARY(sub, Sub)
BINARY(mul, Mul)
BINARY(div, Div)

// ------------------------------------------------------------------------------------------------ affine, axpy, scale

struct AffineArgs {
    const void* x;
    void* y;
    i64 n;
    float alpha;
    float beta;
};

struct Affine {
    float alpha;
    float beta;

    DEVICE float operator()(float x, float) const {
        return fmaf(alpha, x, beta);
    }
};

struct Axpy {
    float alpha;

    DEVICE float operator()(float x, float y) const {
        return fmaf(alpha, x, y);
    }
};

template <class T>
DEVICE void affine(const AffineArgs& args) {
    Affine f = {args.alpha, args.beta};
    map_float(args.n, static_cast<T*>(args.y), Direct<T>{static_cast<const T*>(args.x)}, Nothing{}, f);
}

/** Vectors of the accumulator's width; a bf16 x may be added to an f32 y. */
template <class X, class Y>
DEVICE void axpy(const AffineArgs& args) {
    Y* y = static_cast<Y*>(args.y);
    map_float(args.n, y, Direct<X>{static_cast<const X*>(args.x)}, Direct<Y>{y}, Axpy{args.alpha});
}

KERNEL_BLOCKS(256, 2, affine_f32, AffineArgs) {
    affine<float>(args);
}

KERNEL_BLOCKS(256, 2, affine_bf16, AffineArgs) {
    affine<bf16>(args);
}

KERNEL_BLOCKS(256, 2, axpy_f32, AffineArgs) {
    axpy<float, float>(args);
}

KERNEL_BLOCKS(256, 2, axpy_bf16, AffineArgs) {
    axpy<bf16, bf16>(args);
}

KERNEL_BLOCKS(256, 2, axpy_bf16_to_f32, AffineArgs) {
    axpy<bf16, float>(args);
}

struct ScaleArgs {
    const void* x;
    const void* scale;
    void* y;
    i64 n;
    int bf16_scale;
};

template <class T>
DEVICE void scale_by(const ScaleArgs& args) {
    float scale =
        args.bf16_scale ? to_float(*static_cast<const bf16*>(args.scale)) : *static_cast<const float*>(args.scale);
    map_float(
        args.n, static_cast<T*>(args.y), Direct<T>{static_cast<const T*>(args.x)}, Single<float>{scale}, Mul{});
}

KERNEL_BLOCKS(256, 2, scale_by_f32, ScaleArgs) {
    scale_by<float>(args);
}

KERNEL_BLOCKS(256, 2, scale_by_bf16, ScaleArgs) {
    scale_by<bf16>(args);
}

// ------------------------------------------------------------------------------------------------------ strided copies

struct CopyArgs {
    const void* x;
    void* y;
    i64 n;
    i64 shape[MAX_RANK];  // in units along the last axis
    i64 x_strides[MAX_RANK];
    i64 y_strides[MAX_RANK];
    int rank;
};

/** One unit of U per step; an axis is worth one division. */
template <class U>
DEVICE void copy(const CopyArgs& args) {
    const U* x = static_cast<const U*>(args.x);
    U* y = static_cast<U*>(args.y);
    i64 own = static_cast<i64>(blockIdx.x) * (THREADS * VECTORS) + threadIdx.x;
    U units[VECTORS];
    i64 targets[VECTORS];
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own + k * THREADS;
        if (i < args.n) {
            i64 source = 0;
            i64 target = 0;
            for (int axis = args.rank - 1; axis > 0; axis--) {
                i64 next = divide(i, args.shape[axis]);
                i64 index = i - next * args.shape[axis];
                source += index * args.x_strides[axis];
                target += index * args.y_strides[axis];
                i = next;
            }
            units[k] = x[source + i * args.x_strides[0]];
            targets[k] = target + i * args.y_strides[0];
        }
    }
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        if (own + k * THREADS < args.n) {
            y[targets[k]] = units[k];
        }
    }
}

KERNEL_BLOCKS(256, 2, copy_1, CopyArgs) {
    copy<unsigned char>(args);
}

KERNEL_BLOCKS(256, 2, copy_2, CopyArgs) {
    copy<unsigned short>(args);
}

KERNEL_BLOCKS(256, 2, copy_4, CopyArgs) {
    copy<u32>(args);
}

KERNEL_BLOCKS(256, 2, copy_8, CopyArgs) {
    copy<u64>(args);
}

KERNEL_BLOCKS(256, 2, copy_16, CopyArgs) {
    copy<Pack<u32>>(args);
}

struct TransposeArgs {
    const void* x;
    void* y;
    i64 rows;  // the axis along which x is contiguous
    i64 cols;  // the axis along which y is contiguous
    i64 x_stride;  // of x from column to column
    i64 y_stride;  // of y from row to row
    i64 shape[MAX_RANK];  // of the axes around them
    i64 x_strides[MAX_RANK];
    i64 y_strides[MAX_RANK];
    int rank;
};

/** A tile of EDGE x EDGE through shared memory, so that both sides are accessed along their contiguous axis. */
template <class U, int EDGE>
DEVICE void transpose(const TransposeArgs& args) {
    SHARED(U, tile, EDGE * (EDGE + 4 / sizeof(U)));  // an odd number of words per line: no bank conflicts
    constexpr int LINE = EDGE + 4 / static_cast<int>(sizeof(U));
    constexpr int LINES = THREADS / WARP;
    i64 col_tiles = (args.cols + EDGE - 1) / EDGE;
    i64 row_tiles = (args.rows + EDGE - 1) / EDGE;
    i64 rest = divide(blockIdx.x, col_tiles);
    i64 col = (blockIdx.x - rest * col_tiles) * EDGE;
    i64 outer = divide(rest, row_tiles);
    i64 row = (rest - outer * row_tiles) * EDGE;
    const U* x = static_cast<const U*>(args.x) + row + col * args.x_stride;
    U* y = static_cast<U*>(args.y) + row * args.y_stride + col;
    for (int axis = args.rank - 1; axis >= 0; axis--) {
        i64 next = divide(outer, args.shape[axis]);
        i64 index = outer - next * args.shape[axis];
        x += index * args.x_strides[axis];
        y += index * args.y_strides[axis];
        outer = next;
    }
#pragma unroll
    for (int c = 0; c < EDGE; c += LINES) {
        int j = c + warp_index();
#pragma unroll
        for (int r = 0; r < EDGE; r += WARP) {
            int i = r + lane_index();
            if (row + i < args.rows && col + j < args.cols) {
                tile[j * LINE + i] = x[i + j * args.x_stride];
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < EDGE; r += LINES) {
        int i = r + warp_index();
#pragma unroll
        for (int c = 0; c < EDGE; c += WARP) {
            int j = c + lane_index();
            if (row + i < args.rows && col + j < args.cols) {
                y[i * args.y_stride + j] = tile[j * LINE + i];
            }
        }
    }
}

KERNEL_BLOCKS(256, 2, transpose_1, TransposeArgs) {
    transpose<unsigned char, 64>(args);
}

KERNEL_BLOCKS(256, 2, transpose_2, TransposeArgs) {
    transpose<unsigned short, 64>(args);
}

KERNEL_BLOCKS(256, 2, transpose_4, TransposeArgs) {
    transpose<u32, 32>(args);
}

// ---------------------------------------------------------------------------------------------------------------- sum

struct SumArgs {
    const void* x;
    void* y;  // [outer, chunks, inner]
    i64 outer;
    i64 outer_stride;  // of x, in elements
    i64 reduced;
    i64 inner;
    i64 chunk;  // part of the reduced axis that is summed by one block
    i64 chunks;
    float scale;
    int bf16_result;
};

DEVICE void store_sum(const SumArgs& args, i64 at, float sum) {
    if (args.bf16_result) {
        static_cast<bf16*>(args.y)[at] = from_float<bf16>(args.scale * sum);
    } else {
        static_cast<float*>(args.y)[at] = args.scale * sum;
    }
}

/** This thread's share of x[0 .. n), by `step` threads of which it is the one numbered `own`. */
template <class T>
DEVICE float partial_sum(const T* x, i64 n, int own, int step) {
    constexpr int N = Pack<T>::COUNT;
    float sum = 0.0f;
    i64 rest = 0;
    if (aligned16(x)) {
        i64 packs = n / N;
        float parts[VECTORS] = {};
        i64 k = own;
        for (; k + (VECTORS - 1) * step < packs; k += VECTORS * step) {
            Pack<T> pack[VECTORS];
#pragma unroll
            for (int u = 0; u < VECTORS; u++) {
                pack[u] = load_pack(x + (k + u * step) * N);
            }
#pragma unroll
            for (int u = 0; u < VECTORS; u++) {
#pragma unroll
                for (int j = 0; j < N; j++) {
                    parts[u] += to_float(pack[u][j]);
                }
            }
        }
        for (; k < packs; k += step) {
            Pack<T> pack = load_pack(x + k * N);
#pragma unroll
            for (int j = 0; j < N; j++) {
                sum += to_float(pack[j]);
            }
        }
        sum += (parts[0] + parts[1]) + (parts[2] + parts[3]);
        rest = packs * N;
    }
    for (i64 i = rest + own; i < n; i += step) {
        sum += to_float(x[i]);
    }
    return sum;
}

/** inner = 1, a block per chunk of a row. */
template <class T>
DEVICE void sum_rows(const SumArgs& args) {
    i64 o = divide(blockIdx.x, args.chunks);
    i64 start = (blockIdx.x - o * args.chunks) * args.chunk;
    const T* x = static_cast<const T*>(args.x) + o * args.outer_stride + start;
    float sum = block_sum<THREADS>(partial_sum(x, min(args.chunk, args.reduced - start), threadIdx.x, THREADS));
    if (threadIdx.x == 0) {
        store_sum(args, blockIdx.x, sum);
    }
}

/** inner = 1, a warp per row. */
template <class T>
DEVICE void sum_short_rows(const SumArgs& args) {
    i64 o = static_cast<i64>(blockIdx.x) * (THREADS / WARP) + warp_index();
    if (o < args.outer) {
        const T* x = static_cast<const T*>(args.x) + o * args.outer_stride;
        float sum = warp_sum(partial_sum(x, args.reduced, lane_index(), WARP));
        if (lane_index() == 0) {
            store_sum(args, o, sum);
        }
    }
}

template <class T>
DEVICE Pack<T> load_columns(const T* x, i64 left, bool wide) {
    if (wide) {
        return load_pack(x);
    }
    Pack<T> pack = {};
#pragma unroll
    for (int j = 0; j < Pack<T>::COUNT; j++) {
        pack.set(j, j < left ? x[j] : from_float<T>(0.0f));
    }
    return pack;
}

/** A block per chunk of the reduced axis and 16 packs of columns. */
template <class T>
DEVICE void sum_columns(const SumArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    constexpr int LANES = 16;
    constexpr int ROWS = THREADS / LANES;
    constexpr int COLUMNS = LANES * N;
    SHARED(float, partials, ROWS * COLUMNS);
    i64 tiles = (args.inner + COLUMNS - 1) / COLUMNS;
    i64 slice = divide(blockIdx.x, tiles);  // (outer, chunk)
    i64 first = (blockIdx.x - slice * tiles) * COLUMNS;
    i64 o = divide(slice, args.chunks);
    i64 start = (slice - o * args.chunks) * args.chunk;
    i64 end = min(args.reduced, start + args.chunk);
    int lane = threadIdx.x % LANES;
    int row = threadIdx.x / LANES;
    const T* base = static_cast<const T*>(args.x);
    i64 column = first + lane * N;
    i64 left = args.inner - column;
    const T* x = base + o * args.outer_stride + column;
    bool wide = aligned16(base) && args.inner % N == 0 && args.outer_stride % N == 0;
    float sums[N] = {};
    if (left > 0) {
        i64 r = start + row;
        for (; r + (VECTORS - 1) * ROWS < end; r += VECTORS * ROWS) {
            Pack<T> pack[VECTORS];
#pragma unroll
            for (int u = 0; u < VECTORS; u++) {
                pack[u] = load_columns(x + (r + u * ROWS) * args.inner, left, wide);
            }
#pragma unroll
            for (int u = 0; u < VECTORS; u++) {
#pragma unroll
                for (int j = 0; j < N; j++) {
                    sums[j] += to_float(pack[u][j]);
                }
            }
        }
        for (; r < end; r += ROWS) {
            Pack<T> pack = load_columns(x + r * args.inner, left, wide);
#pragma unroll
            for (int j = 0; j < N; j++) {
                sums[j] += to_float(pack[j]);
            }
        }
    }
#pragma unroll
    for (int j = 0; j < N; j++) {
        partials[row * COLUMNS + j * LANES + lane] = sums[j];
    }
    __syncthreads();
    int own = threadIdx.x;
    i64 target = first + own % LANES * N + own / LANES;
    if (own < COLUMNS && target < args.inner) {
        float sum = partials[own];
        for (int r = 1; r < ROWS; r++) {
            sum += partials[r * COLUMNS + own];
        }
        store_sum(args, slice * args.inner + target, sum);
    }
}

#define SUM(T, type) \
    KERNEL_BLOCKS(256, 2, sum_rows_##type, SumArgs) { \
        sum_rows<T>(args); \
    } \
    KERNEL_BLOCKS(256, 2, sum_short_rows_##type, SumArgs) { \
        sum_short_rows<T>(args); \
    } \
    KERNEL_BLOCKS(256, 2, sum_columns_##type, SumArgs) { \
        sum_columns<T>(args); \
    }

SUM(float, f32)
SUM(bf16, bf16)
