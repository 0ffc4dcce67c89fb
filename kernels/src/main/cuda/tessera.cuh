// What every kernel is written with: launch macros, bf16, 16-byte packs, reductions, random numbers, GELU, asynchronous copies.
//
// The same kernel sources are compiled three ways: by nvcc to cubins, by NVRTC on the machine that runs them (no header but
// this one is needed), and by the host C++ compiler for the tests, where "emulation.h" stands in for the GPU. A kernel that
// uses nothing beyond this file runs in all three.
#pragma once

using i64 = long long;
using u32 = unsigned int;
using u64 = unsigned long long;

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

/** A function that a kernel calls. */
#define DEVICE __device__ __forceinline__

/**
 * What every kernel begins with, before it touches memory: it lets the kernel behind it in the stream be brought to the
 * multiprocessors, as soon as all blocks of this one have begun, and waits until the kernels before it are done and all they
 * wrote is seen. The kernel behind waits in the same way, until this one is done, so the order is kept along the whole stream.
 * Launched as usual, both do nothing.
 * (Programmatic dependent launch: CUDA programming guide; PTX ISA, griddepcontrol. See CudaLaunch.java.)
 */
DEVICE void begin_in_order() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

#define KERNEL_BOUNDS(bounds, name, Args)                                                         \
    static DEVICE void name##_in_order(const Args& args);                                         \
    extern "C" __global__ void __launch_bounds__ bounds name(const __grid_constant__ Args args) { \
        begin_in_order();                                                                         \
        name##_in_order(args);                                                                    \
    }                                                                                             \
    static DEVICE void name##_in_order(const Args& args)

/** Defines the kernel `name`, at most `threads` threads per block, with one struct `args` of type Args as its parameters. */
#define KERNEL(threads, name, Args) KERNEL_BOUNDS((threads), name, Args)

/** The same, with registers limited so that `blocks` blocks fit on a multiprocessor. */
#define KERNEL_BLOCKS(threads, blocks, name, Args) KERNEL_BOUNDS((threads, blocks), name, Args)

/** The same for a kernel that itself keeps the order, see begin_in_order, and may read before that what no other kernel writes. */
#define KERNEL_AHEAD(threads, blocks, name, Args) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) name(const __grid_constant__ Args args)

/** A static array in shared memory, 16-byte aligned, not initialised. */
#define SHARED(type, name, count) __shared__ __align__(16) type name[count]

/** The dynamic shared memory of the launch, 16-byte aligned, as a pointer. */
#define DYNAMIC_SHARED(type, name)                                  \
    extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
    type* const name = reinterpret_cast<type*>(dynamic_shared)

#else
#include "emulation.h"
#endif

constexpr int WARP = 32;
constexpr u32 ALL_LANES = 0xFFFFFFFFu;

/** Position of the thread in its warp, for blocks of one dimension. */
DEVICE int lane_index() {
    return static_cast<int>(threadIdx.x % WARP);
}

/** Position of the warp in its block, for blocks of one dimension. */
DEVICE int warp_index() {
    return static_cast<int>(threadIdx.x / WARP);
}

/** Position of the thread in the whole grid of one dimension. */
DEVICE i64 global_index() {
    return static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
}

/** Number of threads in the whole grid of one dimension: the stride of a grid-stride loop. */
DEVICE i64 global_count() {
    return static_cast<i64>(gridDim.x) * blockDim.x;
}

DEVICE float infinity() {
    return __uint_as_float(0x7F800000u);
}

/** Quotient of two numbers that are not negative, by 32-bit arithmetic where both fit: several times cheaper. */
DEVICE i64 divide(i64 a, i64 b) {
    if (static_cast<u64>(a | b) >> 32 == 0) {
        return static_cast<u32>(a) / static_cast<u32>(b);
    }
    return a / b;
}

/**
 * What differs between launches of one graph, in device memory: numbers added to the seed and stream of everything random, and
 * the rates of an optimiser's step. Kernels get a null pointer where they are launched by themselves. See CudaGraph.java.
 */
struct Variables {
    i64 seed;
    i64 stream;
    float lr;
    float correction1;
    float correction2;
    float padding;
};

// ------------------------------------------------------------------------------------------------------------- bf16

/** The upper half of a float. Plain data, so that it can stand in shared memory and in unions. */
struct bf16 {
    unsigned short bits;
};

DEVICE float to_float(float value) {
    return value;
}

DEVICE float to_float(unsigned char value) {
    return static_cast<float>(value);
}

DEVICE float to_float(bf16 value) {
    return __uint_as_float(static_cast<u32>(value.bits) << 16);
}

/** Rounds to nearest even; NaN stays NaN. */
template <class T>
DEVICE T from_float(float value);

template <>
DEVICE float from_float<float>(float value) {
    return value;
}

template <>
DEVICE bf16 from_float<bf16>(float value) {
    bf16 result;
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#else
    result.bits = emulation::to_bf16(value);
#endif
    return result;
}

/** The nearest T to a double, ties to even. */
template <class T>
DEVICE T from_double(double value);

template <>
DEVICE float from_double<float>(double value) {
    return static_cast<float>(value);
}

template <>
DEVICE bf16 from_double<bf16>(double value) {
    // Rounding twice could go wrong at a tie, so the first rounding is to odd: toward zero, then the last bit set.
    float nearest = static_cast<float>(value);
    if (nearest == value || value != value) {
        return from_float<bf16>(nearest);
    }
    u32 bits = __float_as_uint(nearest);
    bool beyond = fabs(static_cast<double>(nearest)) > fabs(value);
    return from_float<bf16>(__uint_as_float((beyond ? bits - 1 : bits) | 1));
}

/** Two bf16 in one word, `low` in the lower half: the form in which mma operands come. */
DEVICE u32 pack_bf16(float low, float high) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    u32 result;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
    return result;
#else
    return static_cast<u32>(emulation::to_bf16(high)) << 16 | emulation::to_bf16(low);
#endif
}

DEVICE u32 pack_bf16(bf16 low, bf16 high) {
    return static_cast<u32>(high.bits) << 16 | low.bits;
}

/** Stands for what cannot be computed, such as the row of an index that is out of range. */
DEVICE float not_a_number() {
    return __uint_as_float(0x7FC00000u);
}

// -------------------------------------------------------------------------------------------------- 16-byte accesses

/** N values that are read and written at once, by an access of up to 16 bytes: by default 4 floats or 8 bf16. */
template <class T, int N = 16 / static_cast<int>(sizeof(T))>
struct alignas(sizeof(T) * N) Pack {
    static_assert(sizeof(T) * N <= 16, "at most 16 bytes");
    static constexpr int COUNT = N;
    T values[N];

    DEVICE T operator[](int i) const {
        return values[i];
    }

    DEVICE void set(int i, T value) {
        values[i] = value;
    }
};

/**
 * Pairs of bf16 stay in words, the first of two in the lower half: as single values every one would be taken out of its word as
 * soon as it is loaded, which waits for the load, and put back by another instruction.
 */
template <int N>
struct alignas(2 * N) Pairs {
    static_assert(N % 2 == 0 && 2 * N <= 16, "whole words, at most 16 bytes");
    static constexpr int COUNT = N;
    u32 words[N / 2];

    DEVICE bf16 operator[](int i) const {
        return {static_cast<unsigned short>(words[i / 2] >> i % 2 * 16)};
    }

    DEVICE void set(int i, bf16 value) {
        const u32 bits = value.bits;
        words[i / 2] = i % 2 == 0 ? (words[i / 2] & 0xFFFF0000u) | bits : (words[i / 2] & 0xFFFFu) | bits << 16;
    }
};

template <>
struct Pack<bf16, 2> : Pairs<2> {};

template <>
struct Pack<bf16, 4> : Pairs<4> {};

template <>
struct Pack<bf16, 8> : Pairs<8> {};

/** Whether an address allows load_pack and store_pack of packs of N values. */
template <int N, class T>
DEVICE bool aligned(const T* address) {
    return reinterpret_cast<u64>(address) % (sizeof(T) * N) == 0;
}

/** Whether an address allows packs of 16 bytes. */
DEVICE bool aligned16(const void* address) {
    return reinterpret_cast<u64>(address) % 16 == 0;
}

/** Copies a pack by one access at each side; both addresses are multiples of its size (global or shared memory, registers). */
template <class T, int N>
DEVICE void copy_pack(Pack<T, N>* to, const Pack<T, N>* from) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    if constexpr (sizeof(T) * N == 16) {
        *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
    } else if constexpr (sizeof(T) * N == 8) {
        *reinterpret_cast<uint2*>(to) = *reinterpret_cast<const uint2*>(from);
    } else if constexpr (sizeof(T) * N == 4) {
        *reinterpret_cast<u32*>(to) = *reinterpret_cast<const u32*>(from);
    } else {
        *to = *from;
    }
#else
    emulation::copy_aligned(to, from, sizeof(T) * N);
#endif
}

/** Reads N values at an address that is a multiple of their size. */
template <int N, class T>
DEVICE Pack<T, N> load_pack(const T* address) {
    Pack<T, N> pack;
    copy_pack(&pack, reinterpret_cast<const Pack<T, N>*>(address));
    return pack;
}

/** Reads 16 bytes at a 16-byte aligned address. */
template <class T>
DEVICE Pack<T> load_pack(const T* address) {
    return load_pack<Pack<T>::COUNT>(address);
}

/** Writes a pack at an address that is a multiple of its size. */
template <class T, int N>
DEVICE void store_pack(T* address, const Pack<T, N>& pack) {
    copy_pack(reinterpret_cast<Pack<T, N>*>(address), &pack);
}

/** The values of a pack as floats. */
template <class T, int N>
DEVICE void unpack(const Pack<T, N>& pack, float (&values)[N]) {
    if constexpr (sizeof(T) == 2 && N % 2 == 0) {
#pragma unroll
        for (int k = 0; k < N; k += 2) {
            values[k] = __uint_as_float(pack.words[k / 2] << 16);
            values[k + 1] = __uint_as_float(pack.words[k / 2] & 0xFFFF0000u);
        }
    } else {
#pragma unroll
        for (int k = 0; k < N; k++) {
            values[k] = to_float(pack.values[k]);
        }
    }
}

/** Floats, rounded, as a pack. */
template <class T, int N>
DEVICE Pack<T, N> pack(const float (&values)[N]) {
    Pack<T, N> result;
    if constexpr (sizeof(T) == 2 && N % 2 == 0) {
#pragma unroll
        for (int k = 0; k < N; k += 2) {
            result.words[k / 2] = pack_bf16(values[k], values[k + 1]);
        }
    } else {
#pragma unroll
        for (int k = 0; k < N; k++) {
            result.values[k] = from_float<T>(values[k]);
        }
    }
    return result;
}

/** Reads N neighbouring values as floats, by as few accesses of up to 16 bytes as that takes; the address allows them. */
template <int N, class T>
DEVICE void read(const T* from, float (&to)[N]) {
    constexpr int WIDTH = sizeof(T) * N < 16 ? N : Pack<T>::COUNT;
#pragma unroll
    for (int i = 0; i < N; i += WIDTH) {
        float part[WIDTH];
        unpack(load_pack<WIDTH>(from + i), part);
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            to[i + k] = part[k];
        }
    }
}

/** Writes N floats as neighbouring values, the counterpart of read. */
template <int N, class T>
DEVICE void write(T* to, const float (&from)[N]) {
    constexpr int WIDTH = sizeof(T) * N < 16 ? N : Pack<T>::COUNT;
#pragma unroll
    for (int i = 0; i < N; i += WIDTH) {
        float part[WIDTH];
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            part[k] = from[i + k];
        }
        store_pack(to + i, pack<T>(part));
    }
}

// -------------------------------------------------------------------------------------------------------- reductions

/** Sum over the warp, in every lane; the order of additions is fixed. All 32 lanes must call. */
DEVICE float warp_sum(float value) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, offset);
    }
    return value;
#else
    return emulation::warp_sum(value);
#endif
}

/** Maximum over the warp, in every lane. */
DEVICE float warp_max(float value) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, offset));
    }
    return value;
#else
    return emulation::warp_max(value);
#endif
}

/** Sum over LANES neighbouring lanes, a power of 2, in each of them; the order of additions is fixed. All 32 lanes must call. */
template <int LANES>
DEVICE float lanes_sum(float value) {
#pragma unroll
    for (int offset = 1; offset < LANES; offset *= 2) {
        value += __shfl_xor_sync(ALL_LANES, value, offset);
    }
    return value;
}

/** Maximum over LANES neighbouring lanes. */
template <int LANES>
DEVICE float lanes_max(float value) {
#pragma unroll
    for (int offset = 1; offset < LANES; offset *= 2) {
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, offset));
    }
    return value;
}

/** Sums of N values at once: their exchanges overlap. */
template <int N>
DEVICE void warp_sums(float (&values)[N]) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            values[k] += __shfl_xor_sync(ALL_LANES, values[k], offset);
        }
    }
#else
    for (int k = 0; k < N; k++) {
        values[k] = emulation::warp_sum(values[k]);
    }
#endif
}

/** Maxima of N values at once. */
template <int N>
DEVICE void warp_maxima(float (&values)[N]) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#pragma unroll
    for (int offset = WARP / 2; offset > 0; offset /= 2) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            values[k] = fmaxf(values[k], __shfl_xor_sync(ALL_LANES, values[k], offset));
        }
    }
#else
    for (int k = 0; k < N; k++) {
        values[k] = emulation::warp_max(values[k]);
    }
#endif
}

/**
 * Sums, or maxima, of N values over the GROUP threads that share a row, in each of them: a warp, or the whole block (one
 * dimension, GROUP threads, a multiple of 32). The order of additions is fixed. All threads of the group must call.
 */
template <int GROUP, bool MAXIMA, int N>
DEVICE void group_reduce(float (&values)[N]) {
    static_assert(GROUP % WARP == 0, "whole warps");
    if constexpr (MAXIMA) {
        warp_maxima(values);
    } else {
        warp_sums(values);
    }
    if constexpr (GROUP > WARP) {
        constexpr int WARPS = GROUP / WARP;
        SHARED(float, partials, N * WARPS);
        if (lane_index() == 0) {
#pragma unroll
            for (int k = 0; k < N; k++) {
                partials[k * WARPS + warp_index()] = values[k];
            }
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < N; k++) {
            values[k] = partials[k * WARPS];
#pragma unroll
            for (int w = 1; w < WARPS; w++) {
                const float other = partials[k * WARPS + w];
                values[k] = MAXIMA ? fmaxf(values[k], other) : values[k] + other;
            }
        }
        __syncthreads();  // so that the next call may write its partials
    }
}

template <int GROUP, int N>
DEVICE void group_sums(float (&values)[N]) {
    group_reduce<GROUP, false>(values);
}

template <int GROUP, int N>
DEVICE void group_maxima(float (&values)[N]) {
    group_reduce<GROUP, true>(values);
}

template <int GROUP>
DEVICE float group_sum(float value) {
    float values[1] = {value};
    group_sums<GROUP>(values);
    return values[0];
}

template <int GROUP>
DEVICE float group_max(float value) {
    float values[1] = {value};
    group_maxima<GROUP>(values);
    return values[0];
}

/** Sum over a block of THREADS threads, in every thread. */
template <int THREADS>
DEVICE float block_sum(float value) {
    return group_sum<THREADS>(value);
}

// ---------------------------------------------------------------------------------------------------- random numbers

/** Four random words. */
struct RandomWords {
    u32 word[4];
};

/** Philox 4x32-10 of (seed, stream, counter), the same bits as tessera.kernels.Philox. */
DEVICE RandomWords philox(u64 seed, u64 stream, u64 counter) {
    u32 k0 = static_cast<u32>(seed);
    u32 k1 = static_cast<u32>(seed >> 32);
    u32 c0 = static_cast<u32>(counter);
    u32 c1 = static_cast<u32>(counter >> 32);
    u32 c2 = static_cast<u32>(stream);
    u32 c3 = static_cast<u32>(stream >> 32);
    for (int round = 0; round < 10; round++) {
        u64 p0 = static_cast<u64>(0xD2511F53u) * c0;
        u64 p1 = static_cast<u64>(0xCD9E8D57u) * c2;
        c0 = static_cast<u32>(p1 >> 32) ^ c1 ^ k0;
        c2 = static_cast<u32>(p0 >> 32) ^ c3 ^ k1;
        c1 = static_cast<u32>(p1);
        c3 = static_cast<u32>(p0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    RandomWords words;
    words.word[0] = c0;
    words.word[1] = c1;
    words.word[2] = c2;
    words.word[3] = c3;
    return words;
}

/** A uniform number in [0, 1) with 24 random bits, exact in f32. */
DEVICE float uniform(u32 word) {
    return static_cast<float>(word >> 8) * 0x1p-24f;
}

/** Product rounded by itself, never fused with a sum. */
DEVICE double product(double a, double b) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    return __dmul_rn(a, b);
#else
    return a * b;
#endif
}

/** Sine and cosine of a number of full turns. */
DEVICE void sine_cosine(double turns, double* sine, double* cosine) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    sincospi(2 * turns, sine, cosine);
#else
    *sine = sin(6.283185307179586 * turns);
    *cosine = cos(6.283185307179586 * turns);
#endif
}

// -------------------------------------------------------------------------------------------------------------- powers

/** 2 to the power of x with a relative error of about 2^-22; subnormal results are 0. */
DEVICE float exp2_fast(float x) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    return exp2f(x);
#endif
}

/** e to the power of x by exp2_fast: the argument's rounding adds |x| 2^-24 to the relative error. */
DEVICE float exp_fast(float x) {
    return exp2_fast(x * 1.44269504f);
}

/** 1 / x with a relative error of about 2^-23; 0 where the result would be subnormal. */
DEVICE float reciprocal_fast(float x) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    float result;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
#else
    return 1.0f / x;
#endif
}

// --------------------------------------------------------------------------------------------------------------- GELU

/** x Phi(x) with the normal distribution function Phi by erf (not the tanh approximation). */
DEVICE float gelu(float x) {
    return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
}

/** Derivative of gelu: Phi(x) + x phi(x). */
DEVICE float gelu_derivative(float x) {
    float cdf = 0.5f * (1.0f + erff(x * 0.70710678118654752f));
    return cdf + x * 0.39894228040143268f * expf(-0.5f * x * x);
}

/**
 * Phi(x), and exp(-x^2 / 2) in `bell`, with an error below 2^-22, for results that are rounded to bf16: half the instructions, and
 * with those of erff a GPU computes longer than it reads and writes. Phi(-|x|) = (a1 t + ... + a5 t^5) exp(-x^2 / 2) / 2 with
 * t = 1 / (1 + p |x| / sqrt(2)): Hastings' approximation, Abramowitz and Stegun 7.1.26.
 */
DEVICE float normal_cdf_fast(float x, float* bell) {
    const float t = reciprocal_fast(fmaf(fabsf(x), 0.23164189f, 1.0f));
    *bell = exp2_fast(x * x * -0.72134752f);
    float tail = fmaf(t, 0.530702715f, -0.726576014f);
    tail = fmaf(t, tail, 0.710706871f);
    tail = fmaf(t, tail, -0.142248368f);
    tail = fmaf(t, tail, 0.127414796f);
    tail *= t * *bell;
    return x < 0.0f ? tail : 1.0f - tail;
}

DEVICE float gelu_fast(float x) {
    float bell;
    return x * normal_cdf_fast(x, &bell);
}

DEVICE float gelu_derivative_fast(float x) {
    float bell;
    const float cdf = normal_cdf_fast(x, &bell);
    return fmaf(x * 0.39894228f, bell, cdf);
}

// -------------------------------------------------------------------------------------------------- asynchronous copies

/**
 * Starts to copy 16 bytes from global to shared memory, both 16-byte aligned; writes zeros where !valid: nothing is read
 * then, whatever the address. Done after cp_async_wait, for other threads after a barrier besides.
 */
DEVICE void cp_async16(void* shared, const void* global, bool valid) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    u32 address = static_cast<u32>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(valid ? 16 : 0) : "memory");
#else
    emulation::cp_async16(shared, global, valid);
#endif
}

/** Closes a group of this thread's copies. */
DEVICE void cp_async_commit() {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    emulation::cp_async_commit();
#endif
}

/** Waits until at most the N latest groups of this thread are unfinished. */
template <int N>
DEVICE void cp_async_wait() {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#else
    emulation::cp_async_wait(N);
#endif
}
