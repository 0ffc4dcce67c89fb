// Products of tiles on tensor cores by one warp (mma.sync) and the loads of their operands, for compute capability 8.0 and later.
#pragma once

#include "tessera.cuh"

/**
 * d += a b on a warp: a is 16 x 16 by rows, b is 16 x 8 by columns, d is 16 x 8, a and b bf16, d f32. With group = lane / 4 and
 * pair = 2 (lane % 4), a lane holds a[0] = A[group][pair, pair + 1], a[1] = A[group + 8][same], a[2] = A[group][pair + 8, + 9],
 * a[3] = A[group + 8][same]; b[0] = B[pair, pair + 1][group], b[1] = B[pair + 8, + 9][group]; d[0, 1] = D[group][pair, pair + 1],
 * d[2, 3] = D[group + 8][same]; the first of two values in the lower half of its word.
 */
DEVICE void mma_bf16_16x8x16(float d[4], const u32 a[4], const u32 b[2]) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emulation::mma_bf16_16x8x16(d, a, b);
#endif
}

/**
 * Four 8 x 8 matrices of bf16 from shared memory: lanes 8i to 8i + 7 pass the 16-byte aligned addresses of the rows of matrix
 * i; r[i] receives the two values at row lane / 4, columns 2 (lane % 4) and the next.
 */
DEVICE void ldmatrix_x4(u32 r[4], const void* row) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    u32 address = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
#else
    emulation::ldmatrix(r, row, 4, false);
#endif
}

/** The same with each matrix transposed: r[i] receives the values at rows 2 (lane % 4) and the next, column lane / 4. */
DEVICE void ldmatrix_x4_trans(u32 r[4], const void* row) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    u32 address = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
#else
    emulation::ldmatrix(r, row, 4, true);
#endif
}

/** Two matrices; the addresses of lanes 16 to 31 are not used. */
DEVICE void ldmatrix_x2(u32 r[2], const void* row) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    u32 address = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
#else
    emulation::ldmatrix(r, row, 2, false);
#endif
}

DEVICE void ldmatrix_x2_trans(u32 r[2], const void* row) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    u32 address = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
#else
    emulation::ldmatrix(r, row, 2, true);
#endif
}
