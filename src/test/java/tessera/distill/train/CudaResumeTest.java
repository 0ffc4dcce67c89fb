package tessera.distill.train;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.FakeCuda;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.kernels.DType;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.TestDevices;

/** A stopped run on a GPU, whose steps are partly taken one by one and partly replayed, ends as a run in one go. */
@Tag(FakeCuda.TAG)
class CudaResumeTest {
    private static final int STEPS = 6;
    private static final Geometry GEOMETRY = new Geometry(4, 16, 4);

    /** Everything random and everything that a step computes besides: dropout, stochastic depth, clipped gradients. */
    private static final Pretraining STAGE = Pretraining.defaults(Modality.RGB)
            .withLambda(1)
            .withRecipe(Pretraining.defaults(Modality.RGB)
                    .recipe()
                    .withBatch(4)
                    .withRate(STEPS, new LearningRate(LearningRate.Shape.COSINE, 1e-3, 1e-5, 1e-6, 1, STEPS))
                    .withMaskRatio(.5)
                    .withClipNorm(.5)
                    .withDropPath(.4)
                    .withSeed(3));

    @TempDir
    private Path folder;

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void stoppedRunsEndWithTheSameBits(DType compute) throws Exception {
        Assumptions.assumeFalse(
                TestDevices.cuda().isEmpty(), TestDevices.absent().toString());
        train("whole", compute, new StopSignal(), 0);
        // Stops in the graph's replays, then after a step of its own, then not.
        StopSignal later = new StopSignal();
        assertThrows(StopSignal.Stopped.class, () -> train("cut", compute, later, 3));
        StopSignal atOnce = new StopSignal();
        atOnce.request();
        Exception stopped = assertThrows(StopSignal.Stopped.class, () -> train("cut", compute, atOnce, 0));
        assertTrue(requireNonNull(stopped.getMessage()).startsWith("stopped after step 4 of 6"), stopped.getMessage());
        train("cut", compute, new StopSignal(), 0);
        assertArrayEquals(result("whole", Pretraining.MODEL), result("cut", Pretraining.MODEL));
        assertArrayEquals(result("whole", "metrics.jsonl"), result("cut", "metrics.jsonl"));
        String metrics = new String(result("whole", "metrics.jsonl"), StandardCharsets.UTF_8);
        assertEquals(
                STEPS,
                metrics.lines()
                        .filter(line -> line.contains("\"gradient_norm\":"))
                        .count());
    }

    private byte[] result(String run, String name) throws Exception {
        return Files.readAllBytes(folder.resolve(run).resolve(name));
    }

    private void train(String run, DType compute, StopSignal stop, long last) {
        ProgressListener watching = event -> {
            if (event instanceof ProgressEvent.Advanced advanced && advanced.done() == last) {
                stop.request();
            }
        };
        RunContext context = new RunContext(watching, stop, TestDevices.cuda().getFirst(), compute);
        VideoMaeConfig config = new ModalityInput(GEOMETRY, 4, ModalityInput.TUBELET, FlowStats.NONE)
                .config(Modality.RGB, new ModelSize(16, 2, 2, 8, 1, 1));
        EgoSim sim = new EgoSim(GEOMETRY, 3);
        Set<Modality> seen = Set.of(Modality.RGB);
        try (ClipSet source = EgoSimClips.render(sim, Split.SOURCE_TRAIN, Domain.SOURCE, 1, seen, i -> {});
                ClipSet target = EgoSimClips.render(sim, Split.TARGET_UNLABELLED, Domain.WORKSHOP, 1, seen, i -> {})) {
            STAGE.run(config, source, target, null, folder.resolve(run), context);
        }
    }
}
