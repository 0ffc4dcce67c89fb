// A test-only CUDA driver that runs the kernels of the library on the CPU.
//
// Work on a stream is queued and runs as late as it may: when somebody waits for it, asks for it or copies its results, or
// when another stream's work waits for one of its events. So a program that relies on luck, for example on a copy that
// happens to be done, meets poison. Memory is filled with 0xCB when allocated and 0xDD when freed and lies between guard
// zones; every pointer among a kernel's arguments must not lie in freed memory; copies are checked to the byte.
#include "fake_cuda.h"

#include "emulation.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address))
#endif

#define STATUSES(X)                                                                                             \
    X(0, SUCCESS, "no error")                                                                                          \
    X(1, INVALID_VALUE, "invalid argument")                                                                            \
    X(2, OUT_OF_MEMORY, "out of memory")                                                                               \
    X(3, NOT_INITIALIZED, "initialization error")                                                                      \
    X(4, DEINITIALIZED, "driver shutting down")                                                                        \
    X(46, DEVICE_UNAVAILABLE, "CUDA-capable device(s) is/are busy or unavailable")                                     \
    X(100, NO_DEVICE, "no CUDA-capable device is detected")                                                            \
    X(101, INVALID_DEVICE, "invalid device ordinal")                                                                   \
    X(200, INVALID_IMAGE, "device kernel image is invalid")                                                            \
    X(201, INVALID_CONTEXT, "invalid device context")                                                                  \
    X(209, NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device")                              \
    X(214, ECC_UNCORRECTABLE, "uncorrectable ECC error encountered")                                                   \
    X(218, INVALID_PTX, "a PTX JIT compilation failed")                                                                \
    X(222, UNSUPPORTED_PTX_VERSION, "the provided PTX was compiled with an unsupported toolchain.")                    \
    X(400, INVALID_HANDLE, "invalid resource handle")                                                                  \
    X(500, NOT_FOUND, "named symbol not found")                                                                        \
    X(600, NOT_READY, "device not ready")                                                                              \
    X(700, ILLEGAL_ADDRESS, "an illegal memory access was encountered")                                                \
    X(701, LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch")                                         \
    X(702, LAUNCH_TIMEOUT, "the launch timed out and was terminated")                                                  \
    X(716, MISALIGNED_ADDRESS, "misaligned address")                                                                   \
    X(719, LAUNCH_FAILED, "unspecified launch failure")                                                                \
    X(800, NOT_PERMITTED, "operation not permitted")                                                                   \
    X(801, NOT_SUPPORTED, "operation not supported")                                                                   \
    X(803, SYSTEM_DRIVER_MISMATCH, "system has unsupported display driver / cuda driver combination")                  \
    X(900, STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing")                             \
    X(901, STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture")                      \
    X(904, STREAM_CAPTURE_UNJOINED, "capture was not ended in the same stream as it began")                            \
    X(905, STREAM_CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream")                        \
    X(906, STREAM_CAPTURE_IMPLICIT, "operation would make the legacy stream depend on a capturing blocking stream")    \
    X(907, CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream")                  \
    X(910, GRAPH_EXEC_UPDATE_FAILURE, "the graph update was not performed because it included changes which violated constraints specific to instantiated graph update") \
    X(999, UNKNOWN, "unknown error")

namespace {

enum Status {
#define X(code, name, text) name = code,
    STATUSES(X)
#undef X
};

using Address = uint64_t;

constexpr size_t GUARD = 256;
constexpr size_t ALIGNMENT = 256;
constexpr unsigned char FRESH = 0xCB;
constexpr unsigned char FREED = 0xDD;
constexpr unsigned char GUARD_BYTE = 0xAB;
constexpr size_t QUARANTINE_BYTES = 64 << 20;
constexpr size_t HUGE = size_t(1) << 30;  // from here on memory is zero, not poisoned, and not there until it is touched
constexpr size_t LONGEST_QUEUE = 4096;

struct Pool;
struct Stream;

/** Device memory. What is freed stays for a while, so that its use is noticed. */
struct Allocation {
    Address address;
    size_t size;
    unsigned char* block;
    int device;
    Pool* pool;
    bool live;
    bool of_graph;
};

struct Pool {
    int device = 0;
    uint64_t threshold = 0;
    uint64_t used = 0;
    uint64_t used_high = 0;
    uint64_t reserved = 0;
    uint64_t reserved_high = 0;
};

struct Op {
    std::string what;
    std::function<int()> run;
    std::string shape;  // equal for ops that a graph update may exchange
    bool kernel = false;
};

/** Memory that a graph allocates lives as long as the graph or an instance of it. */
struct GraphMemory {
    std::vector<Address> blocks;
    ~GraphMemory();
};

struct Graph {
    std::vector<Op> ops;
    std::shared_ptr<GraphMemory> memory = std::make_shared<GraphMemory>();
};

struct GraphExec {
    std::vector<Op> ops;
    std::vector<std::shared_ptr<GraphMemory>> memory;
    bool frees_on_launch;
};

struct Stream {
    int device;
    std::deque<Op> queue;
    uint64_t enqueued = 0;
    uint64_t done = 0;
    Graph* capture = nullptr;
    bool capture_invalid = false;
    bool capture_origin = false;
    bool unjoined = false;
    int capture_mode = 0;
    std::thread::id runner;  // the thread that is running its work, for it may wait in the middle
};

struct Event {
    int device;
    bool timing;
    Stream* stream = nullptr;
    uint64_t place = 0;  // reached when so many works of the stream are done
    Graph* capture = nullptr;
    bool recorded = false;
    std::shared_ptr<double> time = std::make_shared<double>(0.0);
};

struct Module {
    std::string image;
};

struct Function {
    const emulation::Kernel* kernel;
    Module* module;
    int max_dynamic_shared = 48 * 1024;
    bool raised_shared = false;
};

struct Context {
    int device;
    int references = 0;
    Stream default_stream;
    Pool default_pool;
};

struct Failure {
    int countdown;  // 0: every call
    int status;
};

struct Fake {
    std::recursive_mutex mutex;
    bool initialised = false;
    std::map<std::string, long long> settings;
    std::map<std::string, long long> calls;
    std::map<std::string, Failure> failures;
    std::map<Address, Allocation> allocations;
    std::deque<Address> quarantine;
    size_t quarantined = 0;
    std::map<Address, size_t> pinned;
    std::set<Address> host_blocks;  // allocated here, the others are registered
    std::map<int, std::unique_ptr<Context>> contexts;
    std::set<Stream*> streams;
    std::set<Event*> events;
    std::set<Pool*> pools;
    std::set<Module*> modules;
    std::map<std::pair<Module*, std::string>, std::unique_ptr<Function>> functions;
    std::set<Function*> live_functions;
    std::set<Graph*> graphs;
    std::set<GraphExec*> execs;
    long long of_others = 0;  // live objects of the other libraries
    size_t fail_any = 0;      // which call from now fails, whichever it is
    std::vector<std::string> trace;
    std::vector<std::string> expected;  // the trace before
    int pending_error = SUCCESS;  // of enqueued work, told by the next call that may tell it
    bool broken = false;          // an error that stays
    std::string last_error;
    int last_status = SUCCESS;  // that last_error explains
    std::string suspects;  // kernels since all guards were last seen whole
};

Fake& fake() {
    static Fake* const instance = new Fake();  // never destroyed: threads may call until the process ends
    return *instance;
}

thread_local Context* current_context = nullptr;
thread_local int capture_mode_of_thread = 0;

const std::map<std::string, long long>& defaults() {
    static const std::map<std::string, long long> values = {
        {"devices", 1},     {"capability", 80}, {"multiprocessors", 3}, {"memory", 4LL << 30}, {"driver_version", 13000},
        {"lazy", 1},        {"sticky", 0},      {"gelu", 0},          {"bias_gradient", 1},
        {"order", 0},       {"compile_ms", 0},   {"refusals", 0},       {"algorithms", 1},
        {"cudnn_version", 91900}, {"cudnn_heuristics", 1}, {"cudnn_fallback", 1},
    };
    return values;
}

long long setting(const std::string& name) {
    auto changed = fake().settings.find(name);
    if (changed != fake().settings.end()) {
        return changed->second;
    }
    std::string variable = "TESSERA_FAKE_";
    for (char c : name) {
        variable += static_cast<char>(toupper(c));
    }
    if (const char* text = getenv(variable.c_str())) {
        return atoll(text);
    }
    auto known = defaults().find(name);
    return known == defaults().end() ? -1 : known->second;
}

std::string plain_name(const char* function) {
    std::string name = function;
    size_t version = name.rfind("_v");
    if (version != std::string::npos && version + 3 == name.size()) {
        name.resize(version);
    }
    return name;
}

/** An error of enqueued work, which a later call tells. */
void work_failed(int status, const std::string& text) {
    Fake& f = fake();
    f.last_error = text;
    f.last_status = status;
    fprintf(stderr, "fake CUDA: %s\n", text.c_str());
    if (f.pending_error == SUCCESS) {
        f.pending_error = status;
    }
    if (setting("sticky") != 0) {
        f.broken = true;
    }
}

int refuse(int status, const std::string& text) {
    fake().last_error = text;
    fake().last_status = status;
    fprintf(stderr, "fake CUDA: %s\n", text.c_str());
    return status;
}

/** Errors after which a context is of no more use. */
bool breaks_context(int status) {
    return status == DEVICE_UNAVAILABLE || status == ECC_UNCORRECTABLE || status == ILLEGAL_ADDRESS || status == LAUNCH_TIMEOUT
        || status == MISALIGNED_ADDRESS || status == LAUNCH_FAILED || status == UNKNOWN;
}

/** What every call begins with: one at a time, counted, refused where a test or an earlier error asks for it. */
struct Call {
    std::lock_guard<std::recursive_mutex> lock;
    int status = SUCCESS;

    explicit Call(const char* function, bool needs_context = true) : lock(fake().mutex) {
        status = fake_before(function);
        Fake& f = fake();
        if (status != SUCCESS) {
            if (breaks_context(status)) {
                f.broken = true;
                f.pending_error = status;
                f.last_error = std::string("asked for at ") + function;
                f.last_status = status;
            }
            return;
        }
        if (!f.initialised && plain_name(function) != "cuInit" && plain_name(function) != "cuDriverGetVersion") {
            status = NOT_INITIALIZED;
        } else if (f.broken) {
            status = f.pending_error;
        } else if (needs_context && current_context == nullptr) {
            status = INVALID_CONTEXT;
        }
    }

    explicit operator bool() const {
        return status != SUCCESS;
    }
};

/** The status of a call that tells of errors in enqueued work. */
int told() {
    Fake& f = fake();
    int status = f.pending_error;
    if (!f.broken) {
        f.pending_error = SUCCESS;
    }
    return status;
}

// ------------------------------------------------------------------------------------------------------------ memory

bool all_bytes(const unsigned char* from, size_t count, unsigned char value) {
    return count == 0 || (from[0] == value && memcmp(from, from + 1, count - 1) == 0);
}

/** The allocation, live or freed, in whose memory an address lies, or null. */
Allocation* find_allocation(Address address) {
    auto& all = fake().allocations;
    auto after = all.upper_bound(address);
    if (after == all.begin()) {
        return nullptr;
    }
    Allocation& found = std::prev(after)->second;
    return address < found.address + std::max<size_t>(found.size, 1) ? &found : nullptr;
}

std::string describe(const Allocation& allocation) {
    char text[100];
    snprintf(
        text, sizeof(text), "the allocation of %zu bytes at 0x%llx", allocation.size,
        static_cast<unsigned long long>(allocation.address));
    return text;
}

/** Whether nobody has written around an allocation; else reports it and mends the guards. */
bool guards_whole(const Allocation& allocation, const std::string& suspects) {
    auto* first = reinterpret_cast<unsigned char*>(allocation.address);
    ASAN_UNPOISON_MEMORY_REGION(first - GUARD, GUARD);
    ASAN_UNPOISON_MEMORY_REGION(first + allocation.size, GUARD);
    bool before = all_bytes(first - GUARD, GUARD, GUARD_BYTE);
    bool after = all_bytes(first + allocation.size, GUARD, GUARD_BYTE);
    if (!before || !after) {
        memset(first - GUARD, GUARD_BYTE, GUARD);
        memset(first + allocation.size, GUARD_BYTE, GUARD);
        work_failed(
            ILLEGAL_ADDRESS,
            std::string("a write ") + (before ? "behind " : "before ") + describe(allocation) + " by " + suspects);
    }
    ASAN_POISON_MEMORY_REGION(first - GUARD, GUARD);
    ASAN_POISON_MEMORY_REGION(first + allocation.size, GUARD);
    return before && after;
}

void check_all_guards() {
    Fake& f = fake();
    if (f.suspects.empty()) {
        return;
    }
    for (auto& entry : f.allocations) {
        if (entry.second.live && !guards_whole(entry.second, "one of " + f.suspects)) {
            break;
        }
    }
    f.suspects.clear();
}

uint64_t device_used(int device) {
    uint64_t used = 0;
    for (auto& entry : fake().allocations) {
        const Allocation& allocation = entry.second;
        if (allocation.live && allocation.pool == nullptr && allocation.device == device) {
            used += allocation.size;
        }
    }
    for (Pool* pool : fake().pools) {
        used += pool->device == device ? pool->reserved : 0;
    }
    for (auto& entry : fake().contexts) {
        used += entry.first == device ? entry.second->default_pool.reserved : 0;
    }
    return used;
}

void forget(Address address) {
    Fake& f = fake();
    auto entry = f.allocations.find(address);
    if (entry != f.allocations.end()) {
        auto* first = reinterpret_cast<unsigned char*>(address);
        ASAN_UNPOISON_MEMORY_REGION(first - GUARD, entry->second.size + 2 * GUARD);
        if (entry->second.size >= HUGE) {
            munmap(entry->second.block, entry->second.size + 2 * GUARD + ALIGNMENT);
        } else {
            free(entry->second.block);
        }
        f.allocations.erase(entry);
    }
}

void drain_device(int device);

Address allocate(size_t size, int device, Pool* pool, bool of_graph) {
    Fake& f = fake();
    auto needed = [&] {
        uint64_t unused = pool == nullptr ? 0 : pool->reserved - pool->used;
        return size > unused ? size - unused : 0;
    };
    auto total = static_cast<uint64_t>(setting("memory"));
    if (device_used(device) + needed() > total) {
        drain_device(device);
        for (Pool* other : f.pools) {
            other->reserved = other->used;
        }
        if (device_used(device) + needed() > total) {
            return 0;
        }
    }
    size_t whole = size + 2 * GUARD + ALIGNMENT;
    void* memory = size < HUGE
        ? malloc(whole)
        : mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == nullptr || memory == MAP_FAILED) {
        return 0;
    }
    auto* block = static_cast<unsigned char*>(memory);
    Address address = (reinterpret_cast<Address>(block) + GUARD + ALIGNMENT - 1) & ~static_cast<Address>(ALIGNMENT - 1);
    auto* first = reinterpret_cast<unsigned char*>(address);
    memset(first - GUARD, GUARD_BYTE, GUARD);
    if (size < HUGE) {
        memset(first, FRESH, size);
    }
    memset(first + size, GUARD_BYTE, GUARD);
    ASAN_POISON_MEMORY_REGION(first - GUARD, GUARD);
    ASAN_POISON_MEMORY_REGION(first + size, GUARD);
    f.allocations[address] = {address, size, block, device, pool, true, of_graph};
    if (pool != nullptr) {
        pool->used += size;
        pool->used_high = std::max(pool->used_high, pool->used);
        pool->reserved = std::max(pool->reserved, pool->used);
        pool->reserved_high = std::max(pool->reserved_high, pool->reserved);
    }
    return address;
}

/** Frees now; an error if it is no live allocation. */
int release(Address address, const char* function) {
    Fake& f = fake();
    auto entry = f.allocations.find(address);
    if (entry == f.allocations.end() || !entry->second.live) {
        char text[150];
        snprintf(
            text, sizeof(text), "%s of 0x%llx, which %s", function, static_cast<unsigned long long>(address),
            entry == f.allocations.end() ? "was never allocated" : "is already freed");
        return refuse(INVALID_VALUE, text);
    }
    Allocation& allocation = entry->second;
    guards_whole(allocation, f.suspects.empty() ? "a copy" : "one of " + f.suspects);
    allocation.live = false;
    if (allocation.pool != nullptr) {
        allocation.pool->used -= allocation.size;
    }
    if (allocation.size < HUGE) {
        memset(reinterpret_cast<void*>(address), FREED, allocation.size);
    }
    ASAN_POISON_MEMORY_REGION(reinterpret_cast<void*>(address), allocation.size);
    if (allocation.of_graph) {
        return SUCCESS;
    }
    f.quarantine.push_back(address);
    f.quarantined += allocation.size;
    while (f.quarantined > QUARANTINE_BYTES || f.quarantine.size() > 2000) {
        Address oldest = f.quarantine.front();
        f.quarantine.pop_front();
        const Allocation& old = f.allocations[oldest];
        f.quarantined -= old.size;
        ASAN_UNPOISON_MEMORY_REGION(reinterpret_cast<void*>(oldest), old.size);
        if (old.size < HUGE && !all_bytes(reinterpret_cast<unsigned char*>(oldest), old.size, FREED)) {
            work_failed(ILLEGAL_ADDRESS, "a write into " + describe(old) + " after it was freed");
        }
        forget(oldest);
    }
    return SUCCESS;
}

int check_range(Address address, uint64_t bytes, const std::string& what) {
    if (bytes == 0) {
        return SUCCESS;
    }
    Allocation* allocation = find_allocation(address);
    char text[300];
    if (allocation == nullptr) {
        snprintf(
            text, sizeof(text), "%s: %llu bytes at 0x%llx are in no allocation", what.c_str(),
            static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(address));
    } else if (!allocation->live) {
        snprintf(text, sizeof(text), "%s: %s is freed", what.c_str(), describe(*allocation).c_str());
    } else if (address + bytes > allocation->address + allocation->size) {
        snprintf(
            text, sizeof(text), "%s: %llu bytes at 0x%llx end behind %s", what.c_str(), static_cast<unsigned long long>(bytes),
            static_cast<unsigned long long>(address), describe(*allocation).c_str());
    } else {
        return SUCCESS;
    }
    return refuse(ILLEGAL_ADDRESS, text);
}

bool is_pinned(Address host, uint64_t bytes) {
    auto& pinned = fake().pinned;
    auto after = pinned.upper_bound(host);
    if (after == pinned.begin()) {
        return false;
    }
    auto block = std::prev(after);
    return host + bytes <= block->first + block->second;
}

GraphMemory::~GraphMemory() {
    for (Address address : blocks) {
        auto entry = fake().allocations.find(address);
        if (entry != fake().allocations.end()) {
            if (entry->second.live && entry->second.pool != nullptr) {
                entry->second.pool->used -= entry->second.size;
            }
            forget(address);
        }
    }
}

// ----------------------------------------------------------------------------------------------------------- streams

Stream* stream_of(void* handle) {
    if (reinterpret_cast<Address>(handle) <= 2) {  // the default streams' own handles
        return current_context == nullptr ? nullptr : &current_context->default_stream;
    }
    auto* stream = static_cast<Stream*>(handle);
    return fake().streams.count(stream) != 0 ? stream : nullptr;
}

bool is_stream(Stream* stream) {
    for (auto& context : fake().contexts) {
        if (stream == &context.second->default_stream) {
            return true;
        }
    }
    return fake().streams.count(stream) != 0;
}

/** Runs a stream's work until `place` works are done. */
void run_stream(Stream* stream, uint64_t place) {
    const std::thread::id self = std::this_thread::get_id();
    const std::thread::id before = stream->runner;
    if (before != std::thread::id() && before != self) {
        fake_wait([=] { return !is_stream(stream) || stream->runner == std::thread::id() || stream->done >= place; });
        if (is_stream(stream) && stream->done < place) {
            run_stream(stream, place);
        }
        return;
    }
    stream->runner = self;
    while (stream->done < place && !stream->queue.empty()) {
        Op op = std::move(stream->queue.front());
        stream->queue.pop_front();
        if (fake().pending_error == SUCCESS) {
            int status = op.run();
            if (status != SUCCESS && fake().pending_error == SUCCESS) {
                work_failed(status, fake().last_status == status ? fake().last_error : op.what + " failed");
            }
        }
        stream->done++;
    }
    stream->runner = before;
}

void drain(Stream* stream) {
    run_stream(stream, stream->enqueued);
}

void drain_device(int device) {
    for (Stream* stream : fake().streams) {
        if (stream->device == device) {
            drain(stream);
        }
    }
    auto context = fake().contexts.find(device);
    if (context != fake().contexts.end()) {
        drain(&context->second->default_stream);
    }
}

void settle_pools(int device) {
    auto settle = [](Pool& pool) {
        pool.reserved = std::max(pool.used, std::min(pool.reserved, pool.threshold));
    };
    for (Pool* pool : fake().pools) {
        if (pool->device == device) {
            settle(*pool);
        }
    }
    if (fake().contexts.count(device) != 0) {
        settle(fake().contexts[device]->default_pool);
    }
}

bool any_capture(int mode_at_most) {
    for (Stream* stream : fake().streams) {
        if (stream->capture != nullptr && stream->capture_mode <= mode_at_most) {
            return true;
        }
    }
    return false;
}

/** Calls that a capture in a strict mode forbids, because they could wait for the device. */
int forbidden_by_capture(const char* function) {
    if (capture_mode_of_thread == 2 || !any_capture(1)) {
        return SUCCESS;
    }
    for (Stream* stream : fake().streams) {
        stream->capture_invalid |= stream->capture != nullptr && stream->capture_mode <= 1;
    }
    return refuse(STREAM_CAPTURE_UNSUPPORTED, std::string(function) + " while a stream is capturing");
}

int enqueue(Stream* stream, Op op) {
    if (stream->capture != nullptr) {
        if (stream->capture_invalid) {
            return STREAM_CAPTURE_INVALIDATED;
        }
        stream->capture->ops.push_back(std::move(op));
        stream->unjoined = !stream->capture_origin;
        return SUCCESS;
    }
    bool is_default = current_context != nullptr && stream == &current_context->default_stream;
    if (is_default) {
        if (any_capture(2)) {
            for (Stream* other : fake().streams) {
                other->capture_invalid |= other->capture != nullptr;
            }
            return refuse(STREAM_CAPTURE_IMPLICIT, op.what + " on the default stream while another stream is capturing");
        }
        drain_device(stream->device);
    }
    stream->queue.push_back(std::move(op));
    stream->enqueued++;
    if (is_default || setting("lazy") == 0 || stream->queue.size() > LONGEST_QUEUE) {
        drain(stream);
    }
    return SUCCESS;
}

/** Waits for a stream, as far as a capture allows it. */
int synchronize(Stream* stream) {
    if (stream->capture != nullptr) {
        stream->capture_invalid = true;
        return refuse(STREAM_CAPTURE_UNSUPPORTED, "a wait for a stream that is capturing");
    }
    drain(stream);
    check_all_guards();
    settle_pools(stream->device);
    return told();
}

double now_milliseconds() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int optin_shared() {
    switch (setting("capability")) {
        case 80:
        case 87:
            return 166912;
        case 90:
        case 100:
            return 232448;
        default:
            return 101376;
    }
}

/** A node of a graph moves at least a byte. */
int forbid_empty_node(Stream* stream, const std::string& what, uint64_t bytes) {
    if (stream->capture == nullptr || bytes > 0) {
        return SUCCESS;
    }
    stream->capture_invalid = true;
    return refuse(INVALID_VALUE, what + " of no bytes in a capture");
}

int copy_op(Stream* stream, const std::string& what, Address to, Address from, uint64_t bytes, bool to_device, bool from_device) {
    if (int status = forbid_empty_node(stream, what, bytes)) {
        return status;
    }
    std::string shape = what + " " + std::to_string(bytes);
    return enqueue(stream, {what, [=]() -> int {
        if (to_device && check_range(to, bytes, what + ", destination") != SUCCESS) {
            return ILLEGAL_ADDRESS;
        }
        if (from_device && check_range(from, bytes, what + ", source") != SUCCESS) {
            return ILLEGAL_ADDRESS;
        }
        memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
        return SUCCESS;
    }, shape});
}

int host_to_device(Stream* stream, Address to, const void* from, uint64_t bytes) {
    auto host = reinterpret_cast<Address>(from);
    if (stream->capture != nullptr || is_pinned(host, bytes)) {
        return copy_op(stream, "cuMemcpyHtoDAsync", to, host, bytes, true, false);
    }
    // Pageable memory is read before the call returns.
    auto staged = std::make_shared<std::vector<unsigned char>>(
        static_cast<const unsigned char*>(from), static_cast<const unsigned char*>(from) + bytes);
    return enqueue(stream, {"cuMemcpyHtoDAsync", [=]() -> int {
        if (check_range(to, bytes, "cuMemcpyHtoDAsync, destination") != SUCCESS) {
            return ILLEGAL_ADDRESS;
        }
        memcpy(reinterpret_cast<void*>(to), staged->data(), bytes);
        return SUCCESS;
    }, ""});
}

int device_to_host(Stream* stream, void* to, Address from, uint64_t bytes) {
    auto host = reinterpret_cast<Address>(to);
    int status = copy_op(stream, "cuMemcpyDtoHAsync", host, from, bytes, false, true);
    if (status == SUCCESS && stream->capture == nullptr && !is_pinned(host, bytes)) {
        drain(stream);  // pageable memory is written before the call returns
        status = told();
    }
    return status;
}

template <class T>
int memset_op(Stream* stream, const char* what, Address to, T value, uint64_t count) {
    if (to % sizeof(T) != 0) {
        return refuse(INVALID_VALUE, std::string(what) + " at a misaligned address");
    }
    if (int status = forbid_empty_node(stream, what, count)) {
        return status;
    }
    return enqueue(stream, {what, [=]() -> int {
        if (check_range(to, count * sizeof(T), what) != SUCCESS) {
            return ILLEGAL_ADDRESS;
        }
        std::fill_n(reinterpret_cast<T*>(to), count, value);
        return SUCCESS;
    }, what});
}

/** Runs a kernel whose arguments are checked first for pointers into freed memory, then for writes around what they name. */
int run_kernel(const Function& function, emulation::Dim3 grid, emulation::Dim3 block, size_t shared, const std::vector<uint64_t>& args) {
    Fake& f = fake();
    std::vector<const Allocation*> named;
    for (size_t i = 0; i < function.kernel->args_size / 8; i++) {
        if (Allocation* allocation = args[i] == 0 ? nullptr : find_allocation(args[i])) {
            if (!allocation->live) {
                work_failed(
                    ILLEGAL_ADDRESS, std::string("kernel ") + function.kernel->name + " gets a pointer into "
                        + describe(*allocation) + ", which is freed");
                return ILLEGAL_ADDRESS;
            }
            named.push_back(allocation);
        }
    }
    // Who has not asked for more dynamic shared memory gets 48 KiB, of which static arrays take their part.
    size_t limit = function.raised_shared ? optin_shared() : 48 * 1024;
    const char* error = emulation::launch(*function.kernel, grid, block, shared, limit, setting("order"), args.data());
    if (error != nullptr) {
        int status = strstr(error, "misaligned") != nullptr ? MISALIGNED_ADDRESS : LAUNCH_FAILED;
        work_failed(status, error);
        return status;
    }
    for (const Allocation* allocation : named) {
        if (!guards_whole(*allocation, std::string("kernel ") + function.kernel->name)) {
            return ILLEGAL_ADDRESS;
        }
    }
    if (f.suspects.size() < 1000) {
        f.suspects += (f.suspects.empty() ? "" : ", ") + std::string(function.kernel->name);
    }
    return SUCCESS;
}

const char* error_name(int status) {
    switch (status) {
#define X(code, name, text) \
    case code:              \
        return code == 0 ? "CUDA_SUCCESS" : "CUDA_ERROR_" #name;
        STATUSES(X)
#undef X
        default:
            return nullptr;
    }
}

const char* error_text(int status) {
    switch (status) {
#define X(code, name, text) \
    case code:              \
        return text;
        STATUSES(X)
#undef X
        default:
            return nullptr;
    }
}

/** Bytes of an image whose length nobody tells: an ELF file by its headers, text by its end. */
size_t image_size(const unsigned char* image) {
    if (memcmp(image, "\177ELF", 4) != 0) {
        return strlen(reinterpret_cast<const char*>(image));
    }
    uint64_t sections;
    uint64_t programs;
    uint16_t counts[4];  // size and number of program headers, then of section headers
    memcpy(&programs, image + 32, 8);
    memcpy(&sections, image + 40, 8);
    memcpy(counts, image + 54, 8);
    return std::max(programs + static_cast<uint64_t>(counts[0]) * counts[1], sections + static_cast<uint64_t>(counts[2]) * counts[3]);
}

}  // namespace

// -------------------------------------------------------------------------------------------------------------- controls

/** Whether a function only ends something. */
static bool ends(const std::string& name) {
    for (const char* word : {"Destroy", "Free", "Unload", "Release", "EndCapture", "Unregister"}) {
        if (name.find(word) != std::string::npos) {
            return true;
        }
    }
    return false;
}

EXPORT int fake_before(const char* function) {
    Fake& f = fake();
    std::lock_guard<std::recursive_mutex> lock(f.mutex);
    std::string name = plain_name(function);
    f.calls[name]++;
    if (f.fail_any > 0 && !ends(name)) {
        size_t place = f.trace.size();
        f.trace.push_back(name);
        bool new_way = place < f.expected.size() && f.expected[place] != name;
        if (new_way || f.trace.size() == f.fail_any) {
            f.fail_any = 0;
            return name.compare(0, 6, "cublas") == 0 ? 14 : name.compare(0, 5, "nvrtc") == 0 ? 1 : name.compare(0, 4, "nccl") == 0 ? 3 : NOT_PERMITTED;
        }
    }
    auto failure = f.failures.find(name);
    if (failure == f.failures.end()) {
        return SUCCESS;
    }
    int status = failure->second.status;
    if (failure->second.countdown == 0) {
        return status;
    }
    if (--failure->second.countdown > 0) {
        return SUCCESS;
    }
    f.failures.erase(failure);
    return status;
}

int fake_enqueue(void* stream, const char* what, std::function<int()> work, bool kernel) {
    std::lock_guard<std::recursive_mutex> lock(fake().mutex);
    if (fake().broken) {
        return fake().pending_error;
    }
    Stream* chosen = stream_of(stream);
    if (chosen == nullptr) {
        return refuse(INVALID_HANDLE, std::string(what) + " on a stream that does not exist");
    }
    return enqueue(chosen, {what, std::move(work), what, kernel});
}

bool fake_wait(const std::function<bool()>& holds) {
    auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (!holds()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        fake().mutex.unlock();
        std::this_thread::sleep_for(std::chrono::microseconds(100));
        fake().mutex.lock();
    }
    return true;
}

EXPORT int fake_check_range(uint64_t address, uint64_t bytes, const char* what) {
    std::lock_guard<std::recursive_mutex> lock(fake().mutex);
    return check_range(address, bytes, what);
}

EXPORT const void* fake_context() {
    return current_context;
}

EXPORT void fake_made(int count) {
    std::lock_guard<std::recursive_mutex> lock(fake().mutex);
    fake().of_others += count;
}

EXPORT void fakeFailAny(int nth) {
    Fake& f = fake();
    std::lock_guard<std::recursive_mutex> lock(f.mutex);
    f.fail_any = static_cast<size_t>(nth);
    f.expected = std::move(f.trace);
    f.trace.clear();
}

EXPORT const char* fakeTrace() {
    Fake& f = fake();
    std::lock_guard<std::recursive_mutex> lock(f.mutex);
    static thread_local std::string text;
    text = f.fail_any > 0 ? "unreached" : "";
    for (const std::string& name : f.trace) {
        text += (text.empty() ? "" : " ") + name;
    }
    f.fail_any = 0;
    return text.c_str();
}

EXPORT void fakeFail(const char* function, int nth, int status) {
    std::lock_guard<std::recursive_mutex> lock(fake().mutex);
    fake().failures[plain_name(function)] = {nth, status};
}

EXPORT long long fakeCalls(const char* function) {
    std::lock_guard<std::recursive_mutex> lock(fake().mutex);
    return fake().calls[plain_name(function)];
}

EXPORT long long fakeLiveBytes() {
    Fake& f = fake();
    std::lock_guard<std::recursive_mutex> lock(f.mutex);
    for (auto& context : f.contexts) {
        drain_device(context.first);
    }
    long long bytes = 0;
    for (auto& entry : f.allocations) {
        bytes += entry.second.live ? static_cast<long long>(entry.second.size) : 0;
    }
    return bytes;
}

EXPORT long long fakeLiveHandles() {
    Fake& f = fake();
    std::lock_guard<std::recursive_mutex> lock(f.mutex);
    return static_cast<long long>(
               f.pinned.size() + f.streams.size() + f.events.size() + f.pools.size() + f.modules.size() + f.graphs.size()
               + f.execs.size())
        + f.of_others;
}

EXPORT void fakeSet(const char* name, long long value) {
    std::lock_guard<std::recursive_mutex> lock(fake().mutex);
    if (defaults().count(name) == 0) {
        fprintf(stderr, "fake CUDA: no setting is called %s\n", name);
        abort();
    }
    fake().settings[name] = value;
}

EXPORT long long fakeGet(const char* name) {
    std::lock_guard<std::recursive_mutex> lock(fake().mutex);
    return setting(name);
}

EXPORT void fakeReset() {
    Fake& f = fake();
    std::lock_guard<std::recursive_mutex> lock(f.mutex);
    f.failures.clear();
    f.calls.clear();
    f.settings.clear();
    f.pending_error = SUCCESS;
    f.broken = false;
    f.last_error.clear();
    f.last_status = SUCCESS;
    f.fail_any = 0;
    f.trace.clear();
    f.expected.clear();
}

EXPORT const char* fakeLastError() {
    std::lock_guard<std::recursive_mutex> lock(fake().mutex);
    static thread_local std::string text;
    text = fake().last_error;
    return text.c_str();
}

EXPORT const char* fakeKernels() {
    static thread_local std::string text;
    text.clear();
    for (const emulation::Kernel* kernel = emulation::last_kernel(); kernel != nullptr; kernel = kernel->next) {
        std::string file = kernel->file;
        text += std::string(kernel->name) + " " + file.substr(file.rfind('/') + 1) + " " + kernel->args_struct + " "
            + std::to_string(kernel->args_size) + "\n";
    }
    return text.c_str();
}

// ---------------------------------------------------------------------------------------------------- device and context

EXPORT int cuInit(unsigned) {
    Call call("cuInit", false);
    if (call) {
        return call.status;
    }
    if (setting("devices") == 0) {
        return NO_DEVICE;
    }
    fake().initialised = true;
    return SUCCESS;
}

EXPORT int cuDriverGetVersion(int* version) {
    Call call("cuDriverGetVersion", false);
    if (call) {
        return call.status;
    }
    *version = static_cast<int>(setting("driver_version"));
    return SUCCESS;
}

EXPORT int cuDeviceGetCount(int* count) {
    Call call("cuDeviceGetCount", false);
    if (call) {
        return call.status;
    }
    *count = static_cast<int>(setting("devices"));
    return SUCCESS;
}

EXPORT int cuDeviceGet(int* device, int ordinal) {
    Call call("cuDeviceGet", false);
    if (call) {
        return call.status;
    }
    if (ordinal < 0 || ordinal >= setting("devices")) {
        return INVALID_DEVICE;
    }
    *device = ordinal;
    return SUCCESS;
}

EXPORT int cuDeviceGetName(char* name, int length, int) {
    Call call("cuDeviceGetName", false);
    if (call) {
        return call.status;
    }
    snprintf(name, static_cast<size_t>(length), "fake CUDA device");
    return SUCCESS;
}

EXPORT int cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
    Call call("cuDeviceGetUuid", false);
    if (call) {
        return call.status;
    }
    memset(uuid, 0xFA, 16);
    uuid[15] = static_cast<unsigned char>(device);
    return SUCCESS;
}

EXPORT int cuDeviceGetAttribute(int* value, int attribute, int device) {
    Call call("cuDeviceGetAttribute", false);
    if (call) {
        return call.status;
    }
    if (device < 0 || device >= setting("devices")) {
        return INVALID_DEVICE;
    }
    static const std::map<int, int> fixed = {
        {1, 1024},       // threads per block
        {2, 1024},       // block x, y, z
        {3, 1024},       //
        {4, 64},         //
        {5, 2147483647}, // grid x, y, z
        {6, 65535},      //
        {7, 65535},      //
        {8, 49152},      // shared memory per block
        {10, 32},        // warp
        {12, 65536},     // registers per block
        {13, 1000000},   // clock, kHz
        {14, 512},       // alignment of textures
        {36, 1000000},   // memory clock, kHz
        {37, 4096},      // memory bus, bits
        {38, 4 << 20},   // L2
        {39, 2048},      // threads per multiprocessor
        {41, 1},         // unified addressing
        {78, 1},         // stream priorities
        {82, 65536},     // registers per multiprocessor
        {95, 1},         // cooperative launch
        {106, 32},       // blocks per multiprocessor
        {115, 1},        // memory pools
    };
    switch (attribute) {
        case 16:
            *value = static_cast<int>(setting("multiprocessors"));
            return SUCCESS;
        case 75:
            *value = static_cast<int>(setting("capability") / 10);
            return SUCCESS;
        case 76:
            *value = static_cast<int>(setting("capability") % 10);
            return SUCCESS;
        case 81:
            *value = optin_shared() + 1024;
            return SUCCESS;
        case 97:
            *value = optin_shared();
            return SUCCESS;
        default: {
            auto found = fixed.find(attribute);
            *value = found == fixed.end() ? 0 : found->second;
            return SUCCESS;
        }
    }
}

EXPORT int cuDeviceTotalMem_v2(size_t* bytes, int) {
    Call call("cuDeviceTotalMem", false);
    if (call) {
        return call.status;
    }
    *bytes = static_cast<size_t>(setting("memory"));
    return SUCCESS;
}

EXPORT int cuDevicePrimaryCtxRetain(void** context, int device) {
    Call call("cuDevicePrimaryCtxRetain", false);
    if (call) {
        return call.status;
    }
    if (device < 0 || device >= setting("devices")) {
        return INVALID_DEVICE;
    }
    auto& mine = fake().contexts[device];
    if (!mine) {
        mine = std::make_unique<Context>();
        mine->device = device;
        mine->default_stream.device = device;
        mine->default_pool.device = device;
    }
    mine->references++;
    *context = mine.get();
    return SUCCESS;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
    Call call("cuDevicePrimaryCtxRelease", false);
    if (call) {
        return call.status;
    }
    auto mine = fake().contexts.find(device);
    if (mine == fake().contexts.end() || mine->second->references == 0) {
        return INVALID_CONTEXT;
    }
    mine->second->references--;  // the object stays for those who come back
    return SUCCESS;
}

EXPORT int cuDevicePrimaryCtxSetFlags_v2(int, unsigned) {
    Call call("cuDevicePrimaryCtxSetFlags", false);
    return call.status;
}

EXPORT int cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
    Call call("cuDevicePrimaryCtxGetState", false);
    if (call) {
        return call.status;
    }
    auto mine = fake().contexts.find(device);
    *flags = 0;
    *active = mine != fake().contexts.end() && mine->second->references > 0;
    return SUCCESS;
}

EXPORT int cuCtxSetCurrent(void* context) {
    Call call("cuCtxSetCurrent", false);
    if (call) {
        return call.status;
    }
    for (auto& entry : fake().contexts) {
        if (entry.second.get() == context) {
            current_context = entry.second.get();
            return SUCCESS;
        }
    }
    if (context != nullptr) {
        return INVALID_CONTEXT;
    }
    current_context = nullptr;
    return SUCCESS;
}

EXPORT int cuCtxGetCurrent(void** context) {
    Call call("cuCtxGetCurrent", false);
    if (call) {
        return call.status;
    }
    *context = current_context;
    return SUCCESS;
}

EXPORT int cuCtxGetDevice(int* device) {
    Call call("cuCtxGetDevice");
    if (call) {
        return call.status;
    }
    *device = current_context->device;
    return SUCCESS;
}

EXPORT int cuCtxSynchronize() {
    Call call("cuCtxSynchronize");
    if (call) {
        return call.status;
    }
    if (any_capture(2)) {  // in any mode: the context includes the stream
        for (Stream* stream : fake().streams) {
            stream->capture_invalid |= stream->capture != nullptr;
        }
        return refuse(STREAM_CAPTURE_UNSUPPORTED, "cuCtxSynchronize while a stream is capturing");
    }
    drain_device(current_context->device);
    check_all_guards();
    settle_pools(current_context->device);
    return told();
}

EXPORT int cuGetErrorName(int status, const char** name) {
    *name = error_name(status);
    return *name == nullptr ? INVALID_VALUE : SUCCESS;
}

EXPORT int cuGetErrorString(int status, const char** text) {
    std::lock_guard<std::recursive_mutex> lock(fake().mutex);
    *text = error_text(status);
    if (*text != nullptr && status != SUCCESS && status == fake().last_status) {
        static thread_local std::string with_cause;
        with_cause = std::string(*text) + " (fake CUDA: " + fake().last_error.substr(0, 200) + ")";
        *text = with_cause.c_str();
    }
    return *text == nullptr ? INVALID_VALUE : SUCCESS;
}

// ---------------------------------------------------------------------------------------------------------------- memory

EXPORT int cuMemGetInfo_v2(size_t* available, size_t* total) {
    Call call("cuMemGetInfo");
    if (call) {
        return call.status;
    }
    *total = static_cast<size_t>(setting("memory"));
    size_t used = device_used(current_context->device);
    *available = *total > used ? *total - used : 0;
    return SUCCESS;
}

EXPORT int cuMemAlloc_v2(Address* address, size_t bytes) {
    Call call("cuMemAlloc");
    if (call) {
        return call.status;
    }
    if (bytes == 0) {
        return INVALID_VALUE;
    }
    if (int status = forbidden_by_capture("cuMemAlloc")) {
        return status;
    }
    *address = allocate(bytes, current_context->device, nullptr, false);
    return *address == 0 ? OUT_OF_MEMORY : SUCCESS;
}

EXPORT int cuMemFree_v2(Address address) {
    Call call("cuMemFree");
    if (call) {
        return call.status;
    }
    if (address == 0) {
        return SUCCESS;
    }
    if (int status = forbidden_by_capture("cuMemFree")) {
        return status;
    }
    drain_device(current_context->device);
    int status = release(address, "cuMemFree");
    return status == SUCCESS ? told() : status;
}

static int allocate_async(Address* address, size_t bytes, Pool* pool, void* handle) {
    Stream* stream = stream_of(handle);
    if (stream == nullptr) {
        return INVALID_HANDLE;
    }
    if (bytes == 0) {
        return INVALID_VALUE;
    }
    *address = allocate(bytes, stream->device, pool, stream->capture != nullptr);
    if (*address == 0) {
        return OUT_OF_MEMORY;
    }
    if (stream->capture != nullptr) {
        stream->capture->memory->blocks.push_back(*address);
        Address block = *address;
        // Dead until the graph runs.
        Allocation& allocation = fake().allocations[block];
        allocation.live = false;
        pool->used -= bytes;
        return enqueue(stream, {"allocation of a graph", [=]() -> int {
            Allocation& mine = fake().allocations[block];
            if (mine.live) {
                return refuse(INVALID_VALUE, "a graph runs again although " + describe(mine) + ", which it made, is not freed");
            }
            mine.live = true;
            mine.pool->used += mine.size;
            ASAN_UNPOISON_MEMORY_REGION(reinterpret_cast<void*>(block), mine.size);
            memset(reinterpret_cast<void*>(block), FRESH, mine.size);
            return SUCCESS;
        }, "allocation " + std::to_string(bytes)});
    }
    return SUCCESS;
}

EXPORT int cuMemAllocAsync(Address* address, size_t bytes, void* stream) {
    Call call("cuMemAllocAsync");
    if (call) {
        return call.status;
    }
    return allocate_async(address, bytes, &current_context->default_pool, stream);
}

EXPORT int cuMemAllocFromPoolAsync(Address* address, size_t bytes, void* pool, void* stream) {
    Call call("cuMemAllocFromPoolAsync");
    if (call) {
        return call.status;
    }
    auto* chosen = static_cast<Pool*>(pool);
    if (fake().pools.count(chosen) == 0 && chosen != &current_context->default_pool) {
        return INVALID_HANDLE;
    }
    return allocate_async(address, bytes, chosen, stream);
}

EXPORT int cuMemFreeAsync(Address address, void* handle) {
    Call call("cuMemFreeAsync");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    if (stream == nullptr) {
        return INVALID_HANDLE;
    }
    auto entry = fake().allocations.find(address);
    if (entry == fake().allocations.end()) {
        return refuse(INVALID_VALUE, "cuMemFreeAsync of memory that was never allocated");
    }
    if (stream->capture != nullptr && !entry->second.of_graph) {
        return refuse(INVALID_VALUE, "a capture frees " + describe(entry->second) + ", which was allocated outside of it");
    }
    return enqueue(stream, {"cuMemFreeAsync", [=]() -> int { return release(address, "cuMemFreeAsync"); }, "free"});
}

EXPORT int cuDeviceGetDefaultMemPool(void** pool, int device) {
    Call call("cuDeviceGetDefaultMemPool", false);
    if (call) {
        return call.status;
    }
    if (fake().contexts.count(device) == 0) {
        return INVALID_DEVICE;
    }
    *pool = &fake().contexts[device]->default_pool;
    return SUCCESS;
}

EXPORT int cuMemPoolCreate(void** pool, const void* properties) {
    Call call("cuMemPoolCreate", false);
    if (call) {
        return call.status;
    }
    int fields[4];  // kind of allocation, of handle, of location, number of the device
    memcpy(fields, properties, sizeof(fields));
    if (fields[0] != 1 || fields[2] != 1 || fields[3] < 0 || fields[3] >= setting("devices")) {
        return refuse(INVALID_VALUE, "cuMemPoolCreate with properties that are not pinned memory of a device");
    }
    auto* made = new Pool();
    made->device = fields[3];
    fake().pools.insert(made);
    *pool = made;
    return SUCCESS;
}

EXPORT int cuMemPoolDestroy(void* pool) {
    Call call("cuMemPoolDestroy", false);
    if (call) {
        return call.status;
    }
    auto* mine = static_cast<Pool*>(pool);
    if (fake().pools.count(mine) == 0) {
        return INVALID_HANDLE;
    }
    drain_device(mine->device);
    for (auto& entry : fake().allocations) {
        if (entry.second.pool == mine) {
            entry.second.pool = nullptr;
        }
    }
    fake().pools.erase(mine);
    delete mine;
    return SUCCESS;
}

static Pool* pool_of(void* handle) {
    auto* pool = static_cast<Pool*>(handle);
    if (fake().pools.count(pool) != 0) {
        return pool;
    }
    for (auto& context : fake().contexts) {
        if (&context.second->default_pool == pool) {
            return pool;
        }
    }
    return nullptr;
}

EXPORT int cuMemPoolSetAttribute(void* handle, int attribute, void* value) {
    Call call("cuMemPoolSetAttribute", false);
    if (call) {
        return call.status;
    }
    Pool* pool = pool_of(handle);
    if (pool == nullptr) {
        return INVALID_HANDLE;
    }
    switch (attribute) {
        case 4:
            memcpy(&pool->threshold, value, 8);
            break;
        case 6:
            pool->reserved_high = pool->reserved;
            break;
        case 8:
            pool->used_high = pool->used;
            break;
        default:
            break;
    }
    return SUCCESS;
}

EXPORT int cuMemPoolGetAttribute(void* handle, int attribute, void* value) {
    Call call("cuMemPoolGetAttribute", false);
    if (call) {
        return call.status;
    }
    Pool* pool = pool_of(handle);
    if (pool == nullptr) {
        return INVALID_HANDLE;
    }
    uint64_t result;
    switch (attribute) {
        case 4:
            result = pool->threshold;
            break;
        case 5:
            result = pool->reserved;
            break;
        case 6:
            result = pool->reserved_high;
            break;
        case 7:
            result = pool->used;
            break;
        case 8:
            result = pool->used_high;
            break;
        default:
            return INVALID_VALUE;
    }
    memcpy(value, &result, 8);
    return SUCCESS;
}

EXPORT int cuMemPoolTrimTo(void* handle, size_t keep) {
    Call call("cuMemPoolTrimTo", false);
    if (call) {
        return call.status;
    }
    Pool* pool = pool_of(handle);
    if (pool == nullptr) {
        return INVALID_HANDLE;
    }
    pool->reserved = std::max(pool->used, std::min<uint64_t>(pool->reserved, keep));
    return SUCCESS;
}

EXPORT int cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* handle) {
    Call call("cuMemcpyHtoDAsync");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    return stream == nullptr ? INVALID_HANDLE : host_to_device(stream, to, from, bytes);
}

EXPORT int cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* handle) {
    Call call("cuMemcpyDtoHAsync");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    return stream == nullptr ? INVALID_HANDLE : device_to_host(stream, to, from, bytes);
}

EXPORT int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void* handle) {
    Call call("cuMemcpyDtoDAsync");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    return stream == nullptr ? INVALID_HANDLE : copy_op(stream, "cuMemcpyDtoDAsync", to, from, bytes, true, true);
}

EXPORT int cuMemcpyPeerAsync(Address to, void*, Address from, void*, size_t bytes, void* handle) {
    Call call("cuMemcpyPeerAsync");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    return stream == nullptr ? INVALID_HANDLE : copy_op(stream, "cuMemcpyPeerAsync", to, from, bytes, true, true);
}

EXPORT int cuMemcpyHtoD_v2(Address to, const void* from, size_t bytes) {
    Call call("cuMemcpyHtoD");
    if (call) {
        return call.status;
    }
    int status = host_to_device(&current_context->default_stream, to, from, bytes);
    return status == SUCCESS ? told() : status;
}

EXPORT int cuMemcpyDtoH_v2(void* to, Address from, size_t bytes) {
    Call call("cuMemcpyDtoH");
    if (call) {
        return call.status;
    }
    int status = device_to_host(&current_context->default_stream, to, from, bytes);
    return status == SUCCESS ? told() : status;
}

EXPORT int cuMemcpyDtoD_v2(Address to, Address from, size_t bytes) {
    Call call("cuMemcpyDtoD");
    if (call) {
        return call.status;
    }
    int status = copy_op(&current_context->default_stream, "cuMemcpyDtoD", to, from, bytes, true, true);
    return status == SUCCESS ? told() : status;
}

EXPORT int cuMemsetD8Async(Address to, unsigned char value, size_t count, void* handle) {
    Call call("cuMemsetD8Async");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    return stream == nullptr ? INVALID_HANDLE : memset_op(stream, "cuMemsetD8Async", to, value, count);
}

EXPORT int cuMemsetD16Async(Address to, unsigned short value, size_t count, void* handle) {
    Call call("cuMemsetD16Async");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    return stream == nullptr ? INVALID_HANDLE : memset_op(stream, "cuMemsetD16Async", to, value, count);
}

EXPORT int cuMemsetD32Async(Address to, unsigned value, size_t count, void* handle) {
    Call call("cuMemsetD32Async");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    return stream == nullptr ? INVALID_HANDLE : memset_op(stream, "cuMemsetD32Async", to, value, count);
}

EXPORT int cuMemHostAlloc(void** host, size_t bytes, unsigned) {
    Call call("cuMemHostAlloc");
    if (call) {
        return call.status;
    }
    if (int status = forbidden_by_capture("cuMemHostAlloc")) {
        return status;
    }
    *host = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (*host == nullptr || bytes == 0) {
        return bytes == 0 ? INVALID_VALUE : OUT_OF_MEMORY;
    }
    memset(*host, FRESH, bytes);
    fake().pinned[reinterpret_cast<Address>(*host)] = bytes;
    fake().host_blocks.insert(reinterpret_cast<Address>(*host));
    return SUCCESS;
}

EXPORT int cuMemFreeHost(void* host) {
    Call call("cuMemFreeHost");
    if (call) {
        return call.status;
    }
    auto address = reinterpret_cast<Address>(host);
    if (fake().host_blocks.erase(address) == 0) {
        return refuse(INVALID_VALUE, "cuMemFreeHost of memory that is not pinned");
    }
    drain_device(current_context->device);
    fake().pinned.erase(address);
    free(host);
    return told();
}

EXPORT int cuMemHostRegister_v2(void* host, size_t bytes, unsigned) {
    Call call("cuMemHostRegister");
    if (call) {
        return call.status;
    }
    if (bytes == 0) {
        return INVALID_VALUE;
    }
    fake().pinned[reinterpret_cast<Address>(host)] = bytes;
    return SUCCESS;
}

EXPORT int cuMemHostUnregister(void* host) {
    Call call("cuMemHostUnregister");
    if (call) {
        return call.status;
    }
    drain_device(current_context->device);
    return fake().pinned.erase(reinterpret_cast<Address>(host)) == 0 ? INVALID_VALUE : told();
}

EXPORT int cuMemHostGetDevicePointer_v2(Address* address, void* host, unsigned) {
    Call call("cuMemHostGetDevicePointer");
    if (call) {
        return call.status;
    }
    *address = reinterpret_cast<Address>(host);
    return SUCCESS;
}

EXPORT int cuPointerGetAttribute(void* data, int attribute, Address address) {
    Call call("cuPointerGetAttribute");
    if (call) {
        return call.status;
    }
    Allocation* allocation = find_allocation(address);
    if (allocation == nullptr || !allocation->live) {
        return INVALID_VALUE;
    }
    switch (attribute) {
        case 1: {  // context
            void* context = fake().contexts[allocation->device].get();
            memcpy(data, &context, 8);
            return SUCCESS;
        }
        case 2: {  // kind of memory: device
            int kind = 2;
            memcpy(data, &kind, 4);
            return SUCCESS;
        }
        case 9: {  // number of the device
            memcpy(data, &allocation->device, 4);
            return SUCCESS;
        }
        default:
            return NOT_SUPPORTED;
    }
}

// ---------------------------------------------------------------------------------------------------- modules and launches

EXPORT int cuModuleLoadData(void** module, const void* image) {
    Call call("cuModuleLoadData");
    if (call) {
        return call.status;
    }
    auto* bytes = static_cast<const unsigned char*>(image);
    auto* made = new Module();
    made->image.assign(reinterpret_cast<const char*>(bytes), image_size(bytes));
    if (made->image.size() < 8) {
        delete made;
        return INVALID_IMAGE;
    }
    fake().modules.insert(made);
    *module = made;
    return SUCCESS;
}

EXPORT int cuModuleLoadDataEx(void** module, const void* image, unsigned, int*, void**) {
    return cuModuleLoadData(module, image);
}

EXPORT int cuModuleUnload(void* module) {
    Call call("cuModuleUnload");
    if (call) {
        return call.status;
    }
    auto* mine = static_cast<Module*>(module);
    if (fake().modules.erase(mine) == 0) {
        return INVALID_HANDLE;
    }
    drain_device(current_context->device);
    auto& functions = fake().functions;
    for (auto entry = functions.begin(); entry != functions.end();) {
        if (entry->first.first == mine) {
            fake().live_functions.erase(entry->second.get());
            entry = functions.erase(entry);
        } else {
            ++entry;
        }
    }
    delete mine;
    return SUCCESS;
}

/** A kernel that the module's image names and that was compiled for the host. */
EXPORT int cuModuleGetFunction(void** function, void* module, const char* name) {
    Call call("cuModuleGetFunction");
    if (call) {
        return call.status;
    }
    auto* mine = static_cast<Module*>(module);
    if (fake().modules.count(mine) == 0) {
        return INVALID_HANDLE;
    }
    const emulation::Kernel* kernel = emulation::find_kernel(name);
    if (kernel == nullptr) {
        return refuse(NOT_FOUND, std::string("no kernel is called ") + name);
    }
    // A real cubin names its kernels; in a source, macros may put names together.
    if (mine->image.compare(0, 4, "\177ELF") == 0 && mine->image.find(name) == std::string::npos) {
        return refuse(NOT_FOUND, std::string("the kernel ") + name + " is not in this module but in another source");
    }
    auto& made = fake().functions[{mine, name}];
    if (!made) {
        made = std::make_unique<Function>();
        made->kernel = kernel;
        made->module = mine;
        fake().live_functions.insert(made.get());
    }
    *function = made.get();
    return SUCCESS;
}

EXPORT int cuModuleGetGlobal_v2(Address*, size_t*, void*, const char*) {
    Call call("cuModuleGetGlobal");
    return call ? call.status : static_cast<int>(NOT_FOUND);
}

static Function* function_of(void* handle) {
    auto* function = static_cast<Function*>(handle);
    return fake().live_functions.count(function) != 0 ? function : nullptr;
}

EXPORT int cuFuncSetAttribute(void* handle, int attribute, int value) {
    Call call("cuFuncSetAttribute");
    if (call) {
        return call.status;
    }
    Function* function = function_of(handle);
    if (function == nullptr) {
        return INVALID_HANDLE;
    }
    if (attribute == 8) {
        if (value < 0 || value > optin_shared()) {
            return refuse(
                INVALID_VALUE, "cuFuncSetAttribute: " + std::to_string(value) + " bytes of dynamic shared memory, the limit is "
                    + std::to_string(optin_shared()));
        }
        function->max_dynamic_shared = value;
        function->raised_shared = true;
    }
    return SUCCESS;
}

EXPORT int cuFuncGetAttribute(int* value, int attribute, void* handle) {
    Call call("cuFuncGetAttribute");
    if (call) {
        return call.status;
    }
    Function* function = function_of(handle);
    if (function == nullptr) {
        return INVALID_HANDLE;
    }
    *value = attribute == 0 ? function->kernel->max_threads
        : attribute == 4    ? 32
        : attribute == 8    ? function->max_dynamic_shared
                            : 0;
    return SUCCESS;
}

EXPORT int cuFuncGetParamInfo(void* handle, size_t index, size_t* offset, size_t* size) {
    Call call("cuFuncGetParamInfo");
    if (call) {
        return call.status;
    }
    Function* function = function_of(handle);
    if (function == nullptr || index > 0) {  // a kernel has one struct
        return function == nullptr ? INVALID_HANDLE : INVALID_VALUE;
    }
    *offset = 48;  // as where a struct has members that are aligned to more than the beginning of the constant memory for it
    *size = function->kernel->args_size;
    return SUCCESS;
}

EXPORT int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void* handle, int threads, size_t shared) {
    Call call("cuOccupancyMaxActiveBlocksPerMultiprocessor");
    if (call) {
        return call.status;
    }
    Function* function = function_of(handle);
    if (function == nullptr || threads <= 0) {
        return function == nullptr ? INVALID_HANDLE : INVALID_VALUE;
    }
    int by_shared = shared == 0 ? 32 : static_cast<int>(static_cast<size_t>(optin_shared()) / shared);
    *blocks = threads > function->kernel->max_threads ? 0 : std::min({32, 2048 / threads, by_shared});
    return SUCCESS;
}

static int launch(
    void* handle,
    unsigned grid_x,
    unsigned grid_y,
    unsigned grid_z,
    unsigned block_x,
    unsigned block_y,
    unsigned block_z,
    unsigned shared,
    void* stream_handle,
    void** params,
    void** extra,
    bool programmatic) {
    Function* function = function_of(handle);
    Stream* stream = stream_of(stream_handle);
    if (function == nullptr || stream == nullptr) {
        return INVALID_HANDLE;
    }
    std::string kernel = std::string("kernel ") + function->kernel->name;
    fake().calls[function->kernel->name]++;
    auto threads = static_cast<uint64_t>(block_x) * block_y * block_z;
    if (grid_x == 0 || grid_y == 0 || grid_z == 0 || threads == 0 || grid_x > 0x7FFFFFFFu || grid_y > 65535
        || grid_z > 65535 || threads > 1024 || block_z > 64) {
        return refuse(
            INVALID_VALUE, kernel + ": a grid of " + std::to_string(grid_x) + " x " + std::to_string(grid_y) + " x "
                + std::to_string(grid_z) + " blocks of " + std::to_string(threads) + " threads is not possible");
    }
    if (threads > static_cast<uint64_t>(function->kernel->max_threads)) {
        return refuse(
            LAUNCH_OUT_OF_RESOURCES, kernel + ": " + std::to_string(threads) + " threads in a block, its launch bound is "
                + std::to_string(function->kernel->max_threads));
    }
    if (static_cast<int>(shared) > function->max_dynamic_shared) {
        return refuse(
            INVALID_VALUE, kernel + ": " + std::to_string(shared) + " bytes of dynamic shared memory, allowed are "
                + std::to_string(function->max_dynamic_shared));
    }
    const void* values = params != nullptr ? params[0] : nullptr;
    size_t size = function->kernel->args_size;
    for (void** entry = extra; params == nullptr && entry != nullptr && *entry != nullptr; entry += 2) {
        if (reinterpret_cast<Address>(entry[0]) == 1) {
            values = entry[1];
        } else {
            size = *static_cast<size_t*>(entry[1]);
        }
    }
    if (values == nullptr || size != function->kernel->args_size) {
        return refuse(
            LAUNCH_FAILED, kernel + ": " + std::to_string(size) + " bytes of parameters, its struct has "
                + std::to_string(function->kernel->args_size));
    }
    if (programmatic && stream->capture != nullptr
        && (stream->capture->ops.empty() || !stream->capture->ops.back().kernel)) {
        return refuse(INVALID_VALUE, kernel + ": a programmatic launch behind what is no kernel");
    }
    std::vector<uint64_t> args((size + 7) / 8);
    memcpy(args.data(), values, size);
    Function copy = *function;
    emulation::Dim3 grid = {grid_x, grid_y, grid_z};
    emulation::Dim3 block = {block_x, block_y, block_z};
    return enqueue(
        stream, {kernel, [=]() -> int { return run_kernel(copy, grid, block, shared, args); }, kernel, true});
}

EXPORT int cuLaunchKernel(
    void* function,
    unsigned grid_x,
    unsigned grid_y,
    unsigned grid_z,
    unsigned block_x,
    unsigned block_y,
    unsigned block_z,
    unsigned shared,
    void* stream,
    void** params,
    void** extra) {
    Call call("cuLaunchKernel");
    return call ? call.status
                : launch(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, params, extra, false);
}

/** As the driver's header has it. */
struct LaunchAttribute {
    int id;
    char pad[4];
    int value;
    char rest[60];
};

struct LaunchConfig {
    unsigned grid[3];
    unsigned block[3];
    unsigned shared;
    void* stream;
    LaunchAttribute* attributes;
    unsigned count;
};

/** Its attributes may be that of programmatic dependent launches, which only relax an order that the fake keeps. */
EXPORT int cuLaunchKernelEx(const LaunchConfig* config, void* function, void** params, void** extra) {
    Call call("cuLaunchKernelEx");
    if (call) {
        return call.status;
    }
    bool programmatic = false;
    for (unsigned i = 0; i < config->count; i++) {
        const LaunchAttribute& attribute = config->attributes[i];
        if (attribute.id != 6 || (attribute.value != 0 && attribute.value != 1)) {
            return refuse(
                INVALID_VALUE, "cuLaunchKernelEx: attribute " + std::to_string(attribute.id) + " of value "
                    + std::to_string(attribute.value) + " is not known here");
        }
        programmatic |= attribute.value == 1;
    }
    if (programmatic && setting("capability") < 90) {
        return refuse(NOT_SUPPORTED, "a programmatic launch on a device before compute capability 9.0");
    }
    const unsigned* grid = config->grid;
    const unsigned* block = config->block;
    return launch(
        function, grid[0], grid[1], grid[2], block[0], block[1], block[2], config->shared, config->stream, params, extra,
        programmatic);
}

EXPORT int cuLaunchHostFunc(void* stream_handle, void (*function)(void*), void* data) {
    Call call("cuLaunchHostFunc");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(stream_handle);
    return stream == nullptr ? static_cast<int>(INVALID_HANDLE) : enqueue(stream, {"host function", [=]() -> int {
        function(data);
        return SUCCESS;
    }, "host function"});
}

// ------------------------------------------------------------------------------------------------------ streams and events

EXPORT int cuStreamCreateWithPriority(void** stream, unsigned, int) {
    Call call("cuStreamCreateWithPriority");
    if (call) {
        return call.status;
    }
    auto* made = new Stream();
    made->device = current_context->device;
    fake().streams.insert(made);
    *stream = made;
    return SUCCESS;
}

EXPORT int cuStreamCreate(void** stream, unsigned flags) {
    return cuStreamCreateWithPriority(stream, flags, 0);
}

EXPORT int cuStreamDestroy_v2(void* handle) {
    Call call("cuStreamDestroy");
    if (call) {
        return call.status;
    }
    auto* stream = static_cast<Stream*>(handle);
    if (fake().streams.count(stream) == 0) {
        return INVALID_HANDLE;
    }
    drain(stream);
    fake().streams.erase(stream);
    if (stream->capture_origin && fake().graphs.erase(stream->capture) != 0) {
        delete stream->capture;
    }
    for (Event* event : fake().events) {
        if (event->stream == stream) {
            event->stream = nullptr;  // all its work is done
        }
    }
    delete stream;
    return SUCCESS;
}

EXPORT int cuStreamSynchronize(void* handle) {
    Call call("cuStreamSynchronize");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    return stream == nullptr ? static_cast<int>(INVALID_HANDLE) : synchronize(stream);
}

EXPORT int cuStreamQuery(void* handle) {
    Call call("cuStreamQuery");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    return stream == nullptr ? static_cast<int>(INVALID_HANDLE) : synchronize(stream);
}

EXPORT int cuStreamWaitEvent(void* handle, void* event_handle, unsigned) {
    Call call("cuStreamWaitEvent");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    auto* event = static_cast<Event*>(event_handle);
    if (stream == nullptr || fake().events.count(event) == 0) {
        return INVALID_HANDLE;
    }
    if (event->capture != nullptr) {
        if (stream->capture == nullptr) {  // the stream joins the capture
            stream->capture = event->capture;
            stream->capture_mode = event->stream == nullptr ? 0 : event->stream->capture_mode;
            stream->unjoined = true;
        } else if (stream->capture != event->capture) {
            return STREAM_CAPTURE_ISOLATION;
        } else if (event->stream != nullptr && stream->capture_origin) {
            event->stream->unjoined = false;
        }
        return SUCCESS;  // the order of recording is an order of running
    }
    if (stream->capture != nullptr) {
        if (event->recorded) {
            stream->capture_invalid = true;
            return refuse(STREAM_CAPTURE_ISOLATION, "a capturing stream waits for an event that was recorded outside");
        }
        return SUCCESS;
    }
    Stream* other = event->stream;
    uint64_t place = event->place;
    if (other == nullptr || other == stream || other->done >= place) {
        return SUCCESS;
    }
    return enqueue(stream, {"wait for an event", [=]() -> int {
        if (is_stream(other)) {  // else it was destroyed, and all its work is done
            run_stream(other, place);
        }
        return SUCCESS;
    }, "wait"});
}

EXPORT int cuStreamGetCtx(void* handle, void** context) {
    Call call("cuStreamGetCtx");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    if (stream == nullptr) {
        return INVALID_HANDLE;
    }
    *context = fake().contexts[stream->device].get();
    return SUCCESS;
}

EXPORT int cuEventCreate(void** event, unsigned flags) {
    Call call("cuEventCreate");
    if (call) {
        return call.status;
    }
    auto* made = new Event();
    made->device = current_context->device;
    made->timing = (flags & 2) == 0;
    fake().events.insert(made);
    *event = made;
    return SUCCESS;
}

EXPORT int cuEventRecord(void* handle, void* stream_handle) {
    Call call("cuEventRecord");
    if (call) {
        return call.status;
    }
    auto* event = static_cast<Event*>(handle);
    Stream* stream = stream_of(stream_handle);
    if (stream == nullptr || fake().events.count(event) == 0) {
        return INVALID_HANDLE;
    }
    event->stream = stream;
    event->capture = stream->capture;
    if (stream->capture != nullptr) {
        return stream->capture_invalid ? STREAM_CAPTURE_INVALIDATED : SUCCESS;
    }
    event->recorded = true;
    event->time = std::make_shared<double>(0.0);
    auto time = event->time;
    int status = enqueue(stream, {"cuEventRecord", [=]() -> int {
        *time = now_milliseconds();
        return SUCCESS;
    }, "event"});
    event->place = stream->enqueued;
    return status;
}

static int reach(void* handle) {
    auto* event = static_cast<Event*>(handle);
    if (fake().events.count(event) == 0) {
        return INVALID_HANDLE;
    }
    if (event->capture != nullptr) {
        return refuse(CAPTURED_EVENT, "a wait for an event that a capture recorded");
    }
    if (event->stream != nullptr) {
        run_stream(event->stream, event->place);
        check_all_guards();
    }
    return told();
}

EXPORT int cuEventSynchronize(void* event) {
    Call call("cuEventSynchronize");
    return call ? call.status : reach(event);
}

EXPORT int cuEventQuery(void* event) {
    Call call("cuEventQuery");
    return call ? call.status : reach(event);
}

EXPORT int cuEventElapsedTime(float* milliseconds, void* start_handle, void* end_handle) {
    Call call("cuEventElapsedTime");
    if (call) {
        return call.status;
    }
    auto* start = static_cast<Event*>(start_handle);
    auto* end = static_cast<Event*>(end_handle);
    if (fake().events.count(start) == 0 || fake().events.count(end) == 0 || !start->timing || !end->timing
        || !start->recorded || !end->recorded) {
        return INVALID_HANDLE;
    }
    if (*start->time == 0.0 || *end->time == 0.0) {
        return NOT_READY;
    }
    *milliseconds = static_cast<float>(*end->time - *start->time);
    return SUCCESS;
}

EXPORT int cuEventDestroy_v2(void* handle) {
    Call call("cuEventDestroy");
    if (call) {
        return call.status;
    }
    auto* event = static_cast<Event*>(handle);
    if (fake().events.erase(event) == 0) {
        return INVALID_HANDLE;
    }
    delete event;
    return SUCCESS;
}

// ----------------------------------------------------------------------------------------------------------------- graphs

EXPORT int cuStreamBeginCapture_v2(void* handle, int mode) {
    Call call("cuStreamBeginCapture");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    if (stream == nullptr) {
        return INVALID_HANDLE;
    }
    if (stream == &current_context->default_stream || stream->capture != nullptr) {
        return refuse(STREAM_CAPTURE_UNSUPPORTED, "a capture of the default stream or of a stream that is capturing");
    }
    auto* graph = new Graph();
    fake().graphs.insert(graph);
    stream->capture = graph;
    stream->capture_invalid = false;
    stream->capture_origin = true;
    stream->capture_mode = mode;
    return SUCCESS;
}

EXPORT int cuStreamEndCapture(void* handle, void** graph) {
    Call call("cuStreamEndCapture");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    if (stream == nullptr || stream->capture == nullptr || !stream->capture_origin) {
        return INVALID_VALUE;
    }
    Graph* made = stream->capture;
    bool invalid = stream->capture_invalid;
    bool unjoined = false;
    for (Stream* other : fake().streams) {
        if (other->capture == made) {
            invalid |= other->capture_invalid;
            unjoined |= other->unjoined;
            other->capture = nullptr;
            other->capture_invalid = false;
            other->capture_origin = false;
            other->unjoined = false;
        }
    }
    for (Event* event : fake().events) {
        if (event->capture == made) {
            event->capture = nullptr;
            event->stream = nullptr;
            event->recorded = false;
        }
    }
    if (invalid || unjoined) {
        fake().graphs.erase(made);
        delete made;
        *graph = nullptr;
        return invalid ? STREAM_CAPTURE_INVALIDATED : STREAM_CAPTURE_UNJOINED;
    }
    *graph = made;
    return SUCCESS;
}

EXPORT int cuStreamIsCapturing(void* handle, int* status) {
    Call call("cuStreamIsCapturing");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    if (stream == nullptr) {
        return INVALID_HANDLE;
    }
    *status = stream->capture == nullptr ? 0 : stream->capture_invalid ? 2 : 1;
    return SUCCESS;
}

/** Behind the last node of the capture, whose handle is its address until the next is captured. */
EXPORT int cuStreamGetCaptureInfo_v3(
    void* handle, int* status, uint64_t* id, void** graph, const void*** before, const void** edges, size_t* count) {
    static thread_local const void* last;
    Call call("cuStreamGetCaptureInfo");
    if (call) {
        return call.status;
    }
    Stream* stream = stream_of(handle);
    if (stream == nullptr || status == nullptr) {
        return stream == nullptr ? INVALID_HANDLE : INVALID_VALUE;
    }
    *status = stream->capture == nullptr ? 0 : stream->capture_invalid ? 2 : 1;
    if (*status != 1) {
        return SUCCESS;
    }
    const auto& ops = stream->capture->ops;
    last = ops.empty() ? nullptr : &ops.back();
    if (before != nullptr) {
        *before = &last;
    }
    if (edges != nullptr) {
        *edges = nullptr;
    }
    if (count != nullptr) {
        *count = ops.empty() ? 0 : 1;
    }
    if (id != nullptr || graph != nullptr) {
        return NOT_SUPPORTED;
    }
    return SUCCESS;
}

EXPORT int cuGraphNodeGetType(void* node, int* type) {
    Call call("cuGraphNodeGetType");
    if (call) {
        return call.status;
    }
    *type = static_cast<Op*>(node)->kernel ? 0 : 2;
    return SUCCESS;
}

EXPORT int cuThreadExchangeStreamCaptureMode(int* mode) {
    Call call("cuThreadExchangeStreamCaptureMode", false);
    if (call) {
        return call.status;
    }
    std::swap(*mode, capture_mode_of_thread);
    return SUCCESS;
}

EXPORT int cuGraphInstantiateWithFlags(void** exec, void* handle, unsigned long long flags) {
    Call call("cuGraphInstantiateWithFlags");
    if (call) {
        return call.status;
    }
    auto* graph = static_cast<Graph*>(handle);
    if (fake().graphs.count(graph) == 0) {
        return INVALID_HANDLE;
    }
    auto* made = new GraphExec{graph->ops, {graph->memory}, (flags & 1) != 0};
    fake().execs.insert(made);
    *exec = made;
    return SUCCESS;
}

EXPORT int cuGraphExecUpdate_v2(void* exec_handle, void* graph_handle, void* info) {
    Call call("cuGraphExecUpdate");
    if (call) {
        return call.status;
    }
    auto* exec = static_cast<GraphExec*>(exec_handle);
    auto* graph = static_cast<Graph*>(graph_handle);
    if (fake().execs.count(exec) == 0 || fake().graphs.count(graph) == 0) {
        return INVALID_HANDLE;
    }
    memset(info, 0, 24);
    bool same = exec->ops.size() == graph->ops.size() && graph->memory->blocks.empty();
    for (size_t i = 0; same && i < exec->ops.size(); i++) {
        same = exec->ops[i].shape == graph->ops[i].shape;
    }
    if (!same) {
        int changed = 1;
        memcpy(info, &changed, 4);
        return GRAPH_EXEC_UPDATE_FAILURE;
    }
    exec->ops = graph->ops;
    exec->memory.push_back(graph->memory);
    return SUCCESS;
}

EXPORT int cuGraphLaunch(void* handle, void* stream_handle) {
    Call call("cuGraphLaunch");
    if (call) {
        return call.status;
    }
    auto* exec = static_cast<GraphExec*>(handle);
    Stream* stream = stream_of(stream_handle);
    if (stream == nullptr || fake().execs.count(exec) == 0) {
        return INVALID_HANDLE;
    }
    if (exec->frees_on_launch) {
        auto memory = exec->memory;
        enqueue(stream, {"frees of a graph", [=]() -> int {
            for (auto& owner : memory) {
                for (Address block : owner->blocks) {
                    if (fake().allocations[block].live) {
                        release(block, "a graph's launch");
                    }
                }
            }
            return SUCCESS;
        }, "graph"});
    }
    for (const Op& op : exec->ops) {
        if (int status = enqueue(stream, op)) {
            return status;
        }
    }
    return SUCCESS;
}

EXPORT int cuGraphUpload(void* exec, void*) {
    Call call("cuGraphUpload");
    if (call) {
        return call.status;
    }
    return fake().execs.count(static_cast<GraphExec*>(exec)) == 0 ? INVALID_HANDLE : SUCCESS;
}

EXPORT int cuGraphGetNodes(void* handle, void** nodes, size_t* count) {
    Call call("cuGraphGetNodes");
    if (call) {
        return call.status;
    }
    auto* graph = static_cast<Graph*>(handle);
    if (fake().graphs.count(graph) == 0 || nodes != nullptr) {
        return fake().graphs.count(graph) == 0 ? INVALID_HANDLE : NOT_SUPPORTED;
    }
    *count = graph->ops.size();
    return SUCCESS;
}

EXPORT int cuGraphExecDestroy(void* handle) {
    Call call("cuGraphExecDestroy");
    if (call) {
        return call.status;
    }
    auto* exec = static_cast<GraphExec*>(handle);
    if (fake().execs.erase(exec) == 0) {
        return INVALID_HANDLE;
    }
    drain_device(current_context->device);
    delete exec;
    return SUCCESS;
}

EXPORT int cuGraphDestroy(void* handle) {
    Call call("cuGraphDestroy");
    if (call) {
        return call.status;
    }
    auto* graph = static_cast<Graph*>(handle);
    if (fake().graphs.erase(graph) == 0) {
        return INVALID_HANDLE;
    }
    delete graph;
    return SUCCESS;
}

EXPORT int cuDeviceGraphMemTrim(int) {
    Call call("cuDeviceGraphMemTrim", false);
    return call.status;
}
