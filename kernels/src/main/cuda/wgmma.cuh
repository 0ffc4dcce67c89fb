// Hopper's own tensor-core instruction, wgmma, and what goes with it; machine code for sm_90a alone has it.
//
// A warpgroup, four warps of which the first has a number divisible by 4, computes D += A B of 64 x N x 16 in bf16 with f32 sums, or
// of 64 x N x 32 in bytes with s32 sums or in e4m3 with f32 sums; a row of 128 bytes then has 128 values of k where 64 are spoken of
// below.
// D is in registers; A comes from registers or shared memory, B from shared memory, both read by the tensor core itself while the
// threads go on. Source: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions"; all sizes below are in bytes there and here.
//
// The order of things, without which results are undefined:
//   threads that have written operands to shared memory (stores as well as cp.async that they have waited for) call
//     fence_proxy_async and then a barrier with the warpgroups that read them;
//   wgmma_fence, before the first wgmma and whenever registers of D or A have been touched since the last; wgmma ...; wgmma_commit;
//   wgmma_wait<n> until at most n groups are unfinished, then wgmma_hold(d) on each accumulator that is finished and read next
//     (it keeps the compiler from reading earlier). Until then neither registers nor shared memory of the group may be touched.
//
// Kernels for Hopper are defined for every target, so that all targets have the same names, with a body `if constexpr (HOPPER)`.
#pragma once
#include "mma.cuh"
#include "tessera.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || !(defined(__CUDACC__) || defined(__CUDACC_RTC__))
#define HOPPER_CODE
constexpr bool HOPPER = true;
#else
constexpr bool HOPPER = false;
#endif

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#else
#include "emulation_wgmma.h"
#endif

constexpr int WARPGROUP = 128;

/** Position of the warpgroup in its block, for blocks of one dimension; the compiler learns that it is the same in a whole warp. */
DEVICE int warpgroup_index() {
    return __shfl_sync(ALL_LANES, static_cast<int>(threadIdx.x) / WARPGROUP, 0);
}

// ----------------------------------------------------------------------------------------------------- shared memory

/** Address within the block's shared memory. */
DEVICE u32 shared_address(const void* shared) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    return static_cast<u32>(__cvta_generic_to_shared(shared));
#else
    return emulation::shared_address(shared);
#endif
}

/** Bytes that `align_swizzled` may skip: to be asked for beside what is used. */
constexpr int SWIZZLE_SLACK = 1008;

/** The first address from here, in shared memory, at which a swizzled tile may begin: a multiple of 1024. */
DEVICE unsigned char* align_swizzled(unsigned char* shared) {
    return shared + (0u - shared_address(shared)) % 1024;
}

/**
 * Where the byte at `offset` of a tile with rows of 128 bytes lies when 128-byte swizzled: the tile's 16-byte chunks change places
 * within their row, by the row's number modulo 8, so that neither rows nor columns of chunks meet in the same banks.
 */
DEVICE int swizzled(int offset) {
    return offset ^ (offset >> 3 & 0x70);
}

/** The numbers by which a descriptor names how chunks are swizzled. */
enum class Swizzle { NONE = 0, BYTES_128 = 1, BYTES_64 = 2, BYTES_32 = 3 };

/**
 * Descriptor of an operand in shared memory, in 128-byte swizzled tiles that begin at multiples of 1024.
 *
 * K-major (the tile's rows are A's rows or B's columns, 64 values of k each): `stride` is the distance from 8 rows to the next 8,
 * 1024 for rows of 128 bytes; `leading` is not used. The next 16 values of k are 32 bytes further.
 * MN-major (the 64 values of a tile's row belong to one k): `stride` is the distance from 8 values of k to the next 8, 1024 for
 * rows of 128 bytes; `leading` that from 64 columns to the next 64. The next 16 values of k are 2048 bytes further.
 */
DEVICE u64 wgmma_descriptor(const void* tile, int leading, int stride, Swizzle swizzle = Swizzle::BYTES_128) {
    return static_cast<u64>(shared_address(tile) >> 4 & 0x3FFF) | static_cast<u64>(leading >> 4 & 0x3FFF) << 16
            | static_cast<u64>(stride >> 4 & 0x3FFF) << 32 | static_cast<u64>(swizzle) << 62;
}

/** The same operand a number of bytes further. */
DEVICE u64 wgmma_advance(u64 descriptor, int bytes) {
    return descriptor + static_cast<u64>(bytes >> 4);
}

/** Lets the tensor core and the copy engine see what this thread has written to shared memory, once a barrier follows. */
DEVICE void fence_proxy_async() {
#if defined(HOPPER_CODE) && defined(__CUDA_ARCH__)
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#elif !(defined(__CUDACC__) || defined(__CUDACC_RTC__))
    emulation::fence_proxy_async();
#endif
}

/** Waits until `threads` threads, whole warps, have come to barrier `id`, 1 to 15, be it here or by named_barrier_arrive. */
DEVICE void named_barrier_sync(int id, int threads) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
    emulation::named_barrier(id, threads, true);
#endif
}

/** Counts as having come to the barrier, without waiting. */
DEVICE void named_barrier_arrive(int id, int threads) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#else
    emulation::named_barrier(id, threads, false);
#endif
}

/** Asks for registers of a warpgroup, a multiple of 8, more than it has; all its threads call. */
template <int REGISTERS>
DEVICE void more_registers() {
#if defined(HOPPER_CODE) && defined(__CUDA_ARCH__)
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
#endif
}

/** Gives up registers. */
template <int REGISTERS>
DEVICE void fewer_registers() {
#if defined(HOPPER_CODE) && defined(__CUDA_ARCH__)
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
#endif
}

// ------------------------------------------------------------------------------------------------------------- wgmma

DEVICE void wgmma_fence() {
#if defined(HOPPER_CODE) && defined(__CUDA_ARCH__)
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#elif !(defined(__CUDACC__) || defined(__CUDACC_RTC__))
    emulation::wgmma_fence();
#endif
}

/** Closes a group of the warpgroup's products. */
DEVICE void wgmma_commit() {
#if defined(HOPPER_CODE) && defined(__CUDA_ARCH__)
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#elif !(defined(__CUDACC__) || defined(__CUDACC_RTC__))
    emulation::wgmma_commit();
#endif
}

/** Waits until at most the N latest groups are unfinished. */
template <int N>
DEVICE void wgmma_wait() {
#if defined(HOPPER_CODE) && defined(__CUDA_ARCH__)
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
#elif !(defined(__CUDACC__) || defined(__CUDACC_RTC__))
    emulation::wgmma_wait(N);
#endif
}

/** Keeps the compiler from moving what is done with registers past this place. */
template <int COUNT>
DEVICE void wgmma_hold(int (&registers)[COUNT]) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        asm volatile("" : "+r"(registers[i])::"memory");
    }
#endif
}

template <int COUNT>
DEVICE void wgmma_hold(float (&registers)[COUNT]) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        asm volatile("" : "+f"(registers[i])::"memory");
    }
#endif
}

template <int COUNT>
DEVICE void wgmma_hold(u32 (&registers)[COUNT]) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#pragma unroll
    for (int i = 0; i < COUNT; i++) {
        asm volatile("" : "+r"(registers[i])::"memory");
    }
#endif
}

/** The instruction for one N; see wgmma below. */
template <int N>
struct Wgmma;

/** Those of bytes, as integers and as floats. */
template <int N>
struct WgmmaBytes;

template <int N>
struct WgmmaFloats8;

// Sums in registers, as operands of an instruction that changes them.
#define WGMMA_FLOAT(sum) "+f"(sum)
#define WGMMA_INT(sum) "+r"(sum)

#define WGMMA_REGISTERS_4 "%0, %1, %2, %3"
#define WGMMA_SUMS_4(KIND) KIND(d[0]), KIND(d[1]), KIND(d[2]), KIND(d[3])
#define WGMMA_REGISTERS_8 WGMMA_REGISTERS_4 ", %4, %5, %6, %7"
#define WGMMA_SUMS_8(KIND) WGMMA_SUMS_4(KIND), KIND(d[4]), KIND(d[5]), KIND(d[6]), KIND(d[7])
#define WGMMA_REGISTERS_12 WGMMA_REGISTERS_8 ", %8, %9, %10, %11"
#define WGMMA_SUMS_12(KIND) WGMMA_SUMS_8(KIND), KIND(d[8]), KIND(d[9]), KIND(d[10]), KIND(d[11])
#define WGMMA_REGISTERS_16 WGMMA_REGISTERS_12 ", %12, %13, %14, %15"
#define WGMMA_SUMS_16(KIND) WGMMA_SUMS_12(KIND), KIND(d[12]), KIND(d[13]), KIND(d[14]), KIND(d[15])
#define WGMMA_REGISTERS_24 WGMMA_REGISTERS_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define WGMMA_SUMS_24(KIND) WGMMA_SUMS_16(KIND), KIND(d[16]), KIND(d[17]), KIND(d[18]), KIND(d[19]), KIND(d[20]), KIND(d[21]), \
    KIND(d[22]), KIND(d[23])
#define WGMMA_REGISTERS_32 WGMMA_REGISTERS_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_SUMS_32(KIND) WGMMA_SUMS_24(KIND), KIND(d[24]), KIND(d[25]), KIND(d[26]), KIND(d[27]), KIND(d[28]), KIND(d[29]), \
    KIND(d[30]), KIND(d[31])
#define WGMMA_REGISTERS_40 WGMMA_REGISTERS_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define WGMMA_SUMS_40(KIND) WGMMA_SUMS_32(KIND), KIND(d[32]), KIND(d[33]), KIND(d[34]), KIND(d[35]), KIND(d[36]), KIND(d[37]), \
    KIND(d[38]), KIND(d[39])
#define WGMMA_REGISTERS_48 WGMMA_REGISTERS_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_SUMS_48(KIND) WGMMA_SUMS_40(KIND), KIND(d[40]), KIND(d[41]), KIND(d[42]), KIND(d[43]), KIND(d[44]), KIND(d[45]), \
    KIND(d[46]), KIND(d[47])
#define WGMMA_REGISTERS_56 WGMMA_REGISTERS_48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define WGMMA_SUMS_56(KIND) WGMMA_SUMS_48(KIND), KIND(d[48]), KIND(d[49]), KIND(d[50]), KIND(d[51]), KIND(d[52]), KIND(d[53]), \
    KIND(d[54]), KIND(d[55])
#define WGMMA_REGISTERS_64 WGMMA_REGISTERS_48 \
    ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_SUMS_64(KIND) WGMMA_SUMS_48(KIND), KIND(d[48]), KIND(d[49]), KIND(d[50]), KIND(d[51]), KIND(d[52]), KIND(d[53]), \
    KIND(d[54]), KIND(d[55]), KIND(d[56]), KIND(d[57]), KIND(d[58]), KIND(d[59]), KIND(d[60]), KIND(d[61]), \
    KIND(d[62]), KIND(d[63])
#define WGMMA_REGISTERS_96 WGMMA_REGISTERS_64 \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
    ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_SUMS_96(KIND) WGMMA_SUMS_64(KIND), KIND(d[64]), KIND(d[65]), KIND(d[66]), KIND(d[67]), KIND(d[68]), KIND(d[69]), \
    KIND(d[70]), KIND(d[71]), KIND(d[72]), KIND(d[73]), KIND(d[74]), KIND(d[75]), KIND(d[76]), KIND(d[77]), \
    KIND(d[78]), KIND(d[79]), KIND(d[80]), KIND(d[81]), KIND(d[82]), KIND(d[83]), KIND(d[84]), KIND(d[85]), \
    KIND(d[86]), KIND(d[87]), KIND(d[88]), KIND(d[89]), KIND(d[90]), KIND(d[91]), KIND(d[92]), KIND(d[93]), \
    KIND(d[94]), KIND(d[95])
#define WGMMA_REGISTERS_128 WGMMA_REGISTERS_96 \
    ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
    ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_SUMS_128(KIND) WGMMA_SUMS_96(KIND), KIND(d[96]), KIND(d[97]), KIND(d[98]), KIND(d[99]), KIND(d[100]), KIND(d[101]), \
    KIND(d[102]), KIND(d[103]), KIND(d[104]), KIND(d[105]), KIND(d[106]), KIND(d[107]), KIND(d[108]), KIND(d[109]), \
    KIND(d[110]), KIND(d[111]), KIND(d[112]), KIND(d[113]), KIND(d[114]), KIND(d[115]), KIND(d[116]), KIND(d[117]), \
    KIND(d[118]), KIND(d[119]), KIND(d[120]), KIND(d[121]), KIND(d[122]), KIND(d[123]), KIND(d[124]), KIND(d[125]), \
    KIND(d[126]), KIND(d[127])

#ifdef HOPPER_CODE
#if defined(__CUDA_ARCH__)
// The numbers of the operands behind the sums: SUMS = N / 2, then the following ones.
#define WGMMA(N, SUMS, a, b, c, e, f, g, h)                                                                          \
    template <>                                                                                                         \
    struct Wgmma<N> {                                                                                                   \
        template <int A_MN, int B_MN>                                                                                   \
        static DEVICE void multiply(float (&d)[SUMS], u64 x, u64 y, int accumulate) {                                   \
            asm volatile(                                                                                               \
                "{\n.reg .pred p;\nsetp.ne.b32 p, %" #c ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N                     \
                "k16.f32.bf16.bf16 {" WGMMA_REGISTERS_##SUMS "}, %" #a ", %" #b ", p, 1, 1, %" #e ", %" #f ";\n}"       \
                : WGMMA_SUMS_##SUMS(WGMMA_FLOAT)                                                                          \
                : "l"(x), "l"(y), "r"(accumulate), "n"(A_MN), "n"(B_MN));                                               \
        }                                                                                                               \
        template <int B_MN>                                                                                             \
        static DEVICE void multiply(float (&d)[SUMS], const u32 (&x)[4], u64 y, int accumulate) {                       \
            asm volatile(                                                                                               \
                "{\n.reg .pred p;\nsetp.ne.b32 p, %" #g ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N                     \
                "k16.f32.bf16.bf16 {" WGMMA_REGISTERS_##SUMS "}, {%" #a ", %" #b ", %" #c ", %" #e "}, %" #f             \
                ", p, 1, 1, %" #h ";\n}"                                                                                \
                : WGMMA_SUMS_##SUMS(WGMMA_FLOAT)                                                                          \
                : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "l"(y), "r"(accumulate), "n"(B_MN));                      \
        }                                                                                                               \
    };
#define WGMMA_BYTES(N, SUMS, a, b, c)                                                                                   \
    template <>                                                                                                         \
    struct WgmmaBytes<N> {                                                                                              \
        static DEVICE void multiply(int (&d)[SUMS], u64 x, u64 y, int accumulate) {                                     \
            asm volatile(                                                                                               \
                "{\n.reg .pred p;\nsetp.ne.b32 p, %" #c ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N                     \
                "k32.s32.s8.s8 {" WGMMA_REGISTERS_##SUMS "}, %" #a ", %" #b ", p;\n}"                                   \
                : WGMMA_SUMS_##SUMS(WGMMA_INT)                                                                          \
                : "l"(x), "l"(y), "r"(accumulate));                                                                     \
        }                                                                                                               \
    };                                                                                                                  \
    template <>                                                                                                         \
    struct WgmmaFloats8<N> {                                                                                            \
        static DEVICE void multiply(float (&d)[SUMS], u64 x, u64 y, int accumulate) {                                   \
            asm volatile(                                                                                               \
                "{\n.reg .pred p;\nsetp.ne.b32 p, %" #c ", 0;\nwgmma.mma_async.sync.aligned.m64n" #N                     \
                "k32.f32.e4m3.e4m3 {" WGMMA_REGISTERS_##SUMS "}, %" #a ", %" #b ", p, 1, 1;\n}"                         \
                : WGMMA_SUMS_##SUMS(WGMMA_FLOAT)                                                                        \
                : "l"(x), "l"(y), "r"(accumulate));                                                                     \
        }                                                                                                               \
    };
#else
#define WGMMA(N, SUMS, a, b, c, e, f, g, h)                                                                          \
    template <>                                                                                                         \
    struct Wgmma<N> {                                                                                                   \
        template <int A_MN, int B_MN>                                                                                   \
        static DEVICE void multiply(float (&d)[SUMS], u64 x, u64 y, int accumulate) {                                   \
            emulation::wgmma(d, N, nullptr, x, A_MN, y, B_MN, accumulate);                                              \
        }                                                                                                               \
        template <int B_MN>                                                                                             \
        static DEVICE void multiply(float (&d)[SUMS], const u32 (&x)[4], u64 y, int accumulate) {                       \
            emulation::wgmma(d, N, x, 0, 0, y, B_MN, accumulate);                                                       \
        }                                                                                                               \
    };
#define WGMMA_BYTES(N, SUMS, a, b, c)                                                                                   \
    template <>                                                                                                         \
    struct WgmmaBytes<N> {                                                                                              \
        static DEVICE void multiply(int (&d)[SUMS], u64 x, u64 y, int accumulate) {                                     \
            emulation::wgmma_bytes(d, N, x, y, accumulate);                                                             \
        }                                                                                                               \
    };                                                                                                                  \
    template <>                                                                                                         \
    struct WgmmaFloats8<N> {                                                                                            \
        static DEVICE void multiply(float (&d)[SUMS], u64 x, u64 y, int accumulate) {                                   \
            emulation::wgmma_e4m3(d, N, x, y, accumulate);                                                              \
        }                                                                                                               \
    };
#endif

WGMMA(8, 4, 4, 5, 6, 7, 8, 9, 10)
WGMMA(16, 8, 8, 9, 10, 11, 12, 13, 14)
WGMMA(24, 12, 12, 13, 14, 15, 16, 17, 18)
WGMMA(32, 16, 16, 17, 18, 19, 20, 21, 22)
WGMMA(48, 24, 24, 25, 26, 27, 28, 29, 30)
WGMMA(64, 32, 32, 33, 34, 35, 36, 37, 38)
WGMMA(80, 40, 40, 41, 42, 43, 44, 45, 46)
WGMMA(96, 48, 48, 49, 50, 51, 52, 53, 54)
WGMMA(112, 56, 56, 57, 58, 59, 60, 61, 62)
WGMMA(128, 64, 64, 65, 66, 67, 68, 69, 70)
WGMMA(192, 96, 96, 97, 98, 99, 100, 101, 102)
WGMMA(256, 128, 128, 129, 130, 131, 132, 133, 134)

WGMMA_BYTES(64, 32, 32, 33, 34)
WGMMA_BYTES(128, 64, 64, 65, 66)
#endif

/** Which operands are MN-major, not K-major. */
struct Majors {
    static constexpr int K = 0;
    static constexpr int MN = 1;
};

/**
 * d = a b, plus d where `accumulate`, for N columns, both operands in shared memory, A_MAJOR and B_MAJOR of Majors. With w = the
 * warp's number in its warpgroup, d[4 j + 2 h + e] of a lane is D[16 w + lane / 4 + 8 h][8 j + 2 (lane % 4) + e].
 */
template <int N, int A_MAJOR, int B_MAJOR>
DEVICE void wgmma(float (&d)[N / 2], u64 a, u64 b, bool accumulate) {
#ifdef HOPPER_CODE
    Wgmma<N>::template multiply<A_MAJOR, B_MAJOR>(d, a, b, accumulate);
#endif
}

/**
 * The same with a in registers: a[h + 2 k] of a lane are the two values A[16 w + lane / 4 + 8 h][8 k + 2 (lane % 4) ...], as for
 * mma_bf16_16x8x16.
 */
template <int N, int B_MAJOR>
DEVICE void wgmma(float (&d)[N / 2], const u32 (&a)[4], u64 b, bool accumulate) {
#ifdef HOPPER_CODE
    Wgmma<N>::template multiply<B_MAJOR>(d, a, b, accumulate);
#endif
}

/** The same of bytes with sign, 32 values of k at once, the sums exact; both operands are K-major, their only layout. */
template <int N>
DEVICE void wgmma_bytes(int (&d)[N / 2], u64 a, u64 b, bool accumulate) {
#ifdef HOPPER_CODE
    WgmmaBytes<N>::multiply(d, a, b, accumulate);
#endif
}

/** The same of bytes that are floats, e4m3; the hardware may keep fewer bits of the sums than f32 has. */
template <int N>
DEVICE void wgmma_bytes(float (&d)[N / 2], u64 a, u64 b, bool accumulate) {
#ifdef HOPPER_CODE
    WgmmaFloats8<N>::multiply(d, a, b, accumulate);
#endif
}

/** Two floats as e4m3, the nearest, the first in the lower byte; what is larger than 448 becomes that. */
DEVICE u32 pack_e4m3(float low, float high) {
#if defined(HOPPER_CODE) && defined(__CUDA_ARCH__)
    unsigned short both;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(both) : "f"(high), "f"(low));
    return both;
#elif !(defined(__CUDACC__) || defined(__CUDACC_RTC__))
    return emulation::to_e4m3(low) | emulation::to_e4m3(high) << 8;
#else
    return 0;
#endif
}
