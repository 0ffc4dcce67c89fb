/* A CUDA driver in which every call succeeds and nothing happens, so that only the caller's own time is left to measure. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint64_t next_address = 1 << 20;

static int give(void* out, uint64_t value) {
    memcpy(out, &value, sizeof value);
    return 0;
}

static int give_int(int* out, int value) {
    *out = value;
    return 0;
}

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int* version) { return give_int(version, 13000); }
int cuDeviceGetCount(int* count) { return give_int(count, 1); }
int cuDeviceGet(int* device, int ordinal) { return give_int(device, ordinal); }
int cuDeviceGetName(char* name, int length, int device) { strcpy(name, "nothing"); return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int device) {
    return give_int(value, attribute == 75 ? 8 : attribute == 76 ? 0 : attribute == 97 ? 166912 : 108);
}
int cuDeviceTotalMem_v2(size_t* bytes, int device) { return give(bytes, 1ull << 36); }
int cuDevicePrimaryCtxRetain(void** context, int device) { return give(context, 1); }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuCtxSetCurrent(void* context) { return 0; }
int cuMemPoolCreate(void** pool, const void* properties) { return give(pool, 2); }
int cuMemPoolSetAttribute(void* pool, int attribute, void* value) { return 0; }
int cuStreamCreateWithPriority(void** stream, unsigned flags, int priority) { return give(stream, 3); }
int cuMemAllocFromPoolAsync(uint64_t* address, size_t bytes, void* pool, void* stream) {
    next_address += (bytes + 511) / 512 * 512;
    return give(address, next_address);
}
int cuModuleLoadData(void** module, const void* image) { return give(module, 4); }
int cuModuleGetFunction(void** function, void* module, const char* name) { return give(function, 5); }
int cuLaunchKernel(
    void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,
    unsigned shared, void* stream, void** params, void** extra) {
    return 0;
}

int cuMemAlloc_v2(uint64_t* address, size_t bytes) { return cuMemAllocFromPoolAsync(address, bytes, NULL, NULL); }
int cuMemFree_v2(uint64_t address) { return 0; }
int cuStreamSynchronize(void* stream) { return 0; }
int cuStreamDestroy_v2(void* stream) { return 0; }
int cuStreamWaitEvent(void* stream, void* event, unsigned flags) { return 0; }
int cuEventCreate(void** event, unsigned flags) { return give(event, 12); }
int cuEventRecord(void* event, void* stream) { return 0; }
int cuEventDestroy_v2(void* event) { return 0; }
int cuStreamBeginCapture_v2(void* stream, int mode) { return 0; }
int cuStreamEndCapture(void* stream, void** graph) { return give(graph, 13); }
int cuGraphGetNodes(void* graph, void** nodes, size_t* count) { return give(count, 1); }
int cuGraphInstantiateWithFlags(void** exec, void* graph, unsigned long long flags) { return give(exec, 14); }
int cuGraphUpload(void* exec, void* stream) { return 0; }
int cuGraphLaunch(void* exec, void* stream) { return 0; }
int cuGraphExecDestroy(void* exec) { return 0; }
int cuGraphDestroy(void* graph) { return 0; }

int cublasLtCreate(void** handle) { return give(handle, 6); }
int cublasLtMatmulDescCreate(void** desc, int compute, int scale) { return give(desc, 8); }
int cublasLtMatmulDescSetAttribute(void* desc, int attribute, const void* value, size_t bytes) { return 0; }
int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t ld) { return give(layout, 9); }
int cublasLtMatmulPreferenceCreate(void** preference) { return give(preference, 10); }
int cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, size_t bytes) { return 0; }
int cublasLtMatmulPreferenceDestroy(void* preference) { return 0; }
int cublasLtMatmulAlgoGetHeuristic(
    void* handle, void* desc, void* a, void* b, void* c, void* d, void* preference, int wanted, void* results, int* found) {
    memset(results, 0, 96);
    return give_int(found, 1);
}
int cublasLtMatmul(
    void* handle, void* desc, const void* alpha, const void* a, void* layout_a, const void* b, void* layout_b, const void* beta,
    const void* c, void* layout_c, void* d, void* layout_d, const void* algorithm, void* workspace, size_t bytes, void* stream) {
    return 0;
}

int cublasCreate_v2(void** handle) { return give(handle, 11); }
int cublasSetMathMode(void* handle, int mode) { return 0; }
int cublasSetStream_v2(void* handle, void* stream) { return 0; }
int cublasSetWorkspace_v2(void* handle, void* workspace, size_t bytes) { return 0; }
int cublasGemmStridedBatchedEx_64(
    void* handle, int op_a, int op_b, int64_t m, int64_t n, int64_t k, const void* alpha, const void* a, int type_a, int64_t lda,
    long long stride_a, const void* b, int type_b, int64_t ldb, long long stride_b, const void* beta, void* c, int type_c,
    int64_t ldc, long long stride_c, int64_t batch, int compute, int algorithm) {
    return 0;
}

int nvrtcVersion(int* major, int* minor) { *major = 13; *minor = 0; return 0; }
int nvrtcGetNumSupportedArchs(int* count) { return give_int(count, 1); }
int nvrtcGetSupportedArchs(int* archs) { return give_int(archs, 80); }
int nvrtcCreateProgram(
    void** program, const char* source, const char* name, int headers, const char* const* texts, const char* const* names) {
    return give(program, 7);
}
int nvrtcDestroyProgram(void** program) { return 0; }
int nvrtcCompileProgram(void* program, int count, const char* const* options) { return 0; }
int nvrtcGetCUBINSize(void* program, size_t* size) { return give(size, 1); }
int nvrtcGetCUBIN(void* program, char* image) { *image = 0; return 0; }
