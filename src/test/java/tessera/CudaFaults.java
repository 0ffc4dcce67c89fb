package tessera;

import static java.util.Objects.requireNonNull;

import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.cuda.CudaDevice;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaLibraries;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** One fault of a GPU in a process of its own: prints what a user is told, and what is left afterwards. */
public final class CudaFaults {
    private CudaFaults() {}

    /**
     * Runs one fault.
     *
     * @param args its name
     */
    public static void main(String[] args) {
        switch (args[0]) {
            case "no device" -> refused(IllegalArgumentException.class, () -> Device.cuda(0));
            case "out of memory" -> outOfMemory();
            case "failed launch" -> {
                Device.cuda(0);
                FakeCuda.fail("cuLaunchKernel", 3, FakeCuda.LAUNCH_FAILED);
                lost(() -> train(Device.cuda(0)));
            }
            case "failed kernel" -> {
                Device.cuda(0);
                FakeCuda.set("sticky", 1);
                FakeCuda.fail("cuEventSynchronize", 2, FakeCuda.ILLEGAL_ADDRESS);
                lost(() -> train(Device.cuda(0)));
            }
            case "lost device" -> {
                Device.cuda(0);
                FakeCuda.fail("cuMemcpyDtoHAsync", 1, 46);
                lost(() -> train(Device.cuda(0)));
            }
            case "failed product" -> {
                train(Device.cuda(0));
                FakeCuda.fail("cublasLtMatmul", 1, 13);
                refused(DeviceException.class, () -> train(Device.cuda(0)));
                train(Device.cuda(0));
                nothingIsLeft(Device.cuda(0));
            }
            case "second device" -> {
                Device first = Device.cuda(0);
                Device.cuda(1);
                first.newStream().close();
                System.out.println(
                        "context kept: " + (CudaDriver.contextGetCurrent() == ((CudaDevice) first).context()));
                System.out.println("gpu: " + train(Device.cuda(1)) + ", " + train(first));
            }
            case "no nccl" -> {
                refused(IllegalArgumentException.class, () -> Device.parseAll("cuda:0,cuda:1"));
                System.out.println("gpu: " + train(Device.cuda(1)));
            }
            case "no cudnn" -> {
                System.out.println("told: " + CudaLibraries.cudnn().finding());
                attention(Device.cuda(0));
                nothingIsLeft(Device.cuda(0));
            }
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.out.println("cpu: " + train(Device.cpu()));
    }

    private static void outOfMemory() {
        Device device = Device.cuda(0);
        System.out.println("gpu: " + train(device));
        FakeCuda.set("memory", 96L << 20);
        refused(DeviceException.class, () -> {
            try (Scope scope = Scope.open()) {
                for (int i = 0; i < 1000; i++) {
                    Tensor.full(device, DType.F32, Shape.of(1 << 20), i);
                }
            }
        });
        System.out.println("gpu: " + train(device));
        nothingIsLeft(device);
    }

    /** After this fault the device is of no more use in this process, and says so. */
    private static void lost(Runnable body) {
        refused(DeviceException.class, body);
        refused(DeviceException.class, () -> train(Device.cuda(0)));
        System.out.println("live buffers: " + Device.cuda(0).memory().liveBuffers());
    }

    private static void nothingIsLeft(Device device) {
        System.out.println("live buffers: " + device.memory().liveBuffers());
    }

    private static void refused(Class<? extends Throwable> kind, Runnable body) {
        try {
            body.run();
        } catch (Throwable e) {
            System.out.println((kind.isInstance(e) ? "told: " : "unexpected " + e.getClass() + ": ") + e.getMessage());
            return;
        }
        System.out.println("not refused");
    }

    /** A small forward and backward pass; returns a sum of gradients. */
    private static double train(Device device) {
        try (Scope scope = Scope.open()) {
            Tensor x = Tensor.full(device, DType.F32, Shape.of(4, 16), .5);
            Tensor w = Tensor.full(device, DType.F32, Shape.of(8, 16), .25).requiresGrad(true);
            Tensor b = Tensor.full(device, DType.F32, Shape.of(8), .125).requiresGrad(true);
            x.linear(w, b).gelu().sum().backward();
            return requireNonNull(w.grad()).sum().toDoubles()[0];
        }
    }

    private static void attention(Device device) {
        try (Scope scope = Scope.open()) {
            Tensor q = Tensor.full(device, DType.F32, Shape.of(1, 2, 5, 16), .5);
            System.out.println(
                    "gpu: " + Tensor.attention(q, q, q, null, .25).sum().toDoubles()[0]);
        }
    }
}
