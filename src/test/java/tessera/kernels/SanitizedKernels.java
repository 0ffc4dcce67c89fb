package tessera.kernels;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.stream.Stream;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Int8Kernels.InputRange;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.Norms.RowShape;
import tessera.tensor.SampleRun;

/**
 * Runs a sample of the parity suite and the samples of every operation on the first CUDA device, in a process that sanitizers
 * watch; compares nothing.
 */
public final class SanitizedKernels extends KernelParity {
    /** What a process runs; two of them share a machine's cores. */
    enum Part {
        /** Samples of the parity suite but those of attention. */
        KERNELS,
        /** Those of attention and samples of every operation, which is about as much work. */
        OPERATIONS
    }

    /** Runs something with the name of a part. */
    @FunctionalInterface
    interface Run {
        /** Gives its output. */
        String of(String part) throws Exception;
    }

    private final Device device;
    private final double seconds;
    private final long start = System.nanoTime();
    private int calls;
    private int left;

    SanitizedKernels(Device device) {
        this(device, Double.POSITIVE_INFINITY);
    }

    private SanitizedKernels(Device device, double seconds) {
        this.device = device;
        this.seconds = seconds;
    }

    /**
     * Runs the {@link Part} that the argument names, or all without one, and says so; with a number of seconds instead, all that
     * begins within them.
     */
    public static void main(String[] args) {
        boolean limited = args.length > 0 && Character.isDigit(args[0].charAt(0));
        Device device = Device.cuda(0);
        SanitizedKernels sample =
                limited ? new SanitizedKernels(device, Double.parseDouble(args[0])) : new SanitizedKernels(device);
        if (args.length == 0 || limited) {
            sample.all();
        } else {
            sample.run(Part.valueOf(args[0]));
        }
        System.out.println(
                "sanitized: " + sample.calls + " calls" + (sample.left == 0 ? "" : "; out of time for " + sample.left));
    }

    /** Whether there is no time for another call, which is counted. */
    private boolean late() {
        boolean late = System.nanoTime() - start > seconds * 1e9;
        left += late ? 1 : 0;
        return late;
    }

    void all() {
        for (Part part : Part.values()) {
            run(part);
        }
    }

    private void run(Part part) {
        switch (part) {
            case KERNELS -> sample();
            case OPERATIONS -> {
                attentionSample();
                calls += SampleRun.all(device, this::late);
            }
        }
    }

    /** The output of each part; both run at once, in processes of their own. */
    static List<String> parts(Run run) {
        return Stream.of(Part.values())
                .map(part -> CompletableFuture.supplyAsync(() -> {
                    try {
                        return run.of(part.name());
                    } catch (Exception e) {
                        throw new CompletionException(e);
                    }
                }))
                .toList()
                .stream()
                .map(CompletableFuture::join)
                .toList();
    }

    @SuppressWarnings("JUnitMethodInvoked") // the suite is run here by hand, where JUnit is not, under a sanitizer
    private void sample() {
        unary(UnaryOp.GELU);
        binary(BinaryOp.DIV);
        arithmetic();
        stridedCopies();
        sums();
        for (int cols : new int[] {1, 7, 16, 131, 384, 500, 768, 769, 1280, 1285}) {
            layerNorm(cols);
        }
        softmax(false);
        softmax(true);
        longRows();
        transpositions();
        random();
        masks();
        checkPatches(geometry(16, 3, true, 1 / 255.0), true);
        checkPatches(geometry(4, 21, true, 1), false);
        checkPatches(geometry(1, 2, false, 1), false);
        patchTargetsAndGradients();
        tokens();
        sharedRows();
        decoderGradients();
        losses();
        distillation();
        adamW();
        globalNorm();
        dropPath();
        batchedProducts();
        linearLayers();
        linearBackward(16);
        check("product", 0, (kernels, memory) -> {
            Buffer a = memory.normal(17 * 9);
            Buffer c = memory.output(17 * 17);
            MatmulShape shape = MatmulShape.of(false, true, 17, 17, 9);
            kernels.matmul()
                    .matmul(shape, a, a, new Epilogue(memory.normal(17), memory.normal(17 * 17), Activation.GELU), c);
        });
        layersOnBytes();
        System.setProperty("tessera.cuda.norms", "own");
        layersBehindNorms();
        System.clearProperty("tessera.cuda.norms");
    }

    /** On a device of compute capability 9.0; others have none. */
    private void layersOnBytes() {
        layersOnBytes("own");
        layersOnBytes("e4m3");
    }

    private void layersOnBytes(String format) {
        System.setProperty("tessera.cuda.int8", format);
        Int8Kernels int8 = device.int8().orElse(null);
        long side = 80;
        for (InputRange input : new InputRange[] {null, new InputRange(-1, 1)}) {
            if (int8 == null || late()) {
                return;
            }
            try (Buffer w = device.allocate(DType.F32, side * side);
                    Buffer x = device.allocate(DType.BF16, side * side);
                    Buffer y = device.allocate(DType.BF16, side * side)) {
                device.kernels().elementwise().fill(w, .1);
                device.kernels().elementwise().fill(x, .5);
                try (PackedWeight weight = int8.pack(w, side, side, input)) {
                    int8.linear(side, x, weight, new Epilogue(x, x, Activation.GELU), y);
                    int8.mlp(side, x, weight, x, weight, new Epilogue(null, y, Activation.NONE), y);
                }
            }
            calls++;
        }
    }

    /** Has some of these shapes computed by kernels that are not usual, in processes that keep compiled kernels in a folder. */
    public static void unusualAttention(Path cache) throws IOException {
        Files.writeString(cache.resolve("attention.providers"), """
                Fake 80 forward 70 71 64 tall
                Fake 80 forward 17 18 64 tall
                Fake 80 forward 17 17 48 tall
                Fake 80 forward 5 6 24 tall
                Fake 90 biased-forward 70 70 32 wgmma
                Fake 90 biased-backward 70 70 32 wgmma
                Fake 90 biased-backward 17 17 32 wgmma
                Fake 90 backward 70 70 80 wgmma
                Fake 90 backward 5 5 80 wgmma
                """);
    }

    private void attentionSample() {
        for (int n : new int[] {1, 5, 17, 70}) {
            checkAttention(2, 2, n, n, 16, 0);
            checkAttention(1, 2, n, n + 3, 64, 1);
            checkAttention(1, 2, n, n, 7, 0);
            checkAttention(1, 1, n, n, 80, 0);
            checkAttention(3, 1, n, n, 48, 1);
            checkAttention(2, 1, n, n + 1, 64, 0);
            checkAttention(1, 1, n, n + 1, 24, 0);
            checkAttention(6, 2, n, n, 32, 1, 3);
            checkAttention(2, 1, n, n, 16, 0, 2);
        }
        checkAttention(1, 1, 17, 17, 48, 0);
        checkAttention(1, 1, 17, 17, 80, 1);
        checkAttention(1, 1, 70, 131, 32, 0);
    }

    private void longRows() {
        int cols = 2100;
        check("long rows", 0, (kernels, memory) -> {
            Buffer x = memory.normal(3L * cols);
            Buffer y = memory.output(3L * cols);
            kernels.norms().softmax(new RowShape(3, cols), x, false, y);
            kernels.norms().softmaxBackward(new RowShape(3, cols), y, x, false, memory.output(3L * cols));
            Buffer labels = memory.indices(3, cols);
            kernels.losses()
                    .crossEntropy(
                            new RowShape(3, cols), x, labels, 0.1, memory.singleOutput(1), memory.output(3L * cols));
            Buffer[] teachers = {x};
            kernels.losses()
                    .distillationLoss(
                            new RowShape(3, cols),
                            y,
                            new Ensemble(teachers, memory.single(1), false, 2, 1, 1),
                            labels,
                            memory.singleOutput(1),
                            x);
        });
    }

    private void transpositions() {
        long[] strides = {1, 70};
        long[] transposed = {66, 1};
        long[] shape = {70, 66};
        check("transposition", 0, (kernels, memory) -> {
            kernels.elementwise()
                    .copyStrided(
                            new Strided(memory.normal(4620), 0, strides),
                            new Strided(memory.output(4620), 0, transposed),
                            shape);
            try (Buffer x = device.allocate(DType.U8, 4620);
                    Buffer y = device.allocate(DType.U8, 4620)) {
                kernels.elementwise().copyStrided(new Strided(x, 0, strides), new Strided(y, 0, transposed), shape);
            }
        });
    }

    @Override
    protected void check(String what, double tolerance, Call call) {
        if (late()) {
            return;
        }
        for (DType type : List.of(DType.F32, DType.BF16)) {
            for (int offset = 0; offset < 2; offset++) {
                run(device.kernels(), device, type, type == DType.BF16, offset, call);
                calls++;
            }
        }
    }
}
