package tessera.distill.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.data.Modality;
import tessera.distill.train.Recipe;
import tessera.distill.train.RunContext;
import tessera.distill.train.Supervised;
import tessera.nn.ModelConfig;

/** {@code tessera train}: a model of one modality on labelled clips, a teacher or a baseline of the second system. */
@Command(
        name = "train",
        description = {
            "Train a model of one modality on labelled clips: a teacher for distill, or a baseline.",
            "Clips of your own: DIR/<modality>/<label>/<name>, the labels' names in DIR/labels.csv for several heads.",
            "The model ends up with its heads in DIR/model.safetensors of --out, which predict, evaluate and distill take;"
                    + " stopped runs resume by the same command."
        })
final class Train extends ToolCommand {
    @Mixin
    private EgoSimOptions egosim;

    @Mixin
    private LabelledOptions labelled;

    @Mixin
    private ModelOptions model;

    @Mixin
    private final TrainingOptions training =
            new TrainingOptions(Supervised.defaults(Modality.RGB).recipe());

    @Option(
            names = "--modality",
            required = true,
            paramLabel = "rgb|flow|pose|boxes|audio",
            description = "What the model sees.")
    private Modality modality = Modality.RGB;

    @Override
    void run() {
        training.check();
        egosim.check(given());
        Recipe published = Supervised.defaults(modality).recipe().withDropPath(model.dropPath(modality));
        Recipe recipe = training.recipe(labelled.seen(published), given());
        labelled.check(given(), training.isAugmented(), modality);
        model.check(given(), modality);
        Supervised stage = new Supervised(modality, labelled.heads(), labelled.heldOut(), labelled.viewCount(), recipe);
        stage.requireSettings(training.out());
        Path start = labelled.start();
        RunContext context = training.context();
        try (LabelledOptions.Loaded loaded =
                labelled.load("train", egosim, Set.of(modality), training.reading(), model.fits(modality), context)) {
            labelled.requireUnseen(loaded.clips());
            ModelConfig config =
                    Clips.asWide(model.config(modality, loaded.clips().geometry(), loaded.flow()), start);
            Map<String, String> origin = new LinkedHashMap<>();
            origin.put(LabelledOptions.CLIPS, loaded.clips().checksum());
            egosim.note(origin);
            if (start != null) {
                origin.put("tessera.start", Clips.checksum(start));
            }
            Path file = stage.run(config, loaded.clips(), start, training.out(), context.startingFrom(origin));
            Answer answer = new Answer(
                    file, stage.recipe().steps(), List.copyOf(stage.heads().keySet()));
            print(answer, out -> out.println(file));
        }
    }

    private record Answer(Path model, long steps, List<String> heads) {}
}
