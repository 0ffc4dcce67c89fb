/** Tensors, scopes, operations with their gradients, random numbers, and tensor files. */
module tessera.tensor {
    requires transitive tessera.kernels;
    requires tessera.natives;
    requires tools.jackson.core;
    requires static org.jspecify;

    exports tessera.tensor;
    exports tessera.tensor.io;
}
