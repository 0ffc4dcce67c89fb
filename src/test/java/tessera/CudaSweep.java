package tessera;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Graph;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;
import tessera.nn.AdamW;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * Lets every call that an operation makes fail once, the first, the second and so on, in a process that starts cold. Prints what
 * is wrong: a failure told without the call's name or without advice, or by an exception that is not exported, something that stays behind, an operation that works no
 * more afterwards.
 */
public final class CudaSweep {
    /** What the statuses that the fake lets its libraries return are advised with. */
    private static final List<String> ADVICE = List.of(
            "the driver or use another device",
            "to find the kernel, run again with -D",
            "end other programs",
            "check the rights on ");

    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 4, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            2,
            8,
            8,
            16,
            1,
            1,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);

    private final Function<Device, double[]> operation;
    private final Set<String> told = new TreeSet<>();
    private final Set<String> untold = new TreeSet<>();
    private @Nullable Device device;
    private int runs;

    private CudaSweep(Function<Device, double[]> operation) {
        this.operation = operation;
    }

    /**
     * Sweeps.
     *
     * @param args {@code session}, {@code training} or {@code products}
     */
    public static void main(String[] args) {
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        new VideoMaeClassifier(params, CONFIG, 0).close();
        double[][] weight = new double[2][16];
        Random random = new Random(3);
        for (double[] row : weight) {
            Arrays.setAll(row, i -> random.nextGaussian());
        }
        Head head = Head.of(weight, new double[] {.1, -.2}, List.of("cut", "pour"));
        CudaSweep sweep = new CudaSweep(
                switch (args[0]) {
                    case "session" -> device -> session(params, head, device);
                    case "training" -> CudaSweep::training;
                    case "products" -> CudaSweep::products;
                    default -> throw new IllegalArgumentException(args[0]);
                });
        sweep.run();
        double[] expected = sweep.operation.apply(Device.cpu());
        Close.relative(sweep.operation.apply(Device.cuda(0)), expected, 1e-4, "after all failures");
        System.out.println("runs: " + sweep.runs);
        System.out.println("told: " + sweep.told);
        System.out.println("done without: " + sweep.untold);
    }

    /**
     * What succeeds in a failing run may be kept (modules, plans, events), so that the next run goes another way: then the first
     * other call fails. When two runs went the same way nothing is kept any more: the second must leave nothing behind, and the
     * next call is next.
     */
    private void run() {
        String before = "";
        int n = 1;
        while (true) {
            Left left = left();
            Throwable failure = attempt(n);
            String trace = FakeCuda.trace();
            if (trace.startsWith("unreached")) {
                if (failure != null) {
                    problem("without a failed call", trace, failure);
                }
                return;
            }
            List<String> calls = List.of(trace.split(" "));
            check(calls.getLast(), failure);
            n = calls.size();
            if (trace.equals(before)) {
                Left now = left();
                if (now.exceeds(left)) {
                    problem("before: " + left + ", after: " + now, trace, failure);
                }
                n++;
            }
            before = trace;
        }
    }

    private @Nullable Throwable attempt(int n) {
        runs++;
        FakeCuda.failAny(n);
        try {
            device = Device.cuda(0);
            double[] _ = operation.apply(device);
            return null;
        } catch (RuntimeException | Error e) {
            return e;
        }
    }

    private void check(String failed, @Nullable Throwable failure) {
        if (failure == null) {
            untold.add(failed);
            return;
        }
        told.add(failed);
        String message = String.valueOf(failure.getMessage());
        if (!(failure instanceof DeviceException || failure instanceof IllegalArgumentException)) {
            problem("an embedder cannot name the exception", failed, failure);
        }
        if ((!message.contains(failed + " ") && !message.contains(failed + ":"))
                || ADVICE.stream().noneMatch(message::contains)) {
            problem("the message does not say enough", failed, failure);
        }
    }

    private static void problem(String what, String trace, @Nullable Throwable failure) {
        String[] calls = trace.split(" ");
        System.out.println("unexpected: " + what + "; at call " + (calls.length - 1) + " "
                + String.join(" ", List.of(calls).subList(Math.max(0, calls.length - 4), calls.length)) + ": "
                + failure);
        if (failure != null) {
            failure.printStackTrace(System.out);
        }
    }

    /** Device memory, handles and buffers that are not freed; nothing that waits to be used again. */
    private record Left(long deviceBytes, long handles, long hostBuffers, long deviceBuffers) {
        /** Less may be left than before: the garbage collector frees what no object refers to, when it likes. */
        boolean exceeds(Left before) {
            return deviceBytes > before.deviceBytes
                    || handles > before.handles
                    || hostBuffers > before.hostBuffers
                    || deviceBuffers > before.deviceBuffers;
        }
    }

    private Left left() {
        long buffers = 0;
        if (device != null) {
            device.trim();
            buffers = device.memory().liveBuffers();
        }
        return new Left(
                FakeCuda.liveBytes(),
                FakeCuda.liveHandles(),
                Device.cpu().memory().liveBuffers(),
                buffers);
    }

    private static double[] session(Params params, Head head, Device device) {
        try (Student plain = Student.of(params.all(), CONFIG, device);
                Student student = plain.withHead(head);
                Student.Session session = student.session(1, Masking.of(.5, 1))) {
            session.input().fill((byte) 77);
            float[] values = session.predict(9);
            double[] wide = new double[values.length];
            Arrays.setAll(wide, i -> values[i]);
            return wide;
        }
    }

    /** Two steps of a small model, the second, on a GPU, as a graph. */
    private static double[] training(Device device) {
        try (Scope scope = Scope.open()) {
            Tensor x = Tensor.uniform(device, DType.F32, Shape.of(4, 6), 1, 0, -1, 1);
            Tensor w = Tensor.uniform(device, DType.F32, Shape.of(5, 6), 2, 0, -1, 1)
                    .requiresGrad(true);
            Tensor b = Tensor.full(device, DType.F32, Shape.of(5), .125).requiresGrad(true);
            try (AdamW optimiser = new AdamW(Map.of("w", w, "b", b), .9, .999, 1e-8, .01, "w"::equals).clipNorm(1)) {
                Runnable step = () -> {
                    try (Scope inner = Scope.open()) {
                        x.linear(w, b).gelu().dropout(.5, 3, 0).sum().backward();
                        optimiser.step(.1);
                    }
                };
                step.run();
                if (device.records()) {
                    try (Graph graph = device.record(step)) {
                        graph.launch(new Graph.Variables(0, 0, .1, 2));
                    }
                } else {
                    step.run();
                }
                return w.toDoubles();
            }
        }
    }

    /** By both libraries of products, with a packed weight. */
    private static double[] products(Device device) {
        try (Scope scope = Scope.open()) {
            Tensor a = Tensor.uniform(device, DType.F32, Shape.of(2, 3, 4), 1, 0, -1, 1);
            Tensor b = Tensor.uniform(device, DType.F32, Shape.of(2, 4, 5), 2, 0, -1, 1);
            Tensor bias = Tensor.uniform(device, DType.F32, Shape.of(5), 3, 0, -1, 1);
            Tensor weight = b.slice(0, 0, 1).reshape(4, 5).transpose(0, 1).contiguous();
            Tensor y = Tensor.empty(device, DType.F32, Shape.of(6, 5));
            try (PackedWeight packed = device.kernels().matmul().pack(weight.buffer(), 5, 4)) {
                device.kernels()
                        .matmul()
                        .linear(6, a.buffer(), packed, new Epilogue(bias.buffer(), null, Activation.GELU), y.buffer());
            }
            return a.matmul(b).reshape(6, 5).add(y).toDoubles();
        }
    }
}
