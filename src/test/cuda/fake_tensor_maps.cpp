// The driver's tensor maps: matrices and their boxes, as emulation_tma.cpp copies them.
#include <string.h>

#include "emulation_tma.h"
#include "fake_cuda.h"

namespace {

constexpr int INVALID_VALUE = 1;
constexpr int UINT8 = 0;  // of CUtensorMapDataType
constexpr int BFLOAT16 = 9;

int encode(
    void* map,
    int type,
    uint32_t rank,
    void* address,
    const uint64_t* dims,
    const uint64_t* strides,
    const uint32_t* box,
    const uint32_t* steps,
    int interleave,
    int swizzle,
    int promotion,
    int fill) {
    auto start = reinterpret_cast<uint64_t>(address);
    if (map == nullptr || reinterpret_cast<uint64_t>(map) % 64 != 0 || (type != BFLOAT16 && type != UINT8) || rank != 2 || start == 0
        || start % 16 != 0 || interleave != 0 || swizzle < 0 || swizzle > 3 || promotion < 0 || promotion > 3
        || fill < 0 || fill > 1) {
        return INVALID_VALUE;
    }
    constexpr uint64_t MOST = uint64_t(1) << 32;
    for (int i = 0; i < 2; i++) {
        if (dims[i] == 0 || dims[i] > MOST || box[i] == 0 || box[i] > 256 || steps[i] != 1) {
            return INVALID_VALUE;
        }
    }
    const uint32_t element = type == UINT8 ? 1 : 2;
    const uint32_t span = swizzle == 0 ? 0 : 16u << swizzle;
    if (strides[0] % 16 != 0 || strides[0] >= uint64_t(1) << 40 || box[0] * element % 16 != 0
        || (span != 0 && box[0] * element > span)) {
        return INVALID_VALUE;
    }
    emulation::TensorMap made = {};
    made.mark = emulation::TENSOR_MAP_MARK;
    made.address = start;
    made.columns = dims[0];
    made.rows = dims[1];
    made.row_bytes = strides[0];
    made.element_bytes = element;
    made.box_columns = box[0];
    made.box_rows = box[1];
    made.swizzle = span;
    memcpy(map, &made, sizeof(made));
    return 0;
}

}  // namespace

EXPORT int cuTensorMapEncodeTiled(
    void* map,
    int type,
    uint32_t rank,
    void* address,
    const uint64_t* dims,
    const uint64_t* strides,
    const uint32_t* box,
    const uint32_t* steps,
    int interleave,
    int swizzle,
    int promotion,
    int fill) {
    int status = fake_before("cuTensorMapEncodeTiled");
    return status != 0
        ? status
        : encode(map, type, rank, address, dims, strides, box, steps, interleave, swizzle, promotion, fill);
}
