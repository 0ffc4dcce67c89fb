// Finds data races of kernels: accesses of different threads to the same bytes, one of them a write, that nothing orders.
//
// The kernels are compiled with -fsanitize=thread, which makes the compiler call a function at every access; the functions are
// these, and no sanitizer's library is linked. Ordered are accesses of one thread, of threads of a block with a __syncthreads
// between, of lanes of a warp with a __syncwarp of all between; not those of different blocks of a launch, and not by a shuffle, a
// vote or a product on tensor cores, which promise nothing about memory. Atomics agree with each other only. An asynchronous
// copy may write from its start until it is waited for. Every access is seen, whatever the order in which the fibers run.
//
// A byte keeps its last write and its last reads, of one warp or of several: enough, because reads before a write that was
// ordered behind them do not matter any more. Most bytes are used as whole words, so one cell stands for the four of a word until a
// part of it is used. What earlier launches, and earlier blocks in shared memory, did is not wiped out: each cell's times tell.
#include "emulation.h"

#ifdef EMULATION_RACES

#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace emulation {

namespace {

constexpr int SEVERAL = -1;
constexpr int ANYWHERE = -2;
constexpr uintptr_t PAGE = 4096;
constexpr uintptr_t WORD = 4;
constexpr uintptr_t GRAIN = 16;
constexpr size_t MOST_PAGES = 2048;

/** When a thread of a block did something; the block's serial number, whose lower half suffices, 0 for never. */
struct Time {
    uint32_t block;
    uint32_t barriers;
    uint32_t warp_barriers;
};

/** Of one byte, or of a word whose bytes are always used together; all zero where nothing has happened. */
struct alignas(32) Cell {
    Time written;
    Time read;
    unsigned readers;  // lanes
    short writer;
    signed char reading_warp;
    bool atomic : 1;
    bool copying : 1;
    bool split : 1;  // of a word: its bytes have cells of their own
};

struct Page {
    Cell words[PAGE / WORD];
    uint32_t first_block[PAGE / GRAIN];  // what earlier ones did to these bytes is forgotten
    Cell bytes[PAGE];                    // of words that are split
};

struct FreePage {
    void operator()(Page* page) const {
        free(page);
    }
};

std::unordered_map<uintptr_t, std::unique_ptr<Page, FreePage>> pages;
uint32_t first_block = 0;  // of the launch: what earlier ones did is forgotten

struct Found {
    uintptr_t number;
    Page* page;
};

Found found[64];  // of the pages, for most accesses

Page& page_of(uintptr_t address) {
    uintptr_t number = address / PAGE;
    Found& entry = found[number % 64];
    if (entry.page == nullptr || entry.number != number) {
        auto& page = pages[number];
        if (!page) {
            void* memory = nullptr;
            if (posix_memalign(&memory, alignof(Page), sizeof(Page)) != 0) {
                perror("fake CUDA: no memory to search for races");
                abort();
            }
            page.reset(static_cast<Page*>(memset(memory, 0, offsetof(Page, bytes))));
        }
        entry = {number, page.get()};
    }
    return *entry.page;
}

Time now(const Thread& by) {
    return {static_cast<uint32_t>(runner->serial), runner->barriers, runner->warp_barriers[by.number / 32]};
}

/** Whether what `warp` did then is ordered before what a thread of warp `by_warp` does now. */
inline bool ordered(const Time& then, int warp, const Time& time, int by_warp) {
    if (then.block != time.block) {
        return then.block < static_cast<uint32_t>(runner->first_serial);
    }
    if (then.barriers != time.barriers) {
        return true;
    }
    return warp == by_warp && then.warp_barriers != time.warp_barriers;
}

std::string name_of(uintptr_t address) {
    for (unsigned i = 0; i < runner->shared_count; i++) {
        const SharedMemory& memory = runner->shared[i];
        auto first = reinterpret_cast<uintptr_t>(memory.values);
        if (memory.serial == runner->serial && address >= first && address < first + memory.size) {
            return "byte " + std::to_string(address - first) + " of the shared array " + memory.name;
        }
    }
    char text[40];
    snprintf(text, sizeof(text), "address 0x%llx", static_cast<unsigned long long>(address));
    return text;
}

const char* name_of(Access access) {
    switch (access) {
        case Access::READ:
            return "reads";
        case Access::ATOMIC:
            return "changes atomically";
        case Access::COPY_BEGINS:
            return "starts to copy to";
        default:
            return "writes";
    }
}

[[noreturn]] void report(uintptr_t address, Access access, const std::string& other) {
    std::string place = name_of(address);
    fail(
        "a race: a thread %s %s, which %s, with nothing between that orders them (after the barrier of line %d)", name_of(access),
        place.c_str(), other.c_str(), runner->line);
}

std::string thread_text(int number, const Time& time, const char* what) {
    std::string text = "thread " + std::to_string(number);
    if (time.block != runner->serial) {
        text += " of another block";
    }
    return text + " " + what;
}

/** One byte, of which only what began with block `first` counts. */
inline void touch(Cell& cell, uint32_t first, uintptr_t address, Access access, const Thread& by, const Time& time) {
    const int warp = by.number / 32;
    const unsigned lane = 1u << by.number % 32;
    if (cell.written.block >= first) {
        bool same = cell.writer == by.number && cell.written.block == time.block;
        if (cell.copying && !(same && access == Access::COPY_ENDS)) {
            report(address, access, thread_text(cell.writer, cell.written, "still copies to"));
        }
        bool agree = cell.atomic && access == Access::ATOMIC;
        if (!same && !agree && !ordered(cell.written, cell.writer / 32, time, warp)) {
            report(address, access, thread_text(cell.writer, cell.written, cell.atomic ? "changed atomically" : "wrote"));
        }
    }
    const bool was_read = cell.read.block >= first;
    const bool in_order =
        !was_read || (cell.reading_warp != ANYWHERE && ordered(cell.read, cell.reading_warp, time, warp));
    if (access == Access::READ) {
        if (in_order) {
            cell.reading_warp = static_cast<signed char>(warp);
            cell.readers = 0;
        } else if (cell.read.block != time.block) {
            cell.reading_warp = ANYWHERE;  // readers in other blocks are never ordered before
        } else if (cell.reading_warp != warp && cell.reading_warp != ANYWHERE) {
            cell.reading_warp = SEVERAL;  // of a block, which a barrier orders
        }
        cell.read = time;
        cell.readers |= lane;
        return;
    }
    if (!in_order
        && (cell.reading_warp != warp || cell.read.block != time.block || (cell.readers & ~lane) != 0)) {
        report(address, access, cell.reading_warp < 0 ? "threads of several warps read" : "another thread read");
    }
    cell.written = time;
    cell.writer = static_cast<short>(by.number);
    cell.atomic = access == Access::ATOMIC;
    cell.copying = access == Access::COPY_BEGINS;
}

void accessed(const volatile void* address, size_t bytes, Access access) {
    if (runner != nullptr && current != nullptr) {
        touch(const_cast<const void*>(address), bytes, access, *current);
    }
}

}  // namespace

void touch(const void* address, size_t bytes, Access access, const Thread& by) {
    auto* first = static_cast<const char*>(address);
    bool own = first >= by.stack && first < by.stack + STACK_BYTES;
    if (own || (first >= runner->args && first < runner->args + runner->args_size)) {
        return;
    }
    const Time time = now(by);
    auto place = reinterpret_cast<uintptr_t>(address);
    for (const uintptr_t end = place + bytes; place < end;) {
        Page& page = page_of(place);
        Cell& word = page.words[place % PAGE / WORD];
        const uint32_t first = std::max(first_block, page.first_block[place % PAGE / GRAIN]);
        if (word.split && word.written.block < first) {
            word = Cell();
        }
        const bool whole = place % WORD == 0 && end - place >= WORD;
        if (whole && !word.split) {
            touch(word, first, place, access, by, time);
            place += WORD;
            continue;
        }
        Cell* cells = &page.bytes[place % PAGE / WORD * WORD];
        if (!word.split) {
            std::fill_n(cells, WORD, word);
            word.split = true;
        }
        word.written = time;  // the last use of any byte
        const uintptr_t word_end = std::min(end, (place / WORD + 1) * WORD);
        for (; place < word_end; place++) {
            touch(cells[place % WORD], first, place, access, by, time);
        }
    }
}

void forget_touches(uint64_t serial) {
    first_block = static_cast<uint32_t>(serial);
    if (pages.size() > MOST_PAGES) {
        pages.clear();
        memset(found, 0, sizeof(found));
    }
}

void forget_touches(const void* address, size_t bytes, uint64_t serial) {
    auto first = reinterpret_cast<uintptr_t>(address) / GRAIN;
    for (auto grain = first; grain * GRAIN < reinterpret_cast<uintptr_t>(address) + bytes; grain++) {
        page_of(grain * GRAIN).first_block[grain % (PAGE / GRAIN)] = static_cast<uint32_t>(serial);
    }
}

}  // namespace emulation

// ------------------------------------------------------------------------------------------------- what the compiler calls

using emulation::Access;
using emulation::accessed;

#define TSAN_ACCESS(name, access)                                        \
    extern "C" void __tsan_##name##1(void* address) {                    \
        accessed(address, 1, access);                                    \
    }                                                                    \
    extern "C" void __tsan_##name##2(void* address) {                    \
        accessed(address, 2, access);                                    \
    }                                                                    \
    extern "C" void __tsan_##name##4(void* address) {                    \
        accessed(address, 4, access);                                    \
    }                                                                    \
    extern "C" void __tsan_##name##8(void* address) {                    \
        accessed(address, 8, access);                                    \
    }                                                                    \
    extern "C" void __tsan_##name##16(void* address) {                   \
        accessed(address, 16, access);                                   \
    }                                                                    \
    extern "C" void __tsan_##name##_range(void* address, size_t bytes) { \
        accessed(address, bytes, access);                                \
    }

TSAN_ACCESS(read, Access::READ)
TSAN_ACCESS(write, Access::WRITE)
TSAN_ACCESS(unaligned_read, Access::READ)
TSAN_ACCESS(unaligned_write, Access::WRITE)

extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_atomic_thread_fence(int) {}

#define TSAN_ATOMIC(bits, T)                                                                      \
    extern "C" T __tsan_atomic##bits##_load(const volatile T* address, int) {                     \
        return __atomic_load_n(address, __ATOMIC_SEQ_CST);                                        \
    }                                                                                             \
    extern "C" T __tsan_atomic##bits##_exchange(volatile T* address, T value, int) {              \
        accessed(address, sizeof(T), Access::ATOMIC);                                             \
        return __atomic_exchange_n(address, value, __ATOMIC_SEQ_CST);                             \
    }                                                                                             \
    extern "C" T __tsan_atomic##bits##_fetch_add(volatile T* address, T value, int) {             \
        accessed(address, sizeof(T), Access::ATOMIC);                                             \
        return __atomic_fetch_add(address, value, __ATOMIC_SEQ_CST);                              \
    }                                                                                             \
    extern "C" T __tsan_atomic##bits##_fetch_or(volatile T* address, T value, int) {              \
        accessed(address, sizeof(T), Access::ATOMIC);                                             \
        return __atomic_fetch_or(address, value, __ATOMIC_SEQ_CST);                               \
    }                                                                                             \
    extern "C" T __tsan_atomic##bits##_fetch_and(volatile T* address, T value, int) {             \
        accessed(address, sizeof(T), Access::ATOMIC);                                             \
        return __atomic_fetch_and(address, value, __ATOMIC_SEQ_CST);                              \
    }                                                                                             \
    extern "C" bool __tsan_atomic##bits##_compare_exchange_strong(                                \
        volatile T* address, T* expected, T value, int, int) {                                    \
        accessed(address, sizeof(T), Access::ATOMIC);                                             \
        return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    }                                                                                             \
    extern "C" T __tsan_atomic##bits##_compare_exchange_val(volatile T* address, T expected, T value, int, int) { \
        accessed(address, sizeof(T), Access::ATOMIC);                                             \
        __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
        return expected;                                                                          \
    }

TSAN_ATOMIC(32, unsigned)
TSAN_ATOMIC(64, unsigned long long)

#endif
