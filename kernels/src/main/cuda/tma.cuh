// Hopper's tensor memory accelerator: boxes of a matrix copied to shared memory by the hardware, and the barriers that tell when
// they are there. For sm_90 and later; nothing of this may be reached by kernels for older devices.
//
// Sources: the PTX ISA manual, "mbarrier", "cp.async.bulk.tensor" and "Tensor memory swizzling".
#pragma once

#include "wgmma.cuh"

#if !defined(__CUDACC__) && !defined(__CUDACC_RTC__)
#include "emulation_tma.h"
#endif

/** A matrix in global memory and the boxes that are copied from it: what cuTensorMapEncodeTiled writes, a kernel's parameter. */
struct alignas(128) TensorMap {
    u64 words[16];
};

/**
 * A barrier in shared memory that counts arrivals and bytes. A phase ends when all arrivals and all expected bytes have come; the
 * next begins at once with as many arrivals. Phases are waited for by parity: 0 for the first, 1 for the second and so on.
 */
struct alignas(8) Mbarrier {
    u64 state;
};

/** By one thread, before mbarrier_init_done. */
DEVICE void mbarrier_init(Mbarrier* barrier, int arrivals) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
#else
    emulation::mbarrier_init(barrier, arrivals);
#endif
}

/** By the thread that initialised, after its last barrier; the others may use them after a __syncthreads. */
DEVICE void mbarrier_init_done() {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/** One arrival; what the thread has read and written before comes before what those do who wait for the phase. */
DEVICE void mbarrier_arrive(Mbarrier* barrier) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
#else
    emulation::mbarrier_arrive(barrier, 0);
#endif
}

/** One arrival; some bits of the barrier's state, which let what follows depend on it. */
DEVICE u32 mbarrier_arrive_word(Mbarrier* barrier) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    u64 state;
    asm volatile("mbarrier.arrive.shared::cta.b64 %0, [%1];" : "=l"(state) : "r"(shared_address(barrier)) : "memory");
    return static_cast<u32>(state);
#else
    emulation::mbarrier_arrive(barrier, 0);
    return 0;
#endif
}

/** One arrival, and the phase lasts until so many bytes more have come. */
DEVICE void mbarrier_arrive_expect(Mbarrier* barrier, int bytes) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
#else
    emulation::mbarrier_arrive(barrier, bytes);
#endif
}

/** Waits for the end of the phase of this parity: of the present phase, or of the one before, which has ended. */
DEVICE void mbarrier_wait(Mbarrier* barrier, u32 parity) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    const u32 address = shared_address(barrier);
    u32 done;
    do {
        asm volatile("{\n\t.reg .pred p;\n\t"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
                     "selp.u32 %0, 1, 0, p;\n\t}"
                     : "=r"(done)
                     : "r"(address), "r"(parity)
                     : "memory");
    } while (done == 0);
#else
    emulation::mbarrier_wait(barrier, parity);
#endif
}

/** Fetches a tensor map ahead of its first use. */
DEVICE void tma_prefetch(const TensorMap* map) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("prefetch.tensormap [%0];" ::"l"(reinterpret_cast<u64>(map)) : "memory");
#endif
}

/**
 * Starts to copy the box of a matrix whose first element lies at (row, column) to shared memory at a multiple of 1024 (see
 * align_swizzled); by one thread. Zeros stand for what lies outside the matrix. The bytes of the whole box are counted at the barrier when they are
 * there. With the 128-byte swizzle a box of 64 bf16 columns lies as `swizzled` says.
 */
DEVICE void tma_load(void* shared, const TensorMap* map, Mbarrier* barrier, int row, int column) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::
                     "r"(shared_address(shared)),
                 "l"(reinterpret_cast<u64>(map)), "r"(shared_address(barrier)), "r"(column), "r"(row)
                 : "memory");
#else
    emulation::tma_load(shared, map->words, barrier, row, column);
#endif
}

/**
 * Waits until the kernels before this one in the stream are done and all they wrote is seen; where this one was not launched ahead of
 * their end (programmatic dependent launch), at once.
 */
DEVICE void wait_for_earlier_kernels() {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/** Lets the next kernel be brought to the multiprocessors, to wait there, once all blocks of this one have called or ended. */
DEVICE void let_later_kernels_begin() {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/** Four 8 x 8 matrices of bf16 to shared memory, as ldmatrix_x4 reads them. */
DEVICE void stmatrix_x4(void* row, const u32 (&r)[4]) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)), "r"(r[0]), "r"(r[1]),
                 "r"(r[2]), "r"(r[3])
                 : "memory");
#else
    emulation::stmatrix(row, r);
#endif
}
