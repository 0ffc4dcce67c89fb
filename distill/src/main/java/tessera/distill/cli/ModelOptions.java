package tessera.distill.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.SampleLayout;
import tessera.distill.train.ModalityInput;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.nn.ModelConfig;
import tessera.nn.TokenGrid;
import tessera.nn.stlt.StltConfig;
import tessera.nn.swin.SwinConfig;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;

/** Which model is trained: an architecture and its sizes, the published ones where nothing else is said. */
final class ModelOptions {
    private static final String DEPTHS = "--depths";
    private static final String DIM = "--dim";
    private static final String FRAMES = "--frames";
    private static final String HEADS = "--attention-heads";
    private static final String WINDOW = "--window";

    /** Architectures that can be made afresh. */
    enum Arch {
        SWIN3D,
        STLT,
        VIDEOMAE
    }

    @Option(
            names = {"--arch", "--student-arch"},
            paramLabel = "NAME",
            description = "Model to train: swin3d, stlt (for boxes) or videomae. Default: stlt for boxes, else swin3d")
    private @Nullable Arch arch;

    @Option(
            names = FRAMES,
            paramLabel = "N",
            description =
                    "Frames that the model takes. Default: those of the clips; fewer are chosen anew in every view")
    private @Nullable Integer frames;

    @Option(
            names = DIM,
            paramLabel = "D",
            description = "Width: of swin3d's first stage (published: 96), of stlt (768) or videomae (384).")
    private @Nullable Integer dim;

    @Option(
            names = DEPTHS,
            split = ",",
            paramLabel = "L",
            description = "Blocks: of each stage of swin3d (published: 2,2,6,2), of stlt's spatial and temporal"
                    + " transformer (6,6), of videomae (12).")
    private @Nullable List<Integer> depths;

    @Option(
            names = HEADS,
            split = ",",
            paramLabel = "H",
            description =
                    "Attention heads: of each stage of swin3d (published: 3,6,12,24), of stlt (8) or videomae (6).")
    private @Nullable List<Integer> attentionHeads;

    @Option(
            names = WINDOW,
            split = "x(?!$)", // one at the end is no number
            splitSynopsisLabel = "x",
            paramLabel = "N",
            description = "Windows of swin3d in tokens, time x rows x columns. Published: 8x7x7")
    private List<Integer> window = List.of(8, 7, 7);

    /** Refuses an architecture that does not see the modality, and sizes that it does not have. */
    void check(ParseResult given, Modality modality) {
        if (depths != null) {
            depths.forEach(blocks -> ToolCommand.requireLeast(DEPTHS, blocks, 1));
        }
        if (attentionHeads != null) {
            attentionHeads.forEach(split -> ToolCommand.requireLeast(HEADS, split, 1));
        }
        if (dim != null) {
            ToolCommand.requireLeast(DIM, dim, 1);
        }
        Arch chosen = arch(modality);
        if (chosen != Arch.SWIN3D) {
            IdleOptions.refuse(
                    given, WINDOW, "is for swin3d but the model is " + EnumWords.of(chosen) + "; leave it away");
        }
    }

    /**
     * The model for views of clips of these sizes, which are squares as high as the clips.
     *
     * @throws IllegalArgumentException if the options make none
     */
    ModelConfig config(Modality modality, Geometry clips, FlowStats stats) {
        int seen = frames == null ? clips.frames() : frames;
        Geometry sees = UsageErrors.naming(() -> new Geometry(seen, clips.size(), clips.poseSize()), FRAMES);
        if (seen > clips.frames()) {
            throw new IllegalArgumentException(FRAMES + " is " + seen + " but the clips have " + clips.frames()
                    + " frames; pass at most these, or load clips with more (--clip-frames)");
        }
        return switch (arch(modality)) {
            case SWIN3D -> UsageErrors.naming(() -> swin(modality, sees, stats), FRAMES, DIM, DEPTHS, HEADS, WINDOW);
            case STLT -> UsageErrors.naming(() -> stlt(modality, sees), FRAMES, DIM, DEPTHS, HEADS);
            case VIDEOMAE -> UsageErrors.naming(() -> videoMae(modality, sees, stats), FRAMES, DIM, DEPTHS, HEADS);
        };
    }

    /** Refuses clips of sizes for which the options make no model. */
    Consumer<Geometry> fits(Modality modality) {
        return clips -> config(modality, clips, FlowStats.NONE);
    }

    /** The published rate of stochastic depth: Swin3D's, while the others have none. */
    double dropPath(Modality modality) {
        return arch(modality) == Arch.SWIN3D ? SwinConfig.DROP_PATH : 0;
    }

    private Arch arch(Modality modality) {
        boolean boxes = modality.equals(Modality.BOXES);
        Arch chosen = arch == null ? (boxes ? Arch.STLT : Arch.SWIN3D) : arch;
        if (boxes != (chosen == Arch.STLT)) {
            throw new IllegalArgumentException("--arch is " + EnumWords.of(chosen) + " but the model sees " + modality
                    + "; pass stlt for boxes, and swin3d or videomae for everything else");
        }
        return chosen;
    }

    private SwinConfig swin(Modality modality, Geometry sees, FlowStats stats) {
        SampleLayout layout = modality.layout();
        boolean measured = layout.mean().isEmpty();
        SwinConfig tiny = SwinConfig.tiny(
                layout.channels(),
                layout.values().scale(),
                numbers(measured ? stats.mean() : layout.mean()),
                numbers(measured ? stats.std() : layout.std()),
                sees.frames(),
                sees.rows(modality),
                sees.columns(modality));
        if (window.size() != 3) {
            throw new IllegalArgumentException(
                    "--window has " + window.size() + " numbers; pass three with x between them, such as 8x7x7");
        }
        return new SwinConfig(
                tiny.patches(),
                tiny.frames(),
                tiny.height(),
                tiny.width(),
                dim == null ? tiny.embedDim() : dim,
                depths == null ? tiny.depths() : depths,
                attentionHeads == null ? tiny.heads() : attentionHeads,
                new TokenGrid(window.get(0), window.get(1), window.get(2)),
                tiny.layerNormEps());
    }

    private StltConfig stlt(Modality modality, Geometry sees) {
        List<Integer> layers = depths == null ? List.of(6, 6) : depths;
        if (layers.size() != 2) {
            throw new IllegalArgumentException(DEPTHS + " has " + layers.size()
                    + " numbers but stlt a spatial and a temporal transformer; pass two, such as 6,6");
        }
        return StltConfig.of(
                sees.frames(),
                sees.rows(modality),
                dim == null ? 768 : dim,
                single(HEADS, attentionHeads, 8),
                layers.get(0),
                layers.get(1));
    }

    private VideoMaeConfig videoMae(Modality modality, Geometry sees, FlowStats stats) {
        VideoMaeConfig small = VideoMaeConfig.of("small", Patches.plain(3, 2, 16));
        int width = dim == null ? small.embedDim() : dim;
        int blocks = single(DEPTHS, depths, small.depth());
        int split = single(HEADS, attentionHeads, Math.max(1, width / 64));
        ModelSize size = new ModelSize(width, blocks, split, split, 1, split);
        return new ModalityInput(sees, Clips.cells(modality, sees), ModalityInput.TUBELET, stats)
                .config(modality, size);
    }

    private static int single(String option, @Nullable List<Integer> given, int standard) {
        List<Integer> numbers = given == null ? List.of(standard) : new ArrayList<>(given);
        if (numbers.size() != 1) {
            throw new IllegalArgumentException(
                    option + " has " + numbers.size() + " numbers but this architecture one; pass one");
        }
        return numbers.getFirst();
    }

    private static double[] numbers(List<? extends Number> list) {
        return list.stream().mapToDouble(Number::doubleValue).toArray();
    }
}
