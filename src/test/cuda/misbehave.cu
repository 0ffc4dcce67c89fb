// Kernels that do what a kernel must not, one thing each, to see that the fake device notices.
#include "tessera.cuh"
#include "wgmma.cuh"

struct MisbehaveArgs {
    float* x;
    long long count;
    int what;
};

enum Misdeed {
    NOTHING,
    WRITE_BEHIND,
    WRITE_BEFORE,
    DIVERGE_AT_BARRIER,
    DIFFERENT_BARRIERS,
    DIFFERENT_MASKS,
    MISALIGNED,
    OUTSIDE_SHARED,
    READ_UNWRITTEN_SHARED,
    READ_BEFORE_COPY,
    LEAVE_BEFORE_BARRIER,
    RACE_OF_WARPS,
    RACE_OF_LANES,
    RACE_AFTER_READING,
    RACE_OF_BLOCKS,
    READ_BEFORE_BARRIER,
    NO_RACE,
    LEAVE_WHILE_OTHERS_WAIT,
};

DEVICE void act(const MisbehaveArgs& args) {
    SHARED(float, tile, 96);
    int t = static_cast<int>(threadIdx.x);
    float value = static_cast<float>(t);
    switch (args.what) {
        case WRITE_BEHIND:
            args.x[args.count] = 1;
            break;
        case WRITE_BEFORE:
            args.x[-1] = 1;
            break;
        case DIVERGE_AT_BARRIER:
            if (t < 10) {
                __syncthreads();
            } else {
                __syncwarp();
            }
            break;
        case DIFFERENT_BARRIERS:
            if (t < 32) {
                __syncthreads();
            } else {
                __syncthreads();
            }
            break;
        case DIFFERENT_MASKS:
            value = t % 32 < 16 ? __shfl_sync(0x0001FFFFu, value, 0) : __shfl_sync(ALL_LANES, value, 0);
            break;
        case MISALIGNED:
            value = load_pack(args.x + 1).values[0];
            break;
        case OUTSIDE_SHARED:
            tile[t + 1] = value;
            break;
        case READ_UNWRITTEN_SHARED:
            value = tile[t];
            break;
        case READ_BEFORE_COPY:
            cp_async16(tile + t % 8 * 4, args.x, true);
            cp_async_commit();
            value = tile[t % 8 * 4];
            cp_async_wait<0>();
            break;
        case LEAVE_BEFORE_BARRIER:
            if (t == 5) {
                return;
            }
            __syncthreads();
            break;
        case LEAVE_WHILE_OTHERS_WAIT:
            if (t >= 64) {
                return;
            }
            __syncthreads();
            break;
        case RACE_OF_WARPS:
            tile[t] = value;
            __syncwarp();
            value = tile[(t + 32) % 96];
            break;
        case RACE_OF_LANES:
            tile[t] = value;
            value = __shfl_sync(ALL_LANES, value, 0) + tile[t ^ 1];
            break;
        case RACE_AFTER_READING:
            tile[t] = value;
            __syncthreads();
            value = tile[(t + 32) % 96];
            tile[t] = 1;
            break;
        case RACE_OF_BLOCKS:
            args.x[t] = value;
            return;
        case READ_BEFORE_BARRIER:
            if (t < 24) {
                cp_async16(tile + t * 4, args.x + blockIdx.x * 96 + t * 4, true);
            }
            cp_async_commit();
            cp_async_wait<0>();
            value = tile[(t + 32) % 96];
            break;
        case NO_RACE:
            tile[t] = value;
            __syncwarp();
            value = tile[t ^ 1];
            __syncthreads();
            if (t < 24) {
                cp_async16(tile + t * 4, args.x + blockIdx.x * 96 + t * 4, true);
            }
            cp_async_commit();
            cp_async_wait<0>();
            __syncthreads();
            value += tile[(t + 32) % 96];
            break;
        default:
            break;
    }
    if (global_index() < args.count) {
        args.x[global_index()] = value;
    }
}

KERNEL(96, misbehave, MisbehaveArgs) {
    act(args);
}

enum ProductMisdeed {
    NO_MISDEED,
    NO_FENCE,
    NO_PROXY_FENCE,
    OPERAND_CHANGED,
    OUTSIDE_DYNAMIC_SHARED,
    DIFFERENT_PRODUCTS,
    NOT_WAITED,
};

/** A warpgroup multiplies ones by ones: 16 in x. */
KERNEL(128, misbehave_products, MisbehaveArgs) {
    DYNAMIC_SHARED(unsigned char, raw);
    unsigned char* tile = align_swizzled(raw);
    const int t = static_cast<int>(threadIdx.x);
    const u32 ones = 0x3F803F80;
    Pack<u32, 4> pack;
    pack.values[0] = pack.values[1] = pack.values[2] = pack.values[3] = ones;
    for (int i = t; i < 64 * 8; i += 128) {
        store_pack(reinterpret_cast<u32*>(tile + i * 16), pack);
    }
    if (args.what != NO_PROXY_FENCE) {
        fence_proxy_async();
    }
    __syncthreads();
    if (args.what != NO_FENCE) {
        wgmma_fence();
    }
    int offset = args.what == OUTSIDE_DYNAMIC_SHARED ? 1024 : 0;
    if (args.what == DIFFERENT_PRODUCTS && t == 77) {
        offset = 32;
    }
    const u32 a[4] = {ones, ones, ones, ones};
    float sums[32];
    for (int i = 0; i < 32; i++) {
        sums[i] = 0;
    }
    wgmma<64, Majors::K>(sums, a, wgmma_advance(wgmma_descriptor(tile, 16, 1024), offset), true);
    wgmma_commit();
    __syncthreads();
    if (args.what == OPERAND_CHANGED && t == 0) {
        store_pack(reinterpret_cast<u32*>(tile), Pack<u32, 4>());
    }
    if (args.what != NOT_WAITED) {
        wgmma_wait<0>();
    }
    wgmma_hold(sums);
    if (t < args.count) {
        args.x[t] = sums[0];
    }
}
