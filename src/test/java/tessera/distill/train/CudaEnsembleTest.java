package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.FakeCuda;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.TestDevices;

/** Students of ensembles on a GPU, where steps are recorded, against the same on the CPU, with a cache and without. */
@Tag(FakeCuda.TAG)
class CudaEnsembleTest {
    @TempDir
    private Path folder;

    private double[] losses(String name) {
        return MetricsLog.read(folder.resolve(name).resolve("metrics.jsonl")).stream()
                .mapToDouble(line -> line.values().getOrDefault(Metric.LOSS, Double.NaN))
                .toArray();
    }

    private byte[] train(String name, TeacherWeights weighting, Ensemble.Lesson lesson, Device device)
            throws Exception {
        Ensemble stage = Ensemble.defaults()
                .withLoss(1, .5, 2)
                .withHeldOut(HeldOut.of(.3))
                .withViewCount(2)
                .withWeighting(weighting)
                .withFeatures(Map.of("flow", .5))
                .withRecipe(Lessons.recipe());
        RunContext context = new RunContext(ProgressListener.NONE, new StopSignal(), device, DType.F32);
        return Files.readAllBytes(stage.run(Lessons.config(Modality.RGB, 16), lesson, folder.resolve(name), context));
    }

    @Test
    void recordedStepsAreThoseOfTheCpu() throws Exception {
        Assumptions.assumeFalse(
                TestDevices.cuda().isEmpty(), TestDevices.absent().toString());
        Device gpu = TestDevices.cuda().getFirst();
        try (ClipSet clips = Lessons.clips(2)) {
            List<TeacherFile> teachers = Lessons.teachers(clips, folder.resolve("teachers"));
            Ensemble.Lesson lesson = new Ensemble.Lesson(teachers, clips);
            for (TeacherWeights weighting : List.of(TeacherWeights.dataSet(), TeacherWeights.perSample())) {
                String name = weighting.kind().toString();
                train(name + "-cpu", weighting, lesson, Device.cpu());
                byte[] plain = train(name, weighting, lesson, gpu);
                Close.relative(losses(name), losses(name + "-cpu"), 1e-3, name);
                byte[] cached = train(name + "-cached", weighting, lesson.withCache(folder.resolve("cache")), gpu);
                assertArrayEquals(plain, cached, name);
            }
        }
    }
}
