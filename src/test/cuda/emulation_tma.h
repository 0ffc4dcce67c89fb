// Hopper's copies of boxes and the barriers they end at, on the CPU, for tma.cuh.
//
// A box fills its place with 0xCB when it is asked for and comes when somebody waits at its barrier, so that a kernel that reads too
// early, or asks for a box where another is still read, computes something else. Errors are: a barrier that was not initialised,
// more arrivals than it has, a box that is misaligned or outside dynamic shared memory, a tensor map that is none, and a wait for a phase
// that nobody can end. Not seen: a wait for a phase that is two behind. For the search for races barriers and boxes do not exist:
// less is found, nothing wrongly.
#pragma once

#include "emulation.h"

namespace emulation {

/** What the fake cuTensorMapEncodeTiled writes, in the 128 bytes of a CUtensorMap. */
struct TensorMap {
    uint64_t mark;
    uint64_t address;
    uint64_t columns;
    uint64_t rows;
    uint64_t row_bytes;
    uint32_t element_bytes;
    uint32_t box_columns;
    uint32_t box_rows;
    uint32_t swizzle;  // of rows of this many bytes, or 0
    uint64_t unused[9];
};

static_assert(sizeof(TensorMap) == 128, "as large as a CUtensorMap");

constexpr uint64_t TENSOR_MAP_MARK = 0x70616D726F736E65u;

void mbarrier_init(void* barrier, int arrivals);

/** One arrival, after `bytes` have been added to what the phase waits for. */
void mbarrier_arrive(void* barrier, int bytes);

void mbarrier_wait(void* barrier, unsigned parity);
void stmatrix(void* row, const unsigned* r);
void tma_load(void* shared, const void* map, void* barrier, int row, int column);

}  // namespace emulation
