/** Devices, memory and every numerical primitive on raw buffers. */
module tessera.kernels {
    requires tessera.natives;
    requires static jdk.incubator.vector;
    requires static org.jspecify;

    exports tessera.kernels;

    uses tessera.kernels.DeviceProvider;

    provides tessera.kernels.DeviceProvider with
            tessera.kernels.cpu.device.CpuDevices,
            tessera.kernels.cuda.CudaDevices;
}
