// What the fake libraries share: the driver's side for the fakes of other libraries, and the controls for tests.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <stdio.h>

#include <functional>

#define EXPORT extern "C" __attribute__((visibility("default")))

// ------------------------------------------------------------------------------------------ for the other fake libraries

/**
 * Counts a call of a library function and tells the status that a test asked for instead of running it, or 0. A name with and
 * without _v2 is the same function.
 */
EXPORT int fake_before(const char* function);

/** Enqueues work on a stream, as a kernel launch would; a status of the driver. The work returns a status. */
__attribute__((visibility("default"))) int fake_enqueue(void* stream, const char* what, std::function<int()> work, bool kernel = true);

/** 0, or CUDA_ERROR_ILLEGAL_ADDRESS with a message if the bytes are not within one live allocation. */
EXPORT int fake_check_range(uint64_t address, uint64_t bytes, const char* what);

/** The calling thread's current context, or null. */
EXPORT const void* fake_context();

/**
 * Waits in enqueued work until a condition holds that other threads bring about; they use the driver meanwhile, all but this
 * stream. False if it does not hold after two minutes.
 */
__attribute__((visibility("default"))) bool fake_wait(const std::function<bool()>& holds);

/** Counts objects of another library that were made, or with -1 destroyed, among the live handles. */
EXPORT void fake_made(int count);

// ------------------------------------------------------------------------------------------------------ for the tests

/** Lets the nth call (1 is the next) of a function return this status; 0 lets all calls return it from now on. */
EXPORT void fakeFail(const char* function, int nth, int status);

/**
 * Lets the nth call from now (1 is the next) of any function fail, or an earlier one where the calls go another way than after
 * the fakeFailAny before; by a status of its library's that breaks nothing else. Not counted are functions that only end
 * something (destroy, free, unload, release), which do so on a GPU even as they report.
 */
EXPORT void fakeFailAny(int nth);

/** The calls counted since then, separated by spaces, the last of which failed; "unreached" before them if none did. Ends it. */
EXPORT const char* fakeTrace();

/** How often a function has been called, or a kernel launched, since the last reset, failures included. */
EXPORT long long fakeCalls(const char* function);

/** Bytes of device memory that are allocated and not freed, of all devices, after all enqueued work. */
EXPORT long long fakeLiveBytes();

/**
 * Number of live pinned host blocks, streams, events, memory pools, modules, graphs and graph instances, and of the handles,
 * descriptors and programs of the other libraries, together.
 */
EXPORT long long fakeLiveHandles();

/**
 * Changes a setting; what a device has is read when it is asked. The same may be set from the start by an environment variable
 * TESSERA_FAKE_NAME in capitals.
 *
 * devices (1), capability (80), multiprocessors (3), memory (bytes per device, 4 GiB), driver_version (13000), lazy (1: work
 * runs as late as streams, events and copies allow; 0: at once), sticky (0; 1: an error of enqueued work breaks the context
 * for good, as on a GPU), gelu (0; 1: the fake cuBLASLt offers GELU epilogues), bias_gradient (1; 0: its heuristics know no
 * algorithm for bias gradients), refusals (0; what else the fake cuBLASLt does not support, added up: 1 bias gradients in f32 of bf16
 * factors, by INVALID_VALUE of its heuristics; 2 the same by its setter; 4 biases, by its heuristics; 8 addends, by the product;
 * 16 bf16 that is not aligned to 16 bytes, rows included; 32 everything, cuBLAS too), algorithms (1; 4: the fake cuBLASLt
 * knows four for each product, of which the first is slow, the second wrong, and the third never gives the same twice),
 * cudnn_version (91900), cudnn_heuristics and cudnn_fallback (1 and 1: which engines the two kinds of heuristics of the fake cuDNN name,
 * one digit each: 1 right, 2 wrong, 3 never the same twice where sums may be added up in memory, 4 makes no plan, 5 fails from
 * the fourth time on; 0 none), order (of threads and blocks: 0 ascending, -1 descending, else the seed of a random one; as it
 * is when the work runs), compile_ms (0; how long NVRTC takes).
 */
EXPORT void fakeSet(const char* name, long long value);
EXPORT long long fakeGet(const char* name);

/** Forgets asked-for failures, counts, errors and changed settings; allocations and handles stay. */
EXPORT void fakeReset();

/** What went wrong last in enqueued work, or an empty text. */
EXPORT const char* fakeLastError();

/** All kernels, a line for each: its name, the file of its source, the name of its parameters' struct and the struct's bytes. */
EXPORT const char* fakeKernels();
