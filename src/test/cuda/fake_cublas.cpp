// Test-only cuBLAS and cuBLASLt in one: plain matrix products in f32 on the memory of the fake driver.
//
// Stricter than the real ones where a program could be right by luck: an algorithm fits only the problem and the alignments
// it was asked for, the workspace it wants is overwritten, every matrix must lie in a live allocation, and TF32, where it is
// allowed, rounds its inputs.
#include "fake_cuda.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr int OK = 0;
constexpr int NOT_INITIALIZED = 1;
constexpr int ALLOC_FAILED = 3;
constexpr int INVALID_VALUE = 7;
constexpr int EXECUTION_FAILED = 13;
constexpr int NOT_SUPPORTED = 15;

constexpr int R_32F = 0;
constexpr int R_16BF = 14;
constexpr int COMPUTE_32F = 68;
constexpr int COMPUTE_32F_PEDANTIC = 69;
constexpr int COMPUTE_32F_FAST_TF32 = 77;

constexpr int EPILOGUE_BIAS = 4;
constexpr int EPILOGUE_GELU = 32;
constexpr int EPILOGUE_BGRADA = 256;
constexpr int EPILOGUE_BGRADB = 512;

constexpr size_t WORKSPACE = 4096;
constexpr size_t RESULT = 96;  // bytes of one result of the heuristics
constexpr size_t LEAST_WORKSPACE = 16384;  // that cublasSetWorkspace may be given

const char* status_text(int status) {
    switch (status) {
        case OK:
            return "success";
        case NOT_INITIALIZED:
            return "the library was not initialized";
        case ALLOC_FAILED:
            return "the resource allocation failed";
        case INVALID_VALUE:
            return "an unsupported value or parameter was passed to the function";
        case 8:
            return "an absent device architectural feature is required";
        case EXECUTION_FAILED:
            return "the function failed to launch on the GPU";
        case 14:
            return "an internal operation failed";
        case NOT_SUPPORTED:
            return "the functionality requested is not supported";
        default:
            return "unknown";
    }
}

int refuse(int status, const std::string& text) {
    fprintf(stderr, "fake cuBLAS: %s\n", text.c_str());
    return status;
}

int64_t size_of(int type) {
    return type == R_32F ? 4 : 2;
}

/** A matrix in memory; element (i, j) lies i * row + j * column elements behind the address. */
struct Matrix {
    uint64_t address;
    int type;
    int64_t rows;
    int64_t columns;
    int64_t row;
    int64_t column;
    int64_t batch_stride;

    Matrix transposed() const {
        return {address, type, columns, rows, column, row, batch_stride};
    }

    uint64_t bytes() const {
        return rows == 0 || columns == 0 ? 0 : static_cast<uint64_t>((rows - 1) * row + (columns - 1) * column + 1) * size_of(type);
    }

    Matrix of_batch(int64_t batch) const {
        Matrix result = *this;
        result.address += batch * batch_stride * size_of(type);
        return result;
    }

    float get(int64_t i, int64_t j) const {
        return read(address, type, i * row + j * column);
    }

    void set(int64_t i, int64_t j, float value) const {
        write(address, type, i * row + j * column, value);
    }

    static float read(uint64_t address, int type, int64_t index) {
        if (type == R_32F) {
            return reinterpret_cast<const float*>(address)[index];
        }
        uint32_t bits = static_cast<uint32_t>(reinterpret_cast<const uint16_t*>(address)[index]) << 16;
        float value;
        memcpy(&value, &bits, 4);
        return value;
    }

    static void write(uint64_t address, int type, int64_t index, float value) {
        if (type == R_32F) {
            reinterpret_cast<float*>(address)[index] = value;
            return;
        }
        uint32_t bits;
        memcpy(&bits, &value, 4);
        bits = value != value ? 0x7FFFu : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
        reinterpret_cast<uint16_t*>(address)[index] = static_cast<uint16_t>(bits);
    }
};

// Kinds of algorithms, in the order in which the heuristics name them; see "algorithms" in fake_cuda.h.
constexpr unsigned USUAL = 0;
constexpr unsigned SLOW = 1;
constexpr unsigned WRONG = 2;
constexpr unsigned CHANGING = 3;

/** Everything about a product that does not change between calls of one shape. */
struct Product {
    Matrix a;  // as it enters the product, m x k
    Matrix b;  // k x n
    Matrix c;
    Matrix d;
    int64_t batch = 1;
    bool tf32 = false;
    int epilogue = 1;
    uint64_t bias = 0;
    int bias_type = R_32F;
    float alpha = 1;
    float beta = 0;
    unsigned kind = USUAL;  // of algorithm
};

std::vector<float> packed(const Matrix& matrix, bool tf32) {
    std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.columns));
    for (int64_t i = 0; i < matrix.rows; i++) {
        for (int64_t j = 0; j < matrix.columns; j++) {
            float value = matrix.get(i, j);
            if (tf32) {
                uint32_t bits;
                memcpy(&bits, &value, 4);
                bits = (bits + 0xFFF + (bits >> 13 & 1)) & ~0x1FFFu;
                memcpy(&value, &bits, 4);
            }
            values[static_cast<size_t>(i * matrix.columns + j)] = value;
        }
    }
    return values;
}

/** out[m, n] += a[m, k] b[k, n], in blocks that stay in the cache. */
void multiply(int64_t m, int64_t n, int64_t k, const float* a, const float* b, float* out) {
    constexpr int64_t DEPTH = 128;
    constexpr int64_t WIDTH = 256;
    for (int64_t k0 = 0; k0 < k; k0 += DEPTH) {
        for (int64_t n0 = 0; n0 < n; n0 += WIDTH) {
            int64_t width = std::min(WIDTH, n - n0);
            for (int64_t i = 0; i < m; i++) {
                float* __restrict__ row = out + i * n + n0;
                for (int64_t p = k0; p < std::min(k, k0 + DEPTH); p++) {
                    float factor = a[i * k + p];
                    const float* __restrict__ from = b + p * n + n0;
                    for (int64_t j = 0; j < width; j++) {
                        row[j] += factor * from[j];
                    }
                }
            }
        }
    }
}

float tanh_gelu(float x) {
    return 0.5f * x * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
}

int check(const Matrix& matrix, const char* name) {
    return fake_check_range(matrix.address, matrix.bytes(), name) == 0 ? OK : EXECUTION_FAILED;
}

int run(const Product& product) {
    static std::atomic<unsigned> runs{0};
    float change = product.d.type == R_16BF ? 4e-3f : 1e-5f;
    float error = product.kind == WRONG ? 1.0f : product.kind == CHANGING && ++runs % 2 == 0 ? change : 0.0f;
    if (product.kind == SLOW) {
        usleep(2000);
    }
    for (int64_t batch = 0; batch < product.batch; batch++) {
        Matrix a = product.a.of_batch(batch);
        Matrix b = product.b.of_batch(batch);
        Matrix c = product.c.of_batch(batch);
        Matrix d = product.d.of_batch(batch);
        int64_t m = a.rows;
        int64_t n = b.columns;
        int64_t k = a.columns;
        if (check(a, "matmul, a") != OK || check(b, "matmul, b") != OK || check(d, "matmul, d") != OK
            || (product.beta != 0 && check(c, "matmul, c") != OK)) {
            return 700;
        }
        std::vector<float> left = packed(a, product.tf32);
        std::vector<float> right = packed(b, product.tf32);
        std::vector<float> out(static_cast<size_t>(m * n));
        multiply(m, n, k, left.data(), right.data(), out.data());
        if ((product.epilogue & EPILOGUE_BIAS) != 0 && batch == 0
            && fake_check_range(product.bias, static_cast<uint64_t>(m * size_of(product.bias_type)), "matmul, bias") != 0) {
            return 700;
        }
        for (int64_t i = 0; i < m; i++) {
            float bias = (product.epilogue & EPILOGUE_BIAS) != 0 ? Matrix::read(product.bias, product.bias_type, i) : 0;
            for (int64_t j = 0; j < n; j++) {
                float value = product.alpha * out[static_cast<size_t>(i * n + j)] * (1 + error);
                if (product.beta != 0) {
                    value += product.beta * c.get(i, j);
                }
                value += bias;
                if ((product.epilogue & EPILOGUE_GELU) != 0) {
                    value = tanh_gelu(value);
                }
                d.set(i, j, value);
            }
        }
        bool of_a = product.epilogue == EPILOGUE_BGRADA;
        if (of_a || product.epilogue == EPILOGUE_BGRADB) {
            int64_t length = of_a ? m : n;
            if (fake_check_range(product.bias, static_cast<uint64_t>(length * size_of(product.bias_type)), "matmul, bias gradient") != 0) {
                return 700;
            }
            for (int64_t i = 0; i < length; i++) {
                float sum = 0;
                for (int64_t p = 0; p < k; p++) {
                    sum += of_a ? left[static_cast<size_t>(i * k + p)] : right[static_cast<size_t>(p * n + i)];
                }
                Matrix::write(product.bias, product.bias_type, i, sum);
            }
        }
    }
    return 0;
}

int enqueue(void* stream, const char* what, const Product& product) {
    return fake_enqueue(stream, what, [product]() -> int { return run(product); }) == 0 ? OK : EXECUTION_FAILED;
}

/** What a library does to a workspace. */
void overwrite(void* stream, uint64_t workspace, uint64_t bytes) {
    fake_enqueue(stream, "workspace of a product", [=]() -> int {
        if (fake_check_range(workspace, bytes, "workspace of a product") != 0) {
            return 700;
        }
        memset(reinterpret_cast<void*>(workspace), 0xEE, bytes);
        return 0;
    }, false);
}

bool known_types(int a, int b, int c) {
    return (a == R_32F && b == R_32F && c == R_32F) || (a == R_16BF && b == R_16BF && (c == R_16BF || c == R_32F));
}

// ---------------------------------------------------------------------------------------------------------------- handles

/** Handles and descriptors that live. */
std::set<void*>& live() {
    static auto* const objects = new std::set<void*>();
    return *objects;
}

std::mutex live_mutex;

template <class T>
int made(void** out, T* object) {
    std::lock_guard<std::mutex> lock(live_mutex);
    live().insert(object);
    fake_made(1);
    *out = object;
    return OK;
}

template <class T>
int destroyed(void* object, const char* what) {
    std::lock_guard<std::mutex> lock(live_mutex);
    if (live().erase(object) == 0) {
        return refuse(INVALID_VALUE, std::string(what) + " is destroyed that does not live");
    }
    fake_made(-1);
    delete static_cast<T*>(object);
    return OK;
}

bool lives(void* object) {
    std::lock_guard<std::mutex> lock(live_mutex);
    return live().count(object) != 0;
}

// Kinds of products that are not supported, see "refusals" in fake_cuda.h.
constexpr int SUMS = 1;
constexpr int SUMS_BY_SETTER = 2;
constexpr int BIASES = 4;
constexpr int ADDENDS = 8;
constexpr int MISALIGNED = 16;
constexpr int ALL = 32;

bool refuses(int kind) {
    return (fakeGet("refusals") & kind) != 0;
}

struct Handle {
    const void* context = fake_context();
    void* stream = nullptr;
    uint64_t workspace = 0;
    size_t workspace_bytes = 0;
    int math_mode = 0;
};

/** OK if a handle may be used: it lives, and the thread is in the context that it was made in. */
template <class H>
int usable(H* handle) {
    if (handle == nullptr) {
        return NOT_INITIALIZED;
    }
    return handle->context == fake_context()
        ? OK
        : refuse(NOT_INITIALIZED, "a handle is used on a thread whose current context is not the handle's");
}

struct Desc {
    int compute;
    int scale_type;
    int trans_a = 0;
    int trans_b = 0;
    int epilogue = 1;
    int bias_type = -1;
    uint64_t bias = 0;
};

struct Layout {
    int type;
    uint64_t rows;
    uint64_t columns;
    int64_t ld;

    Matrix matrix(uint64_t address) const {
        return {address, type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), 1, ld, 0};
    }

    bool sound() const {
        return rows > 0 && columns > 0 && ld >= static_cast<int64_t>(rows);
    }
};

struct Preference {
    uint64_t workspace = 0;
    unsigned alignment[4] = {256, 256, 256, 256};
};

/** What the 64 bytes of an algorithm hold here. */
struct Algo {
    uint64_t magic;
    uint64_t problem;
    uint64_t workspace;
    unsigned alignment[4];
    unsigned bias_alignment;
    unsigned kind;
};

/** The largest power of two, up to 256, that divides an address. */
unsigned alignment_of(uint64_t address) {
    return address == 0 ? 256 : static_cast<unsigned>(std::min<uint64_t>(256, address & -address));
}

constexpr uint64_t ALGO_MAGIC = 0x6B6E6F776E616C67;

uint64_t mix(uint64_t hash, uint64_t value) {
    return (hash ^ value) * 0x100000001B3ULL ^ hash >> 29;
}

uint64_t problem_of(const Desc& desc, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
    uint64_t hash = 0xCBF29CE484222325ULL;
    for (int value : {desc.compute, desc.trans_a, desc.trans_b, desc.epilogue}) {
        hash = mix(hash, static_cast<uint64_t>(value));
    }
    for (const Layout* layout : {&a, &b, &c, &d}) {
        for (uint64_t value :
             {static_cast<uint64_t>(layout->type), layout->rows, layout->columns, static_cast<uint64_t>(layout->ld)}) {
            hash = mix(hash, value);
        }
    }
    return hash;
}

/** Whether a product is one that cuBLASLt would do; fills it in but for addresses and factors. */
int prepare(const Desc& desc, const Layout& a, const Layout& b, const Layout& c, const Layout& d, Product& product) {
    if (!a.sound() || !b.sound() || !c.sound() || !d.sound()) {
        return refuse(INVALID_VALUE, "a matrix is empty or its leading dimension is less than its side");
    }
    product.a = desc.trans_a != 0 ? a.matrix(0).transposed() : a.matrix(0);
    product.b = desc.trans_b != 0 ? b.matrix(0).transposed() : b.matrix(0);
    product.c = c.matrix(0);
    product.d = d.matrix(0);
    if (product.a.columns != product.b.rows || product.a.rows != product.d.rows || product.b.columns != product.d.columns
        || c.rows != d.rows || c.columns != d.columns || c.type != d.type) {
        return refuse(INVALID_VALUE, "the matrices of a product do not fit each other");
    }
    if (!known_types(a.type, b.type, d.type) || desc.scale_type != R_32F
        || (desc.compute != COMPUTE_32F && desc.compute != COMPUTE_32F_PEDANTIC && desc.compute != COMPUTE_32F_FAST_TF32)) {
        return NOT_SUPPORTED;
    }
    bool known = desc.epilogue == 1 || desc.epilogue == EPILOGUE_BIAS || desc.epilogue == EPILOGUE_BGRADA
        || desc.epilogue == EPILOGUE_BGRADB
        || ((desc.epilogue == EPILOGUE_GELU || desc.epilogue == (EPILOGUE_GELU | EPILOGUE_BIAS)) && fakeGet("gelu") != 0);
    if (!known) {
        return NOT_SUPPORTED;
    }
    // Bias and bias gradient have D's type where D is f32 or bf16.
    if (desc.epilogue != 1 && desc.bias_type >= 0 && desc.bias_type != d.type) {
        return NOT_SUPPORTED;
    }
    product.tf32 = desc.compute == COMPUTE_32F_FAST_TF32 && a.type == R_32F;
    product.epilogue = desc.epilogue;
    product.bias_type = desc.bias_type >= 0 ? desc.bias_type : d.type;
    return OK;
}

template <class T>
int assign(T& field, const void* value, size_t bytes) {
    if (bytes < sizeof(T)) {
        return refuse(INVALID_VALUE, "an attribute with too few bytes");
    }
    memcpy(&field, value, sizeof(T));
    return OK;
}

}  // namespace

// --------------------------------------------------------------------------------------------------------------- cuBLASLt

#define BEGIN(name)                        \
    if (int asked = fake_before(name)) {   \
        return asked;                      \
    }

EXPORT size_t cublasLtGetVersion() {
    return 130001;
}

EXPORT const char* cublasLtGetStatusString(int status) {
    return status_text(status);
}

EXPORT int cublasLtCreate(void** handle) {
    BEGIN("cublasLtCreate")
    return made(handle, new Handle());
}

EXPORT int cublasLtDestroy(void* handle) {
    BEGIN("cublasLtDestroy")
    return destroyed<Handle>(handle, "a handle");
}

EXPORT int cublasLtMatmulDescCreate(void** desc, int compute, int scale_type) {
    BEGIN("cublasLtMatmulDescCreate")
    return made(desc, new Desc{compute, scale_type});
}

EXPORT int cublasLtMatmulDescDestroy(void* desc) {
    BEGIN("cublasLtMatmulDescDestroy")
    return destroyed<Desc>(desc, "a description of a product");
}

EXPORT int cublasLtMatmulDescSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
    BEGIN("cublasLtMatmulDescSetAttribute")
    auto* desc = static_cast<Desc*>(handle);
    switch (attribute) {
        case 3:
            return assign(desc->trans_a, value, bytes);
        case 4:
            return assign(desc->trans_b, value, bytes);
        case 7: {
            int status = assign(desc->epilogue, value, bytes);
            return status == OK && desc->epilogue >= EPILOGUE_BGRADA && refuses(SUMS_BY_SETTER) ? INVALID_VALUE : status;
        }
        case 8:
            return assign(desc->bias, value, bytes);
        case 26:
            return assign(desc->bias_type, value, bytes);
        default:
            return refuse(NOT_SUPPORTED, "no attribute " + std::to_string(attribute) + " of a product");
    }
}

EXPORT int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    BEGIN("cublasLtMatrixLayoutCreate")
    return made(layout, new Layout{type, rows, columns, ld});
}

EXPORT int cublasLtMatrixLayoutDestroy(void* layout) {
    BEGIN("cublasLtMatrixLayoutDestroy")
    return destroyed<Layout>(layout, "a layout");
}

EXPORT int cublasLtMatmulPreferenceCreate(void** preference) {
    BEGIN("cublasLtMatmulPreferenceCreate")
    return made(preference, new Preference());
}

EXPORT int cublasLtMatmulPreferenceDestroy(void* preference) {
    BEGIN("cublasLtMatmulPreferenceDestroy")
    return destroyed<Preference>(preference, "a preference");
}

EXPORT int cublasLtMatmulPreferenceSetAttribute(void* handle, int attribute, const void* value, size_t bytes) {
    BEGIN("cublasLtMatmulPreferenceSetAttribute")
    auto* preference = static_cast<Preference*>(handle);
    if (attribute == 1) {
        return assign(preference->workspace, value, bytes);
    }
    if (attribute == 3) {
        uint32_t reductions;  // which ways of splitting a sum are allowed; here no sum is split
        return assign(reductions, value, bytes);
    }
    if (attribute >= 5 && attribute <= 8) {
        return assign(preference->alignment[attribute - 5], value, bytes);
    }
    return refuse(NOT_SUPPORTED, "no attribute " + std::to_string(attribute) + " of a preference");
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(
    void* handle, void* desc, void* a, void* b, void* c, void* d, void* preference_handle, int wanted, unsigned char* results,
    int* count) {
    BEGIN("cublasLtMatmulAlgoGetHeuristic")
    if (int status = usable(lives(handle) ? static_cast<Handle*>(handle) : nullptr)) {
        return status;
    }
    for (void* object : {desc, a, b, c, d, preference_handle}) {
        if (!lives(object)) {
            return refuse(INVALID_VALUE, "a descriptor that does not live");
        }
    }
    Product product{};
    *count = 0;
    auto& layout_a = *static_cast<Layout*>(a);
    auto& layout_b = *static_cast<Layout*>(b);
    auto& layout_c = *static_cast<Layout*>(c);
    auto& layout_d = *static_cast<Layout*>(d);
    int status = prepare(*static_cast<Desc*>(desc), layout_a, layout_b, layout_c, layout_d, product);
    if (status != OK || wanted < 1) {
        return status == OK ? INVALID_VALUE : status;
    }
    if ((product.epilogue == EPILOGUE_BGRADA || product.epilogue == EPILOGUE_BGRADB) && fakeGet("bias_gradient") == 0) {
        return OK;
    }
    auto* preference = static_cast<Preference*>(preference_handle);
    if (refuses(ALL)) {
        return NOT_SUPPORTED;
    }
    bool sums = product.epilogue == EPILOGUE_BGRADA || product.epilogue == EPILOGUE_BGRADB;
    if ((sums && layout_a.type == R_16BF && layout_d.type == R_32F && refuses(SUMS))
        || (product.epilogue == EPILOGUE_BIAS && refuses(BIASES))) {
        return INVALID_VALUE;
    }
    if (refuses(MISALIGNED)) {
        const Layout* layouts[4] = {&layout_a, &layout_b, &layout_c, &layout_d};
        for (int i = 0; i < 4; i++) {
            if (layouts[i]->type == R_16BF && (layouts[i]->ld % 8 != 0 || preference->alignment[i] % 16 != 0)) {
                return NOT_SUPPORTED;
            }
        }
    }
    Algo algo = {ALGO_MAGIC, problem_of(*static_cast<Desc*>(desc), layout_a, layout_b, layout_c, layout_d), 0, {}, 0, USUAL};
    algo.workspace = preference->workspace >= WORKSPACE ? WORKSPACE : 0;
    memcpy(algo.alignment, preference->alignment, sizeof(algo.alignment));
    algo.bias_alignment = alignment_of(static_cast<Desc*>(desc)->bias);
    memset(results, 0, static_cast<size_t>(wanted) * RESULT);
    *count = 1;
    if (wanted > 2) {
        // Two that cannot be used come first: one of another state than success, one with more workspace than allowed.
        memcpy(results + 72, &NOT_SUPPORTED, 4);
        uint64_t too_much = preference->workspace + 1;
        memcpy(results + RESULT + 64, &too_much, 8);
        results += 2 * RESULT;
        *count = 3;
    }
    unsigned kinds[4] = {USUAL};
    int several = wanted >= 6 && fakeGet("algorithms") == 4 ? 4 : 1;
    if (several > 1) {
        const unsigned all[4] = {SLOW, WRONG, CHANGING, USUAL};
        memcpy(kinds, all, sizeof(all));
        *count += several - 1;
    }
    for (int i = 0; i < several; i++) {
        algo.kind = kinds[i];
        memcpy(results + i * RESULT, &algo, sizeof(algo));
        memcpy(results + i * RESULT + 64, &algo.workspace, 8);
    }
    return OK;
}

EXPORT int cublasLtMatmulAlgoCheck(
    void* handle, void* desc, void* a, void* b, void* c, void* d, const void* algorithm, unsigned char* result) {
    BEGIN("cublasLtMatmulAlgoCheck")
    if (int status = usable(lives(handle) ? static_cast<Handle*>(handle) : nullptr)) {
        return status;
    }
    Algo algo;
    memcpy(&algo, algorithm, sizeof(algo));
    uint64_t problem = problem_of(
        *static_cast<Desc*>(desc), *static_cast<Layout*>(a), *static_cast<Layout*>(b), *static_cast<Layout*>(c),
        *static_cast<Layout*>(d));
    if (algo.magic != ALGO_MAGIC || algo.problem != problem) {
        return INVALID_VALUE;
    }
    memset(result, 0, RESULT);
    memcpy(result, &algo, sizeof(algo));
    memcpy(result + 64, &algo.workspace, 8);
    return OK;
}

EXPORT int cublasLtMatmul(
    void* handle,
    void* desc_handle,
    const float* alpha,
    uint64_t a,
    void* layout_a,
    uint64_t b,
    void* layout_b,
    const float* beta,
    uint64_t c,
    void* layout_c,
    uint64_t d,
    void* layout_d,
    const void* algorithm,
    uint64_t workspace,
    size_t workspace_bytes,
    void* stream) {
    BEGIN("cublasLtMatmul")
    if (int status = usable(lives(handle) ? static_cast<Handle*>(handle) : nullptr)) {
        return status;
    }
    for (void* object : {desc_handle, layout_a, layout_b, layout_c, layout_d}) {
        if (!lives(object)) {
            return refuse(INVALID_VALUE, "a descriptor that does not live");
        }
    }
    auto& desc = *static_cast<Desc*>(desc_handle);
    auto& la = *static_cast<Layout*>(layout_a);
    auto& lb = *static_cast<Layout*>(layout_b);
    auto& lc = *static_cast<Layout*>(layout_c);
    auto& ld = *static_cast<Layout*>(layout_d);
    Product product{};
    int status = prepare(desc, la, lb, lc, ld, product);
    if (status != OK) {
        return status;
    }
    if (algorithm != nullptr) {
        Algo algo;
        memcpy(&algo, algorithm, sizeof(algo));
        if (algo.magic != ALGO_MAGIC || algo.problem != problem_of(desc, la, lb, lc, ld)) {
            return refuse(INVALID_VALUE, "cublasLtMatmul with an algorithm for another problem");
        }
        uint64_t addresses[4] = {a, b, c, d};
        for (int i = 0; i < 4; i++) {
            if (addresses[i] % algo.alignment[i] != 0) {
                return refuse(
                    INVALID_VALUE, "cublasLtMatmul with matrix " + std::string(1, "abcd"[i]) + " not aligned to the "
                        + std::to_string(algo.alignment[i]) + " bytes that the heuristics were promised");
            }
        }
        if (desc.epilogue != 1 && desc.bias % algo.bias_alignment != 0) {
            return refuse(INVALID_VALUE, "cublasLtMatmul with a bias less aligned than the one that the heuristics saw");
        }
        if (algo.workspace > 0) {
            if (workspace_bytes < algo.workspace || workspace % 16 != 0) {
                return refuse(INVALID_VALUE, "cublasLtMatmul with too small a workspace or one not aligned to 16 bytes");
            }
            overwrite(stream, workspace, algo.workspace);
        }
        product.kind = algo.kind;
    }
    if (desc.epilogue != 1 && desc.bias == 0 && desc.epilogue != EPILOGUE_GELU) {
        return refuse(INVALID_VALUE, "an epilogue without its bias pointer");
    }
    if (desc.epilogue != 1 && desc.bias % 16 != 0) {
        return refuse(EXECUTION_FAILED, "cublasLtMatmul with a bias that is not aligned to 16 bytes");
    }
    if (*beta != 0 && refuses(ADDENDS)) {
        return NOT_SUPPORTED;
    }
    product.a.address = a;
    product.b.address = b;
    product.c.address = c;
    product.d.address = d;
    bool apart = c + product.c.bytes() <= d || d + product.d.bytes() <= c;
    if (*beta != 0 && !(c == d ? lc.ld == ld.ld : apart)) {
        return refuse(INVALID_VALUE, "cublasLtMatmul with a C that overlaps D and is not D");
    }
    product.bias = desc.bias;
    product.alpha = *alpha;
    product.beta = *beta;
    return enqueue(stream, "cublasLtMatmul", product);
}

// ----------------------------------------------------------------------------------------------------------------- cuBLAS

EXPORT const char* cublasGetStatusString(int status) {
    return status_text(status);
}

EXPORT int cublasCreate_v2(void** handle) {
    BEGIN("cublasCreate")
    return made(handle, new Handle());
}

static Handle* handle_of(void* handle) {
    return lives(handle) ? static_cast<Handle*>(handle) : nullptr;
}

EXPORT int cublasDestroy_v2(void* handle) {
    BEGIN("cublasDestroy")
    return handle_of(handle) == nullptr ? NOT_INITIALIZED : destroyed<Handle>(handle, "a handle");
}

EXPORT int cublasSetStream_v2(void* handle, void* stream) {
    BEGIN("cublasSetStream")
    Handle* mine = handle_of(handle);
    if (int status = usable(mine)) {
        return status;
    }
    mine->stream = stream;
    mine->workspace = 0;
    mine->workspace_bytes = 0;
    return OK;
}

EXPORT int cublasSetWorkspace_v2(void* handle, uint64_t workspace, size_t bytes) {
    BEGIN("cublasSetWorkspace")
    Handle* mine = handle_of(handle);
    if (int status = usable(mine)) {
        return status;
    }
    if (workspace % 256 != 0) {
        return refuse(INVALID_VALUE, "cublasSetWorkspace with an address that is not aligned to 256 bytes");
    }
    if (bytes < LEAST_WORKSPACE) {
        return refuse(INVALID_VALUE, "cublasSetWorkspace with fewer bytes than every product can do with");
    }
    mine->workspace = workspace;
    mine->workspace_bytes = bytes;
    return OK;
}

EXPORT int cublasSetMathMode(void* handle, int mode) {
    BEGIN("cublasSetMathMode")
    Handle* mine = handle_of(handle);
    if (mine == nullptr) {
        return NOT_INITIALIZED;
    }
    mine->math_mode = mode;
    return OK;
}

EXPORT int cublasGemmStridedBatchedEx_64(
    void* handle,
    int op_a,
    int op_b,
    int64_t m,
    int64_t n,
    int64_t k,
    const float* alpha,
    uint64_t a,
    int type_a,
    int64_t lda,
    long long stride_a,
    uint64_t b,
    int type_b,
    int64_t ldb,
    long long stride_b,
    const float* beta,
    uint64_t c,
    int type_c,
    int64_t ldc,
    long long stride_c,
    int64_t batch,
    int compute,
    int) {
    BEGIN("cublasGemmStridedBatchedEx")
    Handle* mine = handle_of(handle);
    if (int status = usable(mine)) {
        return status;
    }
    if (m < 0 || n < 0 || k < 0 || batch < 0 || lda < std::max<int64_t>(1, op_a == 0 ? m : k)
        || ldb < std::max<int64_t>(1, op_b == 0 ? k : n) || ldc < std::max<int64_t>(1, m)) {
        return refuse(INVALID_VALUE, "cublasGemmStridedBatchedEx: a size is negative or a leading dimension too small");
    }
    if (!known_types(type_a, type_b, type_c)
        || (compute != COMPUTE_32F && compute != COMPUTE_32F_PEDANTIC && compute != COMPUTE_32F_FAST_TF32)) {
        return NOT_SUPPORTED;
    }
    if (refuses(ALL)) {
        return NOT_SUPPORTED;
    }
    if (m == 0 || n == 0 || batch == 0) {
        return OK;
    }
    if (mine->workspace_bytes == 0) {
        // The real one takes memory of its own: results need not repeat, and a graph would hold an allocation.
        return refuse(ALLOC_FAILED, "cublasGemmStridedBatchedEx without a workspace of the caller's for this stream");
    }
    overwrite(mine->stream, mine->workspace, mine->workspace_bytes);
    Matrix stored_a = {a, type_a, op_a == 0 ? m : k, op_a == 0 ? k : m, 1, lda, stride_a};
    Matrix stored_b = {b, type_b, op_b == 0 ? k : n, op_b == 0 ? n : k, 1, ldb, stride_b};
    Product product{};
    product.a = op_a == 0 ? stored_a : stored_a.transposed();
    product.b = op_b == 0 ? stored_b : stored_b.transposed();
    product.c = {c, type_c, m, n, 1, ldc, stride_c};
    product.d = product.c;
    product.batch = batch;
    product.tf32 = type_a == R_32F && (compute == COMPUTE_32F_FAST_TF32 || (mine->math_mode & 15) == 3);
    product.alpha = *alpha;
    product.beta = *beta;
    return enqueue(mine->stream, "cublasGemmStridedBatchedEx", product);
}
