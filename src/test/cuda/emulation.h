// Stands in for the GPU where tessera.cuh is compiled by the host C++ compiler: the words that CUDA has built in, on fibers.
//
// A block's threads are fibers of one OS thread: each runs until it waits for others, at a barrier or at a warp's collective
// operation, and the last to arrive lets the rest go on. Shared memory belongs to the OS thread, is filled with 0xCB at the
// start of each block and surrounded by guard zones. What would be undefined on a GPU (divergence at a barrier, different
// masks, misaligned wide accesses) ends the launch with an error. Not seen: everything about speed.
//
// Data races: launches may run threads and blocks in any order, so that one whose result depends on it gives another. In a
// build with EMULATION_RACES, for which the compiler reports every access (see races.cpp), a race ends the launch.
//
// A .cu file is compiled inside an anonymous namespace (#include "tessera.cuh", then namespace { #include "norms.cu" }), so
// that files cannot clash, with the folders of tessera.cuh and of this file as include paths, and linked with emulation.cpp.
// emulation::launch(*emulation::find_kernel("name"), ...) runs a kernel.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DEVICE inline

#define KERNEL(threads, name, Args)                                                                                   \
    static void name(const Args& args);                                                                               \
    static const emulation::Kernel name##_kernel(                                                                     \
        #name,                                                                                                        \
        [](const void* args) { name(*static_cast<const Args*>(args)); },                                              \
        sizeof(Args),                                                                                                 \
        threads,                                                                                                      \
        __FILE__,                                                                                                     \
        #Args);                                                                                                       \
    static void name(const Args& args)

#define KERNEL_BLOCKS(threads, blocks, name, Args) KERNEL(threads, name, Args)
#define KERNEL_AHEAD(threads, blocks, name, Args) KERNEL(threads, name, Args)

#define SHARED(type, name, count)                                                                 \
    static emulation::SharedArray name##_shared = {#name, sizeof(type) * (count), 0};             \
    type(&name)[count] = *reinterpret_cast<type(*)[count]>(emulation::shared_memory(name##_shared))

#define DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(emulation::runner->dynamic_shared)

namespace emulation {

struct Dim3 {
    unsigned x, y, z;
};

/** One thread of a block as the kernel sees it; the rest of its state is the runner's. */
struct Thread {
    Dim3 index;
    int number;
    const char* stack;  // of the fiber that it runs on
};

/** Shared memory of one OS thread for one array, between guard zones. */
struct SharedMemory {
    uint64_t serial;  // of the block that used it last
    unsigned char* values;
    size_t size;
    const char* name;
};

/** What the threads of one block share. */
struct Runner {
    Dim3 block;
    Dim3 block_size;
    Dim3 grid_size;
    uint64_t serial;  // of the block, never 0
    unsigned char* dynamic_shared;
    SharedMemory* shared;
    unsigned shared_count;
    uint64_t first_serial;        // of the launch
    unsigned barriers;            // that the block has passed
    unsigned warp_barriers[32];  // the same of each warp
    int line;                     // of the last barrier
    const char* args;             // of the launch, which no kernel writes
    size_t args_size;
};

// One OS thread's runner and the fiber thread that it runs now.
extern __thread Runner* runner __attribute__((tls_model("initial-exec")));
extern __thread Thread* current __attribute__((tls_model("initial-exec")));

/** A kernel that can be launched by name; objects of this type are static and enter themselves in a list. */
struct Kernel {
    const char* name;
    void (*run)(const void* args);
    size_t args_size;
    int max_threads;
    const char* file;         // of its source
    const char* args_struct;  // the name of its parameters' struct
    const Kernel* next;

    Kernel(
        const char* name,
        void (*run)(const void*),
        size_t args_size,
        int max_threads,
        const char* file,
        const char* args_struct);
};

const Kernel* find_kernel(const char* name);

/** The last kernel of the list, whose `next` leads to the others. */
const Kernel* last_kernel();

/**
 * Runs a kernel; null, or the text of what went wrong, valid until the next launch. Callers take turns.
 *
 * @param shared_limit of static and dynamic shared memory together
 * @param order of threads and blocks: 0 ascending, -1 descending, else the seed of a random one
 */
const char* launch(
    const Kernel& kernel, Dim3 grid, Dim3 block, size_t dynamic_bytes, size_t shared_limit, long long order, const void* args);

/** Ends the launch with an error that names kernel, block and thread. */
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// ---------------------------------------------------------------------------------------------------- shared memory

constexpr int GUARD_BYTES = 64;
constexpr unsigned char POISON = 0xCB;

/** An array that a kernel declares; `number` counts such arrays from 1, 0 before the first use. */
struct SharedArray {
    const char* name;
    size_t size;
    unsigned number;
};

/** Makes the array anew for this block. */
unsigned char* enter_shared(SharedArray& array);

/** The memory of an array in this block. */
inline unsigned char* shared_memory(SharedArray& array) {
    unsigned number = __atomic_load_n(&array.number, __ATOMIC_RELAXED);
    if (number != 0 && number < runner->shared_count && runner->shared[number].serial == runner->serial) {
        return runner->shared[number].values;
    }
    return enter_shared(array);
}

// -------------------------------------------------------------------------------------------------- block and warp

/** Waits for all threads of the block, none of which may have returned, at a place in the source that must be the same for all. */
void barrier(int place, int line);

enum class Collective { SYNC, SHUFFLE, VOTE, SUM, MAX, MMA, LDMATRIX, STMATRIX };

/**
 * Waits until all live lanes of `mask` have come to the same collective; the last one calls `perform` with the lanes that
 * take part, whose requests it finds by request_of.
 */
void collective(unsigned mask, Collective kind, void* request, void (*perform)(unsigned lanes));

/** Meetings 1 to 15 are named barriers, from 16 those of the warpgroups. */
constexpr int MEETINGS = 24;

/**
 * Comes to a meeting of `threads` threads: true for the last of them, who then calls release. A thread that waits returns after
 * that. For the search for races a meeting counts as a barrier of the whole block: less is found, nothing wrongly.
 */
bool rendezvous(int meeting, int threads, bool waits);
void release(int meeting);

/** Waits until another thread of the block unparks this one. */
void park();
void unpark(int thread);

/** The request of a lane of the current warp. */
void* request_of(int lane);

int current_lane();

struct Shuffle {
    uint64_t value;
    int source;  // lane
    uint64_t result;
};

struct Vote {
    bool predicate;
    unsigned result;
};

struct Reduction {
    float value;
};

void perform_shuffle(unsigned lanes);
void perform_sum(unsigned lanes);
void perform_max(unsigned lanes);
void perform_vote(unsigned lanes);

template <class T>
T shuffle(unsigned mask, T value, int source) {
    static_assert(sizeof(T) <= 8, "at most 8 bytes");
    Shuffle request = {0, source, 0};
    memcpy(&request.value, &value, sizeof(T));
    collective(mask, Collective::SHUFFLE, &request, perform_shuffle);
    memcpy(&value, &request.result, sizeof(T));
    return value;
}

inline unsigned vote(unsigned mask, bool predicate) {
    Vote request = {predicate, 0};
    collective(mask, Collective::VOTE, &request, perform_vote);
    return request.result;
}

/** What five exchanges with __shfl_xor_sync give, in one: a fifth of the switches between fibers. */
inline float warp_sum(float value) {
    Reduction request = {value};
    collective(0xFFFFFFFFu, Collective::SUM, &request, perform_sum);
    return request.value;
}

inline float warp_max(float value) {
    Reduction request = {value};
    collective(0xFFFFFFFFu, Collective::MAX, &request, perform_max);
    return request.value;
}

// -------------------------------------------------------------------------------------------------- wide accesses

inline void check16(const void* address) {
    if (reinterpret_cast<uintptr_t>(address) % 16 != 0) {
        fail("a 16-byte access at the misaligned address %p", address);
    }
}

/** Bytes of a fiber's stack, where kernels keep what belongs to one thread. */
constexpr size_t STACK_BYTES = 96 * 1024;  // 64 KB for the kernel, the rest so that stacks start at different cache sets

/** How memory is used, for the search for races. */
enum class Access { READ, WRITE, ATOMIC, COPY_BEGINS, COPY_ENDS };

#ifdef EMULATION_RACES
/** Ends the launch if another thread may use these bytes at the same time in a way that does not agree with this one. */
void touch(const void* address, size_t bytes, Access access, const Thread& by);

/** A new launch, whose first block has this serial number: what was before is ordered before. */
void forget_touches(uint64_t serial);

/** Memory of the block before, at a multiple of 16 bytes, is given to the block with this serial number. */
void forget_touches(const void* address, size_t bytes, uint64_t serial);
#else
inline void touch(const void*, size_t, Access, const Thread&) {}
inline void forget_touches(uint64_t) {}
inline void forget_touches(const void*, size_t, uint64_t) {}
#endif

/** The thread has written 16 bytes of dynamic shared memory, not through the copy engine. */
void generic_write(const void* shared);

inline void note_write(const void* to) {
    if (static_cast<size_t>(static_cast<const unsigned char*>(to) - runner->dynamic_shared) < runner->shared[0].size) {
        generic_write(to);
    }
}

/** An access of up to 16 bytes at an address that must be a multiple of its size. */
inline void copy_aligned(void* to, const void* from, size_t bytes) {
    if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % bytes != 0) {
        fail("an access of %zu bytes at a misaligned address: %p from %p", bytes, to, from);
    }
    touch(from, bytes, Access::READ, *current);
    touch(to, bytes, Access::WRITE, *current);
    memcpy(to, from, bytes);
    if (bytes == 16) {
        note_write(to);
    }
}

inline unsigned short to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    if (value != value) {
        return 0x7FFF;
    }
    return static_cast<unsigned short>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/**
 * Waits until a block that runs beside this one, or has run, has set a word by atomicExch; what it wrote before is ordered before.
 * Ends the launch where that cannot happen.
 */
void wait_turn(const unsigned* word, unsigned value);

void mma_bf16_16x8x16(float* d, const unsigned* a, const unsigned* b);
void ldmatrix(unsigned* r, const void* row, int count, bool transposed);
void cp_async16(void* shared, const void* global, bool valid);
void cp_async_commit();
void cp_async_wait(int unfinished_groups);

}  // namespace emulation

#define threadIdx (emulation::current->index)
#define blockIdx (emulation::runner->block)
#define blockDim (emulation::runner->block_size)
#define gridDim (emulation::runner->grid_size)

#define __syncthreads() emulation::barrier(__COUNTER__, __LINE__)

inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) {
    emulation::collective(mask, emulation::Collective::SYNC, nullptr, [](unsigned) {});
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    int lane = emulation::current_lane();
    return emulation::shuffle(mask, value, lane / width * width + (source & (width - 1)));
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    int lane = emulation::current_lane();
    int source = lane ^ bits;
    return emulation::shuffle(mask, value, source / width > lane / width ? lane : source);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = emulation::current_lane();
    int source = lane + static_cast<int>(delta);
    return emulation::shuffle(mask, value, source / width == lane / width ? source : lane);
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = emulation::current_lane();
    int source = lane - static_cast<int>(delta);
    return emulation::shuffle(mask, value, source >= lane / width * width ? source : lane);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return emulation::vote(mask, predicate != 0);
}

inline int __any_sync(unsigned mask, int predicate) {
    return emulation::vote(mask, predicate != 0) != 0;
}

inline int __all_sync(unsigned mask, int predicate) {
    return emulation::vote(mask, predicate == 0) == 0;
}

inline void __threadfence() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

inline void __threadfence_block() {}

// ------------------------------------------------------------------------------------------------------------ atomics

#define EMULATE_ATOMICS(T)                                                              \
    inline T atomicAdd(T* address, T value) {                                           \
        return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);                    \
    }                                                                                   \
    inline T atomicExch(T* address, T value) {                                          \
        return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);                   \
    }                                                                                   \
    inline T atomicOr(T* address, T value) {                                            \
        return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);                     \
    }                                                                                   \
    inline T atomicAnd(T* address, T value) {                                           \
        return __atomic_fetch_and(address, value, __ATOMIC_RELAXED);                    \
    }                                                                                   \
    inline T atomicCAS(T* address, T expected, T value) {                               \
        __atomic_compare_exchange_n(                                                    \
            address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);      \
        return expected;                                                                \
    }                                                                                   \
    inline T atomicMax(T* address, T value) {                                           \
        T old = __atomic_load_n(address, __ATOMIC_RELAXED);                             \
        while (old < value && !__atomic_compare_exchange_n(                             \
                                  address, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) { \
        }                                                                               \
        return old;                                                                     \
    }                                                                                   \
    inline T atomicMin(T* address, T value) {                                           \
        T old = __atomic_load_n(address, __ATOMIC_RELAXED);                             \
        while (old > value && !__atomic_compare_exchange_n(                             \
                                  address, &old, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) { \
        }                                                                               \
        return old;                                                                     \
    }

EMULATE_ATOMICS(int)
EMULATE_ATOMICS(unsigned)
EMULATE_ATOMICS(unsigned long long)

// ------------------------------------------------------------------------------------------- arithmetic built into CUDA

#define EMULATE_MIN_MAX(T)       \
    inline T min(T a, T b) {     \
        return b < a ? b : a;    \
    }                            \
    inline T max(T a, T b) {     \
        return a < b ? b : a;    \
    }

EMULATE_MIN_MAX(int)
EMULATE_MIN_MAX(unsigned)
EMULATE_MIN_MAX(long)
EMULATE_MIN_MAX(unsigned long)
EMULATE_MIN_MAX(long long)
EMULATE_MIN_MAX(unsigned long long)

inline float min(float a, float b) {
    return fminf(a, b);
}

inline float max(float a, float b) {
    return fmaxf(a, b);
}

inline float rsqrtf(float x) {
    return 1.0f / sqrtf(x);
}

template <class To, class From>
To emulated_bits(From value) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To result;
    memcpy(&result, &value, sizeof(To));
    return result;
}

inline unsigned __float_as_uint(float value) {
    return emulated_bits<unsigned>(value);
}

inline int __float_as_int(float value) {
    return emulated_bits<int>(value);
}

inline float __uint_as_float(unsigned value) {
    return emulated_bits<float>(value);
}

inline float __int_as_float(int value) {
    return emulated_bits<float>(value);
}

inline int __popc(unsigned value) {
    return __builtin_popcount(value);
}

inline int __clz(int value) {
    return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value));
}

inline int __ffs(int value) {
    return __builtin_ffs(value);
}

inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}

template <class T>
T __ldg(const T* address) {
    return *address;
}
