package tessera.distill.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.data.Boxes;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.train.ModalityInput;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Architecture;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.ClipShape;
import tessera.nn.ModelConfig;
import tessera.nn.Params;
import tessera.nn.PictureWeights;
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
import tessera.tensor.io.SafetensorsShards;

/** {@code tessera import}: a public checkpoint as a student. */
@Command(
        name = "import",
        description = {
            "Make a student of a public VideoMAE, Swin3D or STLT checkpoint in safetensors (original, Hugging Face or"
                    + " torchvision names).",
            "A model of pretrain needs no sizes, Swin3D and STLT tell their own. Of a model of pictures, --modality audio"
                    + " or flow makes one that gives the same for a spectrogram in all three channels, or for flow as a picture"
                    + " (u, v, 0) of up to 20 pixels. The encoder is taken, decoder and heads are left. Every missing, misshapen"
                    + " or unexpected weight is named."
        })
final class ImportCheckpoint extends ToolCommand {
    private static final String PATCH_WEIGHT = "encoder.patch_embed.proj.weight";
    private static final int GRID = 14;
    private static final int SWIN_PIXELS = 224;
    private static final List<String> SIZES = List.of("--size", "--dim", "--depth", "--heads");
    /** Their weights do not tell heads. */
    private static final List<String> STLT_TELLS = List.of("--size", "--dim", "--depth", "--pixels");

    private static final int STLT_HEADS = 8;

    private static final FlowStats PUBLISHED_FLOW = new FlowStats(List.of(.0507f, .4671f), List.of(10.9280f, 8.6857f));

    @Mixin
    private SizeOptions size;

    @Option(
            names = "--checkpoint",
            required = true,
            paramLabel = "FILE",
            description = "The safetensors file to import; of shards their index, their folder, or any of them.")
    private Path file = Path.of("");

    @Option(
            names = "--modality",
            paramLabel = "rgb|flow|pose|boxes|audio",
            description = "What the model sees. Default: boxes for STLT, else rgb")
    private Modality modality = Modality.RGB;

    @Option(
            names = "--frames",
            paramLabel = "T",
            description = "Frames of a clip, which STLT tells itself. Default: ${DEFAULT-VALUE}")
    private int frames = 16;

    @Option(
            names = "--pixels",
            paramLabel = "N",
            description =
                    "Height and width of the input. Default: 14 patches, which are 224 pixels, or 56 cells of a heat"
                            + " map")
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
        Outputs.requireFile(out);
        for (Path shard : SafetensorsShards.files(file)) {
            Outputs.requireOther("--out", out, "--checkpoint", shard);
        }
        ModelConfig written;
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(file)) {
            written = checkpoint.explaining(() -> student(checkpoint));
        } catch (CheckpointException e) {
            throw new CheckpointException(file + ": " + e.getMessage());
        }
        print(new Answer(out, written.toMetadata()), to -> to.println(out));
    }

    private record Answer(Path student, Map<String, String> config) {}

    private ModelConfig student(Checkpoint checkpoint) {
        Set<String> found = checkpoint.tensors().keySet();
        return SwinNames.matches(found)
                ? swin(checkpoint)
                : StltNames.matches(found) ? stlt(checkpoint) : videoMae(checkpoint);
    }

    private SwinConfig swin(Checkpoint checkpoint) {
        SwinConfig config = swinConfig(checkpoint);
        SwinArchitecture architecture = new SwinArchitecture();
        Map<String, Tensor> weights = fit(architecture, SwinNames.translate(checkpoint.tensors()), config);
        Params params = Params.from(Device.cpu(), DType.F32, weights);
        try (SwinModel model = new SwinModel(params, config, 0)) {
            params.finish(name -> !architecture.keeps(name));
            if (names == Names.torchvision) {
                SwinNames.writeForTorchvision(out, weights, config);
            } else {
                Student.save(out, params.all(), model.config(), Map.of());
            }
        }
        return config;
    }

    /** Weights for what the model sees, which may be another modality than that of a file of pictures. */
    private static Map<String, Tensor> fit(Architecture architecture, Map<String, Tensor> weights, ModelConfig config) {
        return PictureWeights.fit(architecture, weights, config.toMetadata(), config.toMetadata());
    }

    private void refuseSizes(String model, List<String> options) {
        ParseResult given = spec().commandLine().getParseResult();
        for (String option : options) {
            if (given.hasMatchedOption(option)) {
                throw new IllegalArgumentException(
                        option + " is given but " + model + " tells its sizes itself; leave it away");
            }
        }
    }

    private StltConfig stlt(Checkpoint checkpoint) {
        refuseTorchvision("an STLT");
        refuseSizes("an STLT", STLT_TELLS);
        ParseResult given = spec().commandLine().getParseResult();
        if (given.hasMatchedOption("--modality")) {
            SizeOptions.requireEqual("--modality", modality, Modality.BOXES, file);
        }
        Map<String, Tensor> weights = StltNames.translate(checkpoint.tensors());
        StltArchitecture architecture = new StltArchitecture();
        boolean described = architecture.name().equals(checkpoint.metadata().get(Architecture.ENTRY));
        StltConfig config = described
                ? StltConfig.fromMetadata(checkpoint.metadata())
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
            Student.save(out, params.all(), model.config(), Map.of());
        }
        return config;
    }

    private void refuseTorchvision(String model) {
        if (names == Names.torchvision) {
            throw new IllegalArgumentException("--names torchvision is for Swin3D, but " + file + " is " + model
                    + ", which torchvision does not have");
        }
    }

    private SwinConfig swinConfig(Checkpoint checkpoint) {
        refuseSizes("a Swin3D", SIZES);
        if (new SwinArchitecture().name().equals(checkpoint.metadata().get(Architecture.ENTRY))) {
            SwinConfig own = SwinConfig.fromMetadata(checkpoint.metadata());
            requireAsGiven(own);
            return own;
        }
        int side = pixels == null ? SWIN_PIXELS : pixels;
        Patches input =
                new ModalityInput(Clips.geometry(frames, side, modality), 1, 1, PUBLISHED_FLOW).patches(modality);
        return SwinNames.config(checkpoint.tensors(), input, frames, side, side, 1e-5);
    }

    /** Refuses options that contradict a file which says itself what its model sees. */
    private void requireAsGiven(ModelConfig own) {
        ParseResult given = spec().commandLine().getParseResult();
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

    private VideoMaeConfig videoMae(Checkpoint checkpoint) {
        refuseTorchvision("a VideoMAE");
        Map<String, Tensor> found = VideoMaeNames.translate(checkpoint.tensors());
        VideoMaeConfig config = config(found, checkpoint.metadata());
        Map<String, Tensor> weights = fit(new VideoMaeArchitecture(), found, config);
        Params params = Params.from(
                Device.cpu(),
                DType.F32,
                weights,
                0,
                name -> name.startsWith("fc_norm.") && !weights.containsKey("fc_norm.weight"));
        try (VideoMaeClassifier model = new VideoMaeClassifier(params, config, 0)) {
            params.finish(name -> !name.startsWith("encoder.") && !name.startsWith("fc_norm."));
            Student.save(out, params.all(), model.config(), Map.of());
        }
        return config;
    }

    /** The architecture: as Tessera's own files say, or as asked for, of which the weights tell the patch size and two details. */
    private VideoMaeConfig config(Map<String, Tensor> weights, Map<String, String> metadata) {
        if (metadata.containsKey("tessera.embedDim")) {
            VideoMaeConfig own = VideoMaeConfig.fromMetadata(metadata);
            requireAsGiven(own);
            size.requireAsGiven(own, file);
            return own;
        }
        Tensor embedding = weights.get(PATCH_WEIGHT);
        if (embedding == null || embedding.rank() != 5 || embedding.shape().count() == 0) {
            throw new CheckpointException("there is no patch embedding " + PATCH_WEIGHT
                    + " [width, channels, tubelet, patch, patch] under any known name; pass a VideoMAE checkpoint");
        }
        int patch = Math.toIntExact(embedding.size(3));
        int side = pixels == null ? GRID * patch : pixels;
        if (side < patch || side % patch != 0) {
            throw new IllegalArgumentException("--pixels is " + side + "; pass a multiple of the patch, " + patch);
        }
        Geometry geometry = Clips.geometry(frames, side, modality);
        VideoMaeConfig plain = new ModalityInput(geometry, side / patch, ModalityInput.TUBELET, PUBLISHED_FLOW)
                .config(modality, size.size());
        return new VideoMaeConfig(
                plain.patches(),
                plain.frames(),
                plain.height(),
                plain.width(),
                plain.embedDim(),
                plain.depth(),
                plain.heads(),
                plain.decoderDim(),
                plain.decoderDepth(),
                plain.decoderHeads(),
                plain.layerNormEps(),
                plain.outputNormEps(),
                weights.containsKey("encoder.norm.weight"),
                weights.keySet().stream().anyMatch(name -> name.endsWith("attn.k_bias")));
    }
}
