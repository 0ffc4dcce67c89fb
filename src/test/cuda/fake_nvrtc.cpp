// A test-only NVRTC: looks at the source instead of compiling it; the kernels are in the fake driver already.
#include "fake_cuda.h"

#include <stdio.h>
#include <string.h>

#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr int OK = 0;
constexpr int INVALID_INPUT = 3;
constexpr int INVALID_OPTION = 5;
constexpr int COMPILATION = 6;

constexpr int ARCHITECTURES[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};

struct Program {
    std::string source;
    std::string log;
    std::string image;
    std::set<std::string> included;
};

int copy_out(const std::string& from, char* to) {
    memcpy(to, from.c_str(), from.size() + 1);
    return OK;
}

}  // namespace

#define BEGIN(name)                      \
    if (int asked = fake_before(name)) { \
        return asked;                    \
    }

EXPORT int nvrtcVersion(int* major, int* minor) {
    BEGIN("nvrtcVersion")
    *major = 13;
    *minor = 0;
    return OK;
}

EXPORT const char* nvrtcGetErrorString(int status) {
    switch (status) {
        case OK:
            return "NVRTC_SUCCESS";
        case 1:
            return "NVRTC_ERROR_OUT_OF_MEMORY";
        case INVALID_INPUT:
            return "NVRTC_ERROR_INVALID_INPUT";
        case INVALID_OPTION:
            return "NVRTC_ERROR_INVALID_OPTION";
        case COMPILATION:
            return "NVRTC_ERROR_COMPILATION";
        case 7:
            return "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE";
        default:
            return "NVRTC_ERROR unknown";
    }
}

EXPORT int nvrtcGetNumSupportedArchs(int* count) {
    BEGIN("nvrtcGetNumSupportedArchs")
    *count = sizeof(ARCHITECTURES) / sizeof(ARCHITECTURES[0]);
    return OK;
}

EXPORT int nvrtcGetSupportedArchs(int* architectures) {
    BEGIN("nvrtcGetSupportedArchs")
    memcpy(architectures, ARCHITECTURES, sizeof(ARCHITECTURES));
    return OK;
}

EXPORT int nvrtcCreateProgram(
    void** program, const char* source, const char*, int headers, const char* const* contents, const char* const* names) {
    BEGIN("nvrtcCreateProgram")
    if (source == nullptr || headers < 0) {
        return INVALID_INPUT;
    }
    auto* made = new Program();
    made->source = source;
    // Each header once, at its first mention, which may be in another header; what else asks for it gets nothing.
    for (bool found = true; found;) {
        found = false;
        for (int i = 0; i < headers; i++) {
            std::string directive = "#include \"" + std::string(names[i]) + "\"";
            size_t place = made->source.find(directive);
            if (place != std::string::npos) {
                bool first = made->included.insert(names[i]).second;
                made->source.replace(place, directive.size(), first ? contents[i] : "");
                found = true;
            }
        }
    }
    *program = made;
    fake_made(1);
    return OK;
}

EXPORT int nvrtcDestroyProgram(void** program) {
    BEGIN("nvrtcDestroyProgram")
    delete static_cast<Program*>(*program);
    fake_made(-1);
    *program = nullptr;
    return OK;
}

EXPORT int nvrtcCompileProgram(void* handle, int count, const char* const* options) {
    BEGIN("nvrtcCompileProgram")
    std::this_thread::sleep_for(std::chrono::milliseconds(fakeGet("compile_ms")));
    auto* program = static_cast<Program*>(handle);
    for (int i = 0; i < count; i++) {
        if (options[i][0] != '-') {
            program->log = "nvrtc: error: unrecognized option " + std::string(options[i]) + " found\n";
            return INVALID_OPTION;
        }
    }
    for (size_t place = program->source.find("#include \""); place != std::string::npos;) {
        size_t end = program->source.find('\n', place);
        std::string line = program->source.substr(place, end - place);
        if (line.find("#include \"emulation") != 0) {
            program->log = "default_program(1): catastrophic error: cannot open source file of " + line + "\n";
            return COMPILATION;
        }
        place = program->source.find("#include \"", place + 1);
    }
    if (program->source.find("KERNEL(") == std::string::npos && program->source.find("__global__") == std::string::npos) {
        program->log = "default_program(1): error: the source has no kernel\n";
        return COMPILATION;
    }
    program->image = "// image of the fake NVRTC\n" + program->source;
    return OK;
}

EXPORT int nvrtcGetCUBINSize(void* handle, size_t* size) {
    BEGIN("nvrtcGetCUBINSize")
    *size = static_cast<Program*>(handle)->image.size() + 1;
    return OK;
}

EXPORT int nvrtcGetCUBIN(void* handle, char* image) {
    BEGIN("nvrtcGetCUBIN")
    return copy_out(static_cast<Program*>(handle)->image, image);
}

EXPORT int nvrtcGetPTXSize(void* handle, size_t* size) {
    BEGIN("nvrtcGetPTXSize")
    *size = static_cast<Program*>(handle)->image.size() + 1;
    return OK;
}

EXPORT int nvrtcGetPTX(void* handle, char* image) {
    BEGIN("nvrtcGetPTX")
    return copy_out(static_cast<Program*>(handle)->image, image);
}

EXPORT int nvrtcGetProgramLogSize(void* handle, size_t* size) {
    BEGIN("nvrtcGetProgramLogSize")
    *size = static_cast<Program*>(handle)->log.size() + 1;
    return OK;
}

EXPORT int nvrtcGetProgramLog(void* handle, char* log) {
    BEGIN("nvrtcGetProgramLog")
    return copy_out(static_cast<Program*>(handle)->log, log);
}
