package tessera.distill.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.data.Aspect;
import tessera.distill.data.Extraction;
import tessera.distill.data.ExtractionSources;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.annotation.AnnotationFormat;
import tessera.distill.data.annotation.Annotations;
import tessera.distill.train.Task;
import tessera.distill.video.ClipCut;

/** {@code tessera extract}: training data of videos. */
@Command(
        name = "extract",
        description = {
            "Make training data of videos: clips as arrays in the layout of pretrain, DATA/rgb/<label>/<name>.npy, with optical"
                    + " flow, heat maps of hands, boxes and sound beside them as asked for.",
            "Videos lie as for learn, DIR/<label>/<video> or DIR/<label>.mp4; with --unlabelled they lie at any depth; with"
                    + " --annotations a file says what they show, where. A folder of numbered JPEG or PNG frames is a video, too.",
            "The same command goes on where it was stopped, and makes only what is missing or has changed: a video, its"
                    + " annotation, or what --flow-from, --pose and --boxes have of it."
        })
final class Extract extends ToolCommand {

    private static final double SECONDS = 2;

    @Option(names = "--videos", required = true, paramLabel = "DIR", description = "The videos.")
    private Path videos = Path.of("");

    @Option(names = "--out", required = true, paramLabel = "DATA", description = "Folder of the clips.")
    private Path out = Path.of("");

    @Option(names = "--unlabelled", description = "Take the videos of DIR and of the folders below it, without labels.")
    private boolean unlabelled;

    @Option(
            names = "--annotations",
            paramLabel = "FILE",
            description = "What the videos show from when to when: a clip of each row whose video is there.")
    private @Nullable Path annotations;

    @Option(
            names = "--format",
            paramLabel = "NAME",
            description = "Whose file of annotations it is: ${COMPLETION-CANDIDATES}. Default: as the file looks")
    private @Nullable AnnotationFormat format;

    @Option(
            names = "--split",
            paramLabel = "NAME",
            description = "Only the rows of this split, in the file's own word. Default: all")
    private @Nullable String split;

    @Option(names = "--frames", paramLabel = "N", description = "Frames of a clip. Default: ${DEFAULT-VALUE}")
    private int frames = Geometry.FULL.frames();

    @Option(
            names = "--size",
            split = "x(?!$)", // one at the end is no number
            splitSynopsisLabel = "x",
            paramLabel = "N|HxW",
            description = "Pixels that pictures are resized to, as wide as high or wider. Default: 224")
    private List<Integer> size = List.of(Geometry.FULL.size());

    @Option(
            names = "--aspect",
            paramLabel = "squash|keep",
            description =
                    "How pictures of another shape become those of --size. squash: the whole picture, squeezed. keep: in its"
                            + " aspect, the middle of it that has the shape of --size; 256x340 keeps all of 4:3, and training"
                            + " cuts squares out of that. Default: ${DEFAULT-VALUE}")
    private Aspect aspect = Aspect.SQUASH;

    @Option(
            names = "--clip-seconds",
            paramLabel = "S",
            description =
                    "Length of a clip; 0 makes one clip of each whole video. Default: 2, or with --annotations one clip of each"
                            + " row")
    private @Nullable Double clipSeconds;

    @Option(
            names = CutOptions.STRIDE_SECONDS,
            paramLabel = "S",
            description =
                    "From the beginning of a clip to the next; below --clip-seconds they overlap. Default: no overlap")
    private @Nullable Double strideSeconds;

    @Option(
            names = "--fps",
            paramLabel = "N",
            description =
                    "Frames a second of folders of frames, and of frame numbers in annotations that do not tell. Default: 25"
                            + " of folders; of numbers, the video's own rate")
    private double fps;

    @Option(names = "--flow", description = "Compute optical flow (dense inverse search).")
    private boolean flow;

    @Option(
            names = "--flow-from",
            paramLabel = "DIR",
            description = "Take flow of each frame from here, arrays [H, W, 2] in numbered npy files: DIR/<video>/.")
    private @Nullable Path flowFrom;

    @Option(
            names = "--pose",
            paramLabel = "DIR",
            description =
                    "Heat maps of hands from here: joints as JSON, DIR/<video>.json, or arrays [h, w, 21] of each frame in numbered"
                            + " npy files, DIR/<video>/.")
    private @Nullable Path pose;

    @Option(
            names = "--boxes",
            paramLabel = "DIR",
            description = "Boxes of hands and objects from here, JSON for each frame: DIR/<video>.json.")
    private @Nullable Path boxes;

    @Option(names = "--audio", description = "Write the sound of each clip.")
    private boolean audio;

    @Option(
            names = "--skip-broken",
            description = "Leave out what cannot be read, and tell how much. Without it the first is refused.")
    private boolean skipBroken;

    @Option(
            names = ReadingOptions.MOST_BROKEN,
            paramLabel = "SHARE",
            description = "Share of the videos or rows that --skip-broken may leave out. Default: ${DEFAULT-VALUE}")
    private double mostBroken = .5;

    @Option(
            names = "--threads",
            paramLabel = "N",
            description = "Videos at the same time. Default: one for each processor")
    private @Nullable Integer threads;

    @Mixin
    private ProgressOption progress;

    /**
     * What came out.
     *
     * @param clips number of them, old and new
     * @param labels those that have clips, sorted
     * @param notes what else is to be known, in one line each: what had changed, is broken or missing
     */
    private record Answer(Path data, int clips, List<String> labels, List<String> modalities, List<String> notes) {}

    @Override
    void run() {
        Extraction extraction = extraction();
        Outputs.requireFolder(out);
        requireOutside();
        List<String> notes = new ArrayList<>();
        ExtractionSources found = sources(notes::add);
        int clips;
        Task.Unit unit = annotations == null ? Task.Unit.VIDEOS : Task.Unit.CLIPS;
        try (Task task = Task.begin(
                progress.listener(), "extract", unit, 0, found.sources().size())) {
            notes.forEach(task::note);
            clips = extraction.run(found.sources(), out, task::advance, note -> {
                notes.add(note);
                task.note(note);
            });
        }
        if (clips == 0) {
            throw new IllegalArgumentException("none of the videos of " + videos + " gives a clip of "
                    + extraction.cut().clipSeconds() + " s; pass fewer --clip-seconds, or 0 for one clip of each");
        }
        found.writeHeads(out);
        Set<String> labels = new TreeSet<>();
        for (Extraction.Source source : found.sources()) {
            // What has no clips, since all of its sources were left out, has no folder either.
            if (Files.isDirectory(out.resolve(Modality.RGB.id()).resolve(source.label()))) {
                labels.add(source.label());
            }
        }
        List<String> modalities =
                extraction.modalities().stream().sorted().map(Modality::id).toList();
        print(
                new Answer(out, clips, List.copyOf(labels), modalities, List.copyOf(notes)),
                to -> to.printf(
                        "%s: %d %s, %d %s, %s%n",
                        out,
                        clips,
                        clips == 1 ? "clip" : "clips",
                        labels.size(),
                        labels.size() == 1 ? "label" : "labels",
                        String.join(" and ", modalities)));
    }

    private Extraction extraction() {
        if (threads != null && threads < 1) {
            throw new IllegalArgumentException("--threads is " + threads + "; pass 1 or more, or leave it away");
        }
        if (!(mostBroken >= 0 && mostBroken <= 1)) {
            throw new IllegalArgumentException("--most-broken is " + mostBroken + "; pass a share from 0 to 1");
        }
        if (!skipBroken) {
            IdleOptions.refuse(given(), ReadingOptions.MOST_BROKEN, ReadingOptions.OF_SKIPPED);
        }
        if (!(fps >= 0 && fps <= ClipCut.MOST_FRAMES_PER_SECOND)) {
            throw new IllegalArgumentException("--fps is " + fps + "; pass a number up to 1000");
        }
        if (flow && flowFrom != null) {
            throw new IllegalArgumentException("--flow and --flow-from exclude each other; pass one of them");
        }
        if (annotations == null && (format != null || split != null)) {
            throw new IllegalArgumentException("--format and --split tell of --annotations; pass FILE, too");
        }
        if (annotations != null && unlabelled) {
            throw new IllegalArgumentException("--annotations and --unlabelled exclude each other; pass one of them");
        }
        Map<Modality, Path> given = new TreeMap<>();
        Map<Modality, @Nullable Path> folders = new LinkedHashMap<>();
        folders.put(Modality.FLOW, flowFrom);
        folders.put(Modality.POSE, pose);
        folders.put(Modality.BOXES, boxes);
        folders.forEach((modality, folder) -> {
            if (folder != null) {
                if (!Files.isDirectory(folder)) {
                    throw new IllegalArgumentException(folder
                            + (Files.exists(folder) ? " is no folder" : " does not exist") + "; name the folder of "
                            + modality);
                }
                given.put(modality, folder);
            }
        });
        Set<Modality> modalities = new TreeSet<>(given.keySet());
        modalities.add(Modality.RGB);
        if (flow) {
            modalities.add(Modality.FLOW);
        }
        if (audio) {
            modalities.add(Modality.AUDIO);
        }
        int workers = threads == null ? Runtime.getRuntime().availableProcessors() : threads;
        return new Extraction(cut(), aspect, modalities, given, fps, skipBroken, mostBroken, workers);
    }

    private ClipCut cut() {
        if (size.isEmpty() || size.size() > 2) {
            throw new IllegalArgumentException(
                    "--size is " + size + "; give a number, or height and width such as 224x298");
        }
        int high = size.getFirst();
        if (frames < 2 || frames > 1024) {
            throw new IllegalArgumentException("--frames is " + frames + "; pass 2 to 1024");
        }
        if (high < 16 || high > 2048 || size.getLast() < high || size.getLast() > 4096) {
            String given = high + (size.size() == 1 ? "" : "x" + size.getLast());
            throw new IllegalArgumentException("--size is " + given
                    + "; pass 16 to 2048, or height and width such as 224x298, as wide as high or wider");
        }
        Geometry geometry = new Geometry(frames, high, Math.max(4, high / 4)).withWidth(size.getLast());
        double seconds = clipSeconds != null ? clipSeconds : annotations == null ? SECONDS : 0;
        if (!(seconds >= 0 && seconds < ClipCut.LONGEST)
                || (seconds > 0 && frames / seconds > ClipCut.MOST_FRAMES_PER_SECOND)) {
            throw new IllegalArgumentException(
                    "--clip-seconds is " + seconds + "; pass a positive number of seconds for " + frames
                            + " frames, at most " + ClipCut.MOST_FRAMES_PER_SECOND
                            + " a second, or 0 for one clip of each");
        }
        if (seconds == 0 && strideSeconds != null) {
            throw new IllegalArgumentException(CutOptions.STRIDE_SECONDS + " is " + strideSeconds
                    + " but each " + (annotations == null ? "video" : "row")
                    + " is one clip; pass --clip-seconds too, or leave it away");
        }
        double stride = strideSeconds == null ? seconds : strideSeconds;
        if (seconds > 0 && !(stride > 0 && stride < ClipCut.LONGEST)) {
            throw new IllegalArgumentException(
                    "--stride-seconds is " + stride + "; pass a positive number of seconds, or leave it away");
        }
        return new ClipCut(geometry.frames(), geometry.size(), geometry.width(), seconds, stride, 0, 1);
    }

    /** What is written would be looked through as videos by the next run. */
    private void requireOutside() {
        try {
            if (Files.isDirectory(videos) && nearest(out).startsWith(videos.toRealPath())) {
                throw new IllegalArgumentException(
                        "--out " + out + " lies in --videos " + videos + "; name a folder beside it");
            }
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    videos + " cannot be looked at (" + e.getMessage() + "); check its permissions", e);
        }
    }

    /** The real path of what exists of a path. */
    private static Path nearest(Path path) throws IOException {
        Path existing = path.toAbsolutePath();
        while (existing.getParent() != null && !Files.exists(existing)) {
            existing = existing.getParent();
        }
        return existing.toRealPath();
    }

    private ExtractionSources sources(Consumer<String> notes) {
        if (annotations != null) {
            return ExtractionSources.annotated(videos, Annotations.read(annotations, format, notes), split, notes);
        }
        return unlabelled
                ? ExtractionSources.unlabelled(videos, ExtractionSources.UNLABELLED, true)
                : ExtractionSources.labelled(videos);
    }
}
