// A test-only NCCL: sums of f32 over the devices of one process, whose threads really wait for one another.
//
// Sums are made in the order of the ranks, so they repeat bit for bit. A rank that does not come lets the others wait until somebody
// aborts, or two minutes.
#include "fake_cuda.h"

#include <stdio.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr int OK = 0;
constexpr int UNHANDLED_CUDA_ERROR = 1;
constexpr int INVALID_ARGUMENT = 4;
constexpr int INVALID_USAGE = 5;

constexpr int FLOAT32 = 7;
constexpr int SUM = 0;

constexpr int LAUNCH_FAILED = 719;

int refuse(int status, const std::string& text) {
    fprintf(stderr, "fake NCCL: %s\n", text.c_str());
    return status;
}

/** One sum, to which the ranks come when their work gets there. */
struct Round {
    std::vector<uint64_t> send;
    std::vector<uint64_t> receive;
    std::vector<uint64_t> count;
    int arrived = 0;
    int left = 0;
    bool fits = true;

    explicit Round(int size) : send(size), receive(size), count(size) {}

    void add() {
        for (uint64_t other : count) {
            fits &= other == count[0];
        }
        for (uint64_t i = 0; fits && i < count[0]; i++) {
            float sum = reinterpret_cast<const float*>(send[0])[i];
            for (size_t rank = 1; rank < send.size(); rank++) {
                sum += reinterpret_cast<const float*>(send[rank])[i];
            }
            for (uint64_t to : receive) {
                reinterpret_cast<float*>(to)[i] = sum;
            }
        }
    }
};

struct Group {
    int size;
    bool aborted = false;
    std::map<uint64_t, Round> rounds;
};

struct Comm {
    std::shared_ptr<Group> group;
    int rank;
    uint64_t rounds = 0;  // that it has come to
};

/** Guards all that follows; held for moments, and with the driver's lock only if that was taken before. */
std::mutex& state() {
    static std::mutex* const instance = new std::mutex();
    return *instance;
}

std::map<void*, std::shared_ptr<Comm>>& comms() {
    static auto* const instance = new std::map<void*, std::shared_ptr<Comm>>();
    return *instance;
}

std::shared_ptr<Comm> find(void* handle) {
    std::lock_guard<std::mutex> lock(state());
    auto found = comms().find(handle);
    return found == comms().end() ? nullptr : found->second;
}

/** A rank's part of a sum, when its stream gets there. */
int sum(Comm& comm, uint64_t send, uint64_t receive, uint64_t count) {
    for (uint64_t address : {send, receive}) {
        if (int status = fake_check_range(address, count * sizeof(float), "ncclAllReduce")) {
            return status;
        }
    }
    Group& group = *comm.group;
    Round* round;
    {
        std::lock_guard<std::mutex> lock(state());
        if (group.aborted) {
            return OK;
        }
        round = &group.rounds.try_emplace(comm.rounds, group.size).first->second;
        round->send[comm.rank] = send;
        round->receive[comm.rank] = receive;
        round->count[comm.rank] = count;
        if (++round->arrived == group.size) {
            round->add();
        }
    }
    uint64_t number = comm.rounds++;
    bool came = fake_wait([&] {
        std::lock_guard<std::mutex> lock(state());
        return group.aborted || round->arrived == group.size;
    });
    std::lock_guard<std::mutex> lock(state());
    bool whole = round->arrived == group.size;
    bool fits = round->fits;
    if (++round->left == group.size) {
        group.rounds.erase(number);
    }
    if (!came) {
        return refuse(LAUNCH_FAILED, "a sum of rank " + std::to_string(comm.rank) + " waited for ranks that did not come");
    }
    return whole && !fits ? refuse(LAUNCH_FAILED, "a sum of different lengths on different ranks") : OK;
}

}  // namespace

#define BEGIN(name)                        \
    if (int asked = fake_before(name)) {   \
        return asked;                      \
    }

EXPORT int ncclGetVersion(int* version) {
    BEGIN("ncclGetVersion")
    if (version == nullptr) {
        return INVALID_ARGUMENT;
    }
    *version = 22703;
    return OK;
}

EXPORT const char* ncclGetErrorString(int status) {
    switch (status) {
        case OK:
            return "no error";
        case UNHANDLED_CUDA_ERROR:
            return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
        case 2:
            return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
        case 3:
            return "internal error - please report this issue to the NCCL developers";
        case INVALID_ARGUMENT:
            return "invalid argument (run with NCCL_DEBUG=WARN for details)";
        case INVALID_USAGE:
            return "invalid usage (run with NCCL_DEBUG=WARN for details)";
        default:
            return "unknown result code";
    }
}

EXPORT int ncclCommInitAll(void** made, int count, const int* devices) {
    BEGIN("ncclCommInitAll")
    if (made == nullptr || count < 1) {
        return refuse(INVALID_ARGUMENT, "ncclCommInitAll of " + std::to_string(count) + " devices");
    }
    std::set<int> seen;
    for (int rank = 0; rank < count; rank++) {
        int device = devices == nullptr ? rank : devices[rank];
        if (device < 0 || device >= fakeGet("devices")) {
            return refuse(INVALID_ARGUMENT, "ncclCommInitAll with device " + std::to_string(device));
        }
        if (!seen.insert(device).second) {
            return refuse(INVALID_USAGE, "ncclCommInitAll with device " + std::to_string(device) + " twice");
        }
    }
    auto group = std::make_shared<Group>();
    group->size = count;
    std::lock_guard<std::mutex> lock(state());
    for (int rank = 0; rank < count; rank++) {
        auto comm = std::make_shared<Comm>();
        comm->group = group;
        comm->rank = rank;
        made[rank] = comm.get();
        comms()[comm.get()] = comm;
    }
    fake_made(count);
    return OK;
}

static int end(void* handle, bool abort) {
    std::shared_ptr<Comm> comm = find(handle);
    if (comm == nullptr) {
        return refuse(INVALID_ARGUMENT, "the end of a communicator that does not exist");
    }
    std::lock_guard<std::mutex> lock(state());
    comm->group->aborted |= abort;
    comms().erase(handle);
    return OK;
}

EXPORT int ncclCommDestroy(void* comm) {
    BEGIN("ncclCommDestroy")
    int status = end(comm, false);
    fake_made(status == OK ? -1 : 0);
    return status;
}

EXPORT int ncclCommAbort(void* comm) {
    BEGIN("ncclCommAbort")
    int status = end(comm, true);
    fake_made(status == OK ? -1 : 0);
    return status;
}

EXPORT int ncclAllReduce(
    uint64_t send, uint64_t receive, size_t count, int type, int operation, void* handle, void* stream) {
    BEGIN("ncclAllReduce")
    std::shared_ptr<Comm> comm = find(handle);
    if (comm == nullptr) {
        return refuse(INVALID_ARGUMENT, "ncclAllReduce with a communicator that does not exist");
    }
    if (type != FLOAT32 || operation != SUM) {
        return refuse(
            INVALID_ARGUMENT,
            "ncclAllReduce of type " + std::to_string(type) + " by operation " + std::to_string(operation)
                + (type < 0 || type > 11 || operation < 0 || operation > 4 ? "" : ", which is not known here"));
    }
    if (count > 0 && (send == 0 || receive == 0)) {
        return refuse(INVALID_ARGUMENT, "ncclAllReduce without memory");
    }
    int status = fake_enqueue(stream, "ncclAllReduce", [=]() -> int { return sum(*comm, send, receive, count); });
    return status == 0 ? OK : UNHANDLED_CUDA_ERROR;
}
