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
import tessera.kernels.cpu.NarrowChecks;
import tessera.kernels.cuda.CudaHopperProducts.Variant;

/**
 * Linear layers on bytes on compute capability 9.0, see products_int8.cu: a pass rounds the rows of the input to bytes with sign, whose
 * products with the weight's bytes are scaled back, biased and rounded to bf16 as they leave the registers.
 *
 * <p>Used where {@link #PROPERTY} asks for it; otherwise, and on other devices, models on bytes compute with the rounded weights in
 * f32 or bf16. Layers whose outputs are no multiple of 8 always do. Hidden values between two layers are bf16 before
 * they are bytes, but become bytes at once where their range is known beforehand.
 *
 * <p>Bytes are integers, or floats ({@link Format#E4M3}): then every row has its own scale, a 448th of its largest absolute value, as every
 * channel of the weight has, and ranges that are known beforehand do not count. A value is wrong by at most a 16th of itself, where an integer
 * is by a 254th of the row's largest: for normal data that is three times the error. Thread-safe.
 */
final class CudaInt8 implements Int8Kernels {
    /**
     * System property: {@code own} computes layers on bytes by these kernels where a model computes in bf16, {@code e4m3} the same with
     * bytes that are floats.
     */
    static final String PROPERTY = "tessera.cuda.int8";

    /** What bytes are. */
    enum Format {
        /** Integers with sign. */
        INT8("own", "quantise_rows", "product_int8_"),
        /** Floats of four bits of exponent and three of mantissa. */
        E4M3("e4m3", "quantise_rows_e4m3", "product_e4m3_");

        private final String wanted;
        private final String quantise;
        private final String prefix;

        Format(String wanted, String quantise, String prefix) {
            this.wanted = wanted;
            this.quantise = quantise;
            this.prefix = prefix;
        }
    }

    private static final NarrowChecks<Weight> CHECKS =
            new NarrowChecks<>("int8", "Int8Kernels.pack", Weight.class, DType.BF16);

    private static final int CAPABILITY = 90;

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

    private final Format format;
    private final CudaDevice device;
    private final Kernels kernels;
    private final CudaModule module;
    private volatile @Nullable Boolean loaded;

    CudaInt8(Format format, CudaDevice device, Kernels kernels) {
        this.format = format;
        this.device = device;
        this.kernels = kernels;
        this.module = new CudaModule(device, "products_int8");
    }

    /** Whether the device has the kernels and they are wanted. */
    boolean available() {
        return device.capability() == CAPABILITY
                && System.getProperty(PROPERTY, "").equals(format.wanted)
                && loaded();
    }

    /** Whether what was loaded was compiled for this very capability; kernels for Hopper are in no other. */
    private boolean loaded() {
        Boolean known = loaded;
        if (known == null) {
            known = module.has(format.quantise);
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
     * @param kernels that packed it
     * @param bytes u8 {@code [n, ld(k)]} that are read with sign or as floats, or nothing
     * @param channels f32 {@code [n, 2]}: the scale of a channel and the sum of its rounded weights
     * @param rounded the rounded weight in bf16 where it is not multiplied in bytes, or null
     */
    private record Weight(
            CudaInt8 kernels,
            long n,
            long k,
            Buffer bytes,
            Buffer channels,
            @Nullable PackedWeight rounded,
            @Nullable InputRange input)
            implements PackedWeight {
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
        static final Rounding OF_ROWS = ofRows(LARGEST_WEIGHT);
        static final Rounding OF_FLOATS = ofRows((int) Float8.LARGEST);
        static final Rounding OF_GELU = new Rounding(0, LARGEST_INPUT, GELU_OFFSET, 0, LARGEST_INPUT, -ZERO);

        private static Rounding ofRows(int most) {
            return new Rounding(0, most, 0, -most, most, 0);
        }

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

    /** How inputs become bytes, or, where the range is not known beforehand, as the given one. */
    private Rounding rounding(Weight weight, Rounding otherwise) {
        return format == Format.E4M3
                ? Rounding.OF_FLOATS
                : weight.input == null ? otherwise : Rounding.of(weight.input);
    }

    private static long stride(long k) {
        return Math.ceilDiv(k, ROW_PIECE) * (long) ROW_PIECE;
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k, @Nullable InputRange input) {
        CHECKS.requireWeight(weight, n, k, "quantised");
        CHECKS.requireInputs(k);
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
                return new Weight(this, n, k, there, scales, whole ? null : rounded(values, n, k), input);
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
    private void quantise(MemorySegment values, long row, int k, MemorySegment bytes, MemorySegment channels) {
        float largest = 0;
        for (int i = 0; i < k; i++) {
            float size = Math.abs(values.getAtIndex(FLOAT, row * k + i));
            largest = size <= Float.MAX_VALUE ? Math.max(largest, size) : Float.POSITIVE_INFINITY;
            if (largest == Float.POSITIVE_INFINITY) {
                break;
            }
        }
        boolean floats = format == Format.E4M3;
        float scale = floats ? floatScale(largest) : Int8Kernels.weightScale(largest);
        float sum = 0; // exact for integers; floats have no shift that it is multiplied by
        for (int i = 0; i < k; i++) {
            float steps = scale > 0 ? values.getAtIndex(FLOAT, row * k + i) / scale : 0;
            byte q = floats ? Float8.of(steps) : (byte) Math.rint(steps);
            float value = floats ? Float8.value(q) : q;
            bytes.set(ValueLayout.JAVA_BYTE, i, q);
            values.setAtIndex(FLOAT, row * k + i, value * scale);
            sum += value;
        }
        channels.setAtIndex(FLOAT, 2 * row, scale);
        channels.setAtIndex(FLOAT, 2 * row + 1, sum * scale);
    }

    /** Of a channel in e4m3: its largest absolute weight becomes the largest number. */
    private static float floatScale(float largest) {
        float scale = largest / Float8.LARGEST;
        return !(scale < Float.POSITIVE_INFINITY) ? Float.NaN : scale < Float.MIN_NORMAL ? 0 : scale;
    }

    private PackedWeight rounded(Buffer values, long n, long k) {
        try (Buffer wide = device.filled(DType.F32, n * k, values::copyTo);
                Buffer narrow = device.filled(
                        DType.BF16, n * k, there -> kernels.elementwise().cast(wide, there))) {
            return kernels.matmul().pack(narrow, n, k);
        }
    }

    private Weight own(PackedWeight given) {
        return CHECKS.own(given, weight -> weight.kernels == this);
    }

    @Override
    public void linear(long m, Buffer x, PackedWeight weight, Epilogue epilogue, Buffer y) {
        Weight w = own(weight);
        linear(m, x, w, rounding(w, Rounding.OF_ROWS), epilogue, y);
    }

    private void linear(long m, Buffer x, Weight w, Rounding rounding, Epilogue epilogue, Buffer y) {
        CHECKS.require("x", x, m * w.k);
        CHECKS.requireResult(m, w.n, epilogue, "y", y);
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
        try (Rows rows = quantised(m, x, w.k, rounding(w, Rounding.OF_ROWS), null, null)) {
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
            rounding.write(module.function(format.quantise)
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
        CudaLaunch launch = module.function(format.prefix + variant.name() + kind)
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
        CHECKS.requireFollowing(w1, w2);
        CHECKS.require("x", x, m * w1.k);
        CHECKS.require("first bias", firstBias, h);
        CHECKS.requireResult(m, w2.n, epilogue, "y", y);
        if (m == 0 || w2.n == 0) {
            return;
        }
        InputRange input = format == Format.E4M3 ? null : w2.input;
        boolean whole = w1.rounded == null && w2.rounded == null && h % ROW_PIECE == 0;
        if (input != null && whole && (firstBias == null || CudaHopperProducts.aligned(firstBias))) {
            // The hidden values are bytes before they leave the registers.
            Rounding rounding = Rounding.of(input);
            MatmulShape shape = MatmulShape.of(false, true, m, h, w1.k);
            try (Rows hidden = Rows.empty(device, m, h)) {
                try (Rows rows = quantised(m, x, w1.k, rounding(w1, Rounding.OF_ROWS), hidden, rounding)) {
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
            linear(m, x, w1, rounding(w1, Rounding.OF_ROWS), new Epilogue(firstBias, null, Activation.GELU), hidden);
            linear(m, hidden, w2, rounding(w2, Rounding.OF_GELU), epilogue, y);
        }
    }

    /** As it is: bf16 by tensor cores. */
    @Override
    public Attention attention() {
        return kernels.attention();
    }
}
