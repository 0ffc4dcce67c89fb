package tessera.distill.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;

/** How clips of one's own are read. */
final class FolderOptions {
    private static final String SKIP_BROKEN = "--skip-broken";
    private static final String FLOW_BOUND = "--flow-bound";
    private static final String CLIP_FRAMES = "--clip-frames";
    private static final String CLIP_SIZE = "--clip-size";

    /** Names of all options, and of those that say how much of a folder is kept in memory. */
    static final List<String> NAMES = Stream.of(
                    List.of(SKIP_BROKEN, FLOW_BOUND, CLIP_FRAMES, CLIP_SIZE), MemoryOptions.NAMES, ReadingOptions.NAMES)
            .flatMap(List::stream)
            .toList();

    @Option(
            names = SKIP_BROKEN,
            description =
                    "Leave clips out that lack a modality or have a broken file, and say how many. Without it they"
                            + " are refused.")
    private boolean skipBroken;

    @Option(
            names = FLOW_BOUND,
            paramLabel = "PIXELS",
            description =
                    "The motion that level 255 of flow pictures stands for; 0 is as much the other way. Default: 20")
    private @Nullable Double flowBound;

    @Option(
            names = CLIP_FRAMES,
            paramLabel = "N",
            description =
                    "Frames that clips of videos and pictures are loaded with, spread evenly; views choose from them. Default:"
                            + " 16. Arrays have those that they have.")
    private @Nullable Integer clipFrames;

    @Option(
            names = CLIP_SIZE,
            split = "x(?!$)", // one at the end is no number
            splitSynopsisLabel = "x",
            paramLabel = "HxW",
            description =
                    "Pixels that videos and pictures are resized to, as wide as high or wider; views cut squares out of them."
                            + " Default: 224x224")
    private List<Integer> clipSize = List.of();

    /** Finds and checks clips. */
    ModalityFolders open(Path folder, Set<Modality> modalities, @Nullable Geometry wanted) {
        return open(folder, modalities, wanted, options());
    }

    /** Finds and checks clips for evaluation. */
    ModalityFolders open(Path folder, Set<Modality> modalities, @Nullable Geometry wanted, MemoryOptions memory) {
        return open(folder, modalities, wanted, options().withReading(memory.reading()));
    }

    /** Finds and checks clips for training. */
    ModalityFolders open(Path folder, Set<Modality> modalities, @Nullable Geometry wanted, ReadingOptions reading) {
        return open(folder, modalities, wanted, reading.addTo(options()));
    }

    private ModalityFolders open(
            Path folder, Set<Modality> modalities, @Nullable Geometry wanted, ModalityFolders.Options options) {
        if (flowBound != null && !modalities.contains(Modality.FLOW)) {
            throw new IllegalArgumentException(FLOW_BOUND + " is for pictures of flow but what is read is "
                    + modalities.stream().sorted().map(Modality::id).collect(Collectors.joining(", "))
                    + "; leave it away");
        }
        Geometry pictures = options.pictures();
        ModalityFolders found = ModalityFolders.open(folder, modalities, wanted, options);
        Geometry geometry = found.geometry();
        if (clipFrames != null && geometry.frames() != pictures.frames()) {
            throw new IllegalArgumentException("--clip-frames is " + clipFrames + " but the clips of " + folder
                    + " have " + geometry.frames() + " frames, which their arrays or the command say; leave it out");
        }
        boolean seen = modalities.contains(Modality.RGB) || modalities.contains(Modality.FLOW);
        if (!clipSize.isEmpty()
                && seen
                && (geometry.size() != pictures.size() || geometry.width() != pictures.width())) {
            throw new IllegalArgumentException("--clip-size is " + pictures.size() + " x " + pictures.width()
                    + " but the clips of " + folder + " have " + geometry.size() + " x " + geometry.width()
                    + " pixels, which their arrays or the command say; leave it out");
        }
        return found;
    }

    private ModalityFolders.Options options() {
        double bound = flowBound == null ? ModalityFolders.Options.DEFAULT.flowBound() : flowBound;
        Geometry pictures = UsageErrors.naming(this::pictures, CLIP_FRAMES, CLIP_SIZE);
        return UsageErrors.naming(() -> new ModalityFolders.Options(skipBroken, bound, pictures), FLOW_BOUND);
    }

    private Geometry pictures() {
        Geometry standard = ModalityFolders.Options.DEFAULT.pictures();
        if (clipSize.isEmpty()) {
            return clipFrames == null ? standard : standard.withFrames(clipFrames);
        }
        if (clipSize.size() != 2) {
            throw new IllegalArgumentException(
                    "--clip-size is " + clipSize + "; give height and width, such as 224x298");
        }
        int frames = clipFrames == null ? standard.frames() : clipFrames;
        int high = clipSize.getFirst();
        return new Geometry(frames, high, Math.max(4, high / 4)).withWidth(clipSize.getLast());
    }
}
