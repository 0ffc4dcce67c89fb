package tessera.distill.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Extraction;
import tessera.distill.data.ExtractionSources;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.demo.DemoPlan;
import tessera.distill.demo.ShippedPlans;
import tessera.distill.train.Distillation;
import tessera.distill.train.ModalityInput;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.distill.train.Pretraining;
import tessera.distill.train.Recipe;
import tessera.distill.train.RunContext;
import tessera.distill.train.Stage;
import tessera.distill.train.Task;
import tessera.distill.train.Trainer;
import tessera.distill.video.ClipCut;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Int8Layers;
import tessera.nn.videomae.VideoMaeConfig;

/**
 * Both stages of MM-CDFSL on unlabelled videos alone. From random weights RGB and optical flow are reconstructed, then both teach RGB. A
 * student needs no model of RGB beside it where there is flow or pose: these are reconstructed and teach it, and it keeps near what it
 * was. Everything lies in one folder, where the same call goes on.
 *
 * @param videos a folder of videos, or clips in the layout of {@link ModalityFolders}
 * @param out folder of clips, teachers and the student
 * @param start the student to start from, or null for random weights in a model as large as the demo's
 * @param skipBroken whether broken videos and clips are left out
 */
record Adaptation(Path videos, Path out, @Nullable Path start, boolean skipBroken) {
    private static final String LABEL = "unlabelled";
    private static final double MASK_RATIO = .75;

    /** Weight of a student's feature as it was: little, for what flow teaches would not be learned otherwise. */
    private static final double KEEP = .05;

    /**
     * How long is trained, and how.
     *
     * @param pretraining steps for each modality, or null to go by the number of clips
     * @param distillation steps, or null to go by the number of clips
     * @param lr highest learning rate, or null for 0.001 from random weights and, from a student's, 0.0003, and 0.0006 where
     *     flow or pose teach it
     */
    record Plan(
            int batch,
            @Nullable Long pretraining,
            @Nullable Long distillation,
            @Nullable Double lr,
            long seed) {
        /** What minutes on two cores allow. */
        static final Plan STANDARD = new Plan(16, null, null, null, 1);

        private static final int PRETRAINING_EPOCHS = 20;
        private static final int DISTILLATION_EPOCHS = 30;
        /** Of a student that is taught further: it forgets meanwhile. */
        private static final int FURTHER_EPOCHS = 20;

        private static final int FEWEST = 100;
        private static final int MOST = 600;

        Plan {
            if (batch < 1 || (pretraining != null && pretraining < 1) || (distillation != null && distillation < 1)) {
                throw new IllegalArgumentException("--batch is " + batch + ", --pretrain-steps "
                        + (pretraining == null ? "the default" : pretraining) + " and --distill-steps "
                        + (distillation == null ? "the default" : distillation) + "; pass 1 or more of each");
            }
            ToolCommand.requireBatch("--batch", batch);
            if (lr != null && (!(lr > 0) || lr.isInfinite())) {
                throw new IllegalArgumentException("--lr is " + lr + "; pass a positive learning rate such as 0.0003");
            }
        }

        private long steps(@Nullable Long given, int epochs, int clips) {
            return given != null ? given : Math.clamp(Math.ceilDiv((long) epochs * clips, batch), FEWEST, MOST);
        }

        private Recipe pretraining(Recipe standard, int clips, boolean warm) {
            return recipe(standard, steps(pretraining, PRETRAINING_EPOCHS, clips), warm ? 3e-4 : 1e-3);
        }

        private Recipe distillation(Recipe standard, int clips, boolean warm, boolean further) {
            int epochs = further ? FURTHER_EPOCHS : DISTILLATION_EPOCHS;
            return recipe(standard, steps(distillation, epochs, clips), further ? 6e-4 : warm ? 3e-4 : 1e-3);
        }

        private Recipe recipe(Recipe standard, long steps, double rate) {
            return standard.withBatch(batch)
                    .over(steps, lr != null ? lr : rate)
                    .withMaskRatio(MASK_RATIO)
                    .withAugment(false)
                    .withSeed(seed);
        }
    }

    /**
     * What came out.
     *
     * @param clips how many were trained on
     * @param modalities that taught, in order
     */
    record Result(Path student, int clips, List<String> modalities, long pretrainingSteps, long distillationSteps) {}

    /**
     * Adapts, or goes on with it, or returns at once where it is finished.
     *
     * @param cutting how videos are cut; the part that it names is left out of account
     * @throws IllegalArgumentException if videos, clips or the student to start from do not serve
     */
    Result run(CutOptions cutting, Plan plan, RunContext context) {
        cutting.check();
        Outputs.requireFolder(out);
        Path from = start;
        VideoMaeConfig config = from == null ? standard() : config(from);
        Path folder = isPrepared(videos) ? videos : extract(cutting, config, context);
        Set<Modality> modalities = modalities(folder);
        Geometry wanted = Clips.geometry(config.frames(), config.height(), Modality.RGB);
        ModalityFolders folders = ModalityFolders.open(
                folder,
                modalities,
                null,
                new ModalityFolders.Options(skipBroken, ModalityFolders.Options.DEFAULT.flowBound(), wanted));
        Geometry found = folders.geometry();
        if (found.frames() != wanted.frames() || found.size() != wanted.size() || found.width() != wanted.width()) {
            throw new IllegalArgumentException("the clips of " + folder + " have " + found.frames() + " frames of "
                    + found.size() + " x " + found.width() + " pixels but the model takes " + wanted.frames() + " of "
                    + wanted.size() + " x " + wanted.width() + "; extract them again in its sizes");
        }
        FlowStats flow = modalities.contains(Modality.FLOW) ? folders.flowStats() : FlowStats.NONE;
        ModalityInput input = new ModalityInput(
                found,
                config.height() / config.patches().patch(),
                config.patches().tubelet(),
                flow);
        try (ClipSet clips = Clips.forTraining(folders, "load clips", context)) {
            return train(clips, input, config, plan, modalities, context);
        }
    }

    /** Whether a folder holds clips that need not be cut. */
    static boolean isPrepared(Path videos) {
        return Files.isDirectory(videos.resolve(Modality.RGB.id()));
    }

    /** What the clips show: RGB, and flow and pose where they are there. */
    private static Set<Modality> modalities(Path folder) {
        Set<Modality> modalities = new TreeSet<>(Modality.ALL);
        modalities.removeIf(
                modality -> !modality.equals(Modality.RGB) && !Files.isDirectory(folder.resolve(modality.id())));
        return modalities;
    }

    private Path extract(CutOptions cutting, VideoMaeConfig config, RunContext context) {
        List<Extraction.Source> sources =
                ExtractionSources.unlabelled(videos, LABEL, true).sources();
        ClipCut cut = cutting.cut(config.input()).part(0, 1);
        boolean pictures = sources.stream().anyMatch(source -> Files.isDirectory(source.video()));
        Extraction extraction = new Extraction(
                cut,
                Set.of(Modality.RGB, Modality.FLOW),
                Map.of(),
                pictures ? cut.pictureRate() : 0,
                skipBroken,
                1,
                Runtime.getRuntime().availableProcessors());
        Path folder = out.resolve("clips");
        try (Task task = context.task("cut videos, compute flow", Task.Unit.VIDEOS, sources.size())) {
            if (extraction.run(sources, folder, task::advance, task::note) == 0) {
                throw new IllegalArgumentException(
                        "none of the " + sources.size() + " videos of " + videos + " gives a clip"
                                + " of " + extraction.cut().clipSeconds()
                                + " s; pass fewer --clip-seconds, or 0 for one clip of"
                                + " each whole video");
            }
        }
        return folder;
    }

    private Result train(
            ClipSet clips,
            ModalityInput input,
            VideoMaeConfig config,
            Plan plan,
            Set<Modality> modalities,
            RunContext context) {
        Map<String, String> origin = new LinkedHashMap<>();
        origin.put("tessera.target", clips.checksum());
        if (start != null) {
            origin.put("tessera.start", Clips.checksum(start));
        }
        Path from = start;
        boolean further = from != null && modalities.size() > 1;
        Map<Modality, Path> teachers = new TreeMap<>();
        Map<Modality, Double> weights = new TreeMap<>();
        long steps = 0;
        for (Modality modality : modalities) {
            if (further && modality.equals(Modality.RGB)) {
                continue;
            }
            Recipe recipe = plan.pretraining(Pretraining.defaults(modality).recipe(), clips.size(), from != null);
            steps = recipe.steps();
            // Without labels, the "source" is reconstructed alone: these clips stand in its place.
            Path teacher = new Pretraining(modality, false, 0, 0, recipe)
                    .run(
                            config(input, modality, config),
                            clips,
                            clips,
                            from,
                            out.resolve("pretrain-" + modality),
                            context.startingFrom(origin));
            teachers.put(modality, teacher);
            weights.put(modality, 1.0);
        }
        teachers.forEach((modality, file) -> origin.put("tessera.teacher." + modality, Clips.checksum(file)));
        Distillation standard = Distillation.defaults().withWeights(weights);
        Recipe recipe = plan.distillation(standard.recipe(), clips.size(), from != null, further);
        Distillation distillation = standard.withRecipe(recipe);
        Stage stage = from != null && further
                ? distillation.withStandardised(true).withKeep(KEEP).stage(teachers, from, clips)
                : distillation.stage(teachers, clips);
        Path student = Trainer.run(stage, out, context.startingFrom(origin));
        return new Result(
                student,
                clips.size(),
                teachers.keySet().stream().map(Modality::id).toList(),
                steps,
                recipe.steps());
    }

    /** The same model of another modality. */
    private static VideoMaeConfig config(ModalityInput input, Modality modality, VideoMaeConfig rgb) {
        if (modality.equals(Modality.RGB)) {
            return rgb;
        }
        int side = input.geometry().side(modality);
        return new VideoMaeConfig(
                input.patches(modality),
                rgb.frames(),
                side,
                side,
                rgb.embedDim(),
                rgb.depth(),
                rgb.heads(),
                rgb.decoderDim(),
                rgb.decoderDepth(),
                rgb.decoderHeads(),
                rgb.layerNormEps(),
                rgb.outputNormEps(),
                rgb.encoderNorm(),
                rgb.keyBias());
    }

    /** A model of the sizes of the student that comes with Tessera. */
    private static VideoMaeConfig standard() {
        DemoPlan plan = ShippedPlans.of("warm-start", 0);
        ModelSize size = plan.size();
        return new ModalityInput(plan.geometry(), plan.grid(), plan.tubelet(), FlowStats.NONE)
                .config(Modality.RGB, size);
    }

    private static VideoMaeConfig config(Path file) {
        if (!Files.isRegularFile(file)) {
            throw new IllegalArgumentException(file + " is no file; name a student to start from");
        }
        VideoMaeConfig config;
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            if (Int8Layers.isInt8(checkpoint.metadata())) {
                throw new CheckpointException(Int8Layers.NOT_TRAINED);
            }
            config = VideoMaeConfig.fromMetadata(checkpoint.metadata());
        } catch (CheckpointException e) {
            throw new CheckpointException(file + ": " + e.getMessage());
        }
        Clips.requireRgb(config.input(), file);
        if (config.height() != config.width()) {
            throw new IllegalArgumentException(file + " takes pictures of " + config.height() + " x " + config.width()
                    + " pixels but adapting needs square ones; start from another student");
        }
        return config;
    }
}
