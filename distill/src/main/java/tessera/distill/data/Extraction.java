package tessera.distill.data;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import tessera.distill.video.ClipCut;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.OpticalFlow;
import tessera.distill.video.Video;
import tessera.distill.video.VideoException;
import tessera.distill.video.VideoReader;
import tessera.nn.inference.VideoClip;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.AtomicFile;
import tessera.tensor.io.Npy;

/**
 * Makes training data of videos: cuts them into clips and writes these, with their optical flow, as arrays in the layout of {@link
 * ModalityFolders}: {@code OUT/rgb/<label>/<video>-<number>.npy} and {@code OUT/flow/<label>/...}, with the same names.
 *
 * <p>One clip is in memory at a time. Every array appears complete or not at all, and a file below {@code OUT/done} tells that all of a
 * video's are there; so a later call makes what an interrupted one left, makes the clips of changed videos anew, and removes those of
 * videos that are no longer given. Not for two calls at a time in one folder.
 *
 * @param cut how videos are cut; a video that is shorter than a clip gives none
 * @param modalities RGB, flow or both
 * @param skipBroken whether videos that cannot be decoded are left out, and their number told; if not, the first is refused
 */
public record Extraction(ClipCut cut, Set<Modality> modalities, boolean skipBroken) {
    private static final String DONE = "done";
    private static final String NPY = ".npy";

    /**
     * A video with what its clips are called.
     *
     * @param label name of the folder of its clips
     * @param name begins the names of its clips, and is no other video's of this label
     */
    public record Source(String label, String name, Path video) {}

    public Extraction {
        modalities = Set.copyOf(modalities);
        if (modalities.isEmpty() || !Set.of(Modality.RGB, Modality.FLOW).containsAll(modalities)) {
            throw new IllegalArgumentException(
                    "extraction: of videos " + new TreeSet<>(modalities) + " is asked for; they give rgb and flow");
        }
    }

    /**
     * The videos in a folder and all folders below it, in the order of their names, told by their extensions or, without a usual one, by
     * what is in them; hidden ones and other files are left out.
     *
     * @param label that all of them get
     * @throws IllegalArgumentException if there is none, or the folder cannot be read
     */
    public static List<Source> list(Path folder, String label) {
        if (!Files.isDirectory(folder)) {
            throw new IllegalArgumentException(folder + (Files.exists(folder) ? " is no folder" : " does not exist")
                    + "; name a folder with videos in it, at any depth");
        }
        List<Source> found = new ArrayList<>();
        Set<String> names = new HashSet<>();
        try (Stream<Path> files = Files.walk(folder, FileVisitOption.FOLLOW_LINKS)) {
            files.filter(file -> Files.isRegularFile(file)
                            && !hidden(folder.relativize(file))
                            && ClipFolder.refusal(file).isEmpty())
                    .sorted()
                    .forEach(file -> {
                        String name = folder.relativize(file)
                                .toString()
                                .replace('/', '_')
                                .replace('\\', '_');
                        if (!names.add(name)) {
                            throw new IllegalArgumentException(
                                    file + " and another video would both be called " + name + "; rename one of them");
                        }
                        found.add(new Source(label, name, file));
                    });
        } catch (IOException | UncheckedIOException e) {
            throw new IllegalArgumentException(
                    folder + " cannot be listed (" + e.getMessage() + "); check its permissions", e);
        }
        if (found.isEmpty()) {
            throw new IllegalArgumentException(
                    folder + " holds no video, at any depth; put videos (such as .mp4 or .mkv) there");
        }
        return List.copyOf(found);
    }

    private static boolean hidden(Path relative) {
        for (Path part : relative) {
            if (part.toString().startsWith(".")) {
                return true;
            }
        }
        return false;
    }

    /**
     * Writes the clips of videos that are not there yet.
     *
     * @param out made where it is not there
     * @param progress told after each video how many are done
     * @param notes told at the end, in one line each, how many videos were too short or broken
     * @return the number of clips, old and new
     * @throws IllegalArgumentException if the folder holds clips that were cut otherwise, or a video is broken and not left out
     */
    public int run(List<Source> videos, Path out, IntConsumer progress, Consumer<String> notes) {
        try {
            claim(out);
            removeOthers(videos, out);
            List<Path> tooShort = new ArrayList<>();
            List<VideoException> broken = new ArrayList<>();
            int clips = 0;
            for (int i = 0; i < videos.size(); i++) {
                Source source = videos.get(i);
                try {
                    int found = clips(source, out);
                    clips += found;
                    if (found == 0) {
                        tooShort.add(source.video());
                    }
                } catch (VideoException e) {
                    if (!skipBroken) {
                        throw e;
                    }
                    remove(source.label(), source.name(), out);
                    broken.add(e);
                }
                progress.accept(i + 1);
            }
            if (!tooShort.isEmpty()) {
                notes.accept(tooShort.size() + " of " + videos.size() + " videos are shorter than a clip of "
                        + cut.clipSeconds() + " s and left out, such as " + tooShort.getFirst());
            }
            if (!broken.isEmpty()) {
                notes.accept(broken.size() + " of " + videos.size() + " videos are left out: "
                        + broken.getFirst().getMessage());
            }
            return clips;
        } catch (IOException e) {
            throw new UncheckedIOException("extraction: the folder " + out + " cannot be used", e);
        }
    }

    /** Makes the folder one of clips that are cut so. */
    private void claim(Path out) throws IOException {
        Files.createDirectories(out);
        Path file = out.resolve("cut.txt");
        String own = cut + " " + modalities.stream().sorted().map(Modality::id).collect(Collectors.joining(","));
        if (Files.exists(file)) {
            String before = Files.readString(file).strip();
            if (!before.equals(own)) {
                throw new IllegalArgumentException(out + " holds clips that were cut otherwise (" + before + ", now "
                        + own + "); use another folder, or delete this one to start again");
            }
        } else {
            write(file, own);
        }
    }

    /** Removes what is there of videos that are not given any more. */
    private void removeOthers(List<Source> videos, Path out) throws IOException {
        Set<Path> wanted = videos.stream().map(source -> done(source, out)).collect(Collectors.toSet());
        if (Files.isDirectory(out.resolve(DONE))) {
            for (Path label : ClipFolder.list(out.resolve(DONE), Files::isDirectory)) {
                for (Path file : ClipFolder.list(label, file -> !wanted.contains(file))) {
                    remove(label.getFileName().toString(), file.getFileName().toString(), out);
                    Files.delete(file);
                }
            }
        }
    }

    private static Path done(Source source, Path out) {
        return out.resolve(DONE).resolve(source.label()).resolve(source.name());
    }

    /** Removes a video's clips from number 0 on. */
    private void remove(String label, String name, Path out) throws IOException {
        for (Modality modality : modalities) {
            int number = 0;
            while (Files.deleteIfExists(array(modality, label, name, number, out))) {
                number++;
            }
        }
    }

    private static Path array(Modality modality, String label, String name, int number, Path out) {
        return out.resolve(modality.id()).resolve(label).resolve("%s-%05d%s".formatted(name, number, NPY));
    }

    /** The number of a video's clips, which are there afterwards. */
    private int clips(Source source, Path out) throws IOException {
        Path done = done(source, out);
        String state = Files.size(source.video()) + " "
                + Files.getLastModifiedTime(source.video()).toMillis() + " ";
        if (Files.exists(done)) {
            String before = Files.readString(done).strip();
            if (before.startsWith(state)) {
                return Integer.parseInt(before.substring(state.length()));
            }
            Files.delete(done);
        }
        // Of an interrupted call, or of the video before it was changed.
        remove(source.label(), source.name(), out);
        Files.createDirectories(done.getParent());
        for (Modality modality : modalities) {
            Files.createDirectories(out.resolve(modality.id()).resolve(source.label()));
        }
        int[] written = {0};
        boolean[] tooShort = {isTooShort(source.video())};
        if (!tooShort[0]) {
            try (Stream<VideoClip> cuts = Video.clips(source.video(), cut, note -> tooShort[0] = true)) {
                cuts.forEach(clip -> {
                    if (!tooShort[0]) {
                        write(clip, source, written[0]++, out);
                    }
                });
            }
        }
        write(done, state + written[0]);
        return written[0];
    }

    /** Whether a video's headers say that it has no clip; FFmpeg may give no frame at all of a video that is much too short. */
    private boolean isTooShort(Path video) {
        if (cut.clipSeconds() == 0) {
            return false;
        }
        OptionalLong frames = VideoReader.probe(video).framesAt(cut.frames() / cut.clipSeconds());
        return frames.isPresent() && frames.getAsLong() < cut.frames();
    }

    private void write(VideoClip clip, Source source, int number, Path out) {
        int frames = clip.frames();
        if (modalities.contains(Modality.RGB)) {
            Npy.write(
                    array(Modality.RGB, source.label(), source.name(), number, out),
                    ArrayData.of("rgb", clip.pixels(), frames, clip.height(), clip.width(), 3));
        }
        if (modalities.contains(Modality.FLOW)) {
            Npy.write(
                    array(Modality.FLOW, source.label(), source.name(), number, out),
                    ArrayData.of("flow", OpticalFlow.dis().of(clip), frames, clip.height(), clip.width(), 2));
        }
    }

    private static void write(Path file, String text) {
        AtomicFile.write(file, stream -> stream.write((text + "\n").getBytes(StandardCharsets.UTF_8)));
    }
}
