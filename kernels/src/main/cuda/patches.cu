// Patches of videos as vectors, their adjoint, and the target and loss of masked reconstruction.
//
// Formula       gather: out[b, j, (c, dt, dy, dx)] = pixel scale / std[c] - mean[c] / std[c] of patch indices[b, j]; only listed
//               patches are read; a pixel beyond the end of the video counts as 0 after normalisation. scatter: dvideo += dout
//               scale / std[c]. target, of whole patches: [b, j, (dt, dy, dx, c)] = (x - mean) / (sd + eps)
//               with x = pixel scale, mean and unbiased standard deviation sd over the pixels of the patch and channel. loss: mean of
//               (prediction - target)^2, dprediction = 2/n (prediction - target).
// Layouts       video u8 or f32 with any strides (channel-last frames and channel-first tensors alike), patches, predictions and their
//               gradients f32 or bf16.
// Accumulation  f32; variance in two passes over values that stay in registers (up to 512 pixels per patch and channel).
// Determinism   every value is computed by one thread, every statistic by one warp in a fixed order; a patch that is listed
//               several times receives its gradients in ascending j. The loss: every block writes its own term, which loss_sum of
//               losses.cu adds up in a fixed order.
// Bad indices   an index outside the video is not followed: its patch becomes NaN, its gradient is left out, and
//               the loss is NaN.
// Geometry      256 threads, a warp per patch. Gather from channel-last videos copies 16 bytes at a time into shared memory, of u8 the
//               next patch while one is written, and splits the channels there; from rows of contiguous pixels it reads as many as
//               fill 16 bytes of output, 4 packs in flight; anything else goes pixel by pixel. Scatter to channel-last videos the
//               other way around. Target and loss of channel-last videos of 1 or 3 channels: all in registers, since results
//               stand in the order of the video's lines. Other losses: a block per patch, a warp per channel for its statistics,
//               which stages the target in shared memory; then all threads walk the prediction in order.
// Bytes         the listed patches read once, outputs written once. FLOPs: 2 per value, target about 8, loss
//               about 10.
// Registers     two blocks per multiprocessor are promised, far from the limit: without a promise ptxas spills a word here and
//               there to fit more threads.
#include "tessera.cuh"

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / WARP;
constexpr int VECTORS = 4;
constexpr int MAX_CHANNELS = 32;
constexpr int NONE = -1;

// How a gather reads; as in CudaPatches.
constexpr int PIXELS = 0;
constexpr int CHANNEL_LAST = 2;

struct PatchArgs {
    const void* video;
    const int* indices;  // [batch, count], or null for all patches in order
    const int* source;  // scatter only: which j goes to a patch
    void* values;  // [batch, count, length]
    i64 rows;  // batch * count
    i64 count;
    i64 stride_b;
    i64 stride_t;
    i64 stride_y;
    i64 stride_x;
    i64 stride_c;
    int patches;  // of one sample
    int plane;
    int across;
    int channels;
    int tubelet;
    int patch;
    int frames;
    int height;
    int width;
    int mode;
    float eps;
    float scale;
    int normalise;
    int padded;  // whether patches reach beyond the end of the video: by pixels only
    float factor[MAX_CHANNELS];
    float shift[MAX_CHANNELS];
};

/** Where patch `token` of a sample begins in the video. */
template <class Args>
DEVICE i64 origin_of(const Args& args, i64 sample, int token) {
    int slot = token / args.plane;
    int cell = token % args.plane;
    return sample * args.stride_b + static_cast<i64>(slot) * args.tubelet * args.stride_t
        + static_cast<i64>(cell / args.across) * args.patch * args.stride_y
        + static_cast<i64>(cell % args.across) * args.patch * args.stride_x;
}

/** A pixel's place in its patch. */
struct Place {
    int c;
    int dt;
    int dy;
    int dx;

    DEVICE i64 offset(const PatchArgs& args) const {
        return c * args.stride_c + dt * args.stride_t + dy * args.stride_y + dx * args.stride_x;
    }
};

/** Place of value e in the order (c, dt, dy, dx). */
DEVICE Place channel_first(const PatchArgs& args, int e) {
    int line = e / args.patch;
    int slice = line / args.patch;
    int c = slice / args.tubelet;
    return {c, slice - c * args.tubelet, line - slice * args.patch, e - line * args.patch};
}

/** How far the video reaches from the first pixel of patch `token`. */
DEVICE Place room_of(const PatchArgs& args, int token) {
    int slot = token / args.plane;
    int cell = token % args.plane;
    return {
        args.channels,
        args.frames - slot * args.tubelet,
        args.height - cell / args.across * args.patch,
        args.width - cell % args.across * args.patch};
}

/** Whether a pixel is one of the video's. */
DEVICE bool exists(const PatchArgs& args, const Place& place, const Place& room) {
    return !args.padded || (place.dt < room.dt && place.dy < room.dy && place.dx < room.dx);
}

// ------------------------------------------------------------------------------------------------------------- gather

template <class T>
DEVICE void fill_nan(T* out, int length) {
    for (int e = lane_index(); e < length; e += WARP) {
        out[e] = from_float<T>(not_a_number());
    }
}

template <class S, class T>
DEVICE void gather_pixels(const PatchArgs& args, const S* from, T* out, int length, const Place& room) {
    for (int e = lane_index(); e < length; e += WARP) {
        Place place = channel_first(args, e);
        float value = 0.0f;
        if (exists(args, place, room)) {
            value = fmaf(to_float(from[place.offset(args)]), args.factor[place.c], args.shift[place.c]);
        }
        out[e] = from_float<T>(value);
    }
}

/** Lines of contiguous pixels, N of them at a time; the addresses allow it. */
template <class S, class T>
DEVICE void gather_lines(const PatchArgs& args, const S* from, T* out, int length) {
    constexpr int N = Pack<T>::COUNT;
    constexpr int M = N < Pack<S>::COUNT ? N : Pack<S>::COUNT;
    for (int first = lane_index() * N; first < length; first += WARP * VECTORS * N) {
        Pack<S, M> pixels[VECTORS][N / M];
        int channels[VECTORS];
#pragma unroll
        for (int k = 0; k < VECTORS; k++) {
            int e = first + k * WARP * N;
            if (e < length) {
                Place place = channel_first(args, e);
                channels[k] = place.c;
#pragma unroll
                for (int m = 0; m < N / M; m++) {
                    pixels[k][m] = load_pack<M>(from + place.offset(args) + m * M);
                }
            }
        }
#pragma unroll
        for (int k = 0; k < VECTORS; k++) {
            int e = first + k * WARP * N;
            if (e < length) {
                float factor = args.factor[channels[k]];
                float shift = args.shift[channels[k]];
                float values[N];
#pragma unroll
                for (int j = 0; j < N; j++) {
                    values[j] = fmaf(to_float(pixels[k][j / M][j % M]), factor, shift);
                }
                write(out + e, values);
            }
        }
    }
}

/** How many patches a warp holds in shared memory: short ones of u8 are under way while the one before is written; as in CudaPatches. */
template <class S>
constexpr int STAGES = sizeof(S) == 1 ? 2 : 1;

/** Starts to copy a patch whose lines of patch x channels pixels are multiples of 16 bytes. */
template <class S>
DEVICE void stage_patch(const PatchArgs& args, const S* from, int length, S* staged) {
    constexpr int WIDE = Pack<S>::COUNT;
    const int line_packs = args.patch * args.channels / WIDE;
    for (int p = lane_index(); p < length / WIDE; p += WARP) {
        const int line = p / line_packs;
        const int dt = line / args.patch;
        const int dy = line - dt * args.patch;
        const S* at = from + dt * args.stride_t + dy * args.stride_y + (p - line * line_packs) * WIDE;
        cp_async16(staged + p * WIDE, at, true);
    }
    cp_async_commit();
}

template <class S, class T>
DEVICE void split_channels(const PatchArgs& args, const S* staged, T* out, int length) {
    constexpr int N = Pack<T>::COUNT;
    const int channel_values = length / args.channels;
    for (int e = lane_index() * N; e < length; e += WARP * N) {
        const int c = e / channel_values;
        const S* pixels = staged + (e - c * channel_values) * args.channels + c;
        const float factor = args.factor[c];
        const float shift = args.shift[c];
        float values[N];
#pragma unroll
        for (int j = 0; j < N; j++) {
            values[j] = fmaf(to_float(pixels[j * args.channels]), factor, shift);
        }
        write(out + e, values);
    }
}

/** The token of a row, or NONE where it is outside the video. */
DEVICE int known_token(const PatchArgs& args, i64 row) {
    if (row >= args.rows) {
        return NONE;
    }
    const int token = args.indices == nullptr ? static_cast<int>(row - divide(row, args.count) * args.count) : args.indices[row];
    return token < args.patches && token >= 0 ? token : NONE;
}

/** Warps walk over the patches. */
template <class S, class T>
DEVICE void gather_interleaved(const PatchArgs& args, int length, S* staged) {
    constexpr int LAST = STAGES<S> - 1;
    const i64 step = static_cast<i64>(gridDim.x) * WARPS;
    const auto stage = [&](i64 row, int token, int place) {
        if (token != NONE) {
            const S* from = static_cast<const S*>(args.video) + origin_of(args, divide(row, args.count), token);
            stage_patch(args, from, length, staged + place * length);
        } else {
            cp_async_commit();
        }
    };
    i64 row = static_cast<i64>(blockIdx.x) * WARPS + warp_index();
    int token = known_token(args, row);
    int next = known_token(args, row + step);
    stage(row, token, 0);
    for (int place = 0; row < args.rows; place = LAST - place) {
        const int after = known_token(args, row + 2 * step);
        if (LAST > 0) {
            stage(row + step, next, LAST - place);
        }
        cp_async_wait<LAST>();
        __syncwarp();
        T* out = static_cast<T*>(args.values) + row * length;
        if (token != NONE) {
            split_channels(args, staged + place * length, out, length);
        } else {
            fill_nan(out, length);
        }
        __syncwarp();
        row += step;
        token = next;
        next = after;
        if (LAST == 0) {
            stage(row, token, 0);
        }
    }
}

template <class S, class T>
DEVICE void gather_patches(const PatchArgs& args) {
    const int length = args.channels * args.tubelet * args.patch * args.patch;
    if (args.mode == CHANNEL_LAST) {
        DYNAMIC_SHARED(S, staged);
        gather_interleaved<S, T>(args, length, staged + warp_index() * STAGES<S> * length);
        return;
    }
    const i64 row = static_cast<i64>(blockIdx.x) * WARPS + warp_index();
    if (row >= args.rows) {
        return;
    }
    T* out = static_cast<T*>(args.values) + row * length;
    const int token = known_token(args, row);
    if (token == NONE) {
        fill_nan(out, length);
        return;
    }
    const S* from = static_cast<const S*>(args.video) + origin_of(args, divide(row, args.count), token);
    if (args.mode == PIXELS) {
        gather_pixels(args, from, out, length, room_of(args, token));
    } else {
        gather_lines(args, from, out, length);
    }
}

KERNEL_BLOCKS(256, 4, gather_patches_u8_f32, PatchArgs) {
    gather_patches<unsigned char, float>(args);
}

KERNEL_BLOCKS(256, 4, gather_patches_u8_bf16, PatchArgs) {
    gather_patches<unsigned char, bf16>(args);
}

KERNEL_BLOCKS(256, 4, gather_patches_f32_f32, PatchArgs) {
    gather_patches<float, float>(args);
}

KERNEL_BLOCKS(256, 4, gather_patches_f32_bf16, PatchArgs) {
    gather_patches<float, bf16>(args);
}

// -------------------------------------------------------------------------------------------- interleaved whole patches

constexpr int CHANNEL_PIXELS = 512;

/**
 * The pixels of one patch of a video with C interleaved channels, as a warp holds them: packs of N values in the order (dt, dy, dx,
 * c), in which they stand in the video's lines, WARP packs apart. Value j of pack k is of the lane's class (k MOVE + j) % C; class 0
 * is the channel of a lane's very first value.
 */
template <class V, int C, int N>
struct Interleaved {
    static constexpr int PACKS = C * CHANNEL_PIXELS / (WARP * N);
    static constexpr int MOVE = WARP * N % C;
    static constexpr int WORDS = N * static_cast<int>(sizeof(V)) / 4;

    Pack<u32, WORDS> packs[PACKS];
    int count;  // of packs in the patch
    float first[C];  // by class; everything is relative to a first pixel: a constant channel has the variance 0
    float mean[C];
    float inverse[C];

    template <class Args>
    DEVICE static bool fits(const Args& args) {
        const i64 line = static_cast<i64>(args.patch) * C;
        const i64 strides = (args.stride_b | args.stride_t | args.stride_y | line) * static_cast<i64>(sizeof(V));
        return args.channels == C && args.stride_c == 1 && args.stride_x == C
            && args.tubelet * args.patch * args.patch <= CHANNEL_PIXELS && line % N == 0
            && (static_cast<u64>(strides) | reinterpret_cast<u64>(args.video)) % (sizeof(V) * N) == 0;
    }

    DEVICE static int pack_index(int k) {
        return lane_index() + k * WARP;
    }

    /** Calls visit(k, offset) for the lane's packs of the patch and where they begin, seen from its first pixel. */
    template <class Args, class Visit>
    DEVICE void each_pack(const Args& args, Visit visit) const {
        const int line_packs = args.patch * C / N;
        int dy = lane_index() / line_packs;
        int rest = lane_index() - dy * line_packs;
        int dt = dy / args.patch;
        dy -= dt * args.patch;
        const int lines = WARP / line_packs;
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
            if (pack_index(k) < count) {
                visit(k, dt * args.stride_t + dy * args.stride_y + rest * N);
            }
            rest += WARP - lines * line_packs;
            dy += lines;
            if (rest >= line_packs) {
                rest -= line_packs;
                dy++;
            }
            while (dy >= args.patch) {
                dy -= args.patch;
                dt++;
            }
        }
    }

    DEVICE float pixel(int k, int j) const {
        if constexpr (sizeof(V) == 1) {
            return static_cast<float>(packs[k].values[j / 4] >> j % 4 * 8 & 0xFF);
        } else {
            return __uint_as_float(packs[k].values[j]);
        }
    }

    template <class Args>
    DEVICE void load(const Args& args, const V* from) {
        count = args.tubelet * args.patch * args.patch * C / N;
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
            packs[k] = {};
        }
        each_pack(args, [&](int k, i64 offset) {
            packs[k] = load_pack<WORDS>(reinterpret_cast<const u32*>(from + offset));
        });
    }

    /** Ends what the compiler remembers of the pixels as floats, of which there would be four times as many registers. */
    DEVICE void forget() {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
        if constexpr (sizeof(V) == 1) {
#pragma unroll
            for (int k = 0; k < PACKS; k++) {
#pragma unroll
                for (int w = 0; w < WORDS; w++) {
                    asm volatile("" : "+r"(packs[k].values[w]));
                }
            }
        }
#endif
    }

    /** Value j of pack k less its channel's first pixel, times the scale. */
    DEVICE float relative(int k, int j, float scale) const {
        return (pixel(k, j) - first[(k * MOVE + j) % C]) * scale;
    }

    DEVICE float target(int k, int j, float scale) const {
        const int own = (k * MOVE + j) % C;
        return (relative(k, j, scale) - mean[own]) * inverse[own];
    }

    /** Sums of classes over the warp: those of a lane's classes belong to channels that differ from lane to lane. */
    DEVICE static void sum_channels(float (&sums)[C]) {
        const int start = lane_index() * N % C;
        float channels[C] = {};
#pragma unroll
        for (int s = 0; s < C; s++) {
#pragma unroll
            for (int c = 0; c < C; c++) {
                channels[c] = start == s ? sums[(c + C - s) % C] : channels[c];
            }
        }
        warp_sums(channels);
#pragma unroll
        for (int s = 0; s < C; s++) {
#pragma unroll
            for (int c = 0; c < C; c++) {
                sums[c] = start == s ? channels[(c + s) % C] : sums[c];
            }
        }
    }

    template <class Args>
    DEVICE void statistics(const Args& args, const V* from) {
        const int start = lane_index() * N % C;
#pragma unroll
        for (int c = 0; c < C; c++) {
            first[c] = args.normalise ? to_float(from[(start + c) % C]) : 0.0f;
            mean[c] = 0.0f;
            inverse[c] = 1.0f;
        }
        if (!args.normalise) {
            return;
        }
        float sums[C] = {};
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
#pragma unroll
            for (int j = 0; j < N; j++) {
                sums[(k * MOVE + j) % C] += pack_index(k) < count ? relative(k, j, args.scale) : 0.0f;
            }
        }
        sum_channels(sums);
        const int pixels = args.tubelet * args.patch * args.patch;
        float squares[C] = {};
#pragma unroll
        for (int c = 0; c < C; c++) {
            mean[c] = sums[c] / static_cast<float>(pixels);
        }
        forget();
#pragma unroll
        for (int k = 0; k < PACKS; k++) {
#pragma unroll
            for (int j = 0; j < N; j++) {
                const int own = (k * MOVE + j) % C;
                const float centred = pack_index(k) < count ? relative(k, j, args.scale) - mean[own] : 0.0f;
                squares[own] = fmaf(centred, centred, squares[own]);
            }
        }
        forget();
        sum_channels(squares);
#pragma unroll
        for (int c = 0; c < C; c++) {
            // The variance of a single pixel is 0, not 0 / 0.
            inverse[c] = 1.0f / (sqrtf(squares[c] / static_cast<float>(max(1, pixels - 1))) + args.eps);
        }
    }
};

/** Values of a pack of Interleaved, so that video and result are both read by accesses of up to 16 bytes. */
template <class V, class T>
constexpr int INTERLEAVED = Pack<T>::COUNT < Pack<V>::COUNT ? Pack<T>::COUNT : Pack<V>::COUNT;

// ------------------------------------------------------------------------------------------------------------ scatter

/** Adds the gradients of one patch, once they are in shared memory, to the video in its own order. */
template <class T, int C>
DEVICE void scatter_interleaved(const PatchArgs& args, float* to, const T* gradients, T* staged) {
    constexpr int N = Pack<T>::COUNT;
    constexpr int M = Pack<float>::COUNT;
    using Patch = Interleaved<float, C, M>;
    const int channel_pixels = args.tubelet * args.patch * args.patch;
    Patch patch;
    patch.load(args, to);
#pragma unroll
    for (int k = 0; k < C * CHANNEL_PIXELS / (WARP * N); k++) {
        const int i = (k * WARP + lane_index()) * N;
        if (i < C * channel_pixels) {
            store_pack(staged + i, load_pack(gradients + i));
        }
    }
    __syncwarp();
    patch.each_pack(args, [&](int k, i64 offset) {
        float sums[M];
#pragma unroll
        for (int j = 0; j < M; j++) {
            const int e = Patch::pack_index(k) * M + j;
            const int c = e % C;
            sums[j] = fmaf(to_float(staged[c * channel_pixels + e / C]), args.factor[c], patch.pixel(k, j));
        }
        write(to + offset, sums);
    });
}

/** A warp per patch of the video; `rows` counts those. */
template <class T>
DEVICE void scatter_patches(const PatchArgs& args) {
    i64 row = static_cast<i64>(blockIdx.x) * WARPS + warp_index();
    if (row >= args.rows) {
        return;
    }
    int length = args.channels * args.tubelet * args.patch * args.patch;
    i64 sample = divide(row, args.patches);
    int token = static_cast<int>(row - sample * args.patches);
    int source = args.source == nullptr ? (token < args.count ? token : NONE) : args.source[row];
    if (source == NONE) {
        return;
    }
    i64 begin = source >= 0 ? source : 0;
    i64 end = source >= 0 ? source + 1 : args.count;
    float* to = static_cast<float*>(const_cast<void*>(args.video)) + origin_of(args, sample, token);
    const T* gradients = static_cast<const T*>(args.values) + sample * args.count * length;
    if (source >= 0 && args.mode == CHANNEL_LAST) {
        DYNAMIC_SHARED(T, staged);
        if (args.channels == 3) {
            scatter_interleaved<T, 3>(args, to, gradients + begin * length, staged + warp_index() * length);
        } else {
            scatter_interleaved<T, 1>(args, to, gradients + begin * length, staged + warp_index() * length);
        }
        return;
    }
    const Place room = room_of(args, token);
    for (int e = lane_index(); e < length; e += WARP) {
        Place place = channel_first(args, e);
        if (!exists(args, place, room)) {
            continue;
        }
        float* target = to + place.offset(args);
        float sum = *target;
        for (i64 j = begin; j < end; j++) {
            if (source >= 0 || args.indices[sample * args.count + j] == token) {
                sum = fmaf(to_float(gradients[j * length + e]), args.factor[place.c], sum);
            }
        }
        *target = sum;
    }
}

KERNEL_BLOCKS(256, 2, scatter_patches_f32, PatchArgs) {
    scatter_patches<float>(args);
}

KERNEL_BLOCKS(256, 2, scatter_patches_bf16, PatchArgs) {
    scatter_patches<bf16>(args);
}

// ------------------------------------------------------------------------------------------------------------- target

constexpr int CACHED = 16;

/** Pixel i of a channel in the order (dt, dy, dx), times the scale. */
template <class S>
DEVICE float target_pixel(const PatchArgs& args, const S* from, int i) {
    int line = i / args.patch;
    int dt = line / args.patch;
    Place place = {0, dt, line - dt * args.patch, i - line * args.patch};
    return to_float(from[place.offset(args)]) * args.scale;
}

template <class S, class T>
DEVICE void target_of_channel(const PatchArgs& args, const S* from, T* out) {
    const int pixels = args.tubelet * args.patch * args.patch;
    float values[CACHED];
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < CACHED; k++) {
        int i = lane_index() + k * WARP;
        values[k] = i < pixels ? target_pixel(args, from, i) : 0.0f;
        sum += values[k];
    }
    for (int i = lane_index() + CACHED * WARP; i < pixels; i += WARP) {
        sum += target_pixel(args, from, i);
    }
    float mean = 0.0f;
    float divisor = 1.0f;
    if (args.normalise) {
        mean = warp_sum(sum) / static_cast<float>(pixels);
        float squares = 0.0f;
#pragma unroll
        for (int k = 0; k < CACHED; k++) {
            float centred = lane_index() + k * WARP < pixels ? values[k] - mean : 0.0f;
            squares = fmaf(centred, centred, squares);
        }
        for (int i = lane_index() + CACHED * WARP; i < pixels; i += WARP) {
            float centred = target_pixel(args, from, i) - mean;
            squares = fmaf(centred, centred, squares);
        }
        // The variance of a single pixel is 0, not 0 / 0.
        divisor = sqrtf(warp_sum(squares) / static_cast<float>(max(1, pixels - 1))) + args.eps;
    }
#pragma unroll
    for (int k = 0; k < CACHED; k++) {
        int i = lane_index() + k * WARP;
        if (i < pixels) {
            out[i * args.channels] = from_float<T>((values[k] - mean) / divisor);
        }
    }
    for (int i = lane_index() + CACHED * WARP; i < pixels; i += WARP) {
        out[i * args.channels] = from_float<T>((target_pixel(args, from, i) - mean) / divisor);
    }
}

template <class S, class T, int C>
DEVICE void interleaved_target(const PatchArgs& args, const S* from, T* out) {
    constexpr int N = INTERLEAVED<S, T>;
    Interleaved<S, C, N> patch;
    patch.load(args, from);
    patch.statistics(args, from);
#pragma unroll
    for (int k = 0; k < patch.PACKS; k++) {
        const int p = patch.pack_index(k);
        if (p < patch.count) {
            float values[N];
#pragma unroll
            for (int j = 0; j < N; j++) {
                values[j] = patch.target(k, j, args.scale);
            }
            write(out + p * N, values);
        }
    }
}

template <class S, class T>
DEVICE void reconstruction_target(const PatchArgs& args) {
    constexpr int N = INTERLEAVED<S, T>;
    const i64 row = static_cast<i64>(blockIdx.x) * WARPS + warp_index();
    if (row >= args.rows) {
        return;
    }
    const int length = args.channels * args.tubelet * args.patch * args.patch;
    T* out = static_cast<T*>(args.values) + row * length;
    const i64 sample = divide(row, args.count);
    const int token = args.indices[row];
    if (token < 0 || token >= args.patches) {
        fill_nan(out, length);
        return;
    }
    const S* from = static_cast<const S*>(args.video) + origin_of(args, sample, token);
    const bool wide = aligned<N>(static_cast<const T*>(args.values));
    if (wide && Interleaved<S, 3, N>::fits(args)) {
        interleaved_target<S, T, 3>(args, from, out);
    } else if (wide && Interleaved<S, 1, N>::fits(args)) {
        interleaved_target<S, T, 1>(args, from, out);
    } else {
        for (int c = 0; c < args.channels; c++) {
            target_of_channel(args, from + c * args.stride_c, out + c);
        }
    }
}

KERNEL_BLOCKS(256, 3, reconstruction_target_u8_f32, PatchArgs) {
    reconstruction_target<unsigned char, float>(args);
}

KERNEL_BLOCKS(256, 3, reconstruction_target_u8_bf16, PatchArgs) {
    reconstruction_target<unsigned char, bf16>(args);
}

KERNEL_BLOCKS(256, 2, reconstruction_target_f32_f32, PatchArgs) {
    reconstruction_target<float, float>(args);
}

KERNEL_BLOCKS(256, 2, reconstruction_target_f32_bf16, PatchArgs) {
    reconstruction_target<float, bf16>(args);
}

// ------------------------------------------------------------------------------------------------------- loss

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
    const float origin_pixel = args.normalise ? to_float(video[0]) * args.scale : 0.0f;
    float sum = 0;
    each_pixel([&](int dt, int dy, int x, int at) {
        const float v =
                to_float(video[dt * args.stride_t + dy * args.stride_y + x * args.stride_x]) * args.scale - origin_pixel;
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
DEVICE void reconstruction_staged(const ReconstructionArgs& args) {
    DYNAMIC_SHARED(float, staged);
    SHARED(float, parts, WARPS);
    const int length = args.channels * args.tubelet * args.patch * args.patch;
    const int warp = threadIdx.x / 32;
    const int warps = blockDim.x / 32;
    constexpr int N = Pack<T>::COUNT;
    constexpr int AHEAD = N > 4 ? 2 : 4;
    float total = 0;
    for (i64 row = blockIdx.x; row < args.rows; row += gridDim.x) {
        const int token = args.indices[row];
        const bool known = token >= 0 && token < args.patches;
        const i64 origin = origin_of(args, divide(row, args.count), known ? token : 0);
        const T* prediction = (const T*)args.prediction + row * length;
        T* gradient = (T*)args.dprediction + row * length;
        const int whole = aligned16(prediction) && aligned16(gradient) ? length / N * N : 0;
        Pack<T> packs[AHEAD];  // on their way while the target is made
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            const int i = (k * blockDim.x + threadIdx.x) * N;
            if (i < whole) {
                packs[k] = load_pack(prediction + i);
            }
        }
        for (int c = warp; c < args.channels; c += warps) {
            stage_channel<V>(args, origin, c, staged);
        }
        __syncthreads();

        const float factor = known ? args.factor : not_a_number();
        float sum = known ? 0.0f : not_a_number();
        const auto visit = [&](int i, auto& v) {
#pragma unroll
            for (int k = 0; k < (int)(sizeof(v) / sizeof(float)); k++) {
                const float difference = v[k] - staged[i + k];
                sum = fmaf(difference, difference, sum);
                v[k] = difference * factor;
            }
            if (args.dprediction != nullptr) {
                write(gradient + i, v);
            }
        };
        float v[N];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) {
            const int i = (k * blockDim.x + threadIdx.x) * N;
            if (i < whole) {
                unpack(packs[k], v);
                visit(i, v);
            }
        }
        for (int i = (AHEAD * blockDim.x + threadIdx.x) * N; i < whole; i += blockDim.x * N) {
            read(prediction + i, v);
            visit(i, v);
        }
        for (int i = whole + threadIdx.x; i < length; i += blockDim.x) {
            float single[1] = {to_float(prediction[i])};
            visit(i, single);
        }
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) {
            parts[warp] = sum;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int w = 0; w < warps; w++) {
                total += parts[w];
            }
        }
    }
    if (threadIdx.x == 0) {
        args.terms[blockIdx.x] = total;
    }
}

/** A warp per patch, all in registers. */
template <class V, class T, int C>
DEVICE void reconstruction_interleaved(const ReconstructionArgs& args) {
    constexpr int N = INTERLEAVED<V, T>;
    using Patch = Interleaved<V, C, N>;
    const int length = C * args.tubelet * args.patch * args.patch;
    float sum = 0.0f;
    const i64 step = static_cast<i64>(gridDim.x) * WARPS;
    for (i64 row = static_cast<i64>(blockIdx.x) * WARPS + warp_index(); row < args.rows; row += step) {
        const int token = args.indices[row];
        const bool known = token >= 0 && token < args.patches;
        const V* from = static_cast<const V*>(args.video) + origin_of(args, divide(row, args.count), known ? token : 0);
        const T* prediction = static_cast<const T*>(args.prediction) + row * length;
        T* gradient = static_cast<T*>(args.dprediction) + row * length;
        Patch patch;
        patch.load(args, from);
        Pack<T, N> packs[Patch::PACKS] = {};
#pragma unroll
        for (int k = 0; k < Patch::PACKS; k++) {
            if (Patch::pack_index(k) < patch.count) {
                packs[k] = load_pack<N>(prediction + Patch::pack_index(k) * N);
            }
        }
        patch.statistics(args, from);
        const float factor = known ? args.factor : not_a_number();
        sum += known ? 0.0f : not_a_number();
#pragma unroll
        for (int k = 0; k < Patch::PACKS; k++) {
            const int p = Patch::pack_index(k);
            if (p < patch.count) {
                float v[N];
                unpack(packs[k], v);
#pragma unroll
                for (int j = 0; j < N; j++) {
                    v[j] -= patch.target(k, j, args.scale);
                    sum = fmaf(v[j], v[j], sum);
                    v[j] *= factor;
                }
                if (args.dprediction != nullptr) {
                    write(gradient + p * N, v);
                }
            }
        }
    }
    sum = block_sum<THREADS>(sum);
    if (threadIdx.x == 0) {
        args.terms[blockIdx.x] = sum;
    }
}

template <class V, class T>
DEVICE void reconstruction(const ReconstructionArgs& args) {
    constexpr int N = INTERLEAVED<V, T>;
    const bool wide =
        aligned<N>(static_cast<const T*>(args.prediction)) && aligned<N>(static_cast<const T*>(args.dprediction));
    if (wide && Interleaved<V, 3, N>::fits(args)) {
        reconstruction_interleaved<V, T, 3>(args);
    } else if (wide && Interleaved<V, 1, N>::fits(args)) {
        reconstruction_interleaved<V, T, 1>(args);
    } else {
        reconstruction_staged<V, T>(args);
    }
}

KERNEL_BLOCKS(256, 2, reconstruction_loss_u8_f32, ReconstructionArgs) { reconstruction<unsigned char, float>(args); }
KERNEL_BLOCKS(256, 3, reconstruction_loss_u8_bf16, ReconstructionArgs) { reconstruction<unsigned char, bf16>(args); }
KERNEL_BLOCKS(256, 1, reconstruction_loss_f32_f32, ReconstructionArgs) { reconstruction<float, float>(args); }
KERNEL_BLOCKS(256, 1, reconstruction_loss_f32_bf16, ReconstructionArgs) { reconstruction<float, bf16>(args); }
