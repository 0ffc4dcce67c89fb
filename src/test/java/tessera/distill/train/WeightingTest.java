package tessera.distill.train;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.FakeCuda;
import tessera.Golden;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TestDevices;

/** The weights of teachers against those of the reference, whose temperature is the last of its parameters. */
class WeightingTest {
    private static final int TEACHERS = 3;
    private static final int CLIPS = 16;
    private static final int CLASSES = 97;
    private static final Golden GOLDEN = Golden.open("losses-schedules");

    private Scope scope;
    private List<Tensor> logits;
    private Tensor labels;

    @BeforeEach
    void open() {
        scope = Scope.open();
        double[] all = GOLDEN.doubles("kd.teacher_logits_TBC");
        logits = new ArrayList<>();
        for (int t = 0; t < TEACHERS; t++) {
            double[] own = new double[CLIPS * CLASSES];
            System.arraycopy(all, t * own.length, own, 0, own.length);
            logits.add(Tensor.of(own, CLIPS, CLASSES));
        }
        labels = Tensor.of(GOLDEN.ints("kd.labels"), CLIPS);
    }

    @AfterEach
    void close() {
        scope.close();
    }

    private static double temperature(String setting) {
        return GOLDEN.doubles(setting + ".params_T_alpha_beta_tauw")[3];
    }

    /** The reference's weights, {@code [teachers, clips]}, by clip. */
    private static double[] byClip(String setting) {
        double[] weights = GOLDEN.doubles(setting + ".weights");
        double[] turned = new double[weights.length];
        for (int t = 0; t < TEACHERS; t++) {
            for (int b = 0; b < CLIPS; b++) {
                turned[b * TEACHERS + t] = weights[t * CLIPS + b];
            }
        }
        return turned;
    }

    private static double[] ofFirstClip(String setting) {
        return Arrays.copyOf(byClip(setting), TEACHERS);
    }

    @Test
    void uniform() {
        assertArrayEquals(
                ofFirstClip("kd0_uniform"),
                Weighting.uniform().weights(logits, null).toDoubles());
    }

    @Test
    void perSample() {
        Tensor weights = Weighting.perSample(temperature("kd2_per_sample")).weights(logits, labels);
        Close.relative(weights.toDoubles(), byClip("kd2_per_sample"), 1e-12, "softmin of each clip's cross-entropy");
    }

    @Test
    void dataSet() {
        double[] losses = new double[TEACHERS];
        for (int t = 0; t < TEACHERS; t++) {
            losses[t] = Losses.crossEntropy(logits.get(t), labels).item();
        }
        double temperature = temperature("kd3_dataset");
        double[] weights =
                Weighting.dataSet(temperature, losses).weights(logits, null).toDoubles();
        Close.relative(weights, ofFirstClip("kd3_dataset"), 1e-12, "softmin of the mean cross-entropies");
        double[] shifted = {losses[0] + 7, losses[1] + 7, losses[2] + 7};
        Close.relative(
                Weighting.dataSet(temperature, shifted).weights(logits, null).toDoubles(),
                weights,
                1e-12,
                "a constant added to every loss changes nothing");
    }

    /** Weights from logits in single precision; the reference's are of double precision. */
    @Test
    void inSinglePrecision() {
        inSinglePrecision(Device.cpu());
    }

    @Tag(FakeCuda.TAG)
    @Test
    void onCuda() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
        inSinglePrecision(TestDevices.cuda().getFirst());
    }

    private void inSinglePrecision(Device device) {
        List<Tensor> rounded =
                logits.stream().map(one -> one.to(DType.F32).to(device)).toList();
        Tensor there = labels.to(device);
        Close.relative(
                Weighting.perSample(temperature("kd2_per_sample"))
                        .weights(rounded, there)
                        .toDoubles(),
                byClip("kd2_per_sample"),
                1e-5,
                "of each clip");
        double[] losses = rounded.stream()
                .mapToDouble(one -> Losses.crossEntropy(one, there).item())
                .toArray();
        Close.relative(
                Weighting.dataSet(temperature("kd3_dataset"), losses)
                        .weights(rounded, null)
                        .toDoubles(),
                ofFirstClip("kd3_dataset"),
                1e-5,
                "of the data set");
    }

    @Test
    void impossibleWeightsAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> Weighting.perSample(0));
        assertThrows(IllegalArgumentException.class, () -> Weighting.dataSet(-1, 1, 2));
        Exception refused = assertThrows(
                IllegalArgumentException.class, () -> Weighting.given(.5, .5).weights(logits, null));
        assertTrue(requireNonNull(refused.getMessage()).startsWith("2 weights for 3 teachers"), refused.getMessage());
    }
}
