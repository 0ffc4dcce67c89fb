// Losses with their gradients.
//
// Formulas (x logits of one row, y its label, n classes, R rows, s label smoothing):
//   cross_entropy       loss = 1/R sum_r [ (1-s) (lse - x_y) + s/n sum_j (lse - x_j) ],   lse = log sum_j exp(x_j)
//                       dx_j = 1/R ( softmax(x)_j - s/n - (1-s) [j = y] )
//   feature_loss        losses_m = 1/n_m sum_i (a_mi - b_mi)^2,  loss = sum_m w_m losses_m,  da_mi = 2 w_m/n_m (a_mi - b_mi)
//                       (the mean squared error is the case of one modality)
//   distillation_loss   z = sum_t w_t z_t,  p = softmax(z/T),  q = softmax(x/T)
//                       loss = 1/R sum_r [ alpha T^2 sum_j p_j (log p_j - log q_j) + beta (lse - x_y) ]
//                       dx_j = 1/R ( alpha T (q_j - p_j) + beta (softmax(x)_j - [j = y]) )
//   reconstruction_loss target = (v - mean) / (sqrt(var) + eps) per patch and channel, var unbiased; loss = mean of
//                       (prediction - target)^2,  dprediction = 2/n (prediction - target)
//
// Layouts: logits, features [rows, cols] contiguous; weights [teachers] or [rows, teachers] f32; labels i32; prediction
//   [rows, tubelet, patch, patch, channels]; the video is addressed by strides.
// Types: logits, features, predictions and their gradients f32 or bf16; video u8 or f32; losses and all arithmetic f32;
//   sums of rows and of blocks f64.
// Determinism: every row or block writes its own term; loss_sum adds the terms in one block in a fixed order. No atomics.
// A label or patch index that is out of range makes the loss (and the gradient of its row) NaN; memory is never read outside.
//
// Launch geometry and cost, per row of n values of S bytes (T teachers):
//   cross_entropy       a warp per row up to 1024 columns (8 rows a block), a block of 256 above; the row is read twice (the
//                       second time from cache) and never held in registers: bytes n S (1 + 1 gradient), FLOPs about 8 n
//   distillation_loss   the same: bytes n S (1 + T + 1), FLOPs about (2 T + 20) n
//   feature_loss        up to 1024 blocks of 256 threads per modality, all modalities in one grid: bytes 3 n S, FLOPs 4 n
//   reconstruction_loss one block per patch, a warp per channel for its statistics, which stage the target in shared
//                       memory; then all threads walk the prediction in order: bytes n (video + 2 S), FLOPs about 10 n
#include "tessera.cuh"

// --------------------------------------------------------------------------------------------------------- reading rows

template <int N>
struct Width {
    static constexpr int value = N;
};

template <int N, class T>
DEVICE void read(const T* from, float (&to)[N]) {
    if constexpr (N == 1) {
        to[0] = to_float(*from);
    } else {
        const Pack<T> pack = load_pack(from);
#pragma unroll
        for (int k = 0; k < N; k++) {
            to[k] = to_float(pack.values[k]);
        }
    }
}

template <int N, class T>
DEVICE void write(T* to, const float (&from)[N]) {
    if constexpr (N == 1) {
        *to = from_float<T>(from[0]);
    } else {
        Pack<T> pack;
#pragma unroll
        for (int k = 0; k < N; k++) {
            pack.values[k] = from_float<T>(from[k]);
        }
        store_pack(to, pack);
    }
}

// Calls visit(i, Width) for consecutive runs of Width values that cover [0, cols) among GROUP threads, 16 bytes at once where
// the row is aligned.
template <int GROUP, class T, class Visit>
DEVICE void each(int cols, bool aligned, Visit visit) {
    constexpr int N = 16 / sizeof(T);
    const int lane = static_cast<int>(threadIdx.x % GROUP);
    const int whole = aligned ? cols / N * N : 0;
    for (int i = lane * N; i < whole; i += GROUP * N) {
        visit(i, Width<N>());
    }
    for (int i = whole + lane; i < cols; i += GROUP) {
        visit(i, Width<1>());
    }
}

template <int GROUP>
DEVICE float group_sum(float x) {
    if constexpr (GROUP == 32) {
        return warp_sum(x);
    } else {
        return block_sum<GROUP>(x);
    }
}

template <int GROUP>
DEVICE float group_max(float x) {
    if constexpr (GROUP == 32) {
        return warp_max(x);
    } else {
        return block_max<GROUP>(x);
    }
}

// Where a maximum starts: the least finite f32, so that -infinity among the values needs no case of its own.
constexpr float LEAST = -0x1.fffffep127f;

template <int N>
DEVICE float largest(const float (&x)[N]) {
    float most = x[0];
#pragma unroll
    for (int k = 1; k < N; k++) {
        most = fmaxf(most, x[k]);
    }
    return most;
}

// Not a number, for terms that cannot be computed.
DEVICE float undefined() {
    return __uint_as_float(0x7FC00000u);
}

// -------------------------------------------------------------------------------------------------------- cross-entropy

struct CrossEntropyArgs {
    const void* logits;
    const int* labels;
    float* terms;
    void* dlogits;
    i64 rows;
    int cols;
    float smoothing;
};

template <class T, int GROUP>
DEVICE void cross_entropy(const CrossEntropyArgs& args) {
    const int groups = 256 / GROUP;
    for (i64 row = (i64)blockIdx.x * groups + threadIdx.x / GROUP; row < args.rows; row += (i64)gridDim.x * groups) {
        const T* x = (const T*)args.logits + row * args.cols;
        const bool aligned = aligned16(x);
        const float first = to_float(x[0]);
        float most = LEAST;
        float sum = 0;
        float offsets = 0;
        each<GROUP, T>(args.cols, aligned, [&](int i, auto width) {
            constexpr int N = decltype(width)::value;
            float v[N];
            read<N>(x + i, v);
            const float top = largest(v);
            if (top > most) {
                sum *= expf(most - top);
                most = top;
            }
#pragma unroll
            for (int k = 0; k < N; k++) {
                sum += expf(v[k] - most);
                offsets += v[k] - first;
            }
        });
        const float top = group_max<GROUP>(most);
        sum = group_sum<GROUP>(sum * expf(most - top));
        offsets = group_sum<GROUP>(offsets);
        const int label = args.labels[row];
        const bool known = label >= 0 && label < args.cols;
        const float share = args.smoothing / (float)args.cols;
        if (threadIdx.x % GROUP == 0) {
            const float normaliser = logf(sum);
            float term = undefined();
            if (known) {
                term = (1 - args.smoothing) * (normaliser - (to_float(x[label]) - top));
                if (args.smoothing != 0) {
                    term += args.smoothing * (normaliser + (top - first)) - share * offsets;
                }
            }
            args.terms[row] = term;
        }
        if (args.dlogits != nullptr) {
            T* dx = (T*)args.dlogits + row * args.cols;
            const float mean = known ? 1.0f / (float)args.rows : undefined();
            const float inverse = 1.0f / sum;
            each<GROUP, T>(args.cols, aligned && aligned16(dx), [&](int i, auto width) {
                constexpr int N = decltype(width)::value;
                float v[N];
                read<N>(x + i, v);
#pragma unroll
                for (int k = 0; k < N; k++) {
                    const float hit = i + k == label ? 1 - args.smoothing : 0;
                    v[k] = (expf(v[k] - top) * inverse - share - hit) * mean;
                }
                write<N>(dx + i, v);
            });
        }
    }
}

KERNEL_BLOCKS(256, 4, cross_entropy_f32, CrossEntropyArgs) { cross_entropy<float, 32>(args); }
KERNEL_BLOCKS(256, 4, cross_entropy_bf16, CrossEntropyArgs) { cross_entropy<bf16, 32>(args); }
KERNEL_BLOCKS(256, 4, cross_entropy_long_f32, CrossEntropyArgs) { cross_entropy<float, 256>(args); }
KERNEL_BLOCKS(256, 4, cross_entropy_long_bf16, CrossEntropyArgs) { cross_entropy<bf16, 256>(args); }

// --------------------------------------------------------------------------------------------------------- distillation

constexpr int MAX_TEACHERS = 8;

struct DistillationArgs {
    const void* student;
    const void* teachers[MAX_TEACHERS];
    const float* weights;
    const int* labels;
    float* terms;
    void* dstudent;
    i64 rows;
    i64 weight_stride;
    int cols;
    int teacher_count;
    float temperature;
    float alpha;
    float beta;
};

// The ensemble's logits at N places.
template <int N, class T>
DEVICE void ensemble(const DistillationArgs& args, const float (&weights)[MAX_TEACHERS], i64 at, float (&z)[N]) {
#pragma unroll
    for (int k = 0; k < N; k++) {
        z[k] = 0;
    }
#pragma unroll
    for (int t = 0; t < MAX_TEACHERS; t++) {
        if (t < args.teacher_count) {
            float v[N];
            read<N>((const T*)args.teachers[t] + at, v);
#pragma unroll
            for (int k = 0; k < N; k++) {
                z[k] = fmaf(weights[t], v[k], z[k]);
            }
        }
    }
}

template <class T, int GROUP>
DEVICE void distillation(const DistillationArgs& args) {
    const int groups = 256 / GROUP;
    const float cold = 1.0f / args.temperature;
    const bool hard = args.beta != 0;
    for (i64 row = (i64)blockIdx.x * groups + threadIdx.x / GROUP; row < args.rows; row += (i64)gridDim.x * groups) {
        const i64 start = row * args.cols;
        const T* x = (const T*)args.student + start;
        bool aligned = aligned16(x);
        float weights[MAX_TEACHERS];
#pragma unroll
        for (int t = 0; t < MAX_TEACHERS; t++) {
            weights[t] = t < args.teacher_count ? args.weights[row * args.weight_stride + t] : 0;
            aligned = aligned && (t >= args.teacher_count || aligned16((const T*)args.teachers[t] + start));
        }

        float most = LEAST;       // of the student
        float soft = 0;           // sum of exp((x - most) / T)
        float plain = 0;          // sum of exp(x - most)
        float teacher_most = LEAST;
        float teacher_soft = 0;
        each<GROUP, T>(args.cols, aligned, [&](int i, auto width) {
            constexpr int N = decltype(width)::value;
            float v[N];
            float z[N];
            read<N>(x + i, v);
            ensemble<N, T>(args, weights, start + i, z);
            float top = largest(v);
            if (top > most) {
                soft *= expf((most - top) * cold);
                plain *= expf(most - top);
                most = top;
            }
            top = largest(z);
            if (top > teacher_most) {
                teacher_soft *= expf((teacher_most - top) * cold);
                teacher_most = top;
            }
#pragma unroll
            for (int k = 0; k < N; k++) {
                soft += expf((v[k] - most) * cold);
                teacher_soft += expf((z[k] - teacher_most) * cold);
                if (hard) {
                    plain += expf(v[k] - most);
                }
            }
        });
        const float top = group_max<GROUP>(most);
        const float teacher_top = group_max<GROUP>(teacher_most);
        soft = group_sum<GROUP>(soft * expf((most - top) * cold));
        teacher_soft = group_sum<GROUP>(teacher_soft * expf((teacher_most - teacher_top) * cold));
        plain = group_sum<GROUP>(plain * expf(most - top));

        const int label = hard ? args.labels[row] : 0;
        const bool known = label >= 0 && label < args.cols;
        const float mean = known ? 1.0f / (float)args.rows : undefined();
        const float soft_factor = args.alpha * args.temperature * mean;
        const float hard_factor = args.beta * mean;
        const float log_soft = logf(soft);
        const float log_teacher = logf(teacher_soft);
        const float inverse_plain = 1.0f / plain;
        T* dx = (T*)args.dstudent + start;
        aligned = aligned && aligned16(dx);
        float divergence = 0;
        each<GROUP, T>(args.cols, aligned, [&](int i, auto width) {
            constexpr int N = decltype(width)::value;
            float v[N];
            float z[N];
            read<N>(x + i, v);
            ensemble<N, T>(args, weights, start + i, z);
#pragma unroll
            for (int k = 0; k < N; k++) {
                const float log_q = (v[k] - top) * cold - log_soft;
                const float log_p = (z[k] - teacher_top) * cold - log_teacher;
                const float p = expf(log_p);
                // The differences q - p add up to 0; with them no term is negative, and where p is close to q rounding errors
                // of the logarithms cancel. A class that the teachers exclude has no p log p, even where 0 (-infinity) would
                // be NaN; a NaN stays.
                const float excess = expf(log_q) - p;
                divergence += p <= 0 ? excess : fmaf(p, log_p - log_q, excess);
                float gradient = soft_factor * excess;
                if (hard) {
                    gradient += hard_factor * (expf(v[k] - top) * inverse_plain - (i + k == label ? 1.0f : 0.0f));
                }
                v[k] = gradient;
            }
            if (args.dstudent != nullptr) {
                write<N>(dx + i, v);
            }
        });
        divergence = group_sum<GROUP>(divergence);
        if (threadIdx.x % GROUP == 0) {
            float term = args.alpha * args.temperature * args.temperature * divergence;
            if (hard) {
                term += known ? args.beta * (logf(plain) - (to_float(x[label]) - top)) : undefined();
            }
            args.terms[row] = term;
        }
    }
}

KERNEL_BLOCKS(256, 3, distillation_loss_f32, DistillationArgs) { distillation<float, 32>(args); }
KERNEL_BLOCKS(256, 3, distillation_loss_bf16, DistillationArgs) { distillation<bf16, 32>(args); }
KERNEL_BLOCKS(256, 3, distillation_loss_long_f32, DistillationArgs) { distillation<float, 256>(args); }
KERNEL_BLOCKS(256, 3, distillation_loss_long_bf16, DistillationArgs) { distillation<bf16, 256>(args); }

// --------------------------------------------------------------------------------------- feature loss, mean squared error

constexpr int MAX_MODALITIES = 8;

struct FeatureLossArgs {
    const void* projected[MAX_MODALITIES];
    const void* targets[MAX_MODALITIES];
    void* dprojected[MAX_MODALITIES];
    i64 counts[MAX_MODALITIES];
    float factors[MAX_MODALITIES];
    float* terms;
};

// One modality per blockIdx.y; its terms are gridDim.x consecutive values.
template <class T>
DEVICE void feature_loss(const FeatureLossArgs& args) {
    constexpr int N = 16 / sizeof(T);
    const int m = blockIdx.y;
    const T* a = (const T*)args.projected[m];
    const T* b = (const T*)args.targets[m];
    T* d = (T*)args.dprojected[m];
    const i64 count = args.counts[m];
    const float factor = args.factors[m];
    float sum = 0;
    const auto visit = [&](i64 i, auto width) {
        constexpr int W = decltype(width)::value;
        float u[W];
        float v[W];
        read<W>(a + i, u);
        read<W>(b + i, v);
#pragma unroll
        for (int k = 0; k < W; k++) {
            const float difference = u[k] - v[k];
            sum = fmaf(difference, difference, sum);
            u[k] = difference * factor;
        }
        if (d != nullptr) {
            write<W>(d + i, u);
        }
    };
    const i64 thread = (i64)blockIdx.x * 256 + threadIdx.x;
    const i64 threads = (i64)gridDim.x * 256;
    const i64 whole = aligned16(a) && aligned16(b) && aligned16(d) ? count / N * N : 0;
#pragma unroll 2
    for (i64 i = thread * N; i < whole; i += threads * N) {
        visit(i, Width<N>());
    }
    for (i64 i = whole + thread; i < count; i += threads) {
        visit(i, Width<1>());
    }
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) {
        args.terms[(i64)m * gridDim.x + blockIdx.x] = sum;
    }
}

KERNEL(256, feature_loss_f32, FeatureLossArgs) { feature_loss<float>(args); }
KERNEL(256, feature_loss_bf16, FeatureLossArgs) { feature_loss<bf16>(args); }

// ------------------------------------------------------------------------------------------------------- reconstruction

struct ReconstructionArgs {
    const void* video;
    const int* indices;
    const void* prediction;
    void* dprediction;
    float* terms;
    i64 rows;
    i64 count;
    i64 stride_b;
    i64 stride_t;
    i64 stride_y;
    i64 stride_x;
    i64 stride_c;
    int patches;
    int plane;
    int across;
    int channels;
    int tubelet;
    int patch;
    float scale;
    float eps;
    float factor;
    int normalise;
};

DEVICE float pixel(const unsigned char* video, i64 at) {
    return (float)video[at];
}

DEVICE float pixel(const float* video, i64 at) {
    return video[at];
}

// Writes the target of channel c of the patch at origin to shared memory, order (dt, dy, dx, c), by one warp. Its lanes lie
// over whole lines of the patch, so no division is needed per pixel.
template <class V>
DEVICE void stage_channel(const ReconstructionArgs& args, i64 origin, int c, float* staged) {
    const V* video = (const V*)args.video + origin + c * args.stride_c;
    const int lane = threadIdx.x % 32;
    const int p = args.patch;
    const int lines = p < 32 ? 32 / p : 1;
    const int all_lines = args.tubelet * p;
    const int first_line = p < 32 ? lane / p : 0;
    const int first_x = p < 32 ? lane % p : lane;
    const auto each_pixel = [&](auto visit) {
        if (first_line >= lines) {
            return;
        }
        int dt = first_line / p;
        int dy = first_line % p;
        for (int line = first_line; line < all_lines; line += lines) {
            for (int x = first_x; x < p; x += 32) {
                visit(dt, dy, x, (line * p + x) * args.channels + c);
            }
            dy += lines;
            while (dy >= p) {
                dy -= p;
                dt++;
            }
        }
    };

    // Everything is relative to the first pixel: a constant channel has the variance 0, not the square of a rounding error.
    const float origin_pixel = args.normalise ? pixel(video, 0) * args.scale : 0.0f;
    float sum = 0;
    each_pixel([&](int dt, int dy, int x, int at) {
        const float v =
                pixel(video, dt * args.stride_t + dy * args.stride_y + x * args.stride_x) * args.scale - origin_pixel;
        staged[at] = v;
        sum += v;
    });
    if (args.normalise) {
        const int pixels = args.tubelet * p * p;
        const float mean = warp_sum(sum) / (float)pixels;
        float squares = 0;
        each_pixel([&](int, int, int, int at) {
            const float v = staged[at] - mean;
            squares = fmaf(v, v, squares);
        });
        squares = warp_sum(squares);
        // The variance of a single pixel is 0, not 0 / 0.
        const float inverse = 1.0f / (sqrtf(squares / (float)(pixels > 1 ? pixels - 1 : 1)) + args.eps);
        each_pixel([&](int, int, int, int at) { staged[at] = (staged[at] - mean) * inverse; });
    }
}

template <class V, class T>
DEVICE void reconstruction(const ReconstructionArgs& args) {
    DYNAMIC_SHARED(float, staged);
    SHARED(float, warp_sums, 8);
    const int length = args.channels * args.tubelet * args.patch * args.patch;
    const int warp = threadIdx.x / 32;
    const int warps = blockDim.x / 32;
    constexpr int N = 16 / sizeof(T);
    float total = 0;
    for (i64 row = blockIdx.x; row < args.rows; row += gridDim.x) {
        const int token = args.indices[row];
        const bool known = token >= 0 && token < args.patches;
        const int inside = known ? token : 0;
        const int cell = inside % args.plane;
        const i64 origin = row / args.count * args.stride_b + (i64)(inside / args.plane) * args.tubelet * args.stride_t
                + (i64)(cell / args.across) * args.patch * args.stride_y
                + (i64)(cell % args.across) * args.patch * args.stride_x;
        for (int c = warp; c < args.channels; c += warps) {
            stage_channel<V>(args, origin, c, staged);
        }
        __syncthreads();

        const T* prediction = (const T*)args.prediction + row * length;
        T* gradient = (T*)args.dprediction + row * length;
        const float factor = known ? args.factor : undefined();
        float sum = known ? 0.0f : undefined();
        const auto visit = [&](int i, auto width) {
            constexpr int W = decltype(width)::value;
            float v[W];
            read<W>(prediction + i, v);
#pragma unroll
            for (int k = 0; k < W; k++) {
                const float difference = v[k] - staged[i + k];
                sum = fmaf(difference, difference, sum);
                v[k] = difference * factor;
            }
            if (args.dprediction != nullptr) {
                write<W>(gradient + i, v);
            }
        };
        const int whole = aligned16(prediction) && aligned16(gradient) ? length / N * N : 0;
        for (int i = threadIdx.x * N; i < whole; i += blockDim.x * N) {
            visit(i, Width<N>());
        }
        for (int i = whole + threadIdx.x; i < length; i += blockDim.x) {
            visit(i, Width<1>());
        }
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) {
            warp_sums[warp] = sum;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int w = 0; w < warps; w++) {
                total += warp_sums[w];
            }
        }
    }
    if (threadIdx.x == 0) {
        args.terms[blockIdx.x] = total;
    }
}

KERNEL_BLOCKS(256, 4, reconstruction_loss_u8_f32, ReconstructionArgs) { reconstruction<unsigned char, float>(args); }
KERNEL_BLOCKS(256, 4, reconstruction_loss_u8_bf16, ReconstructionArgs) { reconstruction<unsigned char, bf16>(args); }
KERNEL_BLOCKS(256, 4, reconstruction_loss_f32_f32, ReconstructionArgs) { reconstruction<float, float>(args); }
KERNEL_BLOCKS(256, 4, reconstruction_loss_f32_bf16, ReconstructionArgs) { reconstruction<float, bf16>(args); }

// ------------------------------------------------------------------------------------------------------- sum of the terms

struct LossSumArgs {
    const float* terms;
    float* losses;
    float* loss;
    double scales[MAX_MODALITIES];
    double weights[MAX_MODALITIES];
    i64 count;
    int sections;
};

// losses[m] = scales[m] * sum of the count terms of section m, loss = sum_m weights[m] * losses[m]; one block.
KERNEL(1024, loss_sum, LossSumArgs) {
    SHARED(double, sums, 1024);
    const int thread = threadIdx.x;
    double loss = 0;
    for (int m = 0; m < args.sections; m++) {
        const float* terms = args.terms + m * args.count;
        double sum = 0;
#pragma unroll 4
        for (i64 i = thread; i < args.count; i += 1024) {
            sum += (double)terms[i];
        }
        sums[thread] = sum;
        __syncthreads();
        for (int half = 512; half > 0; half /= 2) {
            if (thread < half) {
                sums[thread] += sums[thread + half];
            }
            __syncthreads();
        }
        if (thread == 0) {
            const double value = args.scales[m] * sums[0];
            if (args.losses != nullptr) {
                args.losses[m] = (float)value;
            }
            loss += args.weights[m] * value;
        }
        __syncthreads();
    }
    if (thread == 0) {
        args.loss[0] = (float)loss;
    }
}
