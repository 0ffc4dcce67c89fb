package tessera.distill.train;

import static java.util.Objects.requireNonNull;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.Golden;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.nn.TokenGrid;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** The objective of the second system's students against the reference: teachers, weights, loss and gradient, in f64. */
class LogitDistillationTest {
    private static final int TEACHERS = 3;
    private static final int CLIPS = 16;
    private static final int CLASSES = 97;
    private static final Golden GOLDEN = Golden.open("losses-schedules");

    private static Tensor student(String setting) {
        return Tensor.of(GOLDEN.doubles(setting + ".student_logits"), CLIPS, CLASSES)
                .requiresGrad(true);
    }

    private static List<Teacher> teachers() {
        double[] all = GOLDEN.doubles("kd.teacher_logits_TBC");
        int each = CLIPS * CLASSES;
        List<Teacher> teachers = new ArrayList<>();
        for (int t = 0; t < TEACHERS; t++) {
            Tensor logits = Tensor.of(Arrays.copyOfRange(all, t * each, (t + 1) * each), CLIPS, CLASSES);
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
        Tensor labels = Tensor.of(GOLDEN.ints("kd.labels"), CLIPS);
        Batch batch = new Batch(Map.of(Modality.RGB, Tensor.zeros(CLIPS, 1)), Map.of("verb", labels, "noun", labels));
        return new Look(batch, Modality.RGB, null, answering(student), Noise.NONE);
    }

    private static Objective objective(String setting, String head, List<Teacher> teachers) {
        double[] p = GOLDEN.doubles(setting + ".params_T_alpha_beta_tauw");
        Weighting weighting = setting.endsWith("uniform")
                ? Weighting.uniform()
                : setting.endsWith("per_sample") ? Weighting.perSample(p[3]) : Weighting.dataSet(p[3], losses());
        return new LogitDistillation(teachers, head, p[0], p[1], p[2], weighting);
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
        try (Scope scope = Scope.open()) {
            Tensor student = student(setting);
            Tensor loss = objective(setting, "verb", teachers()).loss(look(Map.of("verb", student)));
            loss.backward();
            Close.relative(new double[] {loss.item()}, GOLDEN.doubles(setting + ".loss"), 1e-9, setting + " loss");
            Close.relative(
                    requireNonNull(student.grad()).toDoubles(),
                    GOLDEN.doubles(setting + ".grad"),
                    1e-9,
                    setting + " gradient");
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
