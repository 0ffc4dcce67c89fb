package tessera.kernels.cuda;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cuda.CudaHopperProducts.Variant;

/**
 * Linear layers on bytes on compute capability 9.0, see products_int8.cu: a pass rounds the rows of the input to bytes with sign, whose
 * products with the weight's bytes are scaled back, biased and rounded to bf16 as they leave the registers.
 *
 * <p>Used where {@link #PROPERTY} asks for it; otherwise, and on other devices, models on bytes compute with the rounded weights in
 * f32 or bf16. Layers whose outputs are no multiple of 8 always do. Hidden values between two layers are bf16 before
 * they are bytes, but become bytes at once where their range is known beforehand.
 * Thread-safe.
 */
final class CudaInt8 implements Int8Kernels {
    /** System property: {@code own} computes layers on bytes by these kernels where a model computes in bf16. */
    static final String PROPERTY = "tessera.cuda.int8";

    private static final int CAPABILITY = 90;
    private static final String QUANTISE = "quantise_rows";
    private static final String PREFIX = "product_int8_";

    /** Outputs in 16 bytes. */
    private static final int PIECE = 8;

    /** Bytes that rows of bytes are a multiple of. */
    private static final int ROW_PIECE = 16;

    /** PRODUCT_FIXED: weights are written long before. */
    private static final int FIXED = 1;

    private static final int QUANTISE_THREADS = 256;
    private static final int QUANTISE_ROWS = QUANTISE_THREADS / 32;

    /** Tiles as in products_int8.cu: those of few rows, and those of many. */
    static final Variant SMALL = new Variant("64x64", 64, 64, 8, 1, true, 0);

    static final Variant LARGE = new Variant("128x128t", 128, 128, 5, 2, false, 0);

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

    private final CudaDevice device;
    private final Kernels kernels;
    private final CudaModule module;
    private volatile @Nullable Boolean loaded;

    CudaInt8(CudaDevice device, Kernels kernels) {
        this.device = device;
        this.kernels = kernels;
        this.module = new CudaModule(device, "products_int8");
    }

    /** Whether the device has the kernels and they are wanted. */
    boolean available() {
        return device.capability() == CAPABILITY
                && System.getProperty(PROPERTY, "").equals("own")
                && loaded();
    }

    /** Whether what was loaded was compiled for this very capability; kernels for Hopper are in no other. */
    private boolean loaded() {
        Boolean known = loaded;
        if (known == null) {
            known = module.has(QUANTISE);
            loaded = known;
        }
        return known;
    }

    @Override
    public DType data() {
        return DType.BF16;
    }

    /**
     * A weight.
     *
     * @param bytes u8 {@code [n, ld(k)]} that are read with sign, or nothing
     * @param channels f32 {@code [n, 2]}: the scale of a channel and the sum of its rounded weights
     * @param rounded the rounded weight in bf16 where it is not multiplied in bytes, or null
     */
    private record Weight(
            CudaDevice device,
            long n,
            long k,
            Buffer bytes,
            Buffer channels,
            @Nullable PackedWeight rounded,
            @Nullable InputRange input)
            implements PackedWeight {
        Rounding rounding() {
            return input == null ? Rounding.OF_ROWS : Rounding.of(input);
        }

        @Override
        public void close() {
            bytes.close();
            channels.close();
            if (rounded != null) {
                rounded.close();
            }
        }
    }

    /** How the rows of an input become bytes, see products_int8.cu. */
    private record Rounding(float scale, int parts, float offset, int least, int most, int zero) {
        static final Rounding OF_ROWS = new Rounding(0, LARGEST_WEIGHT, 0, -LARGEST_WEIGHT, LARGEST_WEIGHT, 0);
        static final Rounding OF_GELU = new Rounding(0, LARGEST_INPUT, GELU_OFFSET, 0, LARGEST_INPUT, -ZERO);

        static Rounding of(InputRange input) {
            int zero = input.zero(LARGEST_INPUT);
            return new Rounding(input.scale(LARGEST_INPUT), 1, 0, -zero, LARGEST_INPUT - zero, zero - ZERO);
        }

        /** What a byte's scale is added to. */
        float shift() {
            return -zero * scale - offset;
        }

        /** In the order of struct ByteSteps. */
        CudaLaunch write(CudaLaunch launch) {
            return launch.f32(scale == 0 ? 0 : 1 / scale, least).f32(most, zero);
        }
    }

    private static long stride(long k) {
        return Math.ceilDiv(k, ROW_PIECE) * (long) ROW_PIECE;
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k, @Nullable InputRange input) {
        if (weight.dtype() != DType.F32 || weight.length() < n * k) {
            throw new IllegalArgumentException("int8: the weight is " + weight.dtype() + "[" + weight.length()
                    + "] but f32[" + n * k + "] or more is quantised; pass the whole weight in f32");
        }
        if (k > MOST_INPUTS) {
            throw new IllegalArgumentException("int8: the layer has " + k + " inputs but at most " + MOST_INPUTS
                    + " are added up in 32 bits; keep this layer in f32");
        }
        long ld = stride(k);
        Device cpu = Device.cpu();
        try (Buffer values = cpu.allocate(DType.F32, n * k);
                Buffer bytes = cpu.allocate(DType.U8, n * ld);
                Buffer channels = cpu.allocate(DType.F32, 2 * n)) {
            weight.slice(0, n * k).copyTo(values);
            bytes.segment().fill((byte) 0);
            for (long row = 0; row < n; row++) {
                quantise(values.segment(), row, (int) k, bytes.segment().asSlice(row * ld, k), channels.segment());
            }
            boolean whole = n % PIECE == 0 && n > 0 && k > 0;
            long taken = whole ? n * ld : 0;
            Buffer there = device.filled(DType.U8, taken, bytes.slice(0, taken)::copyTo);
            Buffer scales = null;
            try {
                scales = device.filled(DType.F32, 2 * n, channels::copyTo);
                return new Weight(device, n, k, there, scales, whole ? null : rounded(values, n, k), input);
            } catch (RuntimeException | Error e) {
                there.close();
                if (scales != null) {
                    scales.close();
                }
                throw e;
            }
        }
    }

    /** Writes the bytes of a channel, its scale and the sum of its rounded weights, and puts the rounded weights in the place of the weights. */
    private static void quantise(MemorySegment values, long row, int k, MemorySegment bytes, MemorySegment channels) {
        float largest = 0;
        for (int i = 0; i < k; i++) {
            float size = Math.abs(values.getAtIndex(FLOAT, row * k + i));
            largest = size <= Float.MAX_VALUE ? Math.max(largest, size) : Float.POSITIVE_INFINITY;
            if (largest == Float.POSITIVE_INFINITY) {
                break;
            }
        }
        float scale = Int8Kernels.weightScale(largest);
        int sum = 0;
        for (int i = 0; i < k; i++) {
            int q = scale > 0 ? (int) Math.rint(values.getAtIndex(FLOAT, row * k + i) / scale) : 0;
            bytes.set(ValueLayout.JAVA_BYTE, i, (byte) q);
            values.setAtIndex(FLOAT, row * k + i, q * scale);
            sum += q;
        }
        channels.setAtIndex(FLOAT, 2 * row, scale);
        channels.setAtIndex(FLOAT, 2 * row + 1, sum * scale);
    }

    private PackedWeight rounded(Buffer values, long n, long k) {
        try (Buffer wide = device.filled(DType.F32, n * k, values::copyTo);
                Buffer narrow = device.filled(
                        DType.BF16, n * k, there -> kernels.elementwise().cast(wide, there))) {
            return kernels.matmul().pack(narrow, n, k);
        }
    }

    private Weight own(PackedWeight given) {
        if (given instanceof Weight mine && mine.device == device) {
            return mine;
        }
        throw new IllegalArgumentException(
                "int8: the weight was packed for other kernels; pack it by Int8Kernels.pack of this device");
    }

    private static void require(String what, @Nullable Buffer buffer, long count) {
        if (buffer != null && (buffer.dtype() != DType.BF16 || buffer.length() < count)) {
            throw new IllegalArgumentException("int8: " + what + " is " + buffer.dtype() + "[" + buffer.length()
                    + "] but bf16[" + count + "] or more is needed on a GPU; convert first");
        }
    }

    private static void requireResult(long m, long n, Epilogue epilogue, Buffer y) {
        require("bias", epilogue.bias(), n);
        require("addend", epilogue.addend(), m * n);
        require("y", y, m * n);
    }

    @Override
    public void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y) {
        Weight w = own(weight);
        linear(m, x, w, w.rounding(), epilogue, y);
    }

    private void linear(long m, Buffer x, Weight w, Rounding rounding, Epilogue epilogue, Buffer y) {
        require("x", x, m * w.k);
        requireResult(m, w.n, epilogue, y);
        if (m == 0 || w.n == 0) {
            return;
        }
        PackedWeight rounded = w.rounded;
        if (rounded != null) {
            kernels.matmul().linear(m, x, rounded, epilogue, y);
            return;
        }
        try (Rows rows = quantised(m, x, w.k, rounding, null, null)) {
            finish(m, rows, w, epilogue, y);
        }
    }

    /** The layer of rows that are bytes; kernels take results, biases and addends in pieces of 16 bytes, others are copied. */
    private void finish(long m, Rows x, Weight w, Epilogue epilogue, Buffer y) {
        Buffer bias = epilogue.bias();
        Buffer addend = epilogue.addend();
        boolean gelu = epilogue.activation() == Activation.GELU;
        if (addend != null && gelu) {
            finish(m, x, w, new Epilogue(bias, addend, Activation.NONE), y);
            Buffer sum = y.slice(0, m * w.n);
            kernels.elementwise().unary(UnaryOp.GELU, sum, sum);
        } else if (bias != null && !CudaHopperProducts.aligned(bias)) {
            try (Buffer copy = device.filled(DType.BF16, w.n, bias.slice(0, w.n)::copyTo)) {
                finish(m, x, w, new Epilogue(copy, addend, epilogue.activation()), y);
            }
        } else if (addend != null && !CudaHopperProducts.aligned(addend)) {
            try (Buffer copy = device.filled(DType.BF16, m * w.n, addend.slice(0, m * w.n)::copyTo)) {
                finish(m, x, w, new Epilogue(bias, copy, epilogue.activation()), y);
            }
        } else if (!CudaHopperProducts.aligned(y)) {
            try (Buffer copy = device.allocate(DType.BF16, m * w.n)) {
                finish(m, x, w, epilogue, copy);
                copy.copyTo(y.slice(0, m * w.n));
            }
        } else {
            MatmulShape shape = MatmulShape.of(false, true, m, w.n, w.k);
            multiply(variant(shape), kind(epilogue), shape, x, w, epilogue, y, null, null);
        }
    }

    private static String kind(Epilogue epilogue) {
        return epilogue.activation() == Activation.GELU ? "_gelu" : epilogue.addend() != null ? "_add" : "";
    }

    /** The layer with tiles of a caller's choice. */
    void run(Variant variant, long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y) {
        Weight w = own(weight);
        MatmulShape shape = MatmulShape.of(false, true, m, w.n, w.k);
        try (Rows rows = quantised(m, x, w.k, w.rounding(), null, null)) {
            multiply(variant, kind(epilogue), shape, rows, w, epilogue, y, null, null);
        }
    }

    /** Rows as bytes, {@code [m, ld(k)]}, and f32 {@code [m, 2]}, the scale and the shift of each. */
    private record Rows(Buffer bytes, Buffer scales) implements AutoCloseable {
        static Rows empty(CudaDevice device, long m, long k) {
            Buffer bytes = device.allocate(DType.U8, m * stride(k));
            try {
                return new Rows(bytes, device.allocate(DType.F32, 2 * m));
            } catch (RuntimeException | Error e) {
                bytes.close();
                throw e;
            }
        }

        @Override
        public void close() {
            bytes.close();
            scales.close();
        }
    }

    /**
     * Rounds the rows of x.
     *
     * @param next whose scales are written too, as its rounding says; or null
     */
    private Rows quantised(
            long m, Buffer x, long k, Rounding rounding, @Nullable Rows next, @Nullable Rounding nextRounding) {
        Rows rows = Rows.empty(device, m, k);
        try {
            // In the order of struct QuantiseArgs.
            rounding.write(module.function(QUANTISE)
                            .begin()
                            .buffers(x, rows.bytes, rows.scales, next == null ? null : next.scales)
                            .i64(m)
                            .i32((int) k, (int) stride(k)))
                    .f32(rounding.parts, rounding.scale)
                    .f32(rounding.offset)
                    .f32(nextRounding == null ? 0 : nextRounding.scale, nextRounding == null ? 0 : nextRounding.shift())
                    .launch(Math.ceilDiv(m, QUANTISE_ROWS), QUANTISE_THREADS, 0);
            return rows;
        } catch (RuntimeException | Error e) {
            rows.close();
            throw e;
        }
    }

    /** Writes y, or the next layer's bytes. */
    private void multiply(
            Variant variant,
            String kind,
            MatmulShape shape,
            Rows x,
            Weight w,
            Epilogue epilogue,
            @Nullable Buffer y,
            @Nullable Rows next,
            @Nullable Rounding nextRounding) {
        long m = shape.m();
        if (m > Integer.MAX_VALUE - LARGE.tileRows() || LARGE.tiles(shape) > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("int8: " + m + " rows are more than a launch takes; pass fewer at once");
        }
        long ld = stride(w.k);
        // In the order of struct ByteProductArgs.
        CudaLaunch launch = module.function(PREFIX + variant.name() + kind)
                .begin()
                .matrix(x.bytes, m, w.k, ld, variant.tileRows())
                .matrix(w.bytes, w.n, w.k, ld, variant.columns())
                .buffers(epilogue.bias(), epilogue.addend(), y)
                .buffers(x.scales, w.channels)
                .buffers(next == null ? null : next.bytes, next == null ? null : next.scales)
                .i32((int) m, (int) w.n, (int) w.k, (int) w.n)
                .i32(FIXED, (int) stride(w.n));
        (nextRounding == null ? Rounding.OF_ROWS : nextRounding)
                .write(launch)
                .launch(
                        Math.min(variant.tiles(shape), device.multiprocessors()),
                        variant.threads(),
                        variant.sharedBytes());
    }

    private Variant variant(MatmulShape shape) {
        return SMALL.tiles(shape) <= device.multiprocessors() ? SMALL : LARGE;
    }

    @Override
    public void mlp(
            long m,
            Buffer x,
            PackedWeight first,
            @Nullable Buffer firstBias,
            PackedWeight second,
            Epilogue epilogue,
            Buffer y) {
        Weight w1 = own(first);
        Weight w2 = own(second);
        long h = w1.n;
        if (w2.k != h) {
            throw new IllegalArgumentException("int8: the first layer has " + h + " outputs but the second " + w2.k
                    + " inputs; pass two layers that follow each other");
        }
        require("x", x, m * w1.k);
        require("first bias", firstBias, h);
        requireResult(m, w2.n, epilogue, y);
        if (m == 0 || w2.n == 0) {
            return;
        }
        InputRange input = w2.input;
        boolean whole = w1.rounded == null && w2.rounded == null && h % ROW_PIECE == 0;
        if (input != null && whole && (firstBias == null || CudaHopperProducts.aligned(firstBias))) {
            // The hidden values are bytes before they leave the registers.
            Rounding rounding = Rounding.of(input);
            MatmulShape shape = MatmulShape.of(false, true, m, h, w1.k);
            try (Rows hidden = Rows.empty(device, m, h)) {
                try (Rows rows = quantised(m, x, w1.k, w1.rounding(), hidden, rounding)) {
                    multiply(
                            variant(shape),
                            "_gelu_bytes",
                            shape,
                            rows,
                            w1,
                            Epilogue.bias(firstBias),
                            null,
                            hidden,
                            rounding);
                }
                finish(m, hidden, w2, epilogue, y);
            }
            return;
        }
        try (Buffer hidden = device.allocate(DType.BF16, m * h)) {
            linear(m, x, w1, w1.rounding(), new Epilogue(firstBias, null, Activation.GELU), hidden);
            linear(m, hidden, w2, input == null ? Rounding.OF_GELU : Rounding.of(input), epilogue, y);
        }
    }

    /** As it is: bf16 by tensor cores. */
    @Override
    public Attention attention() {
        return kernels.attention();
    }
}
