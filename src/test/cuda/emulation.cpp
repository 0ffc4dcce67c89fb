// The block runner: fibers, barriers, collectives, shared memory, and blocks spread over the machine's cores.
#include "emulation.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

// EMULATION_UCONTEXT asks for the portable switch, which is the only one elsewhere and five times slower.
#if !defined(__x86_64__) && !defined(EMULATION_UCONTEXT)
#define EMULATION_UCONTEXT
#endif
#ifdef EMULATION_UCONTEXT
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define NOT_SANITIZED __attribute__((no_sanitize("address")))
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address))
#define NOT_SANITIZED
#endif

namespace emulation {

__thread Runner* runner = nullptr;
__thread Thread* current = nullptr;

namespace {

#ifdef EMULATION_RACES
constexpr bool RACES = true;
#else
constexpr bool RACES = false;
#endif
constexpr int MAX_THREADS = 1024;
constexpr int MAX_WARPS = MAX_THREADS / 32;

// ------------------------------------------------------------------------------------------------------------ fibers

void carrier_main();

#ifndef EMULATION_UCONTEXT

// Saves the callee-saved registers and the stack pointer of the caller, and goes on where `to` was saved.
extern "C" void emulation_switch(void** from, void* to);
asm(R"(
.text
.globl emulation_switch
.hidden emulation_switch
.type emulation_switch, @function
emulation_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulation_switch, .-emulation_switch
)");

struct Context {
    void* stack_pointer = nullptr;

    void start(char* stack, size_t size) {
        auto top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + size) & ~uintptr_t(15));
        *--top = nullptr;  // as if carrier_main had been called: the return address is 8 below a multiple of 16
        *--top = reinterpret_cast<void*>(&carrier_main);
        top -= 6;
        memset(top, 0, 6 * sizeof(void*));
        stack_pointer = top;
    }
};

NOT_SANITIZED void switch_context(Context& from, Context& to) {
    emulation_switch(&from.stack_pointer, to.stack_pointer);
}

#else

struct Context {
    ucontext_t context;

    void start(char* stack, size_t size) {
        getcontext(&context);
        context.uc_stack.ss_sp = stack;
        context.uc_stack.ss_size = size;
        context.uc_link = nullptr;
        makecontext(&context, carrier_main, 0);
    }
};

void switch_context(Context& from, Context& to) {
    swapcontext(&from.context, &to.context);
}

#endif

/** A stack on which threads of the block run, one after another until one has to wait. */
struct Fiber {
    Context context;
    char* stack;
    size_t usable;

    explicit Fiber(size_t number) {
        constexpr size_t PAGE = 4096;
        void* memory = mmap(
            nullptr, STACK_BYTES + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            perror("fake CUDA: no memory for a fiber's stack");
            abort();
        }
        mprotect(memory, PAGE, PROT_NONE);
        stack = static_cast<char*>(memory) + PAGE;
        usable = STACK_BYTES - number % 61 * 320;
    }

    void start() {
        ASAN_UNPOISON_MEMORY_REGION(stack, STACK_BYTES);
        context.start(stack, usable);
    }
};

// ------------------------------------------------------------------------------------------------------------- block

struct PendingCopy {
    void* shared;
    const void* global;
    bool valid;
    int group;
};

struct ThreadState : Thread {
    Fiber* fiber;
    int place;  // of the barrier at which it waits
    int line;
    unsigned mask;
    Collective kind;
    void* request;
    void (*perform)(unsigned lanes);
    int groups;  // of asynchronous copies
    std::vector<PendingCopy> copies;
};

struct Warp {
    unsigned unstarted;
    unsigned ready;
    unsigned waiting;  // in a collective
    unsigned in_barrier;
    unsigned exited;  // and lanes that the block does not have
};

/** Threads that wait for others of a part of the block. */
struct Meeting {
    int threads = 0;
    int came = 0;
    std::vector<int> waiting;
};

/** What a launch is, for all OS threads that work on it. */
struct Job {
    const Kernel* kernel;
    Dim3 grid;
    Dim3 block;
    size_t dynamic_bytes;
    size_t shared_limit;
    const void* args;
    uint64_t blocks;
    long long order;
    uint64_t first_serial;
    std::atomic<uint64_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::string error;

    /** A block's place in a random order: i times an odd number, plus any, modulo a power of 2, until it is a block. */
    uint64_t shuffled(uint64_t i) const {
        uint64_t mask = 1;
        while (mask < blocks) {
            mask *= 2;
        }
        do {
            i = (i * 0x9E3779B97F4A7C15u + static_cast<uint64_t>(order) * 2 + 1) & (mask - 1);
        } while (i >= blocks);
        return i;
    }

    void report(const std::string& text) {
        std::lock_guard<std::mutex> lock(mutex);
        if (!failed.exchange(true)) {
            error = text;
        }
    }
};

std::atomic<uint64_t> next_serial{1};

struct BlockRunner : Runner {
    Job* job = nullptr;
    Context main;
    int threads = 0;
    int warps = 0;
    int live = 0;
    int in_barrier = 0;
    std::unique_ptr<ThreadState[]> thread{new ThreadState[MAX_THREADS]};
    Warp warp[MAX_WARPS];
    Meeting meetings[MEETINGS];
    int parked = 0;
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Fiber*> idle;
    ThreadState* starting = nullptr;
    Fiber* starting_on = nullptr;
    std::vector<SharedMemory> arrays{1};  // the first is the dynamic one
    size_t dynamic_capacity = 0;
    uint64_t random = 0;  // state, where the order is random

    void run(Job& launch, uint64_t block_number);
    int pick_lane(unsigned lanes);
    ThreadState* pick(int after);
    Fiber* take_fiber();
    void wait(ThreadState* self);
    void exit(ThreadState* self);
    void release_barrier();
    bool complete_collective(ThreadState* one);
    void check_shared(bool report);
    void report_deadlock();
};

BlockRunner& mine() {
    return *static_cast<BlockRunner*>(runner);
}

ThreadState& self() {
    return *static_cast<ThreadState*>(current);
}

/** A number below `bound` (SplitMix64). */
unsigned random_below(uint64_t& state, unsigned bound) {
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return static_cast<unsigned>((z ^ z >> 31) % bound);
}

/** One of the lanes: the first, the last, or any. */
int BlockRunner::pick_lane(unsigned lanes) {
    if (job->order <= 0) {
        return job->order < 0 ? 31 - __builtin_clz(lanes) : __builtin_ctz(lanes);
    }
    for (unsigned skip = random_below(random, __builtin_popcount(lanes)); skip > 0; skip--) {
        lanes &= lanes - 1;
    }
    return __builtin_ctz(lanes);
}

/**
 * Who runs next; null if nobody can. Where the order is not random, the warp of thread `after` goes before all others: its lanes
 * soon meet again.
 */
ThreadState* BlockRunner::pick(int after) {
    int home = after / 32;
    if (job->order > 0) {
        home = static_cast<int>(random_below(random, warps));
    }
    for (int i = 0; i < warps; i++) {
        int w = job->order < 0 ? (home - i + warps) % warps : (home + i) % warps;
        Warp& chosen = warp[w];
        unsigned lanes = chosen.unstarted != 0 && job->order <= 0 ? chosen.unstarted : chosen.unstarted | chosen.ready;
        if (lanes == 0) {
            continue;
        }
        int lane = pick_lane(lanes);
        ThreadState* next = &thread[w * 32 + lane];
        if ((chosen.unstarted >> lane & 1) != 0) {
            next->fiber = nullptr;
        }
        chosen.unstarted &= ~(1u << lane);
        chosen.ready &= ~(1u << lane);
        return next;
    }
    return nullptr;
}

Fiber* BlockRunner::take_fiber() {
    if (idle.empty()) {
        fibers.push_back(std::make_unique<Fiber>(fibers.size()));
        idle.push_back(fibers.back().get());
    }
    Fiber* fiber = idle.back();
    idle.pop_back();
    fiber->start();
    return fiber;
}

/** Lets others run until somebody has made `self` ready and it is its turn. */
void BlockRunner::wait(ThreadState* self) {
    Fiber* from = self->fiber;
    ThreadState* next = pick(self->number);
    if (next == nullptr) {
        switch_context(from->context, main);
    } else if (next->fiber == nullptr) {
        starting = next;
        starting_on = take_fiber();
        switch_context(from->context, starting_on->context);
    } else {
        current = next;
        switch_context(from->context, next->fiber->context);
    }
}

/** The life of a fiber: runs threads that have not begun until it is better to go on with one that waited. */
NOT_SANITIZED void carrier_main() {
    BlockRunner& block = mine();
    Fiber* fiber = block.starting_on;
    for (;;) {
        ThreadState* self = block.starting;
        self->fiber = fiber;
        self->stack = fiber->stack;
        self->groups = 0;
        self->copies.clear();
        current = self;
        block.job->kernel->run(block.job->args);
        block.exit(self);
        ThreadState* next = block.pick(self->number);
        if (next != nullptr && next->fiber == nullptr) {
            block.starting = next;
            continue;
        }
        block.idle.push_back(fiber);
        if (next == nullptr) {
            switch_context(fiber->context, block.main);
        } else {
            current = next;
            switch_context(fiber->context, next->fiber->context);
        }
    }
}

void BlockRunner::release_barrier() {
    for (int w = 0; w < warps; w++) {
        warp[w].ready |= warp[w].in_barrier;
        warp[w].in_barrier = 0;
    }
    in_barrier = 0;
    barriers++;
}

/** Ends the collective in which `one` waits if all its live lanes have come; makes them ready and returns whether it did. */
bool BlockRunner::complete_collective(ThreadState* one) {
    Warp& w = warp[one->number / 32];
    unsigned lanes = one->mask & ~w.exited;
    if ((lanes & ~w.waiting) != 0) {
        return false;
    }
    Thread* before = current;
    current = one;
    one->perform(lanes);
    current = before;
    if (one->kind == Collective::SYNC && (lanes | w.exited) == 0xFFFFFFFFu) {
        warp_barriers[one->number / 32]++;
    }
    w.waiting &= ~lanes;
    w.ready |= lanes;
    return true;
}

/**
 * A thread that has returned counts for no collective of its warp any more. Where others wait for the block it must not be
 * missing: the hardware may let them go on, but the language does not promise it (and compute-sanitizer's synccheck reports it).
 */
void BlockRunner::exit(ThreadState* self) {
    int first = self->number / 32 * 32;
    Warp& w = warp[self->number / 32];
    if (in_barrier > 0) {
        fail("threads diverge: some wait at the __syncthreads of line %d, this one has returned", Runner::line);
    }
    w.exited |= 1u << self->number % 32;
    live--;
    for (unsigned rest = w.waiting; rest != 0; rest &= w.waiting & (rest - 1)) {
        complete_collective(&thread[first + __builtin_ctz(rest)]);
    }
}

std::string position(const Dim3& block) {
    return "block (" + std::to_string(block.x) + ", " + std::to_string(block.y) + ", " + std::to_string(block.z) + ")";
}

/** Memory that is 16-byte aligned and no more, as the hardware promises, with room for the guards. */
unsigned char* allocate_shared(size_t size) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, size + 2 * GUARD_BYTES + 16) != 0) {
        perror("fake CUDA: no memory for a shared array");
        abort();
    }
    return static_cast<unsigned char*>(memory) + 16 + GUARD_BYTES;
}

void free_shared(unsigned char* values) {
    if (values != nullptr) {
        free(values - GUARD_BYTES - 16);
    }
}

void poison(SharedMemory& memory, uint64_t serial) {
    memory.serial = serial;
    forget_touches(memory.values, memory.size, serial);
    memset(memory.values - GUARD_BYTES, POISON, memory.size + 2 * GUARD_BYTES);
    ASAN_POISON_MEMORY_REGION(memory.values - GUARD_BYTES, GUARD_BYTES);
    ASAN_POISON_MEMORY_REGION(memory.values + memory.size, GUARD_BYTES);
}

/** Looks for writes around the shared arrays of the block that has ended, and for too much of them. */
void BlockRunner::check_shared(bool report) {
    size_t total = 0;
    for (SharedMemory& memory : arrays) {
        if (memory.serial != serial) {
            continue;
        }
        total += memory.size;
        unsigned char* before = memory.values - GUARD_BYTES;
        unsigned char* after = memory.values + memory.size;
        ASAN_UNPOISON_MEMORY_REGION(before, GUARD_BYTES);
        ASAN_UNPOISON_MEMORY_REGION(after, GUARD_BYTES);
        for (int i = 0; report && i < GUARD_BYTES; i++) {
            if (before[i] != POISON || after[i] != POISON) {
                job->report(
                    std::string("a write outside the shared array ") + memory.name + " of " + std::to_string(memory.size)
                    + " bytes, " + position(block));
                report = false;
            }
        }
    }
    if (report && total > job->shared_limit) {
        job->report(
            "a block uses " + std::to_string(total) + " bytes of shared memory, the limit is "
            + std::to_string(job->shared_limit));
    }
}

void BlockRunner::report_deadlock() {
    int barriers = 0;
    int collectives = 0;
    int line = 0;
    for (int w = 0; w < warps; w++) {
        barriers += __builtin_popcount(warp[w].in_barrier);
        collectives += __builtin_popcount(warp[w].waiting);
        if (warp[w].in_barrier != 0) {
            line = thread[w * 32 + __builtin_ctz(warp[w].in_barrier)].line;
        }
    }
    size_t parts = 0;
    for (const Meeting& meeting : meetings) {
        parts += meeting.waiting.size();
    }
    char text[300];
    snprintf(
        text, sizeof(text),
        "threads diverge: %d wait at __syncthreads (line %d), %d in a collective operation of their warp and %d at a named "
        "barrier or with their warpgroup for others that never come, %d at an mbarrier for a phase that never ends",
        barriers, line, collectives, static_cast<int>(parts), parked);
    job->report(text + (", " + position(block)));
}

void BlockRunner::run(Job& launch, uint64_t block_number) {
    job = &launch;
    serial = next_serial.fetch_add(1);
    grid_size = launch.grid;
    block_size = launch.block;
    block.x = static_cast<unsigned>(block_number % grid_size.x);
    block.y = static_cast<unsigned>(block_number / grid_size.x % grid_size.y);
    block.z = static_cast<unsigned>(block_number / grid_size.x / grid_size.y);
    SharedMemory& dynamic = arrays[0];
    if (dynamic_capacity < launch.dynamic_bytes || dynamic.values == nullptr) {
        free_shared(dynamic.values);
        dynamic_capacity = launch.dynamic_bytes;
        dynamic.values = allocate_shared(dynamic_capacity);
    }
    dynamic.size = launch.dynamic_bytes;
    dynamic.name = "(dynamic)";
    poison(dynamic, serial);
    dynamic_shared = dynamic.values;
    shared = arrays.data();
    shared_count = static_cast<unsigned>(arrays.size());

    threads = static_cast<int>(block_size.x * block_size.y * block_size.z);
    warps = (threads + 31) / 32;
    live = threads;
    in_barrier = 0;
    first_serial = launch.first_serial;
    args = static_cast<const char*>(launch.args);
    args_size = launch.kernel->args_size;
    barriers = 0;
    line = 0;
    random = static_cast<uint64_t>(launch.order) * 0xD1342543DE82EF95u + block_number;
    memset(warp_barriers, 0, sizeof(warp_barriers));
    for (Meeting& meeting : meetings) {
        meeting = Meeting();
    }
    parked = 0;
    for (int w = 0; w < warps; w++) {
        int lanes = threads - w * 32;
        unsigned exist = lanes >= 32 ? 0xFFFFFFFFu : (1u << lanes) - 1;
        warp[w] = {exist, 0, 0, 0, ~exist};
    }
    unsigned number = 0;
    for (unsigned z = 0; z < block_size.z; z++) {
        for (unsigned y = 0; y < block_size.y; y++) {
            for (unsigned x = 0; x < block_size.x; x++, number++) {
                thread[number].index = {x, y, z};
                thread[number].number = static_cast<int>(number);
            }
        }
    }
    idle.clear();
    for (auto& fiber : fibers) {
        idle.push_back(fiber.get());
    }
    starting = pick(launch.order < 0 ? threads - 1 : 0);
    starting_on = take_fiber();
    switch_context(main, starting_on->context);
    current = nullptr;
    if (live > 0 && !launch.failed) {
        report_deadlock();
    }
    check_shared(!launch.failed);
}

/** The OS threads that work on launches beside the one that calls. */
class Helpers {
public:
    void run(Job& job) {
        unsigned count = RACES ? 1 : std::thread::hardware_concurrency();
        if (count > 1 && job.blocks > 3) {
            std::unique_lock<std::mutex> lock(mutex);
            while (started + 1 < count) {
                std::thread([this] { serve(); }).detach();
                started++;
            }
            current_job = &job;
            generation++;
            lock.unlock();
            wake.notify_all();
        }
        work(job);
        std::unique_lock<std::mutex> lock(mutex);
        current_job = nullptr;
        done.wait(lock, [this] { return busy == 0; });
    }

private:
    std::mutex mutex;
    std::condition_variable wake;
    std::condition_variable done;
    Job* current_job = nullptr;
    uint64_t generation = 0;
    unsigned started = 0;
    unsigned busy = 0;

    static void work(Job& job) {
        static thread_local std::unique_ptr<BlockRunner> block;
        if (!block) {
            block = std::make_unique<BlockRunner>();
        }
        runner = block.get();
        for (uint64_t i; !job.failed && (i = job.next.fetch_add(1)) < job.blocks;) {
            block->run(job, job.order == 0 ? i : job.order < 0 ? job.blocks - 1 - i : job.shuffled(i));
        }
        runner = nullptr;
    }

    void serve() {
        std::unique_lock<std::mutex> lock(mutex);
        for (uint64_t seen = 0;;) {
            wake.wait(lock, [&] { return generation != seen && current_job != nullptr; });
            seen = generation;
            Job* job = current_job;
            busy++;
            lock.unlock();
            work(*job);
            lock.lock();
            busy--;
            done.notify_all();
        }
    }
};

Helpers& helpers() {
    static Helpers* const instance = new Helpers();  // never destroyed: its threads live as long as the process
    return *instance;
}

const Kernel*& kernel_list() {
    static const Kernel* first = nullptr;
    return first;
}

}  // namespace

Kernel::Kernel(
    const char* name,
    void (*run)(const void*),
    size_t args_size,
    int max_threads,
    const char* file,
    const char* args_struct)
    : name(name),
      run(run),
      args_size(args_size),
      max_threads(max_threads),
      file(file),
      args_struct(args_struct),
      next(kernel_list()) {
    if (find_kernel(name) != nullptr) {
        fprintf(stderr, "fake CUDA: two kernels have the name %s\n", name);
        abort();
    }
    kernel_list() = this;
}

const Kernel* last_kernel() {
    return kernel_list();
}

const Kernel* find_kernel(const char* name) {
    const Kernel* kernel = kernel_list();
    while (kernel != nullptr && strcmp(kernel->name, name) != 0) {
        kernel = kernel->next;
    }
    return kernel;
}

const char* launch(
    const Kernel& kernel, Dim3 grid, Dim3 block, size_t dynamic_bytes, size_t shared_limit, long long order, const void* args) {
    static std::mutex one_at_a_time;
    static thread_local std::string error;
    std::lock_guard<std::mutex> lock(one_at_a_time);
    Job job;
    job.kernel = &kernel;
    job.grid = grid;
    job.block = block;
    job.dynamic_bytes = dynamic_bytes;
    job.shared_limit = shared_limit;
    job.args = args;
    job.blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
    job.order = order;
    job.first_serial = next_serial;
    forget_touches(job.first_serial);
    helpers().run(job);
    if (!job.failed) {
        return nullptr;
    }
    error = std::string("kernel ") + kernel.name + ": " + job.error;
    return error.c_str();
}

void fail(const char* format, ...) {
    char text[400];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    BlockRunner& block = mine();
    const Dim3& index = current->index;
    block.job->report(
        std::string(text) + ", " + position(block.block) + ", thread (" + std::to_string(index.x) + ", "
        + std::to_string(index.y) + ", " + std::to_string(index.z) + ")");
    Context abandoned;
    switch_context(abandoned, block.main);
    abort();  // nobody comes back here
}

unsigned char* enter_shared(SharedArray& array) {
    static std::mutex numbering;
    static unsigned count = 0;
    BlockRunner& block = mine();
    unsigned number = __atomic_load_n(&array.number, __ATOMIC_RELAXED);
    if (number == 0) {
        std::lock_guard<std::mutex> lock(numbering);
        number = array.number;
        if (number == 0) {
            number = ++count;
            __atomic_store_n(&array.number, number, __ATOMIC_RELAXED);
        }
    }
    if (block.arrays.size() <= number) {
        block.arrays.resize(number + 1);
        block.shared = block.arrays.data();
        block.shared_count = static_cast<unsigned>(block.arrays.size());
    }
    SharedMemory& memory = block.arrays[number];
    if (memory.values == nullptr) {
        memory.values = allocate_shared(array.size);
        memory.size = array.size;
        memory.name = array.name;
    }
    poison(memory, block.serial);
    return memory.values;
}

// ------------------------------------------------------------------------------------------------ block and warp

void barrier(int place, int line) {
    BlockRunner& block = mine();
    ThreadState& me = self();
    me.place = place;
    me.line = line;
    if (block.in_barrier > 0) {
        for (int w = 0; w < block.warps; w++) {
            if (block.warp[w].in_barrier != 0) {
                const ThreadState& other = block.thread[w * 32 + __builtin_ctz(block.warp[w].in_barrier)];
                if (other.place != place) {
                    fail(
                        "threads diverge: some wait at the __syncthreads of line %d, some at that of line %d", other.line,
                        line);
                }
                break;
            }
        }
    }
    block.Runner::line = line;
    if (block.live < block.threads) {
        fail("threads diverge: this one waits at the __syncthreads of line %d, others have returned", line);
    }
    if (block.in_barrier + 1 == block.live) {
        block.release_barrier();
        return;
    }
    block.in_barrier++;
    block.warp[me.number / 32].in_barrier |= 1u << me.number % 32;
    block.wait(&me);
}

void collective(unsigned mask, Collective kind, void* request, void (*perform)(unsigned)) {
    BlockRunner& block = mine();
    ThreadState& me = self();
    Warp& warp = block.warp[me.number / 32];
    unsigned bit = 1u << me.number % 32;
    if ((mask & bit) == 0) {
        fail("the mask %08x of a warp's collective operation lacks the lane that calls", mask);
    }
    for (unsigned rest = warp.waiting & mask; rest != 0; rest &= rest - 1) {
        const ThreadState& other = block.thread[me.number / 32 * 32 + __builtin_ctz(rest)];
        if (other.mask != mask || other.kind != kind) {
            fail(
                "lanes of a warp meet in different collective operations or with different masks (%08x, %08x)", other.mask,
                mask);
        }
    }
    me.mask = mask;
    me.kind = kind;
    me.request = request;
    me.perform = perform;
    warp.waiting |= bit;
    if (block.complete_collective(&me)) {
        warp.ready &= ~bit;
        return;
    }
    block.wait(&me);
}

bool rendezvous(int meeting, int threads, bool waits) {
    BlockRunner& block = mine();
    ThreadState& me = self();
    Meeting& here = block.meetings[meeting];
    if (here.came > 0 && here.threads != threads) {
        fail("threads meet at barrier %d for %d and for %d threads", meeting, here.threads, threads);
    }
    here.threads = threads;
    if (++here.came == threads) {
        return true;
    }
    if (waits) {
        here.waiting.push_back(me.number);
        block.wait(&me);
    }
    return false;
}

void release(int meeting) {
    BlockRunner& block = mine();
    Meeting& here = block.meetings[meeting];
    for (int number : here.waiting) {
        block.warp[number / 32].ready |= 1u << number % 32;
    }
    here.waiting.clear();
    here.came = 0;
    block.barriers++;
}

void wait_turn(const unsigned* word, unsigned value) {
    constexpr auto LONGEST = std::chrono::seconds(20);
    BlockRunner& block = mine();
    const auto start = std::chrono::steady_clock::now();
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value) {
        if (block.job->failed) {
            fail("the block that this one waits for has failed");
        }
        if (RACES || std::chrono::steady_clock::now() - start > LONGEST) {
            fail("a deadlock: the block waits for one that has not started or waits itself");
        }
        std::this_thread::yield();
    }
    block.first_serial = block.serial;  // for the search for races: one OS thread runs all blocks, those before have ended
}

void park() {
    BlockRunner& block = mine();
    block.parked++;
    block.wait(&self());
    block.parked--;
}

void unpark(int thread) {
    mine().warp[thread / 32].ready |= 1u << thread % 32;
}

int current_lane() {
    return self().number % 32;
}

void* request_of(int lane) {
    return mine().thread[self().number / 32 * 32 + lane].request;
}

void perform_shuffle(unsigned lanes) {
    for (unsigned rest = lanes; rest != 0; rest &= rest - 1) {
        auto* request = static_cast<Shuffle*>(request_of(__builtin_ctz(rest)));
        int source = request->source;
        if (source >= 0 && source < 32 && (lanes >> source & 1) != 0) {
            request->result = static_cast<Shuffle*>(request_of(source))->value;
        } else {
            memset(&request->result, POISON, sizeof(request->result));  // undefined on a GPU
        }
    }
}

namespace {

void require_whole_warp(unsigned lanes, const char* operation) {
    if (lanes != 0xFFFFFFFFu) {
        fail("%s by a part of a warp (lanes %08x)", operation, lanes);
    }
}

template <class Combine>
void reduce(unsigned lanes, const char* operation, Combine combine) {
    require_whole_warp(lanes, operation);
    float value[32];
    for (int lane = 0; lane < 32; lane++) {
        value[lane] = static_cast<Reduction*>(request_of(lane))->value;
    }
    for (int offset = 16; offset > 0; offset /= 2) {
        for (int lane = 0; lane < offset; lane++) {
            value[lane] = combine(value[lane], value[lane + offset]);
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        static_cast<Reduction*>(request_of(lane))->value = value[0];
    }
}

}  // namespace

void perform_sum(unsigned lanes) {
    reduce(lanes, "warp_sum", [](float a, float b) { return a + b; });
}

void perform_max(unsigned lanes) {
    reduce(lanes, "warp_max", fmaxf);
}

void perform_vote(unsigned lanes) {
    unsigned ballot = 0;
    for (unsigned rest = lanes; rest != 0; rest &= rest - 1) {
        int lane = __builtin_ctz(rest);
        ballot |= static_cast<unsigned>(static_cast<Vote*>(request_of(lane))->predicate) << lane;
    }
    for (unsigned rest = lanes; rest != 0; rest &= rest - 1) {
        static_cast<Vote*>(request_of(__builtin_ctz(rest)))->result = ballot;
    }
}

namespace {

struct Mma {
    float* d;
    const unsigned* a;
    const unsigned* b;
};

struct LoadMatrix {
    unsigned* r;
    const void* row;
    int count;
    bool transposed;
};

float half_of(unsigned word, int half) {
    unsigned bits = half == 0 ? word << 16 : word & 0xFFFF0000u;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

void perform_mma(unsigned lanes) {
    require_whole_warp(lanes, "mma");
    float a[16][16];
    float b[16][8];
    float d[16][8];
    for (int lane = 0; lane < 32; lane++) {
        auto* request = static_cast<const Mma*>(request_of(lane));
        int group = lane / 4;
        int pair = lane % 4 * 2;
        for (int half = 0; half < 2; half++) {
            a[group][pair + half] = half_of(request->a[0], half);
            a[group + 8][pair + half] = half_of(request->a[1], half);
            a[group][pair + 8 + half] = half_of(request->a[2], half);
            a[group + 8][pair + 8 + half] = half_of(request->a[3], half);
            b[pair + half][group] = half_of(request->b[0], half);
            b[pair + 8 + half][group] = half_of(request->b[1], half);
            d[group][pair + half] = request->d[half];
            d[group + 8][pair + half] = request->d[2 + half];
        }
    }
    for (int i = 0; i < 16; i++) {
        for (int k = 0; k < 16; k++) {
            for (int j = 0; j < 8; j++) {
                d[i][j] += a[i][k] * b[k][j];
            }
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        auto* request = static_cast<Mma*>(request_of(lane));
        int group = lane / 4;
        int pair = lane % 4 * 2;
        for (int half = 0; half < 2; half++) {
            request->d[half] = d[group][pair + half];
            request->d[2 + half] = d[group + 8][pair + half];
        }
    }
}

void perform_ldmatrix(unsigned lanes) {
    require_whole_warp(lanes, "ldmatrix");
    const auto* first = static_cast<const LoadMatrix*>(request_of(0));
    for (int matrix = 0; matrix < first->count; matrix++) {
        uint16_t values[8][8];
        for (int row = 0; row < 8; row++) {
            const void* address = static_cast<const LoadMatrix*>(request_of(matrix * 8 + row))->row;
            check16(address);
            touch(address, 16, Access::READ, mine().thread[self().number / 32 * 32 + matrix * 8 + row]);
            memcpy(values[row], address, 16);
        }
        for (int lane = 0; lane < 32; lane++) {
            auto* request = static_cast<LoadMatrix*>(request_of(lane));
            int group = lane / 4;
            int pair = lane % 4 * 2;
            uint16_t low = request->transposed ? values[pair][group] : values[group][pair];
            uint16_t high = request->transposed ? values[pair + 1][group] : values[group][pair + 1];
            request->r[matrix] = static_cast<unsigned>(high) << 16 | low;
        }
    }
}

}  // namespace

void mma_bf16_16x8x16(float* d, const unsigned* a, const unsigned* b) {
    Mma request = {d, a, b};
    collective(0xFFFFFFFFu, Collective::MMA, &request, perform_mma);
}

void ldmatrix(unsigned* r, const void* row, int count, bool transposed) {
    LoadMatrix request = {r, row, count, transposed};
    collective(0xFFFFFFFFu, Collective::LDMATRIX, &request, perform_ldmatrix);
}

// ---------------------------------------------------------------------------------------------- asynchronous copies

// The copy happens as late as it may, when it is waited for, so that a kernel that reads too early meets poison.

void cp_async16(void* shared, const void* global, bool valid) {
    check16(shared);
    if (valid) {
        check16(global);
    }
    ThreadState& me = self();
    touch(shared, 16, Access::COPY_BEGINS, me);
    memset(shared, POISON, 16);
    me.copies.push_back({shared, global, valid, me.groups});
}

void cp_async_commit() {
    self().groups++;
}

void cp_async_wait(int unfinished_groups) {
    ThreadState& me = self();
    size_t kept = 0;
    for (const PendingCopy& copy : me.copies) {
        if (copy.group >= me.groups - unfinished_groups) {
            me.copies[kept++] = copy;
            continue;
        }
        touch(copy.shared, 16, Access::COPY_ENDS, me);
        if (copy.valid) {
            touch(copy.global, 16, Access::READ, me);
            memcpy(copy.shared, copy.global, 16);
        } else {
            memset(copy.shared, 0, 16);
        }
        note_write(copy.shared);
    }
    me.copies.resize(kept);
}

}  // namespace emulation
