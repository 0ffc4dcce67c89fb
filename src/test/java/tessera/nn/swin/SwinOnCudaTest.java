package tessera.nn.swin;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TestDevices;

/** Inference and training of a Swin on a CUDA device, real or fake, in f32 and bf16. */
@Tag(FakeCuda.TAG)
class SwinOnCudaTest {
    private static final SwinConfig CONFIG = ToySwin.config(3);

    @BeforeEach
    void needsDevice() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
    }

    /** A session's later calls replay a recorded graph. */
    @ParameterizedTest
    @CsvSource({"F32, 1e-4", "BF16, 3e-2"})
    void studentsAndSessionsEqualTheCpus(DType compute, double tolerance) {
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new SwinModel(params, CONFIG, 0).close();
            try (Student reference = Student.of(params.all(), CONFIG, Device.cpu());
                    Student student = Student.of(params.all(), CONFIG, Device.cuda(0), compute);
                    Student.Session session = student.session(2, Masking.none())) {
                for (int call = 0; call < 3; call++) {
                    Tensor clips = ToySwin.clips(2, 3, call);
                    float[] features =
                            student.features(clips, Masking.none(), 1).toFloats();
                    Close.relative(
                            features,
                            reference.features(clips, Masking.none(), 1).toFloats(),
                            tolerance,
                            "features");
                    session.input().copyFrom(clips.segment());
                    assertArrayEquals(features, session.features(1));
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void gradientsEqualTheCpus(DType compute) {
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            gradients(params, DType.F32);
            Params there = Params.from(Device.cuda(0), DType.F32, params.all());
            gradients(there.computeIn(compute), compute);
            Map<String, Tensor> expected = params.all();
            there.all()
                    .forEach((name, parameter) -> Close.relative(
                            requireNonNull(parameter.grad()).toDoubles(),
                            requireNonNull(requireNonNull(expected.get(name)).grad())
                                    .toDoubles(),
                            compute == DType.F32 ? 1e-4 : .1,
                            "gradient of " + name));
        }
    }

    private static void gradients(Params params, DType compute) {
        try (SwinModel model = new SwinModel(params, CONFIG, 4)) {
            params.addShadows();
            Tensor clips = ToySwin.clips(2, 3, 1).to(params.device());
            Tensor labels = Tensor.of(new int[] {1, 3}).to(params.device());
            Tensor logits = model.forward(clips);
            assertEquals(DType.F32, logits.dtype(), "scores computed in " + compute);
            Losses.crossEntropy(logits, labels).backward();
        }
    }

    @Test
    void nothingOfItStaysOnTheDevice() {
        Device gpu = Device.cuda(0);
        long before = gpu.memory().live();
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new SwinModel(params, CONFIG, 0).close();
            Student.of(params.all(), CONFIG, gpu).close();
        }
        assertEquals(before, gpu.memory().live());
    }
}
