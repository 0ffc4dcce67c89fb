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
//
// Layouts: logits, features [rows, cols] contiguous; weights [teachers] or [rows, teachers] f32; labels i32.
// Types: logits, features and their gradients f32 or bf16; losses and all arithmetic f32; sums of rows and of blocks f64.
// Determinism: every row or block writes its own term; loss_sum adds the terms in one block in a fixed order. No atomics.
// A label that is out of range makes the loss (and the gradient of its row) NaN; memory is never read outside.
//
// Launch geometry and cost, per row of n values of S bytes (T teachers):
//   cross_entropy       a warp per row up to 1024 columns (8 rows a block), a block of 256 (bf16: 128) above; what a thread read
//                       last of a row stays in registers, the rest is read again from the cache: bytes n S (1 + 1 gradient),
//                       FLOPs about 8 n
//   distillation_loss   the same, always 256: bytes n S (1 + T + 1), FLOPs about (2 T + 20) n
//   feature_loss        up to 1024 blocks of 256 threads per modality, all modalities in one grid: bytes 3 n S, FLOPs 4 n
#include "tessera.cuh"

// --------------------------------------------------------------------------------------------------------- reading rows

// A row of n values as GROUP threads read it: BATCH packs of 16 bytes a thread at a time where the row is aligned, then what is left
// value by value. The second pass goes from the last batch, which is still in registers, to the first.
template <class T, int GROUP, int BATCH>
struct Batches {
    static constexpr int N = Pack<T>::COUNT;
    static constexpr int STEP = BATCH * GROUP * N;
    int cols;
    int whole;

    DEVICE Batches(int cols, bool aligned) : cols(cols), whole(aligned ? cols / N * N : 0) {}

    // Calls each(k, i) for the packs k at i of the batch at `first`.
    template <class Each>
    DEVICE void packs(int first, Each each) const {
#pragma unroll
        for (int k = 0; k < BATCH; k++) {
            const int i = first + (k * GROUP + static_cast<int>(threadIdx.x % GROUP)) * N;
            if (i < whole) {
                each(k, i);
            }
        }
    }

    // Calls load(first) and visit(k, i) for its packs, batch by batch, then single(i) for what is left.
    template <class Load, class Visit, class Single>
    DEVICE void forward(Load load, Visit visit, Single single) const {
        for (int first = 0; first < whole; first += STEP) {
            load(first);
            packs(first, visit);
        }
        singles(single);
    }

    template <class Load, class Visit, class Single>
    DEVICE void back(Load load, Visit visit, Single single) const {
        const int last = (whole - 1) / STEP * STEP;
        for (int first = last; first >= 0; first -= STEP) {
            if (first != last) {
                load(first);
            }
            packs(first, visit);
        }
        singles(single);
    }

    template <class Single>
    DEVICE void singles(Single single) const {
        for (int i = whole + static_cast<int>(threadIdx.x % GROUP); i < cols; i += GROUP) {
            single(i);
        }
    }
};

// Where a maximum starts: the least finite f32, so that -infinity among the values needs no case of its own.
constexpr float LEAST = -0x1.fffffep127f;

constexpr float LOG2E = 1.44269504f;
constexpr float LN2 = 0.693147181f;

template <int N>
DEVICE float largest(const float (&x)[N]) {
    float most = x[0];
#pragma unroll
    for (int k = 1; k < N; k++) {
        most = fmaxf(most, x[k]);
    }
    return most;
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

template <class T, int GROUP, int THREADS, int BATCH>
DEVICE void cross_entropy(const CrossEntropyArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    const int groups = THREADS / GROUP;
    for (i64 row = (i64)blockIdx.x * groups + threadIdx.x / GROUP; row < args.rows; row += (i64)gridDim.x * groups) {
        const T* x = (const T*)args.logits + row * args.cols;
        T* dx = args.dlogits == nullptr ? nullptr : (T*)args.dlogits + row * args.cols;
        const Batches<T, GROUP, BATCH> batches(args.cols, aligned16(x) && aligned16(dx));
        Pack<T> packs[BATCH];
        const auto load = [&](int first) {
            batches.packs(first, [&](int k, int i) { packs[k] = load_pack(x + i); });
        };
        const int label = args.labels[row];
        const bool known = label >= 0 && label < args.cols;
        const float first = to_float(x[0]);
        const float labelled = known ? to_float(x[label]) : 0.0f;
        float most = LEAST;
        float sums[2] = {};  // of exp(x - most) and of x - first
        const auto add = [&](const auto& v) {
            const float top = fmaxf(most, largest(v));
            sums[0] *= exp_fast(most - top);
            most = top;
#pragma unroll
            for (int k = 0; k < (int)(sizeof(v) / sizeof(float)); k++) {
                sums[0] += exp_fast(v[k] - most);
                sums[1] += v[k] - first;
            }
        };
        batches.forward(load,
            [&](int k, int) {
                float v[N];
                unpack(packs[k], v);
                add(v);
            },
            [&](int i) {
                const float v[1] = {to_float(x[i])};
                add(v);
            });
        const float top = group_max<GROUP>(most);
        sums[0] *= exp_fast(most - top);
        group_sums<GROUP>(sums);
        const float sum = sums[0];
        const float offsets = sums[1];
        const float share = args.smoothing / (float)args.cols;
        if (threadIdx.x % GROUP == 0) {
            const float normaliser = logf(sum);
            float term = not_a_number();
            if (known) {
                term = (1 - args.smoothing) * (normaliser - (labelled - top));
                if (args.smoothing != 0) {
                    term += args.smoothing * (normaliser + (top - first)) - share * offsets;
                }
            }
            args.terms[row] = term;
        }
        if (dx != nullptr) {
            const float mean = known ? 1.0f / (float)args.rows : not_a_number();
            const float inverse = 1.0f / sum;
            const auto gradient = [&](float v, int i) {
                const float hit = i == label ? 1 - args.smoothing : 0;
                return (exp_fast(v - top) * inverse - share - hit) * mean;
            };
            batches.back(load,
                [&](int k, int i) {
                    float v[N];
                    unpack(packs[k], v);
#pragma unroll
                    for (int j = 0; j < N; j++) {
                        v[j] = gradient(v[j], i + j);
                    }
                    write(dx + i, v);
                },
                [&](int i) { dx[i] = from_float<T>(gradient(to_float(x[i]), i)); });
        }
    }
}

KERNEL_BLOCKS(256, 4, cross_entropy_f32, CrossEntropyArgs) { cross_entropy<float, 32, 256, 2>(args); }
KERNEL_BLOCKS(256, 4, cross_entropy_bf16, CrossEntropyArgs) { cross_entropy<bf16, 32, 256, 2>(args); }
KERNEL_BLOCKS(256, 4, cross_entropy_long_f32, CrossEntropyArgs) { cross_entropy<float, 256, 256, 4>(args); }
KERNEL_BLOCKS(128, 10, cross_entropy_long_bf16, CrossEntropyArgs) { cross_entropy<bf16, 128, 128, 4>(args); }

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

// The ensemble's logits at one place of a row with these weights.
template <class T>
DEVICE float ensemble(const DistillationArgs& args, const float* weights, i64 at) {
    float z = 0;
    for (int t = 0; t < args.teacher_count; t++) {
        z = fmaf(weights[t], to_float(((const T*)args.teachers[t])[at]), z);
    }
    return z;
}

// All loads of TEACHERS teachers come before the first use.
template <class T, int GROUP, int THREADS, int BATCH, int TEACHERS>
DEVICE void distillation(const DistillationArgs& args) {
    constexpr int N = Pack<T>::COUNT;
    const int groups = THREADS / GROUP;
    const float cold = LOG2E / args.temperature;  // powers and logarithms are to base 2
    const bool hard = args.beta != 0;
    for (i64 row = (i64)blockIdx.x * groups + threadIdx.x / GROUP; row < args.rows; row += (i64)gridDim.x * groups) {
        const i64 start = row * args.cols;
        const T* x = (const T*)args.student + start;
        T* dx = args.dstudent == nullptr ? nullptr : (T*)args.dstudent + start;
        bool aligned = aligned16(x) && aligned16(dx);
        const float* weights = args.weights + row * args.weight_stride;
#pragma unroll
        for (int t = 0; t < MAX_TEACHERS; t++) {
            aligned = aligned && (t >= args.teacher_count || aligned16((const T*)args.teachers[t] + start));
        }
        const int label = hard ? args.labels[row] : 0;
        const bool known = label >= 0 && label < args.cols;
        const float labelled = known ? to_float(x[label]) : 0.0f;

        const Batches<T, GROUP, BATCH> batches(args.cols, aligned);
        Pack<T> packs[BATCH];
        float zs[BATCH][N];
        const auto load = [&](int first) {
            batches.packs(first, [&](int k, int i) {
                packs[k] = load_pack(x + i);
#pragma unroll
                for (int j = 0; j < N; j++) {
                    zs[k][j] = 0;
                }
            });
#pragma unroll
            for (int some = 0; some < MAX_TEACHERS; some += TEACHERS) {
                if (some < args.teacher_count) {
                    Pack<T> logits[BATCH][TEACHERS];
                    float factors[TEACHERS];
                    batches.packs(first, [&](int k, int i) {
#pragma unroll
                        for (int t = 0; t < TEACHERS; t++) {
                            if (some + t < args.teacher_count) {
                                logits[k][t] = load_pack((const T*)args.teachers[some + t] + start + i);
                            }
                        }
                    });
#pragma unroll
                    for (int t = 0; t < TEACHERS; t++) {
                        factors[t] = some + t < args.teacher_count ? weights[some + t] : 0;
                    }
                    batches.packs(first, [&](int k, int) {
#pragma unroll
                        for (int t = 0; t < TEACHERS; t++) {
                            if (some + t < args.teacher_count) {
                                float v[N];
                                unpack(logits[k][t], v);
#pragma unroll
                                for (int j = 0; j < N; j++) {
                                    zs[k][j] = fmaf(factors[t], v[j], zs[k][j]);
                                }
                            }
                        }
                    });
                }
            }
        };
        float most[2] = {LEAST, LEAST};  // of the student and of the ensemble
        float sums[3] = {};  // of exp((x - most) / T) of both, and of exp(x - most) of the student
        const auto add = [&](const auto& v, const auto& z) {
            const float top = fmaxf(most[0], largest(v));
            const float teacher_top = fmaxf(most[1], largest(z));
            sums[0] *= exp2_fast((most[0] - top) * cold);
            sums[1] *= exp2_fast((most[1] - teacher_top) * cold);
            sums[2] *= exp_fast(most[0] - top);
            most[0] = top;
            most[1] = teacher_top;
#pragma unroll
            for (int k = 0; k < (int)(sizeof(v) / sizeof(float)); k++) {
                sums[0] += exp2_fast((v[k] - top) * cold);
                sums[1] += exp2_fast((z[k] - teacher_top) * cold);
                if (hard) {
                    sums[2] += exp_fast(v[k] - top);
                }
            }
        };
        batches.forward(load,
            [&](int k, int) {
                float v[N];
                unpack(packs[k], v);
                add(v, zs[k]);
            },
            [&](int i) {
                const float v[1] = {to_float(x[i])};
                const float z[1] = {ensemble<T>(args, weights, start + i)};
                add(v, z);
            });
        float tops[2] = {most[0], most[1]};
        group_maxima<GROUP>(tops);
        const float top = tops[0];
        const float teacher_top = tops[1];
        sums[0] *= exp2_fast((most[0] - top) * cold);
        sums[1] *= exp2_fast((most[1] - teacher_top) * cold);
        sums[2] *= exp_fast(most[0] - top);
        group_sums<GROUP>(sums);
        const float plain = sums[2];

        const float mean = known ? 1.0f / (float)args.rows : not_a_number();
        const float soft_factor = args.alpha * args.temperature * mean;
        const float hard_factor = args.beta * mean;
        const float log_soft = log2f(sums[0]);
        const float log_teacher = log2f(sums[1]);
        const float inverse_plain = 1.0f / plain;
        float divergence = 0;
        const auto gradient = [&](float v, float z, int i) {
            const float log_q = (v - top) * cold - log_soft;  // to base 2
            const float log_p = (z - teacher_top) * cold - log_teacher;
            const float p = exp2_fast(log_p);
            // The differences q - p add up to 0; with them no term is negative, and where p is close to q rounding errors of the
            // logarithms cancel. A class that the teachers exclude has no p log p, even where 0 (-infinity) would be NaN; a NaN
            // stays.
            const float excess = exp2_fast(log_q) - p;
            divergence += p <= 0 ? excess : fmaf(p, (log_p - log_q) * LN2, excess);
            float result = soft_factor * excess;
            if (hard) {
                result += hard_factor * (exp_fast(v - top) * inverse_plain - (i == label ? 1.0f : 0.0f));
            }
            return result;
        };
        batches.back(load,
            [&](int k, int i) {
                float v[N];
                unpack(packs[k], v);
#pragma unroll
                for (int j = 0; j < N; j++) {
                    v[j] = gradient(v[j], zs[k][j], i + j);
                }
                if (dx != nullptr) {
                    write(dx + i, v);
                }
            },
            [&](int i) {
                const float result = gradient(to_float(x[i]), ensemble<T>(args, weights, start + i), i);
                if (dx != nullptr) {
                    dx[i] = from_float<T>(result);
                }
            });
        divergence = group_sum<GROUP>(divergence);
        if (threadIdx.x % GROUP == 0) {
            float term = args.alpha * args.temperature * args.temperature * divergence;
            if (hard) {
                term += known ? args.beta * (logf(plain) - (labelled - top)) : not_a_number();
            }
            args.terms[row] = term;
        }
    }
}

KERNEL_BLOCKS(256, 2, distillation_loss_f32, DistillationArgs) { distillation<float, 32, 256, 1, 4>(args); }
KERNEL_BLOCKS(256, 2, distillation_loss_bf16, DistillationArgs) { distillation<bf16, 32, 256, 1, 4>(args); }
KERNEL_BLOCKS(256, 2, distillation_loss_long_f32, DistillationArgs) { distillation<float, 256, 256, 4, 2>(args); }
KERNEL_BLOCKS(256, 3, distillation_loss_long_bf16, DistillationArgs) { distillation<bf16, 256, 256, 2, 2>(args); }

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

constexpr int FEATURE_BATCH = 2;  // packs of both operands that a thread has in flight

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
    const i64 thread = (i64)blockIdx.x * 256 + threadIdx.x;
    const i64 threads = (i64)gridDim.x * 256;
    const i64 whole = aligned16(a) && aligned16(b) && aligned16(d) ? count / N * N : 0;
    for (i64 first = thread * N; first < whole; first += FEATURE_BATCH * threads * N) {
        Pack<T> left[FEATURE_BATCH];
        Pack<T> right[FEATURE_BATCH];
#pragma unroll
        for (int k = 0; k < FEATURE_BATCH; k++) {
            const i64 i = first + k * threads * N;
            if (i < whole) {
                left[k] = load_pack(a + i);
                right[k] = load_pack(b + i);
            }
        }
#pragma unroll
        for (int k = 0; k < FEATURE_BATCH; k++) {
            const i64 i = first + k * threads * N;
            if (i < whole) {
                float u[N];
                float v[N];
                unpack(left[k], u);
                unpack(right[k], v);
#pragma unroll
                for (int j = 0; j < N; j++) {
                    const float difference = u[j] - v[j];
                    sum = fmaf(difference, difference, sum);
                    u[j] = difference * factor;
                }
                if (d != nullptr) {
                    write(d + i, u);
                }
            }
        }
    }
    for (i64 i = whole + thread; i < count; i += threads) {
        const float difference = to_float(a[i]) - to_float(b[i]);
        sum = fmaf(difference, difference, sum);
        if (d != nullptr) {
            d[i] = from_float<T>(difference * factor);
        }
    }
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) {
        args.terms[(i64)m * gridDim.x + blockIdx.x] = sum;
    }
}

KERNEL(256, feature_loss_f32, FeatureLossArgs) { feature_loss<float>(args); }
KERNEL(256, feature_loss_bf16, FeatureLossArgs) { feature_loss<bf16>(args); }

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
#pragma unroll 16
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
