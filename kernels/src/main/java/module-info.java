/** Devices, memory and every numerical primitive on raw buffers. */
module tessera.kernels {
    requires tessera.natives;
    requires static jdk.incubator.vector;
    requires static org.jspecify;

    exports tessera.kernels;
}
