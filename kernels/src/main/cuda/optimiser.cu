// AdamW (Loshchilov and Hutter, 2019) and the global norm of gradients, both on many tensors in one launch.
//
// Formula, AdamW, for each element with gradient g at step t (c1 = 1 - beta1^t, c2 = 1 - beta2^t):
//   g *= min(1, largest / (norm + 1e-6)) where a norm is given;
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   p = p (1 - lr decay) - (lr / c1) m / (sqrt(v) / sqrt(c2) + eps);  shadow = bf16(p) where there is a shadow
//   In a graph, lr, c1 and c2 are read from device memory at each launch.
// Formula, global norm: sqrt(sum of g^2) over all elements of all tensors. The norm stays on the device, where AdamW reads it, so
//   that clipping takes no pass over the gradients but the norm's own and nobody waits for the host. A norm of NaN makes a factor
//   of NaN: it is not lost in the minimum.
//
// Layouts: flat arrays. Up to 72 tensors (160 for the norm) stand in the parameter struct itself (4 KB, the limit of every
//   driver), so that a step uploads nothing. Tensors are cut into chunks of 4096 elements, one block each.
// Types: parameters, moments and arithmetic f32; gradients f32 or bf16; shadows bf16, rounded to nearest even. Squares are summed
//   in f32: in a thread, across the block, across the blocks, so that few roundings lie on the way of each.
// Determinism: AdamW's elements are independent of each other; the norm adds up in a fixed order, without atomics.
// Launch geometry: a block of 256 threads per chunk, which finds its tensor by bisection; a thread handles 2 x 8 elements,
//   16 bytes per access where the tensor's addresses allow it, one element at a time where they do not. The norm writes a partial
//   sum per chunk, which one block of 1024 threads adds up.
// Bytes per element: AdamW 12 read and 12 written (p, m, v), 4 or 2 of gradient, 2 of shadow; norm 4 or 2.
// FLOPs per element: AdamW 15, norm 2.
#include "tessera.cuh"

constexpr int TENSORS = 72;
constexpr int CHUNK = 4096;

struct AdamWTensor {
    float* parameter;
    const void* gradient;
    float* first;
    float* second;
    bf16* shadow;
    i64 count;
    int first_block;
    float decay;
};

struct AdamWArgs {
    const Variables* variables;  // of a graph, whose rates replace those below; null otherwise
    const float* norm;  // of all gradients, to be clipped; or null
    int tensors;
    float beta1;
    float fresh1;
    float beta2;
    float fresh2;
    float lr;
    float correction1;  // 1 / c1
    float correction2;  // 1 / sqrt(c2)
    float eps;
    float largest;  // norm
    AdamWTensor table[TENSORS];
};

/** What one launch and one tensor have in common. */
struct AdamWRates {
    float keep;
    float rate;
    float correction;
    float clip;
};

DEVICE AdamWRates adamw_rates(const AdamWArgs& args, float decay) {
    AdamWRates rates;
    float lr = args.lr;
    float correction1 = args.correction1;
    rates.correction = args.correction2;
    if (args.variables != nullptr) {
        lr = args.variables->lr;
        correction1 = args.variables->correction1;
        rates.correction = args.variables->correction2;
    }
    rates.keep = 1 - lr * decay;
    rates.rate = lr * correction1;
    rates.clip = 1;
    if (args.norm != nullptr) {
        const float factor = args.largest / (*args.norm + 1e-6f);
        rates.clip = factor >= 1 ? 1 : factor;  // NaN, unlike in fminf
    }
    return rates;
}

DEVICE float adamw_step(const AdamWArgs& args, const AdamWRates& rates, float g, float p, float& m, float& v) {
    g *= rates.clip;
    m = args.beta1 * m + args.fresh1 * g;
    v = args.beta2 * v + args.fresh2 * g * g;
    return p * rates.keep - rates.rate * m / (sqrtf(v) * rates.correction + args.eps);
}

/** The tensor of which this block has a chunk: the last one that begins at it or before. */
template <class Args>
DEVICE int tensor_of_block(const Args& args) {
    const int block = blockIdx.x;
    int low = 0;
    int high = args.tensors - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (args.table[middle].first_block <= block) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

template <class G>
DEVICE void adamw(const AdamWArgs& args) {
    const AdamWTensor& tensor = args.table[tensor_of_block(args)];
    float* parameter = tensor.parameter;
    const G* gradient = (const G*)tensor.gradient;
    float* first = tensor.first;
    float* second = tensor.second;
    bf16* shadow = tensor.shadow;
    const AdamWRates rates = adamw_rates(args, tensor.decay);
    const i64 start = (i64)(blockIdx.x - tensor.first_block) * CHUNK;
    const i64 end = start + CHUNK < tensor.count ? start + CHUNK : tensor.count;
    const bool aligned = aligned16(parameter) && aligned16(gradient) && aligned16(first) && aligned16(second)
            && aligned16(shadow);
    const i64 whole = aligned ? start + (end - start) / 8 * 8 : start;
#pragma unroll 2
    for (i64 i = start + threadIdx.x * 8; i < whole; i += 256 * 8) {
        float p[8];
        float g[8];
        float m[8];
        float v[8];
        read(gradient + i, g);
        read(parameter + i, p);
        read(first + i, m);
        read(second + i, v);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            p[k] = adamw_step(args, rates, g[k], p[k], m[k], v[k]);
        }
        write(parameter + i, p);
        write(first + i, m);
        write(second + i, v);
        if (shadow != nullptr) {
            write(shadow + i, p);
        }
    }
    for (i64 i = whole + threadIdx.x; i < end; i += 256) {
        float m = first[i];
        float v = second[i];
        const float p = adamw_step(args, rates, to_float(gradient[i]), parameter[i], m, v);
        parameter[i] = p;
        first[i] = m;
        second[i] = v;
        if (shadow != nullptr) {
            shadow[i] = from_float<bf16>(p);
        }
    }
}

KERNEL(256, adamw_f32, AdamWArgs) { adamw<float>(args); }
KERNEL(256, adamw_bf16, AdamWArgs) { adamw<bf16>(args); }

// -------------------------------------------------------------------------------------------------------- global norm

constexpr int NORM_TENSORS = 160;
constexpr int TOTAL_THREADS = 1024;

struct NormTensor {
    const void* values;
    i64 count;
    int first_block;
    int narrow;  // bf16
};

struct NormArgs {
    float* partials;  // one per block
    int tensors;
    int padding;
    NormTensor table[NORM_TENSORS];
};

/** This thread's share of the squares of a chunk of SIZE elements. */
template <class G, int SIZE>
DEVICE float sum_of_squares(const NormTensor& tensor) {
    constexpr int N = Pack<G>::COUNT;
    const G* values = (const G*)tensor.values;
    const i64 start = (i64)(blockIdx.x - tensor.first_block) * SIZE;
    const i64 end = start + SIZE < tensor.count ? start + SIZE : tensor.count;
    const i64 whole = aligned16(values) ? start + (end - start) / N * N : start;
    float sum = 0;
#pragma unroll
    for (int k = 0; k < SIZE / (256 * N); k++) {
        const i64 i = start + (k * 256 + threadIdx.x) * N;
        if (i < whole) {
            float g[N];
            read(values + i, g);
#pragma unroll
            for (int j = 0; j < N; j++) {
                sum += g[j] * g[j];
            }
        }
    }
    for (i64 i = whole + threadIdx.x; i < end; i += 256) {
        const float g = to_float(values[i]);
        sum += g * g;
    }
    return sum;
}

template <int SIZE>
DEVICE void norm_partials(const NormArgs& args) {
    const NormTensor& tensor = args.table[tensor_of_block(args)];
    float sum = tensor.narrow ? sum_of_squares<bf16, SIZE>(tensor) : sum_of_squares<float, SIZE>(tensor);
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) {
        args.partials[blockIdx.x] = sum;
    }
}

KERNEL(256, global_norm_partials, NormArgs) {
    norm_partials<CHUNK>(args);
}

struct TotalArgs {
    const float* partials;
    float* norm;
    i64 count;
};

KERNEL(TOTAL_THREADS, global_norm, TotalArgs) {
    float sum = 0;
#pragma unroll 4
    for (i64 i = threadIdx.x; i < args.count; i += TOTAL_THREADS) {
        sum += args.partials[i];
    }
    sum = block_sum<TOTAL_THREADS>(sum);
    if (threadIdx.x == 0) {
        *args.norm = sqrtf(sum);
    }
}
