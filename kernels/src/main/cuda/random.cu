// Random numbers, dropout, drop-path and random masks, all pure functions of (seed, stream, position) by Philox 4x32-10.
//
// Formula       uniform: element i is low + (high - low) u_i, u_i = word i % 4 of counter i / 4, upper 24 bits as a fraction;
//               normal (Box-Muller): elements 2j, 2j + 1 are mean + r cos(a), mean + r sin(a) with r = std sqrt(-2 ln(1 - u_2j)),
//               a = 2 pi u_2j+1; dropout: y_i = x_i / (1 - p) where u_i >= p, else 0; drop-path: sample b of y is that of the
//               residual (or zero) plus, where u_b >= p, that of x / (1 - p); mask: in each plane the `masked` cells with
//               the smallest keys (first word of Philox at the cell's number), ties to the smaller cell.
// Layouts       contiguous; drop-path's samples one after another; masks are i32 [batch, slots * (plane - masked)] and [batch, slots * masked], ascending.
// Accumulation  uniform and normal numbers in f64, rounded once: they make initial weights, which are to be the same on every
//               device. (Uniform numbers are the same bits; sine, cosine and logarithm may differ from the CPU's in the last bit of
//               an f64, which is rounded away but for about one value in 10^8.) Dropout, drop-path and masks compare integers: they
//               keep the same elements. Drop-path adds in f32 and rounds once.
// Determinism   no state; atomics count integers only.
// Geometry      numbers: 256 threads, 16 bytes of output per thread and step, 4 steps in dropout and drop-path, whose blocks
//               belong to one sample each. Masks: a block of 256 threads per
//               (sample, slot): keys in shared memory (computed again beyond 4096 cells), the masked-th smallest by four
//               rounds of 256-bin counting, ranks by warp votes. Any plane size.
// Bytes         outputs once, dropout reads x once, drop-path the residual and what it keeps of x. About 70 integer operations
//               per four numbers.
// Registers     two blocks per multiprocessor are promised (four in drop-path), far from the limit: without a promise ptxas spills a word here and
//               there to fit more threads.
#include "tessera.cuh"

constexpr int THREADS = 256;
constexpr int VECTORS = 4;

struct RandomKey {
    i64 seed;
    i64 stream;
};

DEVICE RandomKey current_key(RandomKey key, const Variables* variables) {
    if (variables != nullptr) {
        key.seed = static_cast<i64>(static_cast<u64>(key.seed) + static_cast<u64>(variables->seed));
        key.stream = static_cast<i64>(static_cast<u64>(key.stream) + static_cast<u64>(variables->stream));
    }
    return key;
}

// ------------------------------------------------------------------------------------------------------------ numbers

struct RandomArgs {
    void* y;
    i64 n;
    RandomKey key;
    const Variables* variables;  // of a graph, added to the key; null otherwise
    double a;  // low, or mean
    double b;  // high - low, or std
    double last;  // the largest value below high
};

DEVICE double unit(u32 word) {
    return uniform(word);
}

struct Uniform {
    DEVICE static void numbers(const RandomArgs& args, const RandomWords& words, double out[4]) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            double value = args.a + product(args.b, unit(words.word[j]));
            out[j] = fmax(args.a, fmin(args.last, value));
        }
    }
};

struct Normal {
    DEVICE static void numbers(const RandomArgs& args, const RandomWords& words, double out[4]) {
#pragma unroll
        for (int j = 0; j < 4; j += 2) {
            double radius = args.b * sqrt(-2 * log(1 - unit(words.word[j])));
            double sine;
            double cosine;
            sine_cosine(unit(words.word[j + 1]), &sine, &cosine);
            out[j] = args.a + product(radius, cosine);
            out[j + 1] = args.a + product(radius, sine);
        }
    }
};

template <class T, class F>
DEVICE void random(const RandomArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    T* y = static_cast<T*>(args.y);
    i64 first = global_index() * N;
    if (first >= args.n) {
        return;
    }
    const RandomKey key = current_key(args.key, args.variables);
    Pack<T> pack = {};
#pragma unroll
    for (int j = 0; j < N; j += 4) {
        double numbers[4];
        F::numbers(args, philox(key.seed, key.stream, (first + j) / 4), numbers);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            pack.set(j + k, from_double<T>(numbers[k]));
        }
    }
    if (first + N <= args.n && aligned16(y)) {
        store_pack(y + first, pack);
    } else {
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (first + j < args.n) {
                y[first + j] = pack[j];
            }
        }
    }
}

KERNEL_BLOCKS(256, 2, random_uniform_f32, RandomArgs) {
    random<float, Uniform>(args);
}

KERNEL_BLOCKS(256, 2, random_uniform_bf16, RandomArgs) {
    random<bf16, Uniform>(args);
}

KERNEL_BLOCKS(256, 2, random_normal_f32, RandomArgs) {
    random<float, Normal>(args);
}

KERNEL_BLOCKS(256, 2, random_normal_bf16, RandomArgs) {
    random<bf16, Normal>(args);
}

// ------------------------------------------------------------------------------------------------------------ dropout

struct DropoutArgs {
    const void* x;
    void* y;
    i64 n;
    RandomKey key;
    const Variables* variables;  // of a graph, added to the key; null otherwise
    u32 threshold;  // p 2^24, rounded up
    float scale;
};

template <class T>
DEVICE void dropout(const DropoutArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    const T* x = static_cast<const T*>(args.x);
    T* y = static_cast<T*>(args.y);
    i64 own = (static_cast<i64>(blockIdx.x) * THREADS * VECTORS + threadIdx.x) * N;
    bool wide = aligned16(x) && aligned16(y);
    const RandomKey key = current_key(args.key, args.variables);
    Pack<T> packs[VECTORS] = {};
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own + k * THREADS * N;
        if (wide && i + N <= args.n) {
            packs[k] = load_pack(x + i);
        } else {
#pragma unroll
            for (int j = 0; j < N; j++) {
                packs[k].set(j, i + j < args.n ? x[i + j] : from_float<T>(0.0f));
            }
        }
    }
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        i64 i = own + k * THREADS * N;
        float values[N];
        unpack(packs[k], values);
#pragma unroll
        for (int j = 0; j < N; j += 4) {
            RandomWords words = philox(key.seed, key.stream, (i + j) / 4);
#pragma unroll
            for (int w = 0; w < 4; w++) {
                bool kept = words.word[w] >> 8 >= args.threshold;
                values[j + w] = kept ? values[j + w] * args.scale : 0.0f;
            }
        }
        if (wide && i + N <= args.n) {
            write(y + i, values);
        } else {
#pragma unroll
            for (int j = 0; j < N; j++) {
                if (i + j < args.n) {
                    y[i + j] = from_float<T>(values[j]);
                }
            }
        }
    }
}

KERNEL_BLOCKS(256, 2, dropout_f32, DropoutArgs) {
    dropout<float>(args);
}

KERNEL_BLOCKS(256, 2, dropout_bf16, DropoutArgs) {
    dropout<bf16>(args);
}

// ---------------------------------------------------------------------------------------------------------- drop-path

struct DropPathArgs {
    const void* residual;  // or null
    const void* x;
    void* y;
    i64 n;  // elements of a sample
    i64 parts;  // blocks of a sample
    RandomKey key;
    const Variables* variables;  // of a graph, added to the key; null otherwise
    u32 threshold;  // p 2^24, rounded up
    float scale;
};

template <class T>
DEVICE void drop_path(const DropPathArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    const i64 sample = divide(blockIdx.x, args.parts);
    const i64 part = blockIdx.x - sample * args.parts;
    const RandomKey key = current_key(args.key, args.variables);
    const RandomWords words = philox(key.seed, key.stream, sample / 4);
    u32 word = words.word[0];
#pragma unroll
    for (int w = 1; w < 4; w++) {
        word = sample % 4 == w ? words.word[w] : word;
    }
    const bool kept = word >> 8 >= args.threshold;
    const T* x = static_cast<const T*>(args.x) + sample * args.n;
    T* y = static_cast<T*>(args.y) + sample * args.n;
    const T* residual = args.residual == nullptr ? nullptr : static_cast<const T*>(args.residual) + sample * args.n;
    const bool wide = aligned16(x) && aligned16(y) && aligned16(residual);
    const i64 start = part * THREADS * VECTORS * N;
    const i64 end = min(args.n, start + THREADS * VECTORS * N);
    const i64 whole = wide ? start + (end - start) / N * N : start;
    const i64 own = start + threadIdx.x * N;
    Pack<T> sums[VECTORS] = {};
    Pack<T> added[VECTORS] = {};
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        const i64 i = own + k * THREADS * N;
        if (i < whole && residual != nullptr) {
            sums[k] = load_pack(residual + i);
        }
        if (i < whole && kept) {
            added[k] = load_pack(x + i);
        }
    }
#pragma unroll
    for (int k = 0; k < VECTORS; k++) {
        const i64 i = own + k * THREADS * N;
        float sum[N];
        float branch[N];
        unpack(sums[k], sum);
        unpack(added[k], branch);
#pragma unroll
        for (int j = 0; j < N; j++) {
            sum[j] += branch[j] * args.scale;
        }
        if (i < whole) {
            write(y + i, sum);
        }
    }
    for (i64 i = whole + threadIdx.x; i < end; i += THREADS) {
        const float sum = residual != nullptr ? to_float(residual[i]) : 0.0f;
        y[i] = from_float<T>(kept ? sum + to_float(x[i]) * args.scale : sum);
    }
}

KERNEL_BLOCKS(256, 4, drop_path_f32, DropPathArgs) {
    drop_path<float>(args);
}

KERNEL_BLOCKS(256, 4, drop_path_bf16, DropPathArgs) {
    drop_path<bf16>(args);
}

// -------------------------------------------------------------------------------------------------------------- masks

constexpr int CACHED = 4096;
constexpr int BINS = 256;

struct MaskArgs {
    int* visible;
    int* hidden;  // or null
    RandomKey key;
    const Variables* variables;  // of a graph, added to the key; null otherwise
    int slots;
    int plane;
    int masked;
    int tube;
};

struct Counts {
    int below;
    int equal;
};

/** What the threads before this one count; `total` receives what all of the block count. */
DEVICE Counts count_before(bool below, bool equal, Counts* total) {
    SHARED(Counts, warps, THREADS / WARP);
    u32 earlier = (1u << lane_index()) - 1;
    u32 below_votes = __ballot_sync(ALL_LANES, below);
    u32 equal_votes = __ballot_sync(ALL_LANES, equal);
    if (lane_index() == 0) {
        warps[warp_index()].below = __popc(below_votes);
        warps[warp_index()].equal = __popc(equal_votes);
    }
    __syncthreads();
    Counts before = {__popc(below_votes & earlier), __popc(equal_votes & earlier)};
    Counts all = {0, 0};
    for (int w = 0; w < THREADS / WARP; w++) {
        if (w == warp_index()) {
            before.below += all.below;
            before.equal += all.equal;
        }
        all.below += warps[w].below;
        all.equal += warps[w].equal;
    }
    __syncthreads();
    *total = all;
    return before;
}

/** The bin in which the rank-th (from 1) of all counted keys lies, and how many keys lie in the bins before. */
DEVICE void find_bin(const int* bins, int rank, int* found) {
    SHARED(int, warps, THREADS / WARP);
    int own = bins[threadIdx.x];
    int sum = own;  // of this bin and the warp's bins before
    for (int offset = 1; offset < WARP; offset *= 2) {
        int other = __shfl_sync(ALL_LANES, sum, max(0, lane_index() - offset));
        sum += lane_index() >= offset ? other : 0;
    }
    if (lane_index() == WARP - 1) {
        warps[warp_index()] = sum;
    }
    __syncthreads();
    for (int w = 0; w < warp_index(); w++) {
        sum += warps[w];
    }
    if (sum - own < rank && rank <= sum) {
        found[0] = threadIdx.x;
        found[1] = sum - own;
    }
    __syncthreads();
}

KERNEL_BLOCKS(256, 2, random_mask, MaskArgs) {
    SHARED(u32, cached, CACHED);
    SHARED(int, bins, BINS);
    SHARED(int, found, 2);
    const RandomKey base = current_key(args.key, args.variables);
    int plane = args.plane;
    i64 sample = blockIdx.x / args.slots;
    int slot = static_cast<int>(blockIdx.x % args.slots);
    u64 counter = (sample * args.slots + (args.tube ? 0 : slot)) * plane;
    for (int c = threadIdx.x; c < min(plane, CACHED); c += THREADS) {
        cached[c] = philox(base.seed, base.stream, counter + c).word[0];
    }
    __syncthreads();
    auto key_of = [&](int c) { return c < CACHED ? cached[c] : philox(base.seed, base.stream, counter + c).word[0]; };

    // Digit by digit from the top: the masked-th smallest key, and how many of the cells that have it are masked.
    u32 key = 0;
    int rank = args.masked;
    for (int shift = 24; shift >= 0 && rank > 0; shift -= 8) {
        bins[threadIdx.x] = 0;
        __syncthreads();
        for (int c = threadIdx.x; c < plane; c += THREADS) {
            u32 candidate = key_of(c);
            if ((static_cast<u64>(candidate ^ key) >> shift >> 8) == 0) {
                atomicAdd(&bins[candidate >> shift & 255], 1);
            }
        }
        __syncthreads();
        find_bin(bins, rank, found);
        key |= static_cast<u32>(found[0]) << shift;
        rank -= found[1];
        __syncthreads();
    }

    int* visible = args.visible + (sample * args.slots + slot) * (plane - args.masked);
    int* hidden = args.hidden + (args.hidden == nullptr ? 0 : (sample * args.slots + slot) * args.masked);
    Counts passed = {0, 0};
    for (int first = 0; first < plane; first += THREADS) {
        int c = first + threadIdx.x;
        u32 own = c < plane ? key_of(c) : 0;
        bool below = args.masked > 0 && c < plane && own < key;
        bool equal = args.masked > 0 && c < plane && own == key;
        Counts total;
        Counts before = count_before(below, equal, &total);
        before.below += passed.below;
        before.equal += passed.equal;
        int hidden_before = before.below + min(before.equal, rank);
        if (c < plane) {
            int token = slot * plane + c;
            if (!below && !(equal && before.equal < rank)) {
                visible[c - hidden_before] = token;
            } else if (args.hidden != nullptr) {
                hidden[hidden_before] = token;
            }
        }
        passed.below += total.below;
        passed.equal += total.equal;
    }
}
