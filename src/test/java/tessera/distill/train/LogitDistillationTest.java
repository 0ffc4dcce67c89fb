package tessera.distill.train;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.TokenGrid;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TestDevices;
import tessera.tensor.TokenMask;

/** The objective of the second system's students against the reference: teachers, weights, loss and gradient. */
class LogitDistillationTest {
    private static final int TEACHERS = 3;
    private static final int CLIPS = 16;
    private static final int CLASSES = 97;
    private static final Golden GOLDEN = Golden.open("losses-schedules");

    private static Tensor student(String setting) {
        return student(setting, DType.F64, Device.cpu());
    }

    private static Tensor student(String setting, DType dtype, Device device) {
        return GoldenTensors.tensor(GOLDEN, setting + ".student_logits", dtype, device)
                .requiresGrad(true);
    }

    private static List<Teacher> teachers() {
        return teachers(DType.F64, Device.cpu());
    }

    private static List<Teacher> teachers(DType dtype, Device device) {
        double[] all = GOLDEN.doubles("kd.teacher_logits_TBC");
        int each = CLIPS * CLASSES;
        List<Teacher> teachers = new ArrayList<>();
        for (int t = 0; t < TEACHERS; t++) {
            Tensor logits = Tensor.of(Arrays.copyOfRange(all, t * each, (t + 1) * each), CLIPS, CLASSES)
                    .to(dtype)
                    .to(device);
            teachers.add(new Teacher(Modality.RGB, answering(Map.of("verb", logits, "noun", logits))));
        }
        return teachers;
    }

    private static Network answering(Map<String, Tensor> heads) {
        return new Network() {
            @Override
            public Outputs forward(Tensor clips, @Nullable TokenMask mask, Noise noise) {
                return new Outputs(null, null, heads::get);
            }

            @Override
            public TokenGrid grid() {
                throw new IllegalArgumentException("no tokens");
            }
        };
    }

    private static Look look(Map<String, Tensor> student) {
        return look(student, Device.cpu());
    }

    private static Look look(Map<String, Tensor> student, Device device) {
        Tensor labels = Tensor.of(GOLDEN.ints("kd.labels"), CLIPS).to(device);
        Tensor clips = Tensor.zeros(CLIPS, 1).to(device);
        Batch batch = new Batch(Map.of(Modality.RGB, clips), Map.of("verb", labels, "noun", labels));
        return new Look(batch, Modality.RGB, null, answering(student), Noise.NONE);
    }

    private static Objective objective(String setting, String head, List<Teacher> teachers) {
        double[] p = GOLDEN.doubles(setting + ".params_T_alpha_beta_tauw");
        return new LogitDistillation(teachers, head, p[0], p[1], p[2], weighting(setting));
    }

    private static Weighting weighting(String setting) {
        double temperature = GOLDEN.doubles(setting + ".params_T_alpha_beta_tauw")[3];
        if (setting.endsWith("uniform")) {
            return Weighting.uniform();
        }
        return setting.endsWith("per_sample")
                ? Weighting.perSample(temperature)
                : Weighting.dataSet(temperature, losses());
    }

    private static double[] losses() {
        double[] losses = new double[TEACHERS];
        List<Teacher> teachers = teachers();
        for (int t = 0; t < TEACHERS; t++) {
            losses[t] = Losses.crossEntropy(
                            look(Map.of()).of(teachers.get(t)).logits("verb"),
                            Tensor.of(GOLDEN.ints("kd.labels"), CLIPS))
                    .item();
        }
        return losses;
    }

    @ParameterizedTest
    @ValueSource(strings = {"kd0_uniform", "kd1_uniform", "kd2_per_sample", "kd3_dataset"})
    void lossAndGradientAreTheReferences(String setting) {
        lossAndGradient(setting, DType.F64, Device.cpu(), 1e-9, 1e-9);
    }

    @ParameterizedTest
    @ValueSource(strings = {"kd0_uniform", "kd1_uniform", "kd2_per_sample", "kd3_dataset"})
    void lossAndGradientInSinglePrecision(String setting) {
        lossAndGradient(setting, DType.F32, Device.cpu(), 1e-5, 1e-5);
    }

    @Tag(FakeCuda.TAG)
    @ParameterizedTest
    @ValueSource(strings = {"kd0_uniform", "kd1_uniform", "kd2_per_sample", "kd3_dataset"})
    void lossAndGradientOnCuda(String setting) {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
        lossAndGradient(setting, DType.F32, TestDevices.cuda().getFirst(), 1e-5, 1e-4);
    }

    private static void lossAndGradient(
            String setting, DType dtype, Device device, double lossTolerance, double gradientTolerance) {
        try (Scope scope = Scope.open()) {
            Tensor student = student(setting, dtype, device);
            Tensor loss =
                    objective(setting, "verb", teachers(dtype, device)).loss(look(Map.of("verb", student), device));
            loss.backward();
            assertEquals(dtype, loss.dtype());
            Close.relative(
                    new double[] {loss.item()}, GOLDEN.doubles(setting + ".loss"), lossTolerance, setting + " loss");
            Close.relative(
                    requireNonNull(student.grad()).toDoubles(),
                    GOLDEN.doubles(setting + ".grad"),
                    gradientTolerance,
                    setting + " gradient");
        }
    }

    /** The two terms that the loss is made of, each alone: T^2 times the divergence from the teachers, and the labels. */
    @ParameterizedTest
    @ValueSource(strings = {"kd0_uniform", "kd1_uniform", "kd2_per_sample", "kd3_dataset"})
    void bothTermsAreTheReferences(String setting) {
        for (DType dtype : List.of(DType.F64, DType.F32)) {
            double tolerance = dtype == DType.F64 ? 1e-9 : 1e-5;
            try (Scope scope = Scope.open()) {
                Look look = look(Map.of("verb", student(setting, dtype, Device.cpu())));
                List<Teacher> teachers = teachers(dtype, Device.cpu());
                double temperature = GOLDEN.doubles(setting + ".params_T_alpha_beta_tauw")[0];
                double divergence = new LogitDistillation(teachers, "verb", temperature, 1, 0, weighting(setting))
                        .loss(look)
                        .item();
                double labels = new LogitDistillation(teachers, "verb", temperature, 0, 1, weighting(setting))
                        .loss(look)
                        .item();
                double[] kl = GOLDEN.doubles(setting + ".kl");
                Close.relative(new double[] {divergence}, kl, tolerance, setting + " " + dtype + " divergence");
                Close.relative(
                        new double[] {labels}, GOLDEN.doubles(setting + ".ce"), tolerance, setting + " " + dtype);
            }
        }
    }

    /** The mean over heads: each head's gradient is its own, divided by their number. */
    @Test
    void severalHeadsAreAveraged() {
        String setting = "kd1_uniform";
        try (Scope scope = Scope.open()) {
            Tensor verb = student(setting);
            Tensor noun = student(setting);
            List<Teacher> teachers = teachers();
            Objective mean = new Weighted(List.of(
                    new Weighted.Term(objective(setting, "verb", teachers), .5, new Metric("verb")),
                    new Weighted.Term(objective(setting, "noun", teachers), .5, null)));
            Tensor loss = mean.loss(look(Map.of("verb", verb, "noun", noun)));
            loss.backward();
            Close.relative(new double[] {loss.item()}, GOLDEN.doubles(setting + ".loss"), 1e-9, "mean");
            double[] half = Arrays.stream(GOLDEN.doubles(setting + ".grad"))
                    .map(g -> g / 2)
                    .toArray();
            Close.relative(requireNonNull(verb.grad()).toDoubles(), half, 1e-9, "verb");
            Close.relative(requireNonNull(noun.grad()).toDoubles(), half, 1e-9, "noun");
        }
    }
}
