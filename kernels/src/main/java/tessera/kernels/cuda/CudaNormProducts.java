package tessera.kernels.cuda;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.NormProducts;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.cpu.Elements;
import tessera.natives.cuda.CublasLt;

/**
 * Linear layers joined with the layer norm before them: {@code norm(x) W^T + b} is {@code rstd (x W'^T) - mean rstd s + b'} with W' the
 * weight times the norm's scale, rounded to bf16, s the sums of its rows and b' the bias plus {@code W shift}. A pass over x finds mean
 * and rstd; the norm is neither written nor read. Computed so by {@link CudaHopperProducts} where it was measured to be faster,
 * see {@link CudaTuning}, or where {@link #PROPERTY} asks for it and nobody has measured it; else in two passes. Thread-safe.
 */
final class CudaNormProducts implements NormProducts {
    /** System property: {@code own} joins layers with norms wherever that is possible and was not measured to be slower. */
    static final String PROPERTY = "tessera.cuda.norms";

    private final CudaDevice device;
    private final CudaMatmul matmul;
    private final CudaHopperProducts hopper;
    private final CudaElementwise elementwise;
    private final CudaNorms norms;

    CudaNormProducts(
            CudaDevice device,
            CudaMatmul matmul,
            CudaHopperProducts hopper,
            CudaElementwise elementwise,
            CudaNorms norms) {
        this.device = device;
        this.matmul = matmul;
        this.hopper = hopper;
        this.elementwise = elementwise;
        this.norms = norms;
    }

    static boolean wanted() {
        return System.getProperty(PROPERTY, "").equals("own");
    }

    /** Whether the device has the kernels and they are wanted or were measured to be faster. */
    boolean available() {
        return hopper.available() && (wanted() || matmul.knowsNorms());
    }

    /** A layer and the norm before it, apart and joined. */
    private final class Weight implements PackedWeight {
        private final List<Runnable> parts = new ArrayList<>();
        private final long n;
        private final long k;
        private final PackedWeight plain;
        private final @Nullable Buffer plainBias;
        private final NormParameters norm;
        /** bf16 {@code [n, k]}, the weight times the norm's scale. */
        private final Buffer scaled;
        /** f32 {@code [n, 2]}, 1 and the sum of a row of that; as a layer on bytes has them. */
        private final Buffer channels;
        /** bf16 {@code [n]}, with the norm's shift in it. */
        private final Buffer shifted;

        Weight(Buffer weight, long n, long k, @Nullable Buffer bias, NormParameters given) {
            this.n = n;
            this.k = k;
            try {
                try (Buffer narrow = inBf16(weight, n * k)) {
                    plain = matmul.pack(narrow, n, k);
                    parts.add(plain::close);
                }
                plainBias = bias == null ? null : kept(inBf16(bias, n));
                Buffer gamma = given.gamma().slice(0, k);
                Buffer beta = given.beta().slice(0, k);
                norm = new NormParameters(
                        kept(device.filled(DType.F32, k, gamma::copyTo)),
                        kept(device.filled(DType.F32, k, beta::copyTo)),
                        given.eps());
                scaled = kept(device.allocate(DType.BF16, n * k));
                channels = kept(device.allocate(DType.F32, 2 * n));
                shifted = kept(device.allocate(DType.BF16, n));
                join(weight, bias);
            } catch (RuntimeException | Error e) {
                close();
                throw e;
            }
        }

        private Buffer kept(Buffer buffer) {
            parts.add(buffer::close);
            return buffer;
        }

        private Buffer inBf16(Buffer f32, long count) {
            Buffer part = f32.slice(0, count);
            return device.filled(DType.BF16, count, y -> elementwise.cast(part, y));
        }

        /** On the CPU, once, in f64. */
        private void join(Buffer weight, @Nullable Buffer bias) {
            Device cpu = Device.cpu();
            try (Buffer w = cpu.allocate(DType.F32, n * k);
                    Buffer gamma = cpu.allocate(DType.F32, k);
                    Buffer beta = cpu.allocate(DType.F32, k);
                    Buffer b = cpu.allocate(DType.F32, n);
                    Buffer product = cpu.allocate(DType.BF16, n * k);
                    Buffer sums = cpu.allocate(DType.F32, 2 * n);
                    Buffer sum = cpu.allocate(DType.BF16, n)) {
                weight.slice(0, n * k).copyTo(w);
                norm.gamma().copyTo(gamma);
                norm.beta().copyTo(beta);
                if (bias != null) {
                    bias.slice(0, n).copyTo(b);
                }
                for (long row = 0; row < n; row++) {
                    double total = 0;
                    double shift = bias == null ? 0 : Elements.get(b, row);
                    for (long i = 0; i < k; i++) {
                        double value = Elements.get(w, row * k + i);
                        Elements.set(product, row * k + i, value * Elements.get(gamma, i));
                        total += Elements.get(
                                product, row * k + i); // of what is multiplied, rounded: or else means would not cancel
                        shift += value * Elements.get(beta, i);
                    }
                    Elements.set(sums, 2 * row, 1);
                    Elements.set(sums, 2 * row + 1, total);
                    Elements.set(sum, row, shift);
                }
                product.copyTo(scaled);
                sums.copyTo(channels);
                sum.copyTo(shifted);
            }
        }

        private CudaNormProducts kernels() {
            return CudaNormProducts.this;
        }

        @Override
        public long n() {
            return n;
        }

        @Override
        public long k() {
            return k;
        }

        @Override
        public void close() {
            parts.forEach(Runnable::run);
        }
    }

    @Override
    public PackedWeight pack(Buffer weight, long n, long k, @Nullable Buffer bias, NormParameters norm) {
        CudaTypes.require("linear behind a norm", DType.F32, weight, bias, norm.gamma(), norm.beta());
        return new Weight(weight, n, k, bias, norm);
    }

    private Weight own(PackedWeight given) {
        if (given instanceof Weight weight && weight.kernels() == this) {
            return weight;
        }
        throw new IllegalArgumentException("linear: the weight was not packed with a norm by the kernels of " + device
                + "; pack it by NormProducts.pack of this device");
    }

    @Override
    public void linear(long m, Buffer x, PackedWeight weight, Activation activation, Buffer y) {
        CudaTypes.require("linear behind a norm", DType.BF16, x, y);
        Weight w = own(weight);
        MatmulShape shape = MatmulShape.of(false, true, m, w.n, w.k);
        Epilogue epilogue = new Epilogue(w.shifted, null, activation);
        CudaHopperProducts.Variant variant =
                hopper.takes(shape, x, w.scaled, epilogue, y) ? matmul.own(key(shape, x, w, activation, y)) : null;
        if (variant != null) {
            joined(variant, m, x, weight, activation, y);
        } else {
            apart(m, x, weight, activation, y);
        }
    }

    private CudaProduct.Key key(MatmulShape shape, Buffer x, Weight w, Activation activation, Buffer y) {
        Epilogue epilogue = new Epilogue(w.shifted, null, activation);
        int gelu = activation == Activation.GELU ? CublasLt.EPILOGUE_GELU : 0;
        return matmul.key(shape, CublasLt.EPILOGUE_BIAS + gelu, x, w.scaled, epilogue, y)
                .behindNorm();
    }

    /** The norm as the product is written, for shapes that {@link CudaHopperProducts#able} accepts. */
    void joined(
            CudaHopperProducts.Variant variant,
            long m,
            Buffer x,
            PackedWeight weight,
            Activation activation,
            Buffer y) {
        Weight w = own(weight);
        MatmulShape shape = MatmulShape.of(false, true, m, w.n, w.k);
        try (Buffer rows = device.allocate(DType.F32, 2 * m)) {
            norms.layerNormScales(new RowShape(m, w.k), x, w.norm.eps(), rows);
            Epilogue epilogue = new Epilogue(w.shifted, null, activation);
            hopper.runBehindNorm(variant, shape, x, w.scaled, epilogue, rows, w.channels, y);
        }
    }

    /** The norm, and the layer of it. */
    void apart(long m, Buffer x, PackedWeight weight, Activation activation, Buffer y) {
        Weight w = own(weight);
        try (Buffer normed = device.allocate(DType.BF16, m * w.k)) {
            norms.layerNorm(new RowShape(m, w.k), x, w.norm, normed, null);
            matmul.linear(m, normed, w.plain, new Epilogue(w.plainBias, null, activation), y);
        }
    }
}
