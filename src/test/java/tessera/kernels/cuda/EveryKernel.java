package tessera.kernels.cuda;

import java.util.List;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Graph;
import tessera.kernels.Int8Kernels.InputRange;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Patches.PatchTarget;
import tessera.kernels.RandomOps.RandomStream;
import tessera.kernels.SanitizedKernels;
import tessera.kernels.Tokens.TokenShape;

/** Launches every kernel that a device has, on the first one, and prints which they were; compares nothing but their arguments. */
public final class EveryKernel {
    /** Begins the line with the names. */
    static final String LAUNCHED = "launched: ";

    private static final int SIDE = 80;
    private static final List<DType> TYPES = List.of(DType.F32, DType.BF16, DType.I32, DType.U8);

    private EveryKernel() {}

    /** Launches them; takes no arguments. */
    public static void main(String[] args) {
        WatchedLaunches.begin();
        SanitizedKernels.main(args);
        CudaDevice device = (CudaDevice) Device.cuda(0);
        for (DType type : List.of(DType.F32, DType.BF16)) {
            try (Buffer x = filled(device, type);
                    Buffer y = filled(device, type)) {
                floats(device, x, y);
            }
        }
        for (DType from : TYPES) {
            for (DType to : TYPES) {
                try (Buffer x = filled(device, from);
                        Buffer y = filled(device, to)) {
                    device.kernels().elementwise().cast(x, y);
                }
            }
        }
        mixed(device);
        if (device.capability() == HopperDevice.CAPABILITY) {
            try (Buffer values = device.allocate(DType.BF16, SIDE * SIDE);
                    Buffer weight = device.allocate(DType.F32, SIDE * SIDE);
                    Buffer y = device.allocate(DType.BF16, SIDE * SIDE)) {
                device.kernels().elementwise().fill(values, .5);
                device.kernels().elementwise().fill(weight, .1);
                products(device, values, y);
                for (CudaInt8.Format format : CudaInt8.Format.values()) {
                    layers(new CudaInt8(format, device, device.kernels()), values, weight, y);
                }
            }
        }
        System.out.println(LAUNCHED + String.join(" ", WatchedLaunches.launched()));
    }

    private static Buffer filled(CudaDevice device, DType type) {
        Buffer buffer = device.allocate(type, SIDE * SIDE);
        device.kernels().elementwise().fill(buffer, 1);
        return buffer;
    }

    /** What a type has that no sample reaches: rows longer than a warp keeps, products that the library refuses. */
    private static void floats(CudaDevice device, Buffer x, Buffer y) {
        RowShape rows = new RowShape(2, 600);
        device.kernels().norms().softmax(rows, x, false, y);
        device.kernels().norms().softmaxBackward(rows, x, x, false, y);
        new CudaPlainProducts(device).run(MatmulShape.of(false, false, 3, 3, 3), x, x, null, null, y);
    }

    /** What takes data of several types, or of bytes, and what writes a graph's variables. */
    private static void mixed(CudaDevice device) {
        try (Buffer bf16 = filled(device, DType.BF16);
                Buffer f32 = filled(device, DType.F32);
                Buffer bytes = filled(device, DType.U8);
                Buffer few = filled(device, DType.U8);
                Buffer zeros = device.allocate(DType.I32, 4)) {
            device.kernels().elementwise().fill(zeros, 0);
            device.kernels().elementwise().axpy(2, bf16, f32);
            TokenShape tokens = new TokenShape(1, 5, 4, 3);
            device.kernels().tokens().gatherRows(tokens, bytes, zeros, few);
            device.kernels().tokens().selectRows(tokens, bytes, zeros, few);
            new CudaPlainProducts(device).run(MatmulShape.of(false, false, 3, 3, 3), bf16, bf16, null, null, f32);
            Buffer[] masters = {f32};
            Buffer[] gradients = {bf16};
            device.kernels()
                    .optimiser()
                    .adamW(
                            new AdamWTensors(masters, gradients, masters, masters, null, new double[1]),
                            new AdamWStep(1e-3, .9, .95, 1e-8, 1, null));
            PatchGeometry one =
                    new PatchGeometry(1, 2, 4, 4, 3, 2, 4, 96, 48, 12, 3, 1, 1, new double[3], new double[] {1, 1, 1});
            device.kernels().patches().reconstructionTarget(new PatchTarget(one, 1, 1e-6, true), f32, zeros, bf16);
            RandomStream random = new RandomStream(1, 2);
            try (Graph graph = device.record(() -> device.kernels().random().dropout(random, f32, .5, f32))) {
                graph.launch(Graph.Variables.ofSeed(3));
            }
            device.synchronize();
        }
    }

    /** In all tiles, not those alone that would be chosen. */
    private static void products(CudaDevice device, Buffer x, Buffer y) {
        CudaHopperProducts products = new CudaHopperProducts(device);
        MatmulShape shape = MatmulShape.of(false, true, SIDE, SIDE, SIDE);
        for (CudaHopperProducts.Variant variant : CudaHopperProducts.VARIANTS) {
            products.run(variant, shape, x, x, Epilogue.NONE, y, false);
            products.run(variant, shape, x, x, new Epilogue(null, null, Activation.GELU), y, false);
            if (variant.able(shape, true)) {
                products.run(variant, shape, x, x, new Epilogue(null, x, Activation.NONE), y, false);
            }
        }
        try (Buffer z = device.allocate(DType.BF16, SIDE * SIDE)) {
            products.runKeeping(shape, x, x, null, z, y);
            products.runGradient(shape, x, x, z, y, null);
        }
        try (Buffer scales = device.allocate(DType.F32, 2 * SIDE);
                Buffer sums = device.allocate(DType.F32, CudaHopperProducts.rowsOfSums(shape) * SIDE)) {
            products.runGradient(shape, x, x, x, y, sums);
            new CudaNorms(device).layerNormScales(new RowShape(SIDE, SIDE), x, 1e-6, scales);
            for (CudaHopperProducts.Variant variant : CudaHopperProducts.VARIANTS) {
                products.runBehindNorm(variant, shape, x, x, Epilogue.NONE, scales, scales, y);
                Epilogue gelu = new Epilogue(null, null, Activation.GELU);
                products.runBehindNorm(variant, shape, x, x, gelu, scales, scales, y);
            }
        }
    }

    private static void layers(CudaInt8 int8, Buffer x, Buffer w, Buffer y) {
        try (PackedWeight weight = int8.pack(w, SIDE, SIDE, new InputRange(-1, 1))) {
            for (CudaHopperProducts.Variant variant :
                    new CudaHopperProducts.Variant[] {CudaInt8.SMALL, CudaInt8.LARGE}) {
                int8.run(variant, SIDE, x, weight, Epilogue.NONE, y);
                int8.run(variant, SIDE, x, weight, new Epilogue(null, x, Activation.NONE), y);
                int8.run(variant, SIDE, x, weight, new Epilogue(null, null, Activation.GELU), y);
            }
            // Of few rows and of more, which have other tiles.
            int8.mlp(1, x, weight, null, weight, Epilogue.NONE, y);
            int8.mlp(SIDE, x, weight, null, weight, Epilogue.NONE, y);
        }
    }
}
