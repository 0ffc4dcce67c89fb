package tessera.kernels.cuda;

import static java.util.Objects.requireNonNull;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Event;
import tessera.kernels.Graph;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.RandomOps.RandomStream;
import tessera.kernels.cpu.Elements;
import tessera.natives.cuda.CublasLt;
import tessera.natives.cuda.CudaException;

/**
 * Finds by measurement how a GPU computes matrix products fastest, and keeps it in {@link CudaProductTable}.
 *
 * <p>cuBLASLt's heuristics name several algorithms for a product, and kernels of our own compute some. Each is run on random numbers: it must agree with the first
 * and repeat bit for bit, and its time is the median of replays of a recorded graph of runs. Another than the first is chosen
 * only where it is faster by more than noise.
 */
public final class CudaTuning {
    private static final int MOST_ALGORITHMS = 16;
    private static final int SAMPLES = 7;
    private static final int WARMUP = 2;
    private static final double SAMPLE_MICROS = 100;
    private static final int MOST_RUNS = 30;
    private static final double NOISE = .98;
    /** An algorithm that is so much slower at first sight is not measured further. */
    private static final double HOPELESS = 1.5;
    /** Elements compared at the beginning, in the middle and at the end of a result. */
    private static final int COMPARED = 8192;

    private final CudaDevice device;
    private final CudaMatmul matmul;
    private final CudaElementwise elementwise;

    private CudaTuning(CudaDevice device) {
        this.device = device;
        this.matmul = (CudaMatmul) device.kernels().matmul();
        this.elementwise = (CudaElementwise) device.kernels().elementwise();
    }

    /**
     * Measures the products that this process has computed on a device so far, those of the most arithmetic first, until the
     * time is up. What is found holds at once, except in graphs that were recorded before, and is written for later processes.
     * Nothing else should use the device meanwhile.
     *
     * @return a line for each product
     */
    public static List<String> products(CudaDevice device, Duration budget) {
        return products(device, ((CudaMatmul) device.kernels().matmul()).computed(), budget);
    }

    /** The same of some of these products. */
    static List<String> products(CudaDevice device, Collection<CudaProduct.Key> some, Duration budget) {
        return new CudaTuning(device).all(some, System.nanoTime() + budget.toNanos());
    }

    /** This device's own lines of the table, to be shipped or looked at. */
    public static List<String> table() {
        return CudaTables.own(CudaProductTable.FILE);
    }

    private List<String> all(Collection<CudaProduct.Key> some, long end) {
        List<CudaProduct.Key> keys = new ArrayList<>(some);
        keys.sort(Comparator.comparingDouble(CudaTuning::operations).reversed().thenComparing(CudaProduct.Key::words));
        // What is compared with another product must find that at its best.
        keys.sort(Comparator.comparingInt(key ->
                key.norm() || key.sums() ? 3 : key.gelu() ? 2 : key.epilogue() == CublasLt.EPILOGUE_BGRADB ? 1 : 0));
        List<String> table = new ArrayList<>(table());
        List<String> report = new ArrayList<>();
        for (CudaProduct.Key key : keys) {
            if (System.nanoTime() > end) {
                report.add((keys.size() - report.size()) + " products are not measured: the time is up");
                break;
            }
            report.add(one(key, table));
        }
        CudaTables.write(CudaProductTable.FILE, table);
        return report;
    }

    private static double operations(CudaProduct.Key key) {
        return 2.0 * key.shape().m() * key.shape().n() * key.shape().k();
    }

    /** What was measured of one product: the best choice so far. */
    private static final class Best {
        double micros = Double.POSITIVE_INFINITY;
        CudaProductTable.Choice choice = CudaProductTable.Choice.LIBRARY;
        String remark = "";

        /** Takes another choice where it is faster by more than noise. */
        void consider(String name, double other, CudaProductTable.Choice its) {
            remark += (remark.isEmpty() ? "" : ", ")
                    + (other < Double.POSITIVE_INFINITY
                            ? String.format(Locale.ROOT, "%s %.2f us", name, other)
                            : name + " -");
            if (other < (micros < Double.POSITIVE_INFINITY ? NOISE * micros : micros)) {
                micros = other;
                choice = its;
            }
        }
    }

    private String one(CudaProduct.Key key, List<String> table) {
        try (Trial trial = new Trial(key)) {
            Best best = new Best();
            if (key.norm() || key.keeping() || key.gradient()) {
                best.consider("apart", trial.library(), CudaProductTable.Choice.APART);
            } else if (key.gelu()) {
                best.consider("library", trial.library(), CudaProductTable.Choice.LIBRARY);
            } else {
                algorithms(trial, best);
                if (key.epilogue() == CublasLt.EPILOGUE_BGRADB) {
                    best.consider("apart", trial.apart(), CudaProductTable.Choice.APART);
                }
            }
            for (CudaHopperProducts.Variant variant : trial.own()) {
                double micros = trial.own(variant, best.micros);
                best.consider(variant.name(), micros, CudaProductTable.Choice.own(variant.name()));
            }
            if (best.micros == Double.POSITIVE_INFINITY) {
                return key.words() + ": nothing works: " + best.remark;
            }
            matmul.choose(key, best.choice);
            String begin = CudaProductTable.begin(device, key);
            table.removeIf(line -> line.startsWith(begin));
            table.add(CudaProductTable.line(device, key, best.choice, "# " + best.remark));
            return key.words() + ": " + best.remark
                    + String.format(
                            Locale.ROOT,
                            "; best %.2f us, %.1f TFLOP/s",
                            best.micros,
                            operations(key) / best.micros / 1e6);
        } catch (CudaProduct.Refused e) {
            return key.words() + ": refused";
        } catch (DeviceException e) {
            if (e.deviceLost()) {
                throw e;
            }
            return key.words() + ": " + e.getMessage();
        }
    }

    /** Measures what the library knows; the first is considered first. */
    private void algorithms(Trial trial, Best best) {
        List<byte[]> algorithms =
                device.call(() -> CudaProduct.algorithms(device, matmul.handle(), trial.key, MOST_ALGORITHMS));
        double fastest = Double.POSITIVE_INFINITY;
        int place = 0;
        for (int i = 0; i < algorithms.size(); i++) {
            double micros = trial.micros(algorithms.get(i), fastest);
            if (i == 0) {
                best.consider("first", micros, CudaProductTable.Choice.algorithm(algorithms.getFirst()));
            }
            if (micros < fastest) {
                fastest = micros;
                place = i;
            }
        }
        if (place > 0) {
            best.consider(
                    "number " + (place + 1) + " of " + algorithms.size(),
                    fastest,
                    CudaProductTable.Choice.algorithm(algorithms.get(place)));
        }
    }

    /** Buffers of one product, and what its first algorithm computed in them. */
    private final class Trial implements AutoCloseable {
        private final List<Buffer> open = new ArrayList<>();
        private final CudaProduct.Key key;
        private final Buffer a;
        private final Buffer b;
        private final Buffer c;
        /** What is kept of a product before GELU, where it is. */
        private final Buffer before;

        private final Buffer workspace;
        private final Epilogue epilogue;
        /** The layer with the norm before it where there is one. */
        private final @Nullable PackedWeight joined;

        private double @Nullable [] expected;

        Trial(CudaProduct.Key key) {
            this.key = key;
            MatmulShape shape = key.shape();
            try {
                a = random(key.in(), (shape.transposeA() ? shape.k() : shape.m()) * shape.lda());
                b = random(key.in(), (shape.transposeB() ? shape.n() : shape.k()) * shape.ldb());
                long result = (shape.m() - 1) * shape.ldc() + shape.n();
                c = random(key.out(), result);
                before = random(key.out(), key.keeping() ? result : 1);
                boolean sums = key.epilogue() == CublasLt.EPILOGUE_BGRADB;
                boolean biased = sums || key.sums() || (key.epilogue() & CublasLt.EPILOGUE_BIAS) != 0;
                Buffer bias = biased ? random(key.out(), sums ? shape.m() : shape.n()) : null;
                Buffer addend = key.addend() ? random(key.out(), result) : null;
                boolean gelu = key.gelu() && !key.gradient();
                epilogue = new Epilogue(bias, addend, gelu ? Activation.GELU : Activation.NONE);
                workspace = kept(device.allocate(DType.U8, CudaProduct.LARGEST_WORKSPACE));
                joined = key.norm() ? joined(shape.n(), shape.k()) : null;
            } catch (RuntimeException | Error e) {
                close();
                throw e;
            }
        }

        private Buffer kept(Buffer buffer) {
            open.add(buffer);
            return buffer;
        }

        private Buffer random(DType dtype, long length) {
            Buffer buffer = kept(device.allocate(dtype, length));
            device.kernels().random().randomNormal(new RandomStream(1, open.size()), 0, 1, buffer);
            return buffer;
        }

        private PackedWeight joined(long n, long k) {
            Buffer gamma = random(DType.F32, k);
            NormParameters norm = new NormParameters(gamma, random(DType.F32, k), 1e-6);
            return matmul.norm().pack(random(DType.F32, n * k), n, k, random(DType.F32, n), norm);
        }

        /** Microseconds of one run; infinite where the algorithm fails, is wrong, does not repeat, or is hopeless. */
        double micros(byte[] algorithm, double best) {
            CudaProduct product;
            try {
                product = device.call(() -> new CudaProduct(device, matmul.handle(), key, algorithm));
            } catch (CudaProduct.Refused e) {
                return Double.POSITIVE_INFINITY;
            }
            try {
                if (!Arrays.equals(product.algorithm(), algorithm)) {
                    return Double.POSITIVE_INFINITY;
                }
                Runnable run = () -> device.run(() -> product.run(
                        matmul.handle(),
                        a,
                        b,
                        epilogue,
                        c,
                        workspace.address(),
                        device.currentStream().handle()));
                return timeIfSound(run, best);
            } catch (CudaProduct.Refused e) {
                return Double.POSITIVE_INFINITY;
            } finally {
                device.currentStream().synchronize();
                product.close();
            }
        }

        /** Microseconds of the same without its epilogue and a pass of ours. */
        double apart() {
            Buffer sums = epilogue.bias();
            if (sums == null) {
                return Double.POSITIVE_INFINITY;
            }
            MatmulShape shape = key.shape();
            return time(
                    () -> {
                        matmul.byLibrary(shape, a, b, Epilogue.NONE, c);
                        elementwise.sum(a, 1, shape.k(), shape.m(), 1, sums);
                    },
                    Double.POSITIVE_INFINITY);
        }

        /** Microseconds of the library and what follows it. */
        double library() {
            return timeIfSound(this::runByLibrary, Double.POSITIVE_INFINITY);
        }

        private void runByLibrary() {
            if (joined != null) {
                matmul.norm().apart(key.shape().m(), a, joined, epilogue.activation(), c);
            } else if (key.keeping()) {
                matmul.gelu().forwardApart(key.shape(), a, b, epilogue.bias(), before, c);
            } else if (key.sums()) {
                LinearShape linear = new LinearShape(
                        key.shape().m(), key.shape().k(), key.shape().n());
                matmul.gelu().backward(linear, a, b, requireNonNull(epilogue.addend()), c, null);
                elementwise.sum(c, 1, linear.m(), linear.k(), 1, requireNonNull(epilogue.bias()));
            } else if (key.gradient()) {
                matmul.gelu().backwardApart(key.shape(), a, b, requireNonNull(epilogue.addend()), c);
            } else {
                matmul.byLibrary(key.shape(), a, b, epilogue, c);
            }
        }

        /** How our own kernels may compute it. */
        List<CudaHopperProducts.Variant> own() {
            boolean asked = key.norm() || key.keeping() || key.gradient(); // then it was asked whether they can
            return asked
                            || (key.epilogue() != CublasLt.EPILOGUE_BGRADB
                                    && matmul.hopper().takes(key.shape(), a, b, epilogue, c))
                    ? CudaHopperProducts.variants(key).toList()
                    : List.of();
        }

        double own(CudaHopperProducts.Variant variant, double best) {
            return timeIfSound(() -> runOwn(variant), best);
        }

        private void runOwn(CudaHopperProducts.Variant variant) {
            CudaHopperProducts hopper = matmul.hopper();
            if (joined != null) {
                matmul.norm().joined(variant, key.shape().m(), a, joined, epilogue.activation(), c);
            } else if (key.keeping()) {
                hopper.runKeeping(key.shape(), a, b, epilogue.bias(), before, c);
            } else if (key.sums()) {
                Buffer sums = requireNonNull(epilogue.bias());
                matmul.gelu().backwardWithSums(key.shape(), a, b, requireNonNull(epilogue.addend()), c, sums);
            } else if (key.gradient()) {
                hopper.runGradient(key.shape(), a, b, requireNonNull(epilogue.addend()), c, null);
            } else {
                hopper.run(variant, key.shape(), a, b, epilogue, c, false);
            }
        }

        private double timeIfSound(Runnable run, double best) {
            try {
                return sound(run) ? time(run, best) : Double.POSITIVE_INFINITY;
            } catch (DeviceException e) {
                if (e.deviceLost()) {
                    throw e;
                }
                return Double.POSITIVE_INFINITY;
            }
        }

        private boolean sound(Runnable run) {
            double[] found = result(run);
            double[] wanted = expected;
            if (wanted == null) {
                expected = found;
                wanted = found;
            }
            double difference = 0;
            double norm = 0;
            for (int i = 0; i < found.length; i++) {
                difference += (found[i] - wanted[i]) * (found[i] - wanted[i]);
                norm += wanted[i] * wanted[i];
            }
            boolean close = Math.sqrt(difference) <= tolerance() * Math.sqrt(norm);
            return close && Arrays.equals(found, result(run));
        }

        /** Of two sums in f32 in another order, in terms of their norm; more where results or factors are rounded. */
        private double tolerance() {
            return key.out() == DType.BF16 ? 1e-2 : key.tf32() ? 1e-3 : 1e-4;
        }

        private double[] result(Runnable run) {
            device.clear(c);
            run.run();
            List<double[]> parts = new ArrayList<>();
            long last = Math.max(0, c.length() - COMPARED);
            for (long start : new long[] {0, last / 2, last}) {
                parts.add(values(c.slice(start, Math.min(COMPARED, c.length()))));
            }
            Buffer sums = epilogue.bias();
            if ((key.sums() || key.epilogue() == CublasLt.EPILOGUE_BGRADB) && sums != null) {
                parts.add(values(sums));
            }
            if (key.keeping()) {
                parts.add(values(before.slice(0, Math.min(COMPARED, before.length()))));
            }
            return parts.stream().flatMapToDouble(Arrays::stream).toArray();
        }

        private double[] values(Buffer buffer) {
            try (Buffer host = Device.cpu().allocate(buffer.dtype(), buffer.length())) {
                buffer.copyTo(host);
                double[] values = new double[Math.toIntExact(host.length())];
                for (int i = 0; i < values.length; i++) {
                    values[i] = Elements.get(host, i);
                }
                return values;
            }
        }

        private double time(Runnable run, double best) {
            run.run();
            double estimate = sample(() -> {
                        for (int i = 0; i < WARMUP; i++) {
                            run.run();
                        }
                    })
                    / WARMUP;
            int runs = (int) Math.clamp(Math.ceil(SAMPLE_MICROS / Math.max(estimate, .1)), 2, MOST_RUNS);
            try (Graph graph = device.record(() -> {
                for (int i = 0; i < runs; i++) {
                    run.run();
                }
            })) {
                double[] samples = new double[SAMPLES];
                for (int i = -WARMUP; i < SAMPLES; i++) {
                    double micros = sample(() -> graph.launch(Graph.Variables.NONE)) / runs;
                    if (i >= 0) {
                        samples[i] = micros;
                    } else if (micros > HOPELESS * best && i == -1) {
                        return micros;
                    }
                }
                Arrays.sort(samples);
                return samples[SAMPLES / 2];
            } catch (CudaException e) {
                throw device.failed(e);
            }
        }

        private double sample(Runnable work) {
            try (Event begin = device.newTimer();
                    Event end = device.newTimer()) {
                begin.record(device.currentStream());
                work.run();
                end.record(device.currentStream());
                end.synchronize();
                return begin.millisecondsTo(end) * 1e3;
            }
        }

        @Override
        public void close() {
            open.forEach(Buffer::close);
            if (joined != null) {
                joined.close();
            }
        }
    }
}
