// Hopper's warpgroup products on the CPU, for wgmma.cuh.
//
// A product reads its operands in shared memory twice, when the last thread of the warpgroup has issued it and when it is waited
// for: where they differ, the kernel reads too early or writes too soon, and the launch ends with an error. Between issue and wait
// the accumulators hold NaN, those of bytes a number as large. Errors are also: a product without a wgmma_fence since the last wait, different descriptors in one
// warpgroup, operands outside dynamic shared memory, and operands that a thread wrote by cp.async or 16-byte stores (no others are
// seen) without a fence_proxy_async since. Shared addresses begin at a place that is 16-byte aligned and no more.
#pragma once

#include "emulation.h"

namespace emulation {

unsigned shared_address(const void* shared);
void fence_proxy_async();
void named_barrier(int id, int threads, bool waits);
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int unfinished_groups);

/** a_registers null: A is in shared memory, by the descriptor a. */
void wgmma(float* d, int n, const unsigned* a_registers, uint64_t a, int a_mn, uint64_t b, int b_mn, bool accumulate);

/** 32 bytes with sign of each row of A and column of B, both in shared memory and K-major; the sums are integers. */
void wgmma_bytes(int* d, int n, uint64_t a, uint64_t b, bool accumulate);

/** The same where bytes are e4m3, the sums f32. */
void wgmma_e4m3(float* d, int n, uint64_t a, uint64_t b, bool accumulate);

/** The nearest float of four bits of exponent and three of mantissa, at most 448. */
unsigned to_e4m3(float value);

}  // namespace emulation
