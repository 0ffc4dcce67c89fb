package tessera.kernels.cpu.scalar;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;
import tessera.kernels.Buffer;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Norms.RowShape;

/** Losses in plain Java against reference values in f64, hand computations and their own contract. */
class ScalarLossesTest extends PlainFamilies {
    @ParameterizedTest
    @CsvSource({"cross_entropy_8x204, 0", "cross_entropy_smooth_8x10, 0.1"})
    void crossEntropyMatches(String name, double smoothing) {
        long[] shape = OPS.shape(name + "/in.x");
        Buffer x = in(name, "x");
        Buffer loss = f64(1);
        Buffer dx = like(x);
        KERNELS.losses()
                .crossEntropy(new RowShape(shape[0], shape[1]), x, i32(OPS.ints(name + "/in.y")), smoothing, loss, dx);
        assertGolden(loss, name + "/out");
        KERNELS.elementwise().scaleBy(dx, cotangent(name), dx);
        assertGradient(dx, name, "x");
    }

    @ParameterizedTest
    @CsvSource({"kd0_uniform, false", "kd1_uniform, false", "kd2_per_sample, true", "kd3_dataset, false"})
    void distillationLossMatches(String name, boolean perSample) {
        int rows = 16;
        int cols = 97;
        double[] all = LOSSES.doubles("kd.teacher_logits_TBC");
        Buffer[] teachers = new Buffer[3];
        for (int t = 0; t < 3; t++) {
            teachers[t] = f64(Arrays.copyOfRange(all, t * rows * cols, (t + 1) * rows * cols));
        }
        double[] byTeacher = LOSSES.doubles(name + ".weights");
        double[] weights = new double[perSample ? rows * 3 : 3];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = byTeacher[i % 3 * rows + i / 3];
        }
        double[] p = LOSSES.doubles(name + ".params_T_alpha_beta_tauw");
        Buffer loss = f64(1);
        Buffer gradient = f64((long) rows * cols);
        KERNELS.losses()
                .distillationLoss(
                        new RowShape(rows, cols),
                        f64(LOSSES.doubles(name + ".student_logits")),
                        new Ensemble(teachers, f64(weights), perSample, p[0], p[1], p[2]),
                        p[2] == 0 ? null : i32(LOSSES.ints("kd.labels")),
                        loss,
                        gradient);
        Close.relative(doubles(loss), LOSSES.doubles(name + ".loss"), TOLERANCE, name + " loss");
        Close.relative(doubles(gradient), LOSSES.doubles(name + ".grad"), TOLERANCE, name + " gradient");
    }

    @Test
    void wrongLabelIsNamed() {
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> KERNELS.losses().crossEntropy(new RowShape(2, 3), noise(6, 1), i32(0, 3), 0, f64(1), null));
        assertTrue(
                requireNonNull(e.getMessage()).contains("label 3 of row 1")
                        && e.getMessage().contains("3 classes"),
                e.getMessage());
    }

    @Test
    void featureLossWeighsModalities() {
        Buffer[] projected = {f64(new double[] {1, 2}), f64(new double[] {3, 4, 5})};
        Buffer[] targets = {f64(new double[] {0, 4}), f64(new double[] {3, 1, 5})};
        Buffer[] gradients = {f64(2), f64(3)};
        Buffer losses = f64(2);
        Buffer loss = f64(1);
        KERNELS.losses().featureLoss(projected, targets, new double[] {2, 0.5}, losses, loss, gradients);
        assertArrayEquals(new double[] {2.5, 3}, doubles(losses));
        assertArrayEquals(new double[] {6.5}, doubles(loss));
        assertArrayEquals(new double[] {2, -4}, doubles(gradients[0]));
        Close.relative(doubles(gradients[1]), new double[] {0, 1, 0}, 1e-15, "gradient");
    }
}
