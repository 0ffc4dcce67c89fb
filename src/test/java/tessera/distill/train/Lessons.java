package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.nn.videomae.VideoMaeConfig;

/** Clips, teachers and runs as small as they may be. */
final class Lessons {
    static final int STEPS = 5;

    private Lessons() {}

    static ClipSet clips(int perClass) {
        return clips(perClass, 3);
    }

    static ClipSet clips(int perClass, long seed) {
        EgoSim sim = new EgoSim(SmallNetworks.GEOMETRY, seed);
        return EgoSimClips.render(sim, Split.VALIDATION, Domain.SOURCE, perClass, Modality.ALL, done -> {});
    }

    /** Black clips of these classes. */
    static ClipSet poses(int... labels) {
        int classes = Arrays.stream(labels).max().orElse(0) + 1;
        MemorySegment black = MemorySegment.ofArray(new float[4 * 4 * 4 * 21]);
        return ClipSet.load(
                SmallNetworks.GEOMETRY,
                IntStream.range(0, classes).mapToObj(label -> "class" + label).toList(),
                labels,
                Set.of(Modality.POSE),
                i -> Map.of(Modality.POSE, black),
                done -> {});
    }

    static Recipe recipe() {
        return Supervised.published().withBatch(4).over(STEPS, 1e-2);
    }

    static RunContext context() {
        return new RunContext(ProgressListener.NONE, new StopSignal());
    }

    static VideoMaeConfig config(Modality modality, int width) {
        return new ModalityInput(SmallNetworks.GEOMETRY, 4, 2, FlowStats.NONE)
                .config(modality, new ModalityInput.ModelSize(width, 2, 2, 8, 1, 1));
    }

    /** A teacher of each modality, each of another width. */
    static List<TeacherFile> teachers(ClipSet clips, Path folder) {
        return List.of(
                teacher(Modality.RGB, 16, clips, folder),
                teacher(Modality.FLOW, 8, clips, folder),
                teacher(Modality.POSE, 24, clips, folder));
    }

    static TeacherFile teacher(Modality modality, int width, ClipSet clips, Path folder) {
        Supervised stage = Supervised.defaults(modality)
                .withRecipe(recipe().withSeed(width))
                .withHeldOut(HeldOut.of(.3));
        return TeacherFile.of(
                modality, stage.run(config(modality, width), clips, null, folder.resolve(modality.id()), context()));
    }

    /** A listener that asks for the end of a training after its second step. */
    static RunContext stoppedAfterTwoSteps() {
        StopSignal stop = new StopSignal();
        return new RunContext(
                event -> {
                    if (event instanceof ProgressEvent.Advanced advanced
                            && advanced.task().unit() == Task.Unit.STEPS
                            && advanced.done() == 2) {
                        stop.request();
                    }
                },
                stop);
    }

    static void cut(Runnable run) {
        assertThrows(StopSignal.Stopped.class, run::run);
    }
}
