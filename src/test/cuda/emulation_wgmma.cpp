// Warpgroup products: descriptors, swizzles, fences, groups. See emulation_wgmma.h.
#include "emulation_wgmma.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

namespace emulation {

namespace {

constexpr int THREADS = 128;
constexpr int ROWS = 64;
constexpr int DEPTH = 16;  // pieces of two bytes: values of bf16, or pairs of bytes
constexpr unsigned FIRST_ADDRESS = 1024 + 16;  // of dynamic shared memory
constexpr int MAX_WARPGROUPS = 8;

/** What is multiplied. */
enum class Factor { BF16, S8, E4M3 };

/** A sum of products, of bf16 or of bytes. */
union Sum {
    float real;
    int32_t whole;
};

/** The values of an accumulator whose registers are not to be read now. */
struct Accumulator {
    int n;
    int pending;  // products of the warpgroup that have been issued by all threads and are not finished
    std::vector<Sum> values;
    Sum* registers[THREADS];
};

struct Product {
    int n;
    Factor factor;
    bool from_registers;
    int a_mn;
    int b_mn;
    bool accumulate;
    uint64_t a;
    uint64_t b;
    int came = 0;
    int group;
    std::shared_ptr<Accumulator> d;
    std::vector<uint16_t> a_values;  // [64][16]
    std::vector<uint16_t> b_values;  // [16][n]
};

struct Issuer {
    size_t issued = 0;  // products since the last that the warpgroup has finished
    int groups = 0;
    bool fenced = false;
    std::vector<std::shared_ptr<Accumulator>> busy;
};

struct Warpgroup {
    std::vector<Product> products;  // not finished
    Issuer issuers[THREADS];
};

/** Of the block that this OS thread runs. */
struct State {
    uint64_t serial = 0;
    Warpgroup warpgroups[MAX_WARPGROUPS];
    std::vector<short> unfenced;             // by 16 bytes of dynamic shared memory: 1 + the thread that wrote them
    std::vector<std::vector<size_t>> mine;  // the same by thread
};

State& state() {
    static thread_local std::unique_ptr<State> kept;  // not itself: there is little memory of this kind
    if (!kept) {
        kept = std::make_unique<State>();
    }
    State& instance = *kept;
    if (instance.serial != runner->serial) {
        instance.serial = runner->serial;
        for (Warpgroup& warpgroup : instance.warpgroups) {
            warpgroup = Warpgroup();
        }
        instance.unfenced.assign(runner->shared[0].size / 16 + 1, 0);
        instance.mine.assign(1024, {});
    }
    return instance;
}

int warpgroup_of_current() {
    int number = current->number / THREADS;
    if (number >= MAX_WARPGROUPS) {
        fail("a product by a warpgroup beyond the block's eighth");
    }
    return number;
}

const unsigned char* at(unsigned address) {
    if (address < FIRST_ADDRESS || address + 16 > FIRST_ADDRESS + runner->shared[0].size) {
        fail("wgmma reads at %u, outside dynamic shared memory (%u to %u)", address, FIRST_ADDRESS,
             static_cast<unsigned>(FIRST_ADDRESS + runner->shared[0].size));
    }
    return runner->dynamic_shared + (address - FIRST_ADDRESS);
}

/** Reads `rows` x 16 values, by rows of A or columns of B. */
void read(std::vector<uint16_t>& values, uint64_t descriptor, int mn_major, int rows, bool first) {
    const unsigned start = static_cast<unsigned>(descriptor & 0x3FFF) << 4;
    const unsigned leading = static_cast<unsigned>(descriptor >> 16 & 0x3FFF) << 4;
    const unsigned stride = static_cast<unsigned>(descriptor >> 32 & 0x3FFF) << 4;
    const unsigned swizzle = static_cast<unsigned>(descriptor >> 62);
    if ((descriptor >> 49 & 7) != 0) {
        fail("a descriptor has a base offset: tiles must begin at multiples of 1024 (512, 256 for shorter swizzles)");
    }
    const unsigned chunks = swizzle == 0 ? 1 : 16u >> swizzle;  // of 16 bytes in a swizzled row
    const unsigned width = 16 * chunks;
    const unsigned mask = (chunks - 1) << 4;
    values.resize(static_cast<size_t>(rows) * DEPTH);
    State& all = state();
    // Eight values of 16 bytes at a time: along k for K-major operands, along the rows for the others.
    for (int outer = 0; outer < (mn_major ? DEPTH : rows); outer++) {
        for (int inner = 0; inner < (mn_major ? rows : DEPTH); inner += 8) {
            unsigned row = static_cast<unsigned>(outer);
            unsigned chunk = static_cast<unsigned>(inner) / 8;
            unsigned offset = row % 8 * width;
            if (swizzle == 0) {
                offset += mn_major ? chunk * stride + row / 8 * leading : row / 8 * stride + chunk * leading;
            } else if (mn_major) {
                offset += row / 8 * stride + chunk / chunks * leading + chunk % chunks * 16;
            } else {
                offset += row / 8 * stride + chunk * 16;
            }
            unsigned address = start + offset;
            address ^= address >> 3 & mask;
            const unsigned char* from = at(address);
            touch(from, 16, Access::READ, *current);
            short writer = all.unfenced[static_cast<size_t>(from - runner->dynamic_shared) / 16];
            if (first && writer != 0) {
                fail("wgmma reads what thread %d wrote without a fence_proxy_async since", writer - 1);
            }
            uint16_t eight[8];
            memcpy(eight, from, 16);
            for (int i = 0; i < 8; i++) {
                int place = mn_major ? (inner + i) * DEPTH + outer : outer * DEPTH + inner + i;
                values[static_cast<size_t>(place)] = eight[i];
            }
        }
    }
}

float value_of(uint16_t bits) {
    return __uint_as_float(static_cast<unsigned>(bits) << 16);
}

void read_operands(Product& product, bool first) {
    std::vector<uint16_t> a;
    std::vector<uint16_t> b;
    std::vector<uint16_t>& to_a = first ? product.a_values : a;
    std::vector<uint16_t>& to_b = first ? product.b_values : b;
    if (!product.from_registers) {
        read(to_a, product.a, product.a_mn, ROWS, first);
        if (!first && a != product.a_values) {
            fail("operand A of a wgmma changed in shared memory before the product was waited for");
        }
    }
    read(to_b, product.b, product.b_mn, product.n, first);
    if (!first && b != product.b_values) {
        fail("operand B of a wgmma changed in shared memory before the product was waited for");
    }
}

int row_of(int thread, int i) {
    return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
}

int col_of(int thread, int i) {
    return i / 4 * 8 + thread % 4 * 2 + i % 2;
}

/** Sums of products of 32 bytes with sign, as integers that must not overflow. */
void compute_bytes(Product& product) {
    for (int i = 0; i < ROWS; i++) {
        signed char a[2 * DEPTH];
        memcpy(a, &product.a_values[static_cast<size_t>(i) * DEPTH], sizeof(a));
        for (int j = 0; j < product.n; j++) {
            signed char b[2 * DEPTH];
            memcpy(b, &product.b_values[static_cast<size_t>(j) * DEPTH], sizeof(b));
            Sum& d = product.d->values[static_cast<size_t>(i) * product.n + j];
            int64_t sum = product.accumulate ? d.whole : 0;
            for (int k = 0; k < 2 * DEPTH; k++) {
                sum += a[k] * b[k];
            }
            if (sum != static_cast<int32_t>(sum)) {
                fail("a sum of products of bytes that does not fit into 32 bits");
            }
            d.whole = static_cast<int32_t>(sum);
        }
    }
}

float from_e4m3(unsigned byte) {
    const int exponent = byte >> 3 & 15;
    const int mantissa = byte & 7;
    const float size = (byte & 127) == 127 ? NAN
        : exponent == 0                    ? std::ldexp(static_cast<float>(mantissa), -9)
                                           : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    return byte >= 128 ? -size : size;
}

/** Sums of products of 32 floats of eight bits. */
void compute_e4m3(Product& product) {
    static const std::vector<float> floats = [] {
        std::vector<float> all;
        for (unsigned byte = 0; byte < 256; byte++) {
            all.push_back(from_e4m3(byte));
        }
        return all;
    }();
    for (int i = 0; i < ROWS; i++) {
        unsigned char a[2 * DEPTH];
        memcpy(a, &product.a_values[static_cast<size_t>(i) * DEPTH], sizeof(a));
        for (int j = 0; j < product.n; j++) {
            unsigned char b[2 * DEPTH];
            memcpy(b, &product.b_values[static_cast<size_t>(j) * DEPTH], sizeof(b));
            Sum& d = product.d->values[static_cast<size_t>(i) * product.n + j];
            float sum = product.accumulate ? d.real : 0.0f;
            for (int k = 0; k < 2 * DEPTH; k++) {
                sum += floats[a[k]] * floats[b[k]];
            }
            d.real = sum;
        }
    }
}

void compute(Product& product) {
    read_operands(product, false);
    if (product.factor == Factor::S8) {
        compute_bytes(product);
        return;
    }
    if (product.factor == Factor::E4M3) {
        compute_e4m3(product);
        return;
    }
    const int n = product.n;
    std::vector<Sum>& d = product.d->values;
    std::vector<float> b(static_cast<size_t>(DEPTH) * n);
    for (int j = 0; j < n; j++) {
        for (int k = 0; k < DEPTH; k++) {
            b[static_cast<size_t>(k) * n + j] = value_of(product.b_values[static_cast<size_t>(j) * DEPTH + k]);
        }
    }
    for (int i = 0; i < ROWS; i++) {
        Sum* row = d.data() + static_cast<size_t>(i) * n;
        if (!product.accumulate) {
            for (int j = 0; j < n; j++) {
                row[j].real = 0.0f;
            }
        }
        for (int k = 0; k < DEPTH; k++) {
            const float a = value_of(product.a_values[static_cast<size_t>(i) * DEPTH + k]);
            const float* from = b.data() + static_cast<size_t>(k) * n;
            for (int j = 0; j < n; j++) {
                row[j].real += a * from[j];
            }
        }
    }
}

/** All threads of the warpgroup wait: finishes the groups that they wait for. */
void finish(Warpgroup& warpgroup, int unfinished_groups) {
    Issuer& one = warpgroup.issuers[0];
    for (Issuer& other : warpgroup.issuers) {
        if (other.issued != one.issued || other.groups != one.groups) {
            fail("threads of a warpgroup have issued different numbers of products or groups");
        }
    }
    size_t count = 0;
    while (count < warpgroup.products.size() && warpgroup.products[count].group < one.groups - unfinished_groups) {
        Product& product = warpgroup.products[count++];
        compute(product);
        Accumulator& d = *product.d;
        d.pending--;
        if (d.pending == 0) {
            for (int t = 0; t < THREADS; t++) {
                for (int i = 0; i < d.n / 2; i++) {
                    d.registers[t][i] = d.values[static_cast<size_t>(row_of(t, i)) * d.n + col_of(t, i)];
                }
                auto& busy = warpgroup.issuers[t].busy;
                for (size_t i = 0; i < busy.size(); i++) {
                    if (busy[i] == product.d) {
                        busy.erase(busy.begin() + static_cast<long>(i));
                        break;
                    }
                }
            }
        }
    }
    warpgroup.products.erase(warpgroup.products.begin(), warpgroup.products.begin() + static_cast<long>(count));
    for (Issuer& issuer : warpgroup.issuers) {
        issuer.issued -= count;
        issuer.fenced = false;
    }
}

}  // namespace

unsigned shared_address(const void* shared) {
    auto* place = static_cast<const unsigned char*>(shared);
    if (place < runner->dynamic_shared || place > runner->dynamic_shared + runner->shared[0].size) {
        fail("the address of something outside dynamic shared memory is asked for");
    }
    return FIRST_ADDRESS + static_cast<unsigned>(place - runner->dynamic_shared);
}

void generic_write(const void* shared) {
    State& all = state();
    size_t place = static_cast<size_t>(static_cast<const unsigned char*>(shared) - runner->dynamic_shared) / 16;
    all.unfenced[place] = static_cast<short>(current->number + 1);
    all.mine[static_cast<size_t>(current->number)].push_back(place);
}

void fence_proxy_async() {
    State& all = state();
    auto& places = all.mine[static_cast<size_t>(current->number)];
    for (size_t place : places) {
        if (all.unfenced[place] == current->number + 1) {
            all.unfenced[place] = 0;
        }
    }
    places.clear();
}

void named_barrier(int id, int threads, bool waits) {
    if (id < 1 || id > 15) {
        fail("named barrier %d: there are 1 to 15, 0 is that of __syncthreads", id);
    }
    if (threads <= 0 || threads % 32 != 0) {
        fail("named barrier %d of %d threads, which are no whole warps", id, threads);
    }
    if (rendezvous(id, threads, waits)) {
        release(id);
    }
}

void wgmma_fence() {
    state().warpgroups[warpgroup_of_current()].issuers[current->number % THREADS].fenced = true;
}

void wgmma_commit() {
    state().warpgroups[warpgroup_of_current()].issuers[current->number % THREADS].groups++;
}

void wgmma_wait(int unfinished_groups) {
    int number = warpgroup_of_current();
    if (rendezvous(16 + number, THREADS, true)) {
        finish(state().warpgroups[number], unfinished_groups);
        release(16 + number);
    }
}

namespace {

/** The same for both kinds of values. */
void issue(
    Sum* d, int n, Factor factor, const unsigned* a_registers, uint64_t a, int a_mn, uint64_t b, int b_mn, bool accumulate) {
    Warpgroup& warpgroup = state().warpgroups[warpgroup_of_current()];
    const int thread = current->number % THREADS;
    Issuer& issuer = warpgroup.issuers[thread];
    if (!issuer.fenced) {
        fail("a wgmma without a wgmma_fence since the last wgmma_wait");
    }
    if (issuer.issued == warpgroup.products.size()) {
        Product product;
        product.n = n;
        product.factor = factor;
        product.from_registers = a_registers != nullptr;
        product.a_mn = a_mn;
        product.b_mn = b_mn;
        product.accumulate = accumulate;
        product.a = a;
        product.b = b;
        product.group = issuer.groups;
        product.a_values.resize(ROWS * DEPTH);
        warpgroup.products.push_back(product);
    }
    Product& product = warpgroup.products[issuer.issued++];
    if (product.n != n || product.factor != factor || product.from_registers != (a_registers != nullptr) || product.a != a || product.b != b
        || product.a_mn != a_mn || product.b_mn != b_mn || product.accumulate != accumulate
        || product.group != issuer.groups) {
        fail("threads of a warpgroup issue different products: descriptors %llx %llx and %llx %llx",
             static_cast<unsigned long long>(product.a), static_cast<unsigned long long>(product.b),
             static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
    }
    std::shared_ptr<Accumulator> target;
    for (auto& busy : issuer.busy) {
        if (busy->registers[thread] == d) {
            target = busy;
        }
    }
    if (!target) {
        if (!product.d) {
            product.d = std::make_shared<Accumulator>();
            product.d->n = n;
            product.d->pending = 0;
            product.d->values.resize(static_cast<size_t>(ROWS) * n);
        }
        target = product.d;
        target->registers[thread] = d;
        issuer.busy.push_back(target);
        for (int i = 0; i < n / 2; i++) {
            target->values[static_cast<size_t>(row_of(thread, i)) * n + col_of(thread, i)] = d[i];
            d[i].whole = 0x7FCBCBCB;
        }
    } else if (!product.d) {
        product.d = target;
    }
    if (product.d != target || target->n != n) {
        fail("threads of a warpgroup add a product to different accumulators, or products of different sizes to one");
    }
    if (a_registers != nullptr) {
        for (int i = 0; i < 8; i++) {
            int row = thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8;
            int col = i / 4 * 8 + thread % 4 * 2 + i % 2;
            product.a_values[static_cast<size_t>(row) * DEPTH + col] =
                static_cast<uint16_t>(a_registers[i / 2] >> i % 2 * 16);
        }
    }
    if (++product.came == THREADS) {
        target->pending++;
        read_operands(product, true);
    }
}

}  // namespace

void wgmma(float* d, int n, const unsigned* a_registers, uint64_t a, int a_mn, uint64_t b, int b_mn, bool accumulate) {
    issue(reinterpret_cast<Sum*>(d), n, Factor::BF16, a_registers, a, a_mn, b, b_mn, accumulate);
}

void wgmma_bytes(int* d, int n, uint64_t a, uint64_t b, bool accumulate) {
    issue(reinterpret_cast<Sum*>(d), n, Factor::S8, nullptr, a, 0, b, 0, accumulate);
}

void wgmma_e4m3(float* d, int n, uint64_t a, uint64_t b, bool accumulate) {
    issue(reinterpret_cast<Sum*>(d), n, Factor::E4M3, nullptr, a, 0, b, 0, accumulate);
}

unsigned to_e4m3(float value) {
    const unsigned sign = std::signbit(value) ? 128 : 0;
    if (std::isnan(value)) {
        return sign | 127;
    }
    const float size = std::fmin(std::fabs(value), 448.0f);
    // The exponent of the last bit: that of the smallest normal numbers for all that are smaller.
    const int last = std::max(size == 0.0f ? -9 : std::ilogb(size) - 3, -9);
    const unsigned steps = static_cast<unsigned>(std::nearbyint(std::ldexp(size, -last)));  // 16 where it became the next power of 2
    return sign | (static_cast<unsigned>(last + 9) * 8 + steps);
}

}  // namespace emulation
