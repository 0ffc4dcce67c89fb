package tessera.tensor;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import tessera.FakeCuda;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;

/** Operations against values computed by PyTorch in f64. */
class GoldenOpsTest {
    private static final Golden OPS = Golden.open("ops-float64");

    private static Tensor run(String name, Arguments in) {
        String op = name.replaceFirst("_[b]?\\d+.*", "");
        return switch (op) {
            case "layer_norm" ->
                in.get("x").layerNorm(in.get("w"), in.get("b"), Double.parseDouble(name.replaceFirst(".*_eps", "")));
            case "gelu_erf" -> in.get("x").gelu();
            case "softmax" -> in.get("x").softmax();
            case "attention" -> Tensor.attention(in.get("q"), in.get("k"), in.get("v"), null, scale(in.get("q")));
            case "attention_bias" ->
                Tensor.attention(in.get("q"), in.get("k"), in.get("v"), in.get("bias"), scale(in.get("q")));
            case "cross_entropy" -> Losses.crossEntropy(in.get("x"), in.get("y"));
            case "cross_entropy_smooth" -> Losses.crossEntropy(in.get("x"), in.get("y"), .1);
            case "linear" -> in.get("x").linear(in.get("w"), in.get("b"));
            case "gather_tokens" -> in.get("x").gatherRows(in.get("idx"));
            case "mean_tokens" -> in.get("x").mean(1);
            case "patch_embed_conv3d" ->
                Patches.plain(3, 2, 4)
                        .gather(in.get("x").permute(0, 2, 3, 4, 1), null)
                        .linear(in.get("w").reshape(6, -1), in.get("b"));
            default -> throw new IllegalArgumentException("no operation for " + name);
        };
    }

    private static double scale(Tensor q) {
        return 1 / Math.sqrt((double) q.size(3));
    }

    /** The inputs of one case, made on first use; those with a reference gradient require one. */
    private static final class Arguments {
        private final String name;
        private final DType dtype;
        private final Device device;
        private final java.util.Map<String, Tensor> made = new java.util.TreeMap<>();

        Arguments(String name, DType dtype, Device device) {
            this.name = name;
            this.dtype = dtype;
            this.device = device;
        }

        Tensor get(String input) {
            return made.computeIfAbsent(input, key -> {
                Tensor tensor = GoldenTensors.tensor(OPS, name + "/in." + key, dtype, device);
                return tensor.requiresGrad(OPS.keys().contains(name + "/grad." + key));
            });
        }
    }

    @TestFactory
    Stream<DynamicTest> f64() {
        return cases(Device.cpu(), DType.F64, 1e-12, 1e-12);
    }

    @TestFactory
    Stream<DynamicTest> f32() {
        return cases(Device.cpu(), DType.F32, 1e-5, 1e-4);
    }

    @Tag(FakeCuda.TAG)
    @TestFactory
    Stream<DynamicTest> f32OnCuda() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
        return TestDevices.cuda().stream().flatMap(device -> cases(device, DType.F32, 1e-5, 1e-4));
    }

    private static Stream<DynamicTest> cases(Device device, DType dtype, double outputTol, double gradientTol) {
        Set<String> names = OPS.keys().stream()
                .map(key -> key.substring(0, key.indexOf('/')))
                .collect(Collectors.toCollection(TreeSet::new));
        return names.stream()
                .map(name -> DynamicTest.dynamicTest(name, () -> {
                    try (Scope scope = Scope.open()) {
                        Arguments in = new Arguments(name, dtype, device);
                        Tensor out = run(name, in);
                        GoldenTensors.close(out, OPS.doubles(name + "/out"), outputTol, name);
                        long[] shape = out.shape().toArray();
                        out.backward(GoldenTensors.tensor(OPS, name + "/cotangent", dtype, device)
                                .reshape(shape));
                        String prefix = name + "/grad.";
                        List<String> gradients = OPS.keys().stream()
                                .filter(key -> key.startsWith(prefix))
                                .toList();
                        assertEquals(false, gradients.isEmpty());
                        for (String key : gradients) {
                            Tensor input = in.get(key.substring(prefix.length()));
                            assertArrayEquals(
                                    OPS.shape(key),
                                    requireNonNull(input.grad()).shape().toArray(),
                                    key);
                            GoldenTensors.close(input.grad(), OPS.doubles(key), gradientTol, key);
                        }
                    }
                }));
    }

    @Test
    void distillation() {
        distillation(Device.cpu(), DType.F64, 1e-12, 1e-12);
    }

    @Test
    void distillationInSinglePrecision() {
        distillation(Device.cpu(), DType.F32, 1e-5, 1e-5);
        distillation(Device.cpu(3), DType.F32, 1e-5, 1e-5);
    }

    @Tag(FakeCuda.TAG)
    @Test
    void distillationOnCuda() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
        TestDevices.cuda().forEach(device -> distillation(device, DType.F32, 1e-5, 1e-4));
    }

    private static void distillation(Device device, DType dtype, double lossTolerance, double gradientTolerance) {
        Golden golden = Golden.open("losses-schedules");
        for (String setting : List.of("kd0_uniform", "kd1_uniform", "kd2_per_sample", "kd3_dataset")) {
            try (Scope scope = Scope.open()) {
                Tensor student = GoldenTensors.tensor(golden, setting + ".student_logits", dtype, device)
                        .requiresGrad(true);
                Tensor all = GoldenTensors.tensor(golden, "kd.teacher_logits_TBC", dtype, device);
                List<Tensor> teachers = Stream.of(0, 1, 2)
                        .map(t -> all.slice(0, t, t + 1).reshape(16, 97))
                        .toList();
                Tensor weights = GoldenTensors.tensor(golden, setting + ".weights", dtype, device)
                        .transpose(0, 1);
                Tensor labels = GoldenTensors.tensor(golden, "kd.labels", dtype, device);
                double[] p = golden.doubles(setting + ".params_T_alpha_beta_tauw");
                Tensor loss = Losses.distillation(student, teachers, weights, labels, p[0], p[1], p[2]);
                loss.backward();
                String what = setting + " " + Arrays.toString(p);
                GoldenTensors.close(loss, golden.doubles(setting + ".loss"), lossTolerance, what);
                GoldenTensors.close(
                        requireNonNull(student.grad()), golden.doubles(setting + ".grad"), gradientTolerance, what);
            }
        }
    }
}
