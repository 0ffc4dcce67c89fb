package tessera.nn.videomae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
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

/**
 * Whole steps of distilling teachers of three modalities into a tiny student: they learn, leave no memory behind and the
 * teachers as they are.
 */
class StudentTrainingTest {
    /** Steps after which a run holds all the memory that it needs. */
    private static final int WARM = 100;

    private static final VideoMaeConfig CONFIG = config(3, 8, 4);

    /** Of 4 frames; all have the same 8 tokens. */
    private static VideoMaeConfig config(int channels, int size, int patch) {
        return new VideoMaeConfig(
                Patches.plain(channels, 2, patch), 4, size, size, 8, 1, 1, 8, 1, 1, 1e-5, 1e-5, true, false);
    }

    /** A frozen teacher, the clips that it sees and the projector onto its feature. */
    private record Teacher(Params params, VideoMaeClassifier model, Tensor clips, Projector projector) {}

    /** A student, its frozen teachers and the optimiser. */
    private static final class Distillation implements AutoCloseable {
        private final Scope scope = Scope.open();
        private final Device device;
        private final VideoMaeClassifier student;
        private final Tensor clips;
        private final List<Teacher> teachers = new ArrayList<>();
        private final AdamW optimiser;

        Distillation(Device device) {
            this.device = device;
            Params params = Params.random(device, DType.F32, 2);
            this.student = new VideoMaeClassifier(params.at("student"), CONFIG, 0);
            Random random = new Random(3);
            byte[] pixels = new byte[2 * 4 * 8 * 8 * 3];
            random.nextBytes(pixels);
            this.clips = Tensor.of(pixels, 2, 4, 8, 8, 3).to(device);
            teach(CONFIG, clips, params.at("rgb"));
            teach(config(2, 8, 4), floats(random, 8, 2), params.at("flow"));
            teach(config(21, 4, 2), floats(random, 4, 21), params.at("pose"));
            this.optimiser = new AdamW(params.all(), .9, .999, 1e-8, .05, name -> true).clipNorm(5);
        }

        private Tensor floats(Random random, int size, int channels) {
            float[] values = new float[2 * 4 * size * size * channels];
            for (int i = 0; i < values.length; i++) {
                values[i] = random.nextFloat();
            }
            return Tensor.of(values, 2, 4, size, size, channels).to(device);
        }

        private void teach(VideoMaeConfig config, Tensor seen, Params projector) {
            Params weights = Params.random(device, DType.F32, 10 + teachers.size());
            VideoMaeClassifier model = new VideoMaeClassifier(weights, config, 0);
            weights.all().values().forEach(parameter -> parameter.requiresGrad(false));
            model.pack();
            teachers.add(new Teacher(weights, model, seen, new Projector(projector, config.embedDim())));
        }

        double step(long step) {
            try (Scope inner = Scope.open()) {
                TokenMask mask = TokenMask.tubes(device, 2, CONFIG.slots(), CONFIG.plane(), .5, 7, step);
                Tensor feature = student.features(clips, mask.visible(), new DropPath(.1, 7, 1L << 32 | step));
                List<Tensor> projected = new ArrayList<>();
                List<Tensor> targets = new ArrayList<>();
                for (Teacher teacher : teachers) {
                    projected.add(teacher.projector().forward(feature));
                    targets.add(Autograd.noGrad(() -> teacher.model().features(teacher.clips(), mask.visible())));
                }
                Tensor loss = Losses.features(projected, targets, 1, 1, 1);
                loss.backward();
                optimiser.step(1e-3);
                return loss.item();
            }
        }

        /** All that the teachers are: their parameters, and what they say, which their packed weights decide. */
        Map<String, double[]> teachers() {
            Map<String, double[]> values = new LinkedHashMap<>();
            for (int i = 0; i < teachers.size(); i++) {
                Teacher teacher = teachers.get(i);
                String prefix = i + ".";
                teacher.params().all().forEach((name, parameter) -> {
                    assertNull(parameter.grad(), prefix + name);
                    values.put(prefix + name, parameter.toDoubles());
                });
                try (Scope inner = Scope.open()) {
                    Tensor features = Autograd.noGrad(() -> teacher.model().features(teacher.clips(), null));
                    values.put(prefix + "features", features.toDoubles());
                }
            }
            return values;
        }

        @Override
        public void close() {
            optimiser.close();
            teachers.forEach(teacher -> teacher.model().close());
            student.close();
            scope.close();
        }
    }

    private static void trains(Device device, int steps) {
        device.trim();
        long before = device.memory().live();
        try (Distillation distillation = new Distillation(device)) {
            Map<String, double[]> teachers = distillation.teachers();
            double early = 0;
            for (int step = 0; step < WARM; step++) {
                double loss = distillation.step(step);
                early += step < 20 ? loss : 0;
            }
            long live = device.memory().live();
            long buffers = device.memory().liveBuffers();
            long pooled = device.memory().pooled();
            long held = FakeCuda.present() ? FakeCuda.liveBytes() : 0;
            double late = 0;
            for (int step = WARM; step < steps; step++) {
                double loss = distillation.step(step);
                late += step < steps - 20 ? 0 : loss;
            }
            assertEquals(live, device.memory().live());
            assertEquals(buffers, device.memory().liveBuffers());
            assertEquals(pooled, device.memory().pooled());
            assertEquals(held, FakeCuda.present() ? FakeCuda.liveBytes() : 0);
            assertTrue(late < early, early + " to " + late);
            Map<String, double[]> after = distillation.teachers();
            assertEquals(teachers.keySet(), after.keySet());
            after.forEach((name, values) -> assertArrayEquals(teachers.get(name), values, name));
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
