// Test-only cuDNN backend: checks every attribute, executes graphs of operations on the memory of the fake driver, one value at a
// time in f32, and knows engines that do not do what they should.
//
// Stricter than the real one where a program could be right by luck: a descriptor is used only once it is finalised, a plan needs
// what it was made from until it is destroyed, the workspace is overwritten, and memory must lie in live allocations.
#include "fake_cuda.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr int OK = 0;
constexpr int NOT_INITIALIZED = 1001;
constexpr int BAD_PARAM = 2000;
constexpr int NOT_SUPPORTED = 3000;
constexpr int EXECUTION_FAILED = 5000;

constexpr int FLOAT = 0;
constexpr int BFLOAT16 = 9;

constexpr int64_t WORKSPACE = 4096;

// Engines, as the settings cudnn_heuristics and cudnn_fallback name them by digits.
constexpr int RIGHT = 1;
constexpr int WRONG = 2;
constexpr int CHANGING_SUMS = 3;  // never twice the same where a sum may be added up in memory
constexpr int WITHOUT_PLAN = 4;
constexpr int FAILING_LATER = 5;  // from the fourth time on

// Types of descriptors.
constexpr int POINTWISE = 0;
constexpr int ENGINE_CONFIG = 3;
constexpr int HEURISTIC = 4;
constexpr int PLAN = 5;
constexpr int OPERATION_POINTWISE = 13;
constexpr int GRAPH = 15;
constexpr int VARIANT_PACK = 16;
constexpr int TENSOR = 17;
constexpr int MATMUL = 18;
constexpr int OPERATION_MATMUL = 19;
constexpr int REDUCTION = 21;
constexpr int OPERATION_REDUCTION = 22;
constexpr int OPERATION_RESHAPE = 31;
constexpr int OPERATION_SDPA_FWD = 41;

struct Attribute {
    int owner;  // type of descriptor
    int type;
    int64_t least;
    int64_t most;
};

// Types of attributes.
constexpr int A_HANDLE = 0;
constexpr int A_DATA_TYPE = 1;
constexpr int A_BOOLEAN = 2;
constexpr int A_INT64 = 3;
constexpr int A_VOID_PTR = 6;
constexpr int A_HEUR_MODE = 8;
constexpr int A_POINTWISE_MODE = 14;
constexpr int A_DESCRIPTOR = 15;
constexpr int A_REDUCTION_OPERATOR = 18;

const std::map<int, Attribute>& attributes() {
    static const std::map<int, Attribute> all = {
        {0, {POINTWISE, A_POINTWISE_MODE, 1, 1}},
        {1, {POINTWISE, A_DATA_TYPE, 1, 1}},
        {200, {HEURISTIC, A_HEUR_MODE, 1, 1}},
        {201, {HEURISTIC, A_DESCRIPTOR, 1, 1}},
        {400, {PLAN, A_HANDLE, 1, 1}},
        {401, {PLAN, A_DESCRIPTOR, 1, 1}},
        {750, {OPERATION_POINTWISE, A_DESCRIPTOR, 1, 1}},
        {751, {OPERATION_POINTWISE, A_DESCRIPTOR, 1, 1}},
        {752, {OPERATION_POINTWISE, A_DESCRIPTOR, 1, 1}},
        {753, {OPERATION_POINTWISE, A_DESCRIPTOR, 1, 1}},
        {800, {GRAPH, A_HANDLE, 1, 1}},
        {801, {GRAPH, A_DESCRIPTOR, 1, 50}},
        {900, {TENSOR, A_INT64, 1, 1}},
        {901, {TENSOR, A_DATA_TYPE, 1, 1}},
        {902, {TENSOR, A_INT64, 4, 4}},
        {903, {TENSOR, A_INT64, 4, 4}},
        {906, {TENSOR, A_INT64, 1, 1}},
        {907, {TENSOR, A_BOOLEAN, 1, 1}},
        {908, {TENSOR, A_BOOLEAN, 1, 1}},
        {1000, {VARIANT_PACK, A_INT64, 1, 50}},
        {1001, {VARIANT_PACK, A_VOID_PTR, 1, 50}},
        {1003, {VARIANT_PACK, A_VOID_PTR, 1, 1}},
        {1500, {MATMUL, A_DATA_TYPE, 1, 1}},
        {1520, {OPERATION_MATMUL, A_DESCRIPTOR, 1, 1}},
        {1521, {OPERATION_MATMUL, A_DESCRIPTOR, 1, 1}},
        {1522, {OPERATION_MATMUL, A_DESCRIPTOR, 1, 1}},
        {1523, {OPERATION_MATMUL, A_DESCRIPTOR, 1, 1}},
        {1600, {REDUCTION, A_REDUCTION_OPERATOR, 1, 1}},
        {1601, {REDUCTION, A_DATA_TYPE, 1, 1}},
        {1610, {OPERATION_REDUCTION, A_DESCRIPTOR, 1, 1}},
        {1611, {OPERATION_REDUCTION, A_DESCRIPTOR, 1, 1}},
        {1612, {OPERATION_REDUCTION, A_DESCRIPTOR, 1, 1}},
        {2200, {OPERATION_RESHAPE, A_DESCRIPTOR, 1, 1}},
        {2201, {OPERATION_RESHAPE, A_DESCRIPTOR, 1, 1}},
        {2800, {OPERATION_SDPA_FWD, A_DESCRIPTOR, 1, 1}},
        {2801, {OPERATION_SDPA_FWD, A_DESCRIPTOR, 1, 1}},
        {2802, {OPERATION_SDPA_FWD, A_DESCRIPTOR, 1, 1}},
        {2803, {OPERATION_SDPA_FWD, A_DESCRIPTOR, 1, 1}},
        {2804, {OPERATION_SDPA_FWD, A_DESCRIPTOR, 1, 1}},
        {2805, {OPERATION_SDPA_FWD, A_DESCRIPTOR, 1, 1}},
    };
    return all;
}

/** Bytes of one element of an attribute. */
int64_t bytes_of(int type) {
    return type == A_BOOLEAN ? 1
        : type == A_DATA_TYPE || type == A_HEUR_MODE || type == A_POINTWISE_MODE || type == A_REDUCTION_OPERATOR ? 4 : 8;
}

thread_local std::string last_error;

int refuse(int status, const std::string& text) {
    last_error = text;
    fprintf(stderr, "fake cuDNN: %s\n", text.c_str());
    return status;
}

struct Handle {
    const void* context = fake_context();
    void* stream = nullptr;
};

struct Descriptor {
    int type;
    bool final = false;
    std::map<int, std::vector<int64_t>> values;
    int engine = 0;  // of an engine configuration that heuristics filled
    Descriptor* graph = nullptr;  // the same one's
    int runs = 0;  // of a plan

    int64_t one(int attribute) const {
        auto found = values.find(attribute);
        return found == values.end() ? 0 : found->second[0];
    }

    Descriptor* descriptor(int attribute) const {
        return reinterpret_cast<Descriptor*>(one(attribute));
    }
};

std::recursive_mutex mutex;

std::set<void*>& live() {
    static auto* const objects = new std::set<void*>();
    return *objects;
}

template <class T>
T* alive(void* object) {
    return live().count(object) != 0 ? static_cast<T*>(object) : nullptr;
}

/** Whether a descriptor and all that it was made from live and are finalised. */
bool whole(Descriptor* descriptor) {
    if (alive<Descriptor>(descriptor) == nullptr || !descriptor->final) {
        return false;
    }
    for (auto& entry : descriptor->values) {
        if (attributes().at(entry.first).type == A_DESCRIPTOR) {
            for (int64_t value : entry.second) {
                if (!whole(reinterpret_cast<Descriptor*>(value))) {
                    return false;
                }
            }
        }
    }
    return descriptor->type != ENGINE_CONFIG || whole(descriptor->graph);
}

// --------------------------------------------------------------------------------------------------------- execution

using Index = std::array<int64_t, 4>;

float from_bits(uint16_t bits) {
    uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float value;
    memcpy(&value, &wide, 4);
    return value;
}

uint16_t to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return static_cast<uint16_t>(value != value ? 0x7FFFu : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/** A tensor of a graph that is executed: memory of the device, of the host, or its own. */
struct Tensor {
    int type;
    Index dims;
    Index strides;
    bool by_value;
    bool is_virtual;
    uint64_t address = 0;
    float value = 0;  // by value
    std::vector<float> own;

    explicit Tensor(const Descriptor& from)
        : type(static_cast<int>(from.one(901))), by_value(from.one(908) != 0), is_virtual(from.one(907) != 0) {
        for (int i = 0; i < 4; i++) {
            dims[i] = from.values.at(902)[i];
            strides[i] = from.values.at(903)[i];
        }
        if (is_virtual) {
            own.assign(static_cast<size_t>(extent()), NAN);
        }
    }

    int64_t extent() const {
        int64_t last = 0;
        for (int i = 0; i < 4; i++) {
            last += (dims[i] - 1) * strides[i];
        }
        return last + 1;
    }

    int64_t place(const Index& at) const {
        int64_t place = 0;
        for (int i = 0; i < 4; i++) {
            place += dims[i] == 1 ? 0 : at[i] * strides[i];
        }
        return place;
    }

    float at(int64_t place) const {
        if (by_value) {
            return value;
        }
        if (is_virtual) {
            return own[static_cast<size_t>(place)];
        }
        return type == FLOAT ? reinterpret_cast<const float*>(address)[place] : from_bits(reinterpret_cast<const uint16_t*>(address)[place]);
    }

    float get(const Index& index) const {
        return at(place(index));
    }

    void put(int64_t place, float number) {
        float rounded = type == BFLOAT16 ? from_bits(to_bits(number)) : number;
        if (is_virtual) {
            own[static_cast<size_t>(place)] = rounded;
        } else if (type == FLOAT) {
            reinterpret_cast<float*>(address)[place] = number;
        } else {
            reinterpret_cast<uint16_t*>(address)[place] = to_bits(number);
        }
    }

    template <class F>
    void fill(F value) {
        Index i;
        for (i[0] = 0; i[0] < dims[0]; i[0]++) {
            for (i[1] = 0; i[1] < dims[1]; i[1]++) {
                for (i[2] = 0; i[2] < dims[2]; i[2]++) {
                    for (i[3] = 0; i[3] < dims[3]; i[3]++) {
                        put(place(i), value(i));
                    }
                }
            }
        }
    }
};

using Tensors = std::map<int64_t, std::shared_ptr<Tensor>>;

struct Operation {
    int type;
    int mode = 0;  // of a pointwise one
    std::shared_ptr<Tensor> a, b, c, y, stats, scale;
};

void pointwise(const Operation& op) {
    op.y->fill([&](const Index& i) {
        float a = op.a->get(i);
        float b = op.b ? op.b->get(i) : 0;
        return op.mode == 1 ? a * b : op.mode == 9 ? a - b : op.mode == 13 ? expf(a) : a;
    });
}

void matmul(const Operation& op) {
    op.y->fill([&](const Index& i) {
        float sum = 0;
        for (int64_t k = 0; k < op.a->dims[3]; k++) {
            sum += op.a->get({i[0], i[1], i[2], k}) * op.b->get({i[0], i[1], k, i[3]});
        }
        return sum;
    });
}

void reduce(const Operation& op) {
    op.y->fill([&](const Index& i) {
        float sum = 0;
        for (int64_t k = 0; k < op.a->dims[3]; k++) {
            sum += op.a->get({i[0], i[1], i[2], k});
        }
        return sum;
    });
}

void reshape(const Operation& op) {
    for (int64_t i = 0; i < op.y->extent(); i++) {
        op.y->put(i, op.a->at(i));
    }
}

void attention(const Operation& op) {
    const Tensor& q = *op.a;
    int64_t keys = op.b->dims[2];
    std::vector<float> p(static_cast<size_t>(keys));
    for (int64_t batch = 0; batch < q.dims[0]; batch++) {
        for (int64_t head = 0; head < q.dims[1]; head++) {
            for (int64_t row = 0; row < q.dims[2]; row++) {
                float largest = -INFINITY;
                for (int64_t key = 0; key < keys; key++) {
                    float s = 0;
                    for (int64_t d = 0; d < q.dims[3]; d++) {
                        s += q.get({batch, head, row, d}) * op.b->get({batch, head, key, d});
                    }
                    p[static_cast<size_t>(key)] = s * op.scale->value;
                    largest = std::max(largest, p[static_cast<size_t>(key)]);
                }
                float sum = 0;
                for (float& value : p) {
                    value = expf(value - largest);
                    sum += value;
                }
                for (int64_t d = 0; d < op.y->dims[3]; d++) {
                    float value = 0;
                    for (int64_t key = 0; key < keys; key++) {
                        value += p[static_cast<size_t>(key)] * op.c->get({batch, head, key, d});
                    }
                    op.y->put(op.y->place({batch, head, row, d}), value / sum);
                }
                if (op.stats) {
                    op.stats->put(op.stats->place({batch, head, row, 0}), largest + logf(sum));
                }
            }
        }
    }
}

/** The tensor of a descriptor, one for all operations. */
std::shared_ptr<Tensor> tensor(const Descriptor& operation, int attribute, Tensors& all) {
    Descriptor* found = operation.descriptor(attribute);
    if (found == nullptr) {
        return nullptr;
    }
    std::shared_ptr<Tensor>& known = all[found->one(906)];
    if (!known) {
        known = std::make_shared<Tensor>(*found);
    }
    return known;
}

std::vector<Operation> operations(const Descriptor& graph, Tensors& all) {
    std::vector<Operation> list;
    for (int64_t value : graph.values.at(801)) {
        auto& from = *reinterpret_cast<Descriptor*>(value);
        Operation op{from.type};
        switch (from.type) {
            case OPERATION_POINTWISE:
                op.mode = static_cast<int>(from.descriptor(750)->one(0));
                op.a = tensor(from, 751, all);
                op.b = tensor(from, 752, all);
                op.y = tensor(from, 753, all);
                break;
            case OPERATION_MATMUL:
                op.a = tensor(from, 1520, all);
                op.b = tensor(from, 1521, all);
                op.y = tensor(from, 1522, all);
                break;
            case OPERATION_REDUCTION:
                op.a = tensor(from, 1610, all);
                op.y = tensor(from, 1611, all);
                break;
            case OPERATION_RESHAPE:
                op.a = tensor(from, 2200, all);
                op.y = tensor(from, 2201, all);
                break;
            default:
                op.a = tensor(from, 2800, all);
                op.b = tensor(from, 2801, all);
                op.c = tensor(from, 2802, all);
                op.y = tensor(from, 2803, all);
                op.stats = tensor(from, 2804, all);
                op.scale = tensor(from, 2805, all);
        }
        list.push_back(std::move(op));
    }
    return list;
}

/** Whether the shapes of an operation fit each other. */
bool fits(const Operation& op) {
    auto broadcast = [&](const Tensor& x) {
        for (int i = 0; i < 4; i++) {
            if (x.dims[i] != 1 && x.dims[i] != op.y->dims[i]) {
                return false;
            }
        }
        return true;
    };
    const Index& y = op.y->dims;
    switch (op.type) {
        case OPERATION_POINTWISE:
            return broadcast(*op.a) && (!op.b || broadcast(*op.b));
        case OPERATION_MATMUL:
            return op.a->dims[2] == y[2] && op.b->dims[3] == y[3] && op.a->dims[3] == op.b->dims[2];
        case OPERATION_REDUCTION:
            return y[3] == 1 && y[2] == op.a->dims[2];
        case OPERATION_RESHAPE:
            return op.a->extent() == op.y->extent();
        default:
            return op.a->dims == y && op.b->dims == op.c->dims && op.scale->by_value
                && (!op.stats || (op.stats->type == FLOAT && op.stats->dims[3] == 1));
    }
}

int run(const std::vector<Operation>& list, const Tensors& all, int engine) {
    for (auto& entry : all) {
        const Tensor& tensor = *entry.second;
        if (!tensor.is_virtual && !tensor.by_value
            && fake_check_range(tensor.address, static_cast<uint64_t>(tensor.extent() * (tensor.type == FLOAT ? 4 : 2)), "a tensor of cuDNN") != 0) {
            return 700;
        }
    }
    static int times = 0;
    times++;
    for (const Operation& op : list) {
        switch (op.type) {
            case OPERATION_POINTWISE:
                pointwise(op);
                break;
            case OPERATION_MATMUL:
                matmul(op);
                if (engine == CHANGING_SUMS && !op.y->is_virtual && op.y->type == FLOAT) {
                    float change = times % 2 == 0 ? 1.01f : 1.0f;
                    op.y->fill([&](const Index& i) { return op.y->get(i) * change; });
                }
                break;
            case OPERATION_REDUCTION:
                reduce(op);
                break;
            case OPERATION_RESHAPE:
                reshape(op);
                break;
            default:
                attention(op);
        }
        if (engine == WRONG && !op.y->is_virtual) {
            op.y->put(0, op.y->at(0) + 100);
        }
    }
    return 0;
}

}  // namespace

#define BEGIN(name)                                       \
    std::lock_guard<std::recursive_mutex> lock(mutex);    \
    if (int asked = fake_before(name)) {                  \
        return asked;                                     \
    }

EXPORT size_t cudnnGetVersion() {
    return static_cast<size_t>(fakeGet("cudnn_version"));
}

EXPORT const char* cudnnGetErrorString(int status) {
    return status == OK ? "CUDNN_STATUS_SUCCESS" : "CUDNN_STATUS_OF_THE_FAKE";
}

EXPORT void cudnnGetLastErrorString(char* message, size_t size) {
    snprintf(message, size, "%s", last_error.c_str());
}

EXPORT int cudnnCreate(void** handle) {
    BEGIN("cudnnCreate")
    auto* made = new Handle();
    live().insert(made);
    fake_made(1);
    *handle = made;
    return OK;
}

EXPORT int cudnnDestroy(void* handle) {
    BEGIN("cudnnDestroy")
    if (live().erase(handle) == 0) {
        return refuse(BAD_PARAM, "a handle is destroyed that does not live");
    }
    fake_made(-1);
    delete static_cast<Handle*>(handle);
    return OK;
}

EXPORT int cudnnSetStream(void* handle, void* stream) {
    BEGIN("cudnnSetStream")
    auto* mine = alive<Handle>(handle);
    if (mine == nullptr || mine->context != fake_context()) {
        return refuse(NOT_INITIALIZED, "a handle that does not live, or is used in another context than its own");
    }
    mine->stream = stream;
    return OK;
}

EXPORT int cudnnBackendCreateDescriptor(int type, void** descriptor) {
    BEGIN("cudnnBackendCreateDescriptor")
    auto* made = new Descriptor{type};
    live().insert(made);
    fake_made(1);
    *descriptor = made;
    return OK;
}

EXPORT int cudnnBackendDestroyDescriptor(void* descriptor) {
    BEGIN("cudnnBackendDestroyDescriptor")
    if (live().erase(descriptor) == 0) {
        return refuse(BAD_PARAM, "a descriptor is destroyed that does not live");
    }
    fake_made(-1);
    delete static_cast<Descriptor*>(descriptor);
    return OK;
}

EXPORT int cudnnBackendSetAttribute(void* descriptor, int name, int type, int64_t count, const void* from) {
    BEGIN("cudnnBackendSetAttribute")
    auto* mine = alive<Descriptor>(descriptor);
    auto known = attributes().find(name);
    if (mine == nullptr || mine->final || known == attributes().end()) {
        return refuse(BAD_PARAM, "attribute " + std::to_string(name) + " is unknown, or its descriptor cannot be changed");
    }
    const Attribute& attribute = known->second;
    if (attribute.owner != mine->type || attribute.type != type || count < attribute.least || count > attribute.most) {
        return refuse(BAD_PARAM, "attribute " + std::to_string(name) + " of descriptor " + std::to_string(mine->type)
                + " has not the type " + std::to_string(type) + " or not " + std::to_string(count) + " elements");
    }
    std::vector<int64_t> values;
    for (int64_t i = 0; i < count; i++) {
        int64_t value = 0;
        memcpy(&value, static_cast<const char*>(from) + i * bytes_of(type), static_cast<size_t>(bytes_of(type)));
        if (type == A_DESCRIPTOR && !whole(reinterpret_cast<Descriptor*>(value))) {
            return refuse(BAD_PARAM, "attribute " + std::to_string(name) + " is a descriptor that is not finalised");
        }
        if (type == A_HANDLE && alive<Handle>(reinterpret_cast<void*>(value)) == nullptr) {
            return refuse(BAD_PARAM, "attribute " + std::to_string(name) + " is no handle");
        }
        values.push_back(value);
    }
    mine->values[name] = values;
    return OK;
}

EXPORT int cudnnBackendFinalize(void* descriptor) {
    BEGIN("cudnnBackendFinalize")
    auto* mine = alive<Descriptor>(descriptor);
    if (mine == nullptr || mine->final) {
        return refuse(BAD_PARAM, "a descriptor is finalised twice or does not live");
    }
    for (auto& entry : attributes()) {
        bool optional = entry.first == 752 || entry.first == 2804;
        if (entry.second.owner == mine->type && !optional && mine->values.count(entry.first) == 0) {
            return refuse(BAD_PARAM, "descriptor " + std::to_string(mine->type) + " lacks attribute " + std::to_string(entry.first));
        }
    }
    if (mine->type == GRAPH) {
        Tensors all;
        for (const Operation& op : operations(*mine, all)) {
            if (!fits(op)) {
                return refuse(NOT_SUPPORTED, "the tensors of an operation do not fit each other");
            }
        }
    }
    if (mine->type == VARIANT_PACK && mine->values[1000].size() != mine->values[1001].size()) {
        return refuse(BAD_PARAM, "a variant pack with another number of ids than of pointers");
    }
    if (mine->type == PLAN && mine->descriptor(401)->engine == WITHOUT_PLAN) {
        last_error = "an engine that makes no plan";
        return NOT_SUPPORTED;
    }
    mine->final = true;
    return OK;
}

EXPORT int cudnnBackendGetAttribute(void* descriptor, int name, int type, int64_t wanted, int64_t* count, void* into) {
    BEGIN("cudnnBackendGetAttribute")
    auto* mine = alive<Descriptor>(descriptor);
    if (mine == nullptr || !mine->final) {
        return refuse(BAD_PARAM, "an attribute of a descriptor that is not finalised");
    }
    if (mine->type == PLAN && name == 402 && type == A_INT64 && wanted == 1) {
        *static_cast<int64_t*>(into) = WORKSPACE;
        *count = 1;
        return OK;
    }
    if (mine->type != HEURISTIC || name != 202 || type != A_DESCRIPTOR) {
        return refuse(BAD_PARAM, "no attribute " + std::to_string(name) + " can be had");
    }
    int64_t mode = mine->one(200);
    long long engines = mode == 3 ? fakeGet("cudnn_heuristics") : mode == 2 ? fakeGet("cudnn_fallback") : 0;
    *count = 0;
    for (char digit : std::to_string(engines)) {
        if (digit == '0' || *count == wanted) {
            break;
        }
        auto* config = alive<Descriptor>(static_cast<void**>(into)[*count]);
        if (config == nullptr || config->type != ENGINE_CONFIG || config->final) {
            return refuse(BAD_PARAM, "what is to be filled is no empty engine configuration");
        }
        config->engine = digit - '0';
        config->graph = mine->descriptor(201);
        config->final = true;
        (*count)++;
    }
    return OK;
}

EXPORT int cudnnBackendExecute(void* handle, void* plan, void* pack) {
    BEGIN("cudnnBackendExecute")
    auto* mine = alive<Handle>(handle);
    if (mine == nullptr || mine->context != fake_context()) {
        return refuse(NOT_INITIALIZED, "a handle that does not live, or is used in another context than its own");
    }
    auto* made = alive<Descriptor>(plan);
    auto* given = alive<Descriptor>(pack);
    if (made == nullptr || made->type != PLAN || !whole(made) || given == nullptr || given->type != VARIANT_PACK || !given->final) {
        return refuse(BAD_PARAM, "a plan or a variant pack, or what the plan was made from, does not live or is not finalised");
    }
    int engine = made->descriptor(401)->engine;
    if (engine == FAILING_LATER && ++made->runs > 3) {
        last_error = "an engine that fails later";
        return EXECUTION_FAILED;
    }
    Tensors all;
    std::vector<Operation> list = operations(*made->descriptor(401)->graph, all);
    const std::vector<int64_t>& ids = given->values[1000];
    const std::vector<int64_t>& pointers = given->values[1001];
    std::set<int64_t> wanted;
    for (auto& entry : all) {
        Tensor& tensor = *entry.second;
        if (tensor.is_virtual) {
            continue;
        }
        wanted.insert(entry.first);
        auto found = std::find(ids.begin(), ids.end(), entry.first);
        int64_t pointer = found == ids.end() ? 0 : pointers[static_cast<size_t>(found - ids.begin())];
        if (pointer == 0) {
            return refuse(BAD_PARAM, "no pointer for the tensor " + std::to_string(entry.first));
        }
        if (tensor.by_value) {
            memcpy(&tensor.value, reinterpret_cast<void*>(pointer), 4);
        } else if (pointer % 16 != 0) {
            return refuse(BAD_PARAM, "the tensor " + std::to_string(entry.first) + " is not aligned to 16 bytes");
        } else {
            tensor.address = static_cast<uint64_t>(pointer);
        }
    }
    if (wanted != std::set<int64_t>(ids.begin(), ids.end())) {
        return refuse(BAD_PARAM, "a variant pack with ids that the graph does not have");
    }
    auto workspace = static_cast<uint64_t>(given->one(1003));
    int status = fake_enqueue(mine->stream, "cudnnBackendExecute", [=]() -> int {
        if (fake_check_range(workspace, WORKSPACE, "workspace of cuDNN") != 0) {
            return 700;
        }
        memset(reinterpret_cast<void*>(workspace), 0xEE, WORKSPACE);
        return run(list, all, engine);
    });
    return status == 0 ? OK : EXECUTION_FAILED;
}
