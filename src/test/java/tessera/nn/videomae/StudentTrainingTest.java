package tessera.nn.videomae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import tessera.FakeCuda;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.AdamW;
import tessera.nn.DropPath;
import tessera.nn.Params;
import tessera.nn.Projector;
import tessera.tensor.Autograd;
import tessera.tensor.Losses;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TestDevices;
import tessera.tensor.TokenMask;

/** Whole steps of distilling a tiny student: they learn, leave no memory behind and the teacher as it is. */
class StudentTrainingTest {
    private static final VideoMaeConfig CONFIG =
            new VideoMaeConfig(Patches.plain(3, 2, 4), 4, 8, 8, 8, 1, 1, 8, 1, 1, 1e-5, 1e-5, true, false);

    /** A student, its frozen teacher and the optimiser. */
    private static final class Distillation implements AutoCloseable {
        private final Scope scope = Scope.open();
        private final Device device;
        private final Params teacherParams;
        private final VideoMaeClassifier teacher;
        private final VideoMaeClassifier student;
        private final Projector projector;
        private final Tensor clips;
        private final AdamW optimiser;

        Distillation(Device device) {
            this.device = device;
            this.teacherParams = Params.random(device, DType.F32, 1);
            this.teacher = new VideoMaeClassifier(teacherParams, CONFIG, 0);
            teacherParams.all().values().forEach(parameter -> parameter.requiresGrad(false));
            teacher.pack();
            Params params = Params.random(device, DType.F32, 2);
            this.student = new VideoMaeClassifier(params.at("student"), CONFIG, 0);
            this.projector = new Projector(params.at("projector"), CONFIG.embedDim());
            byte[] pixels = new byte[2 * 4 * 8 * 8 * 3];
            new Random(3).nextBytes(pixels);
            this.clips = Tensor.of(pixels, 2, 4, 8, 8, 3).to(device);
            this.optimiser = new AdamW(params.all(), .9, .999, 1e-8, .05, name -> true).clipNorm(5);
        }

        double step(long step) {
            try (Scope inner = Scope.open()) {
                TokenMask mask = TokenMask.tubes(device, 2, CONFIG.slots(), CONFIG.plane(), .5, 7, step);
                Tensor feature = student.features(clips, mask.visible(), new DropPath(.1, 7, 1L << 32 | step));
                Tensor target = Autograd.noGrad(() -> teacher.features(clips, mask.visible()));
                Tensor loss = Losses.features(List.of(projector.forward(feature)), List.of(target), 1);
                loss.backward();
                optimiser.step(1e-3);
                return loss.item();
            }
        }

        /** All that the teacher is: its parameters, and what it says, which its packed weights decide. */
        Map<String, double[]> teacher() {
            Map<String, double[]> values = new LinkedHashMap<>();
            teacherParams.all().forEach((name, parameter) -> {
                assertNull(parameter.grad(), name);
                values.put(name, parameter.toDoubles());
            });
            try (Scope inner = Scope.open()) {
                values.put(
                        "features",
                        Autograd.noGrad(() -> teacher.features(clips, null)).toDoubles());
            }
            return values;
        }

        @Override
        public void close() {
            optimiser.close();
            teacher.close();
            student.close();
            scope.close();
        }
    }

    private static void trains(Device device, int steps) {
        device.trim();
        long before = device.memory().live();
        try (Distillation distillation = new Distillation(device)) {
            Map<String, double[]> teacher = distillation.teacher();
            double early = 0;
            for (int step = 0; step < 20; step++) {
                early += distillation.step(step);
            }
            long live = device.memory().live();
            long buffers = device.memory().liveBuffers();
            long pooled = device.memory().pooled();
            long held = FakeCuda.present() ? FakeCuda.liveBytes() : 0;
            double late = 0;
            for (int step = 20; step < steps; step++) {
                double loss = distillation.step(step);
                late += step < steps - 20 ? 0 : loss;
            }
            assertEquals(live, device.memory().live());
            assertEquals(buffers, device.memory().liveBuffers());
            assertEquals(pooled, device.memory().pooled());
            assertEquals(held, FakeCuda.present() ? FakeCuda.liveBytes() : 0);
            assertTrue(late < early, early + " to " + late);
            distillation.teacher().forEach((name, values) -> assertArrayEquals(teacher.get(name), values, name));
        }
        assertEquals(before, device.memory().live());
    }

    @Test
    void memoryStaysFlatOverTenThousandSteps() {
        trains(Device.cpu(1), 10_000);
    }

    @Tag(FakeCuda.TAG)
    @Test
    void memoryStaysFlatOnAGpu() {
        TestDevices.cuda().forEach(device -> trains(device, 300));
    }
}
