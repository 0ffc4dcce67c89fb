package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Kernels;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Norms.NormGradients;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.NormStatistics;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Patches.PatchTarget;
import tessera.kernels.Tokens.TokenShape;

/**
 * In a process that has run all kernels with several shapes, none makes an object for every vector: what the compiler has seen of other
 * kernels, or of other shapes, has led it to that, and to a hundred times the time.
 */
class HotKernelsTest {
    private static final int ROWS = 64;
    /** Whole vectors, more and fewer than are taken together, and a rest. */
    private static final int[] WIDTHS = {384, 392, 40, 1004};

    /** Bytes a call, for results, bodies and shapes. */
    private static final double MOST = 4096;
    /**
     * Bytes more for each row: of a vector that goes into a sum, or a mask and what it is for, where there is a rest. An object for every
     * vector of the widest rows takes ten times as many for each operation.
     */
    private static final double MOST_OF_ROW = 448;

    private static final double MOST_WITH_REST = 3000;
    /** In which all are called, and until which those are called again that the compiler has not finished. */
    private static final int ROUNDS = 25;

    private static final int MOST_ROUNDS = 200;

    private static final int CALLS = 20;
    private static final int PROCESSES = 3;

    /** What the compiler makes of a loop hangs on when it comes to it, too, so a process with too many is followed by another. */
    @Test
    void noKernelMakesAnObjectForEveryVector(@TempDir Path folder) throws Exception {
        List<String> options = List.of("--add-modules", "jdk.incubator.vector", "-Xmx1g");
        Map<String, Double> least = new LinkedHashMap<>();
        List<String> tooMany = List.of();
        for (int process = 0; process < PROCESSES && (process == 0 || !tooMany.isEmpty()); process++) {
            String told = ChildJava.run(folder, options, Map.of(), 900, Calls.class);
            told.lines().filter(line -> line.endsWith(" bytes a call")).forEach(line -> {
                String[] words = line.split(" are | bytes a call", -1);
                least.merge(words[0], Double.parseDouble(words[1]), Math::min);
            });
            assertTrue(least.size() >= 20 * WIDTHS.length, told);
            tooMany = least.entrySet().stream()
                    .filter(each -> !(each.getValue() <= most(each.getKey())))
                    .map(each -> each.getKey() + " are " + each.getValue())
                    .toList();
        }
        assertEquals(List.of(), tooMany);
    }

    /** Of words that end with it. */
    private static double most(String words) {
        return Double.parseDouble(words.substring(words.lastIndexOf(' ') + 1));
    }

    /** Prints what each kind of call allocates. */
    static final class Calls {
        private static final Device DEVICE = Device.cpu(1);
        private static final SplittableRandom RANDOM = new SplittableRandom(1);

        private record Call(String name, double most, Runnable body, double[] least) {
            boolean done() {
                return least[0] <= most;
            }
        }

        private final List<Call> calls = new ArrayList<>();
        private final Kernels kernels = DEVICE.kernels();

        public static void main(String[] arguments) {
            RandomRuns.endFirstRuns();
            Calls all = new Calls();
            for (int width : WIDTHS) {
                all.rows(width);
                all.products(width);
                all.attention(width);
            }
            all.patches();
            for (int round = 0; round < MOST_ROUNDS; round++) {
                boolean again = round >= ROUNDS;
                all.calls.stream().filter(call -> !again || !call.done()).forEach(Calls::count);
            }
            for (Call call : all.calls) {
                System.out.println(call.name + " at most " + call.most + " are " + call.least[0] + " bytes a call");
            }
        }

        private static void count(Call call) {
            ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
            long self = Thread.currentThread().threadId();
            long before = threads.getThreadAllocatedBytes(self);
            for (int i = 0; i < CALLS; i++) {
                call.body.run();
            }
            long bytes = threads.getThreadAllocatedBytes(self) - before;
            call.least[0] = Math.min(call.least[0], bytes / (double) CALLS);
        }

        private void add(String name, int width, Runnable body) {
            add(name, width, ROWS, body);
        }

        private void add(String name, int width, int rows, Runnable body) {
            double ofRow = width % VectorMath.LANES == 0 ? MOST_OF_ROW : MOST_WITH_REST;
            double[] least = {Double.POSITIVE_INFINITY};
            calls.add(new Call(name + " of " + width, MOST + ofRow * rows, body, least));
        }

        private static Buffer values(long count) {
            Buffer x = DEVICE.allocate(DType.F32, count);
            for (long i = 0; i < count; i++) {
                x.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) (.1 + RANDOM.nextDouble()));
            }
            return x;
        }

        private static Buffer numbers(int count, int end) {
            Buffer x = DEVICE.allocate(DType.I32, count);
            for (int i = 0; i < count; i++) {
                x.segment().setAtIndex(ValueLayout.JAVA_INT, i, i % end);
            }
            return x;
        }

        private void rows(int width) {
            RowShape shape = new RowShape(ROWS, width);
            long count = (long) ROWS * width;
            Buffer x = values(count);
            Buffer dy = values(count);
            Buffer y = values(count);
            Buffer gamma = values(width);
            Buffer beta = values(width);
            Buffer one = values(1);
            Buffer labels = numbers(ROWS, width);
            NormStatistics statistics = new NormStatistics(values(ROWS), values(ROWS));
            NormParameters parameters = new NormParameters(gamma, beta, 1e-6);
            NormGradients gradients = new NormGradients(x, y, values(width), values(width));
            add("layer norm", width, () -> kernels.norms().layerNorm(shape, x, parameters, y, statistics));
            add(
                    "layer norm gradients",
                    width,
                    () -> kernels.norms().layerNormBackward(shape, x, gamma, statistics, dy, gradients));
            for (boolean log : new boolean[] {false, true}) {
                String name = log ? "log softmax" : "softmax";
                add(name, width, () -> kernels.norms().softmax(shape, x, log, y));
                add(name + " gradients", width, () -> kernels.norms().softmaxBackward(shape, x, dy, log, y));
            }
            for (UnaryOp op :
                    List.of(UnaryOp.GELU, UnaryOp.RELU, UnaryOp.SQUARE, UnaryOp.SQRT, UnaryOp.ABS, UnaryOp.NEG)) {
                add(op.name(), width, () -> kernels.elementwise().unary(op, x, y));
                add(op + " gradient", width, () -> kernels.elementwise().unaryBackward(op, x, dy, y));
            }
            long[] both = {ROWS, width};
            for (BinaryOp op : BinaryOp.values()) {
                Strided left = new Strided(x, 0, width, 1);
                add(
                        op.name(),
                        width,
                        () -> kernels.elementwise().binary(op, left, new Strided(dy, 0, width, 1), y, both));
                add(
                        op + " a row",
                        width,
                        () -> kernels.elementwise().binary(op, left, new Strided(gamma, 0, 0, 1), y, both));
                add(
                        op + " a number",
                        width,
                        () -> kernels.elementwise().binary(op, left, new Strided(one, 0, 0, 0), y, both));
            }
            add("fill", width, () -> kernels.elementwise().fill(y, .5));
            add("affine", width, () -> kernels.elementwise().affine(x, 2, 1, y));
            add("axpy", width, () -> kernels.elementwise().axpy(.001, x, y));
            add("sum of rows", width, () -> kernels.elementwise().sum(x, ROWS, width, 1, 1, statistics.mean()));
            add("sum of columns", width, () -> kernels.elementwise().sum(x, 1, ROWS, width, 1, beta));
            add("sum of all", width, () -> kernels.elementwise().sum(x, 1, count, 1, 1, one));
            add("cross-entropy", width, () -> kernels.losses().crossEntropy(shape, x, labels, .1, one, y));
            add("squared error", width, () -> kernels.losses().meanSquaredError(x, dy, one, y));
            Ensemble ensemble = new Ensemble(new Buffer[] {dy, x}, values(2), false, 2, .5, .5);
            add("distillation", width, () -> kernels.losses().distillationLoss(shape, x, ensemble, labels, one, y));
            AdamWTensors tensors = new AdamWTensors(
                    new Buffer[] {values(count), values(width)},
                    new Buffer[] {dy, gamma},
                    new Buffer[] {values(count), values(width)},
                    new Buffer[] {values(count), values(width)},
                    null,
                    new double[] {.05, 0});
            AdamWStep step = new AdamWStep(1e-3, .9, .999, 1e-8, 3, null);
            add("AdamW", width, () -> kernels.optimiser().adamW(tensors, step));
            add("norm of gradients", width, () -> kernels.optimiser().globalNorm(tensors.gradients(), one));
            TokenShape tokens = new TokenShape(1, ROWS, ROWS, width);
            Buffer index = numbers(ROWS, ROWS);
            add("gathered rows", width, () -> kernels.tokens().gatherRows(tokens, x, index, y));
            add("scattered rows", width, () -> kernels.tokens().scatterRows(tokens, dy, index, y));
            add("sums of rows", width, () -> kernels.tokens().sumRows(tokens, dy, index, y));
            add("added rows", width, () -> kernels.tokens().addRows(tokens, x, dy, index, y));
        }

        private void products(int width) {
            LinearShape shape = new LinearShape(ROWS, 2L * width, width);
            Buffer x = values((long) ROWS * width);
            Buffer dy = values(2L * ROWS * width);
            Buffer w = values(2L * width * width);
            Buffer dw = values(2L * width * width);
            Buffer db = values(2L * width);
            Buffer dx = values((long) ROWS * width);
            MatmulShape input = MatmulShape.of(false, false, ROWS, width, 2L * width);
            add("linear input gradient", width, () -> kernels.matmul().matmul(input, dy, w, Epilogue.NONE, dx));
            add("linear weight gradient", width, () -> kernels.matmul().linearBackward(shape, dy, x, dw, db));
        }

        private void attention(int tokens) {
            int heads = 2;
            int dim = 16;
            Strides strides = new Strides((long) tokens * heads * dim, dim, (long) heads * dim);
            AttentionShape shape =
                    new AttentionShape(1, heads, tokens, tokens, dim, .25, strides, strides, strides, strides, 0);
            long count = (long) tokens * heads * dim;
            AttentionTensors in = new AttentionTensors(values(count), values(count), values(count), null);
            AttentionTensors gradients = new AttentionTensors(values(count), values(count), values(count), null);
            Buffer out = values(count);
            Buffer logSumExp = values((long) heads * tokens);
            Buffer dout = values(count);
            add("attention", tokens, heads * tokens, () -> kernels.attention().attention(shape, in, out, logSumExp));
            add(
                    "attention gradients",
                    tokens,
                    heads * tokens,
                    () -> kernels.attention().attentionBackward(shape, in, out, logSumExp, dout, gradients));
        }

        private void patches() {
            double[] means = {.4, .5, .6};
            double[] deviations = {.2, .25, .3};
            int side = 32;
            long row = 3L * side;
            PatchGeometry geometry = new PatchGeometry(
                    1, 4, side, side, 3, 2, 16, 4 * row * side, row * side, row, 3, 1, 1 / 255.0, means, deviations);
            int count = geometry.patches();
            Buffer bytes = DEVICE.allocate(DType.U8, 4 * row * side);
            Buffer floats = values(4 * row * side);
            Buffer index = numbers(count, count);
            Buffer out = values((long) count * geometry.patchLength());
            Buffer gradient = values((long) count * geometry.patchLength());
            Buffer loss = values(1);
            PatchTarget target = new PatchTarget(geometry, count, 1e-6, true);
            for (Buffer video : List.of(bytes, floats)) {
                String name = video.dtype() + " patches";
                add(name, side, () -> kernels.patches().gatherPatches(geometry, video, index, count, out));
                add(
                        name + " reconstructed",
                        side,
                        () -> kernels.patches().reconstructionLoss(target, video, index, out, loss, gradient));
            }
        }
    }
}
