// What all attention kernels share: their parameters and which part of the work a block has; see attention.cu.
#pragma once
#include "mma.cuh"
#include "tessera.cuh"

constexpr float LOG2E = 1.4426950408889634f;
constexpr float LN2 = 0.6931471805599453f;
constexpr float SEPARATION = -100.0f * LOG2E;  // added to the exponent of a pair of tokens of different regions

struct Strides {
    i64 batch;
    i64 head;
    i64 row;
};

/** One struct for all kernels; what a kernel does not need is null. */
struct AttentionArgs {
    const void* q;
    const void* k;
    const void* v;
    const void* bias;  // or null
    const int* regions;  // or null
    void* out;
    float* log_sum_exp;  // or null in the forward pass
    const void* dout;
    void* dq;
    void* dk;
    void* dv;
    void* dbias;   // f32 partial sums [splits, heads, queries, keys], or dbias itself
    float* stats;  // [batch, heads, padded, 2]: L / ln 2 (infinite beyond the last query) and D
    float* sums;   // in attention_backward.cu: [batch, heads, padded, head dim] of dQ, in an order of its own
    u32* turns;    // there too: see there
    Strides qs;
    Strides ks;
    Strides vs;
    Strides os;
    i64 batch;
    int heads;
    int queries;
    int keys;
    int dim;
    int padded;       // queries rounded up to whole tiles
    int shared_bias;  // one bias for all samples
    int bias_bf16;    // type of bias
    int dbias_bf16;   // type of what the dbias kernel writes
    int splits;       // blocks that share the samples of one tile of dbias
    int aligned;      // all tensors allow 16-byte accesses
    float scale;
    int region_batch;  // rows of regions
    int group;         // heads whose blocks come together
};

/** What a block works on: a tile of one head of one sample. */
struct Place {
    int tile;
    int head;
    i64 sample;
};

DEVICE Place place_of_block(const AttentionArgs& args, int tiles) {
    const int block = static_cast<int>(blockIdx.x);
    Place place;
    place.tile = block % tiles;
    place.head = block / tiles % args.heads;
    place.sample = block / tiles / args.heads;
    return place;
}

DEVICE i64 offset_of(const Strides& strides, i64 sample, int head) {
    return sample * strides.batch + head * strides.head;
}

/**
 * A head's bias and regions, as what has the same effect on sums of products of queries and keys before these are multiplied by the
 * scale, which is positive.
 */
struct ScoreBias {
    const void* bias;    // [queries, keys], or null
    const int* regions;  // of the sample, or null; then there are as many keys as queries
    int queries;
    int keys;
    int bf16_bias;
    float inverse;     // what the bias is multiplied by
    float separation;  // is added to a pair of tokens of different regions

    DEVICE ScoreBias(const AttentionArgs& args, i64 sample, int head) {
        const i64 offset = ((args.shared_bias ? 0 : sample) * args.heads + head) * args.queries * args.keys;
        bias = args.bias == nullptr ? nullptr
                                    : static_cast<const unsigned char*>(args.bias) + offset * (args.bias_bf16 ? 2 : 4);
        regions = args.regions == nullptr ? nullptr : args.regions + sample % args.region_batch * args.keys;
        queries = args.queries;
        keys = args.keys;
        bf16_bias = args.bias_bf16;
        inverse = 1.0f / args.scale;
        separation = SEPARATION / LOG2E * inverse;
    }
};

DEVICE int tiles_of(int rows, int tile) {
    return (rows + tile - 1) / tile;
}
