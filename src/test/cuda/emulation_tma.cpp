// Copies of boxes and their barriers: see emulation_tma.h.
#include "emulation_tma.h"

#include <vector>

#include "emulation_wgmma.h"

namespace emulation {

namespace {

constexpr int MOST_ARRIVALS = (1 << 20) - 1;

/** The eight bytes of a barrier in shared memory. */
struct Barrier {
    uint64_t parity : 1;      // of the phase that runs
    uint64_t mark : 3;        // MARK where it was initialised
    uint64_t arrivals : 20;   // that a phase has
    uint64_t missing : 20;    // of the phase that runs
    int64_t bytes : 20;       // / 16, that have been expected and have not come
};

static_assert(sizeof(Barrier) == 8, "as large as an mbarrier");

constexpr uint64_t MARK = 5;  // not that of the filling of shared memory

struct Box {
    void* barrier;
    unsigned char* shared;
    TensorMap map;
    int row;
    int column;
};

struct Waiter {
    void* barrier;
    int thread;
};

/** Of the block that this OS thread runs. */
struct State {
    uint64_t serial = 0;
    std::vector<Box> boxes;  // asked for, not there yet
    std::vector<Waiter> waiters;
};

State& state() {
    static thread_local State instance;
    if (instance.serial != runner->serial) {
        instance.serial = runner->serial;
        instance.boxes.clear();
        instance.waiters.clear();
    }
    return instance;
}

Barrier load(const void* barrier) {
    Barrier value;
    memcpy(&value, barrier, sizeof(value));
    if (value.mark != MARK) {
        fail("an mbarrier that was not initialised");
    }
    return value;
}

/** Lets those go on who wait at a barrier: they look again. */
void wake(const void* barrier) {
    State& all = state();
    size_t kept = 0;
    for (const Waiter& waiter : all.waiters) {
        if (waiter.barrier == barrier) {
            unpark(waiter.thread);
        } else {
            all.waiters[kept++] = waiter;
        }
    }
    all.waiters.resize(kept);
}

/** Keeps the barrier; ends its phase where nothing is missing. */
void store(void* barrier, Barrier value) {
    if (value.missing == 0 && value.bytes == 0) {
        value.parity ^= 1;
        value.missing = value.arrivals;
        wake(barrier);
    }
    memcpy(barrier, &value, sizeof(value));
}

uint32_t bytes_of(const TensorMap& map) {
    return map.box_rows * map.box_columns * map.element_bytes;
}

/** Calls step(place in shared memory, row, byte of the row) for each 16 bytes of a box. */
template <class Step>
void for_pieces(const Box& box, Step step) {
    const uint32_t width = box.map.box_columns * box.map.element_bytes;
    const unsigned start = shared_address(box.shared);
    for (uint32_t row = 0; row < box.map.box_rows; row++) {
        for (uint32_t byte = 0; byte < width; byte += 16) {
            unsigned address = start + row * width + byte;
            if (box.map.swizzle != 0) {
                address ^= address >> 3 & (box.map.swizzle - 16);
            }
            step(box.shared + static_cast<int>(address - start), row, byte);
        }
    }
}

/** Copies a box and counts its bytes. */
void arrive(const Box& box) {
    const TensorMap& map = box.map;
    for_pieces(box, [&](unsigned char* place, uint32_t row, uint32_t byte) {
        for (uint32_t i = 0; i < 16; i += map.element_bytes) {
            int64_t r = static_cast<int64_t>(box.row) + row;
            int64_t c = static_cast<int64_t>(box.column) + (byte + i) / map.element_bytes;
            if (r >= 0 && r < static_cast<int64_t>(map.rows) && c >= 0 && c < static_cast<int64_t>(map.columns)) {
                memcpy(place + i,
                       reinterpret_cast<const unsigned char*>(map.address) + static_cast<uint64_t>(r) * map.row_bytes
                           + static_cast<uint64_t>(c) * map.element_bytes,
                       map.element_bytes);
            } else {
                memset(place + i, 0, map.element_bytes);
            }
        }
    });
    Barrier barrier = load(box.barrier);
    barrier.bytes -= bytes_of(map) / 16;
    store(box.barrier, barrier);
}

/** Lets the boxes come that end at a barrier; whether there were any. */
bool let_come(void* barrier) {
    State& all = state();
    std::vector<Box> coming;
    size_t kept = 0;
    for (const Box& box : all.boxes) {
        if (box.barrier == barrier) {
            coming.push_back(box);
        } else {
            all.boxes[kept++] = box;
        }
    }
    all.boxes.resize(kept);
    for (const Box& box : coming) {
        arrive(box);
    }
    return !coming.empty();
}

}  // namespace

void mbarrier_init(void* barrier, int arrivals) {
    if (arrivals < 1 || arrivals > MOST_ARRIVALS) {
        fail("an mbarrier of %d arrivals", arrivals);
    }
    Barrier value = {};
    value.mark = MARK;
    value.arrivals = static_cast<uint64_t>(arrivals);
    value.missing = value.arrivals;
    memcpy(barrier, &value, sizeof(value));
}

void mbarrier_arrive(void* barrier, int bytes) {
    if (bytes % 16 != 0 || bytes < 0) {
        fail("an mbarrier expects %d bytes, which is no multiple of 16", bytes);
    }
    Barrier value = load(barrier);
    value.bytes += bytes / 16;
    value.missing--;  // not below 0: a phase that misses none has ended
    store(barrier, value);
}

void mbarrier_wait(void* barrier, unsigned parity) {
    if (parity > 1) {
        fail("an mbarrier is waited for with the parity %u", parity);
    }
    while (load(barrier).parity == parity) {
        if (!let_come(barrier)) {
            state().waiters.push_back({barrier, current->number});
            park();
        }
    }
}

namespace {

struct StoreMatrix {
    void* row;
    const unsigned* r;
};

void perform_stmatrix(unsigned lanes) {
    if (lanes != 0xFFFFFFFFu) {
        fail("stmatrix by a part of a warp (lanes %08x)", lanes);
    }
    for (int matrix = 0; matrix < 4; matrix++) {
        for (int row = 0; row < 8; row++) {
            uint32_t words[4];
            for (int pair = 0; pair < 4; pair++) {
                words[pair] = static_cast<const StoreMatrix*>(request_of(row * 4 + pair))->r[matrix];
            }
            int owner = matrix * 8 + row;
            void* to = static_cast<const StoreMatrix*>(request_of(owner))->row;
            check16(to);
            Thread by = *current;
            by.number = current->number / 32 * 32 + owner;
            touch(to, 16, Access::WRITE, by);
            memcpy(to, words, 16);
            note_write(to);
        }
    }
}

}  // namespace

void stmatrix(void* row, const unsigned* r) {
    StoreMatrix request = {row, r};
    collective(0xFFFFFFFFu, Collective::STMATRIX, &request, perform_stmatrix);
}

void tma_load(void* shared, const void* map, void* barrier, int row, int column) {
    Box box;
    memcpy(&box.map, map, sizeof(box.map));
    if (box.map.mark != TENSOR_MAP_MARK) {
        fail("a tensor map that is none");
    }
    box.barrier = barrier;
    box.shared = static_cast<unsigned char*>(shared);
    box.row = row;
    box.column = column;
    load(barrier);
    const size_t bytes = bytes_of(box.map);
    const size_t place = static_cast<size_t>(box.shared - runner->dynamic_shared);
    if (place > runner->shared[0].size || bytes > runner->shared[0].size - place) {
        fail("a box of %zu bytes that is not inside dynamic shared memory", bytes);
    }
    const unsigned alignment = box.map.swizzle == 0 ? 128 : 8 * box.map.swizzle;
    if (shared_address(shared) % alignment != 0) {
        fail("a box in shared memory at no multiple of %u", alignment);
    }
    memset(box.shared, POISON, bytes);
    state().boxes.push_back(box);
    wake(barrier);
}

}  // namespace emulation
