package tessera.distill.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.data.Boxes;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.train.ModalityInput;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Architecture;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.ClipShape;
import tessera.nn.Int8Layers;
import tessera.nn.ModelConfig;
import tessera.nn.Params;
import tessera.nn.PictureWeights;
import tessera.nn.inference.Head;
import tessera.nn.inference.Student;
import tessera.nn.stlt.StltArchitecture;
import tessera.nn.stlt.StltConfig;
import tessera.nn.stlt.StltModel;
import tessera.nn.stlt.StltNames;
import tessera.nn.swin.SwinArchitecture;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.nn.swin.SwinNames;
import tessera.nn.videomae.VideoMaeArchitecture;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaeNames;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.Printable;
import tessera.tensor.io.SafetensorsShards;

/** {@code tessera import}: a public checkpoint as a student. */
@Command(
        name = "import",
        description = {
            "Make a student of a public VideoMAE, Swin3D or STLT checkpoint in safetensors (original, Hugging Face or"
                    + " torchvision names).",
            "The head of a fine-tuned model is kept, with the labels of a Hugging Face config.json or of a text file, so"
                    + " that predict names its classes at once; so are several heads of a Swin3D or STLT, such as verb and noun.",
            "A model of pretrain needs no sizes, public files tell their own. Of a model of pictures, --modality audio"
                    + " or flow makes one that gives the same for a spectrogram in all three channels, or for flow as a picture"
                    + " (u, v, 0) of up to 20 pixels. A decoder is left. Every missing, misshapen"
                    + " or unexpected weight is named."
        })
final class ImportCheckpoint extends ToolCommand {
    /** What transformers calls a head whose classes exclude each other. */
    private static final String ONE_LABEL = "single_label_classification";

    private static final int SWIN_PIXELS = 224;
    private static final List<String> SIZES = List.of("--size", "--dim", "--depth", "--heads");
    /** Their weights do not tell heads. */
    private static final List<String> STLT_TELLS = List.of("--size", "--dim", "--depth", "--pixels");

    private static final int STLT_HEADS = 8;
    /** What a model of pretraining has and nobody misses in a student. */
    private static final List<String> BESIDE = List.of("decoder.", "encoder_to_decoder.", "mask_token");
    /** Weights that a note names. */
    private static final int SHOWN = 4;

    /** Labels of one of several heads. */
    private static final Pattern NAMED = Pattern.compile("([A-Za-z][\\w-]*)=(.+)");

    private static final FlowStats PUBLISHED_FLOW = new FlowStats(List.of(.0507f, .4671f), List.of(10.9280f, 8.6857f));

    @Mixin
    private SizeOptions size;

    /** What is said of the result: classes of its heads, and what a user may want to know. */
    private final Map<String, Integer> told = new LinkedHashMap<>();

    private final List<String> notes = new ArrayList<>();

    @Option(
            names = "--checkpoint",
            required = true,
            paramLabel = "FILE",
            description = "The safetensors file to import; of shards their index, their folder, or any of them.")
    private Path file = Path.of("");

    @Option(
            names = "--prefix",
            paramLabel = "NAME",
            description =
                    "Which of several models in the file, by what its weights' names begin with, such as student_rgb, or a dot"
                            + " for that without a name beside others such as ema;"
                            + " without it a file of several models is refused with a list of them.")
    private @Nullable String prefix;

    @Option(
            names = "--config",
            paramLabel = "FILE",
            description =
                    "A Hugging Face config.json with the model's sizes, epsilon, pooling and labels. Default: the one"
                            + " beside the checkpoint, if it is of a VideoMAE")
    private @Nullable Path configFile;

    @Option(
            names = "--labels",
            paramLabel = "[HEAD=]FILE",
            description = "A text file with a label a line, in the order of the head's classes, with or without numbers"
                    + " before them, or JSON; of several heads one for each, such as --labels verb=FILE --labels"
                    + " noun=FILE. Default: those of the config.json, else numbers")
    private List<String> labels = List.of();

    @Option(
            names = "--modality",
            paramLabel = "rgb|flow|pose|boxes|audio",
            description = "What the model sees. Default: what its channels tell, boxes for STLT, else rgb")
    private Modality modality = Modality.RGB;

    @Option(
            names = "--frames",
            paramLabel = "T",
            description =
                    "Frames of a clip, which STLT and a config.json tell. Default: ${DEFAULT-VALUE}; 8 of a VideoMAE"
                            + " whose patches have one frame, as UMT's have")
    private int frames = 16;

    @Option(
            names = "--pixels",
            paramLabel = "N",
            description =
                    "Height and width of the input. Default: 14 patches (16 of 14 pixels), which are 224 pixels, or 56"
                            + " cells of a heat map")
    private @Nullable Integer pixels;

    /** Whose names the written file has. */
    enum Names {
        tessera,
        torchvision
    }

    @Option(
            names = "--names",
            paramLabel = "tessera|torchvision",
            description = "torchvision writes, instead of a student, what its Swin3D loads strictly; a head is kept."
                    + " Default: ${DEFAULT-VALUE}")
    private Names names = Names.tessera;

    @Option(names = "--out", required = true, paramLabel = "FILE", description = "The student to write.")
    private Path out = Path.of("");

    @Override
    void run() {
        for (Path shard : SafetensorsShards.files(file)) {
            Outputs.requireOther("--out", out, "--checkpoint", shard);
        }
        labelFiles().values().forEach(each -> Outputs.requireOther("--out", out, "--labels", each));
        Outputs.requireOther("--out", out, "--config", configFile == null ? PublishedConfig.path(file) : configFile);
        Outputs.requireFile(out, "safetensors");
        ModelConfig written;
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(file)) {
            written = checkpoint.explaining(() -> student(checkpoint));
        } catch (CheckpointException e) {
            throw new CheckpointException(file + ": " + e.getMessage());
        }
        print(new Answer(out, written.toMetadata(), told, notes), to -> {
            to.println(out);
            told.forEach((name, classes) -> to.println("  head " + name + ": " + classes + " classes"));
            notes.forEach(note -> to.println("  note: " + note));
        });
    }

    /** @param heads how many classes each has */
    private record Answer(Path student, Map<String, String> config, Map<String, Integer> heads, List<String> notes) {}

    private ModelConfig student(Checkpoint checkpoint) {
        if (Int8Layers.isInt8(checkpoint.metadata())) {
            throw new CheckpointException(
                    "it is a student on bytes (int8, made by tessera quantize) already, which every command"
                            + " takes as it is; import the file that it was made from, or use this one");
        }
        Set<String> names = checkpoint.tensors().keySet();
        if (Head.isAlone(names)) {
            throw new CheckpointException(
                    "it is a head alone, as tessera learn makes them, and no model; predict takes it by"
                            + " --head as it is, so import the model that it was learned with");
        }
        CheckpointParts.requireWhole(names);
        Source source = new Source(CheckpointParts.select(checkpoint.tensors(), prefix), checkpoint.metadata());
        Set<String> found = source.weights.keySet();
        return SwinNames.matches(found) ? swin(source) : StltNames.matches(found) ? stlt(source) : videoMae(source);
    }

    /** The weights of one model under their own names, and what their file says of it. */
    private record Source(Map<String, Tensor> weights, Map<String, String> metadata) {}

    private SwinConfig swin(Source checkpoint) {
        SwinConfig config = swinConfig(checkpoint);
        SwinArchitecture architecture = new SwinArchitecture();
        Map<String, Tensor> translated = PublishedHead.single(SwinNames.translate(checkpoint.weights));
        Map<String, Tensor> weights = fit(architecture, translated, config);
        Params params = Params.from(Device.cpu(), DType.F32, weights);
        try (SwinModel model = new SwinModel(params, config, 0)) {
            params.finish(name -> !architecture.keeps(name));
            if (names == Names.torchvision) {
                requireFinite(weights);
                SwinNames.writeForTorchvision(out, weights, config);
            } else {
                PublishedHead heads = heads(translated, checkpoint.metadata, config.featureWidth(), null);
                tellLeft(translated.keySet(), architecture, heads);
                save(params, model.config(), heads);
            }
        }
        return config;
    }

    /** Weights for what the model sees, which may be another modality than that of a file of pictures. */
    private static Map<String, Tensor> fit(Architecture architecture, Map<String, Tensor> weights, ModelConfig config) {
        return PictureWeights.fit(architecture, weights, config.toMetadata(), config.toMetadata());
    }

    private void refuseSizes(String model, List<String> options) {
        ParseResult given = given();
        for (String option : options) {
            if (given.hasMatchedOption(option)) {
                throw new IllegalArgumentException(
                        option + " is given but " + model + " tells its sizes itself; leave it away");
            }
        }
    }

    private StltConfig stlt(Source checkpoint) {
        refuseTorchvision("an STLT");
        refuseSizes("an STLT", STLT_TELLS);
        ParseResult given = given();
        if (given.hasMatchedOption("--modality")) {
            SizeOptions.requireEqual("--modality", modality, Modality.BOXES, file);
        }
        Map<String, Tensor> weights = StltNames.translate(checkpoint.weights);
        StltArchitecture architecture = new StltArchitecture();
        boolean described = architecture.name().equals(checkpoint.metadata.get(Architecture.ENTRY));
        StltConfig config = described
                ? StltConfig.fromMetadata(checkpoint.metadata)
                : StltNames.config(weights, Boxes.PER_FRAME, given.matchedOptionValue("--heads", STLT_HEADS));
        if (given.hasMatchedOption("--frames")) {
            SizeOptions.requireEqual("--frames", frames, config.frames(), file);
        }
        if (given.hasMatchedOption("--heads")) {
            SizeOptions.requireEqual("--heads", given.matchedOptionValue("--heads", STLT_HEADS), config.heads(), file);
        }
        Params params = Params.from(Device.cpu(), DType.F32, weights);
        try (StltModel model = new StltModel(params, config)) {
            params.finish(name -> !architecture.keeps(name));
            PublishedHead heads = heads(weights, checkpoint.metadata, config.featureWidth(), null);
            tellLeft(weights.keySet(), architecture, heads);
            save(params, model.config(), heads);
        }
        return config;
    }

    private void refuseTorchvision(String model) {
        if (names == Names.torchvision) {
            throw new IllegalArgumentException("--names torchvision is for Swin3D, but " + file + " is " + model
                    + ", which torchvision does not have");
        }
    }

    private SwinConfig swinConfig(Source checkpoint) {
        refuseSizes("a Swin3D", SIZES);
        if (new SwinArchitecture().name().equals(checkpoint.metadata.get(Architecture.ENTRY))) {
            SwinConfig own = SwinConfig.fromMetadata(checkpoint.metadata);
            requireAsGiven(own);
            return own;
        }
        int side = pixels == null ? SWIN_PIXELS : pixels;
        Patches input =
                new ModalityInput(Clips.geometry(frames, side, modality), 1, 1, PUBLISHED_FLOW).patches(modality);
        return SwinNames.config(checkpoint.weights, input, frames, side, side, 1e-5);
    }

    /** Refuses options that contradict a file which says itself what its model sees. */
    private void requireAsGiven(ModelConfig own) {
        ParseResult given = given();
        ClipShape input = own.input();
        if (given.hasMatchedOption("--modality")) {
            SizeOptions.requireEqual("--modality", modality, Clips.modality(input, file), file);
        }
        if (given.hasMatchedOption("--frames")) {
            SizeOptions.requireEqual("--frames", frames, input.frames(), file);
        }
        if (pixels != null) {
            SizeOptions.requireEqual("--pixels", pixels, input.height(), file);
            SizeOptions.requireEqual("--pixels", pixels, input.width(), file);
        }
    }

    private VideoMaeConfig videoMae(Source source) {
        OtherModels.refuse(source.weights.keySet());
        refuseTorchvision("a VideoMAE");
        boolean huggingFace = VideoMaeNames.areTransformers(source.weights.keySet());
        Map<String, Tensor> translated = PublishedHead.single(VideoMaeNames.translate(source.weights));
        VideoMaeConfig config;
        Map<String, Tensor> found;
        PublishedConfig described = null;
        if (source.metadata.containsKey("tessera.embedDim")) {
            config = VideoMaeConfig.fromMetadata(source.metadata);
            requireAsGiven(config);
            size.requireAsGiven(config, file);
            found = translated;
            // Of an export, whose classes may have been renamed there; beside a student's file it is another model's.
            described = huggingFace && configFile == null ? PublishedConfig.beside(file) : null;
        } else {
            described = configFile == null ? PublishedConfig.beside(file) : PublishedConfig.of(configFile);
            PublishedVideoMae published = new PublishedVideoMae(translated, huggingFace, described);
            config = published.config(asked(), PUBLISHED_FLOW);
            found = published.complete(config);
            tellGuess(config);
            String problem = described == null ? ONE_LABEL : described.text("problem_type", ONE_LABEL);
            if (described != null && !problem.equals(ONE_LABEL)) {
                notes.add(
                        described.file() + " says " + problem + ", but predict shares 100 % among the classes, of which"
                                + " it takes one to be right; take their order and not the figures");
            }
            if (described != null && published.isConvertersFault()) {
                notes.add(described.file()
                        + " says 16 heads, as a converter wrote for ViT-S, whose weights were trained with 6; "
                        + config.heads() + " are taken (--heads)");
            }
        }
        PublishedHead heads = heads(found, source.metadata, config.featureWidth(), described);
        VideoMaeArchitecture architecture = new VideoMaeArchitecture();
        Map<String, Tensor> weights = fit(architecture, found, config);
        if (!config.meanPooling()) {
            weights = new LinkedHashMap<>(weights);
            weights.keySet().removeIf(name -> name.startsWith("fc_norm."));
        }
        if (!config.encoderNorm()) {
            weights = new LinkedHashMap<>(weights);
            weights.keySet().removeIf(name -> name.startsWith("encoder.norm."));
        }
        // A fine-tuned model has the norm that its head was trained on; without one it starts afresh.
        boolean fresh = heads.weights().isEmpty() && !weights.containsKey("fc_norm.weight");
        Params params = Params.from(Device.cpu(), DType.F32, weights, 0, name -> fresh && name.startsWith("fc_norm."));
        try (VideoMaeClassifier model = new VideoMaeClassifier(params, config, 0)) {
            params.finish(name -> !name.startsWith("encoder.") && !name.startsWith("fc_norm."));
            tellLeft(found.keySet(), architecture, heads);
            save(params, model.config(), heads);
        }
        return config;
    }

    /** What nobody said, and channels alone tell: those of a model of grey pictures, which no command feeds, are a spectrogram's too. */
    private void tellGuess(VideoMaeConfig config) {
        Modality seen = Clips.modality(config.input(), file);
        if (!seen.equals(Modality.RGB) && !given().hasMatchedOption("--modality")) {
            int channels = config.input().channels();
            notes.add("it is taken for a model of " + seen + " by its " + channels
                    + (channels == 1 ? " channel" : " channels") + " alone"
                    + (channels == 1 ? ", not for one of grey pictures, which nothing here shows it" : "")
                    + "; --modality " + seen + " says so");
        }
    }

    /** Notes what else the file holds, such as a head of several layers, for who expects it in the student; refuses what belongs to its model. */
    private void tellLeft(Set<String> found, Architecture architecture, PublishedHead heads) {
        List<String> left = found.stream()
                .filter(name -> !architecture.keeps(name)
                        && !heads.knows(name)
                        && BESIDE.stream().noneMatch(name::startsWith))
                .map(Printable::line)
                .toList();
        OtherModels.requireNoTokens(left);
        if (!left.isEmpty()) {
            String more = left.size() > SHOWN ? " and " + (left.size() - SHOWN) + " more" : "";
            notes.add("left, as a student has no place for it: "
                    + String.join(", ", left.subList(0, Math.min(SHOWN, left.size()))) + more);
        }
    }

    private PublishedVideoMae.Asked asked() {
        ParseResult given = given();
        return new PublishedVideoMae.Asked(
                size,
                given.matchedOptionValue("--heads", null),
                given.hasMatchedOption("--modality") ? modality : null,
                given.hasMatchedOption("--frames") ? frames : null,
                pixels);
    }

    private PublishedHead heads(
            Map<String, Tensor> weights, Map<String, String> metadata, int width, @Nullable PublishedConfig described) {
        PublishedConfig names = described != null || configFile == null ? described : PublishedConfig.of(configFile);
        PublishedHead heads = PublishedHead.of(weights, metadata, width, labelFiles(), names);
        if (!heads.unnamed().isEmpty()) {
            boolean one = heads.labels().labels().size() == 1;
            notes.add(
                    one
                            ? "the classes of its head have no names but numbers; pass --labels FILE with a label a line"
                            : "the classes of its heads " + String.join(", ", heads.unnamed())
                                    + " have no names but numbers; pass --labels HEAD=FILE with a label a line for each");
        }
        return heads;
    }

    /** What is called as a file is one, of the only head. */
    private Map<String, Path> labelFiles() {
        Map<String, Path> files = new LinkedHashMap<>();
        for (String each : labels) {
            Matcher named = NAMED.matcher(each);
            boolean ofHead = named.matches() && !Files.exists(Path.of(each));
            String head = ofHead ? named.group(1) : "";
            if (files.put(head, Path.of(ofHead ? named.group(2) : each)) != null) {
                throw new IllegalArgumentException(
                        "--labels is given twice for one head; pass one file for each, such as --labels verb=FILE");
            }
        }
        return files;
    }

    private static void requireFinite(Map<String, Tensor> weights) {
        weights.forEach((name, tensor) -> {
            for (float value : tensor.dtype() == DType.I32 ? new float[0] : tensor.toFloats()) {
                if (!Float.isFinite(value)) {
                    throw new CheckpointException("the weight " + name + " holds " + value
                            + "; every weight must be finite, so fetch the file again, or pass a checkpoint from before"
                            + " its training diverged");
                }
            }
        });
    }

    private void save(Params params, ModelConfig config, PublishedHead heads) {
        Map<String, Tensor> all = new LinkedHashMap<>(params.all());
        all.putAll(heads.weights());
        requireFinite(all);
        Student.save(out, all, config, heads.labels(), Map.of());
        heads.labels().labels().forEach((name, classes) -> told.put(name, classes.size()));
    }
}
