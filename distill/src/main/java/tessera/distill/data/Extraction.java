package tessera.distill.data;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import tessera.distill.data.annotation.Segment;
import tessera.distill.video.ClipCut;
import tessera.distill.video.ClipFolder;
import tessera.distill.video.DecodeOptions;
import tessera.distill.video.OpticalFlow;
import tessera.tensor.io.AtomicFile;
import tessera.tensor.io.FolderLock;
import tessera.tensor.io.WriteFailure;

/**
 * Makes training data of recordings: cuts them into clips and writes these in the layout of {@link ModalityFolders}: {@code
 * OUT/<modality>/<label>/<name>-<number>.npy} (and {@code .wav} of sound), with the same names below every modality.
 *
 * <p>A clip of each thread is in memory at a time. Every file appears complete or not at all, and one below {@code OUT/done} tells that
 * all clips of a source are there; so a later call makes what an interrupted one left, makes anew what has changed, whether the recording,
 * what was computed of it before or which part is cut, and removes the clips of sources that are no longer given. What comes out does not depend on threads. A second call at a time in one folder is refused.
 *
 * @param cut how recordings are cut, and how large clips are; marked parts are cut too, or with 0 seconds are a clip each. A whole video
 *     that is shorter than a clip gives none, a marked part gives one
 * @param aspect whether pictures are squashed to the size of clips, or their middle is taken: of pictures, flow and heat maps. Boxes stay in
 *     coordinates of the whole picture
 * @param modalities of RGB, flow, pose, boxes and audio one or more. Flow is computed unless it is given, sound is that of the video
 * @param given folders of what was computed before, laid out as that of the recordings: {@code FLOW} with an array [H, W, 2] for each
 *     frame, {@code POSE} with heat maps [h, w, 21] for each frame or joints as JSON, {@code BOXES} with JSON
 * @param rate frames in a second of frame folders, counting those that are there, and of frame numbers whose annotations do not tell it;
 *     0 if unknown: folders have {@link DecodeOptions#PICTURE_RATE} then, which is told
 * @param skipBroken whether recordings or parts that cannot be read are left out, and their number told; if not, the first is refused
 * @param mostBroken share of the sources that may be left out; more are refused
 * @param threads that work at the same time, on several recordings or the clips of one
 */
public record Extraction(
        ClipCut cut,
        Aspect aspect,
        Set<Modality> modalities,
        Map<Modality, Path> given,
        double rate,
        boolean skipBroken,
        double mostBroken,
        int threads) {
    private static final Pattern ENTRY = Pattern.compile("([A-Za-z]+)=([^,\\]]*?)(?=, |\\]| [a-z]+=|$)");
    private static final String NOTHING = "not given";
    private static final String DONE = "done";
    private static final Set<Modality> POSSIBLE =
            Set.of(Modality.RGB, Modality.FLOW, Modality.POSE, Modality.BOXES, Modality.AUDIO);

    /** So many parts of one recording are made by one thread after the other: what belongs to the recording is read once. */
    private static final int PARTS_TOGETHER = 16;

    private static final int NAMED = 3;

    /**
     * A recording, or a part of it, with what its clips are called.
     *
     * @param label name of the folder of its clips
     * @param name begins the names of its clips, and is no other source's of this label
     * @param video a video, or a folder of numbered pictures
     * @param key where it lies below the folder of recordings, parted by slashes and without an extension: so what was computed of it
     *     is found
     * @param segment what of it is cut
     * @param origin where that is told, for messages, or empty
     */
    public record Source(String label, String name, Path video, String key, Segment segment, String origin) {
        /** What is wrong with it, behind where it is told. */
        private IllegalArgumentException wrong(IllegalArgumentException why) {
            return origin.isEmpty() ? why : new IllegalArgumentException(origin + ": " + why.getMessage(), why);
        }
    }

    public Extraction {
        modalities = Set.copyOf(modalities);
        given = Map.copyOf(given);
        if (modalities.isEmpty() || !POSSIBLE.containsAll(modalities)) {
            throw new IllegalArgumentException("extraction: of videos " + new TreeSet<>(modalities)
                    + " is asked for; they give " + new TreeSet<>(POSSIBLE));
        }
        for (Modality modality : new TreeSet<>(given.keySet())) {
            if (!Beside.KINDS.contains(modality) || !modalities.contains(modality)) {
                throw new IllegalArgumentException("extraction: " + modality + " is given; what is asked for of "
                        + new TreeSet<>(Beside.KINDS) + " can be");
            }
        }
        for (Modality modality : List.of(Modality.POSE, Modality.BOXES)) {
            if (modalities.contains(modality) && !given.containsKey(modality)) {
                throw new IllegalArgumentException(
                        "extraction: " + modality + " is not found in videos; give the folder of a detector's");
            }
        }
        boolean computed = modalities.contains(Modality.FLOW) && !given.containsKey(Modality.FLOW);
        if (computed
                && (cut.frames() < 2 || cut.height() < OpticalFlow.SMALLEST || cut.width() < OpticalFlow.SMALLEST)) {
            throw new IllegalArgumentException("extraction: flow of clips of " + cut.frames() + " frames of "
                    + cut.height() + " x " + cut.width() + " pixels; ask for 2 or more of at least "
                    + OpticalFlow.SMALLEST + " x " + OpticalFlow.SMALLEST);
        }
        if (!(rate >= 0 && rate <= 1000) || !(mostBroken >= 0 && mostBroken <= 1) || threads < 1) {
            throw new IllegalArgumentException("extraction: " + rate + " frames a second, " + mostBroken
                    + " of the videos broken at most, " + threads
                    + " threads; pass 0 to 1000, a share of 0 to 1, and 1 or more");
        }
    }

    /** Pictures are squashed. */
    public Extraction(
            ClipCut cut,
            Set<Modality> modalities,
            Map<Modality, Path> given,
            double rate,
            boolean skipBroken,
            double mostBroken,
            int threads) {
        this(cut, Aspect.SQUASH, modalities, given, rate, skipBroken, mostBroken, threads);
    }

    /** RGB and flow that is computed, a thread for each processor, and as many broken videos as there are. */
    public Extraction(ClipCut cut, Set<Modality> modalities, boolean skipBroken) {
        this(cut, modalities, Map.of(), 0, skipBroken, 1, Runtime.getRuntime().availableProcessors());
    }

    /**
     * Writes the clips of sources that are not there yet.
     *
     * @param out made where it is not there
     * @param progress told after each source how many are done
     * @param notes told at the end, in one line each, how many sources had changed or are no longer given, how many videos were too short or
     *     broken, and how many frames are missing
     * @return the number of clips, old and new
     * @throws IllegalArgumentException if another run writes into the folder, it holds clips that were cut otherwise, or a source is broken and not left out, or
     *     more are than may be
     */
    public int run(List<Source> sources, Path out, IntConsumer progress, Consumer<String> notes) {
        try (FolderLock held = FolderLock.hold(out)) {
            claim(out);
            int removed = removeOthers(sources, out);
            Outcome outcome = new Outcome(sources);
            Footage.Gaps gaps = new Footage.Gaps();
            AtomicInteger done = new AtomicInteger();
            try (JobPool pool = new JobPool(threads)) {
                pool.each(jobs(sources), job -> {
                    ClipMaker maker = new ClipMaker(this, out, gaps, pool);
                    for (int i : job) {
                        if (!outcome.isHopeless()) {
                            outcome.make(i, maker, out);
                            progress.accept(done.incrementAndGet());
                        }
                    }
                });
            }
            outcome.refuse();
            removeEmptyFolders(out);
            if (removed > 0) {
                notes.accept("the clips of " + removed + (removed == 1 ? " source" : " sources")
                        + " that are no longer given were removed");
            }
            outcome.tell(notes);
            gaps.tell(notes);
            return outcome.total();
        } catch (IOException e) {
            throw WriteFailure.of(out, e);
        }
    }

    /** What came of each source; for several threads. */
    private final class Outcome {
        private final List<Source> sources;
        private final int[] clips;
        private final SortedMap<Integer, IllegalArgumentException> broken = new TreeMap<>();
        private final SortedSet<Integer> changed = new TreeSet<>();

        Outcome(List<Source> sources) {
            this.sources = sources;
            this.clips = new int[sources.size()];
        }

        void make(int i, ClipMaker maker, Path out) {
            Source source = sources.get(i);
            try {
                try {
                    clips[i] = Extraction.this.clips(source, maker, out, () -> changed(i));
                } catch (IllegalArgumentException e) {
                    remove(source.label(), source.name(), out);
                    broken(i, source.wrong(e));
                }
            } catch (IOException e) {
                throw WriteFailure.of(out, e);
            }
        }

        private synchronized void changed(int source) {
            changed.add(source);
        }

        private synchronized void broken(int source, IllegalArgumentException why) {
            broken.put(source, why);
        }

        /** Whether nothing that could still be made helps. */
        synchronized boolean isHopeless() {
            return !broken.isEmpty() && (!skipBroken || broken.size() > mostBroken * sources.size());
        }

        synchronized void refuse() {
            if (!isHopeless()) {
                return;
            }
            IllegalArgumentException first = broken.firstEntry().getValue();
            if (!skipBroken) {
                throw first;
            }
            throw new IllegalArgumentException(
                    broken.size() + " of " + sources.size() + " " + kind() + " are broken, more than the share of "
                            + mostBroken + " that may be left out; the first: " + first.getMessage(),
                    first);
        }

        private String kind() {
            boolean whole = sources.stream().allMatch(source -> source.segment().equals(Segment.WHOLE));
            return whole ? "videos" : "parts of videos";
        }

        synchronized void tell(Consumer<String> notes) {
            List<Path> tooShort = new ArrayList<>();
            for (int i = 0; i < clips.length; i++) {
                if (clips[i] == 0 && !broken.containsKey(i)) {
                    tooShort.add(sources.get(i).video());
                }
            }
            if (!changed.isEmpty()) {
                notes.accept(changed.size() + " of " + sources.size() + " " + kind()
                        + " have changed, or what lies beside them, and their clips were made anew, such as "
                        + sources.get(changed.first()).video());
            }
            if (!tooShort.isEmpty()) {
                notes.accept(tooShort.size() + " of " + sources.size() + " " + kind() + " are shorter than a clip of "
                        + cut.clipSeconds() + " s and left out, such as " + tooShort.getFirst());
            }
            if (!broken.isEmpty()) {
                String others = broken.keySet().stream()
                        .skip(1)
                        .limit(NAMED - 1L)
                        .map(i -> sources.get(i).video().toString())
                        .distinct()
                        .collect(Collectors.joining(", "));
                notes.accept(broken.size() + " of " + sources.size() + " " + kind() + " are left out: "
                        + broken.firstEntry().getValue().getMessage()
                        + (others.isEmpty() ? "" : " (and " + others + (broken.size() > NAMED ? ", ..." : "") + ")"));
            }
        }

        int total() {
            int sum = 0;
            for (int count : clips) {
                sum += count;
            }
            return sum;
        }
    }

    /** Parts of one recording lie together. */
    private static List<List<Integer>> jobs(List<Source> sources) {
        Map<Path, List<Integer>> byVideo = new LinkedHashMap<>();
        for (int i = 0; i < sources.size(); i++) {
            byVideo.computeIfAbsent(sources.get(i).video(), video -> new ArrayList<>())
                    .add(i);
        }
        List<List<Integer>> jobs = new ArrayList<>();
        for (List<Integer> parts : byVideo.values()) {
            for (int from = 0; from < parts.size(); from += PARTS_TOGETHER) {
                jobs.add(parts.subList(from, Math.min(parts.size(), from + PARTS_TOGETHER)));
            }
        }
        return jobs;
    }

    /** Makes the folder one of clips that are cut so. */
    private void claim(Path out) throws IOException {
        Files.createDirectories(out);
        Path file = out.resolve(ClipFolder.EXTRACTED);
        String own = settings(cut) + " "
                + modalities.stream().sorted().map(Modality::id).collect(Collectors.joining(","));
        for (Map.Entry<Modality, Path> folder : new TreeMap<>(given).entrySet()) {
            own += " " + folder.getKey() + "="
                    + folder.getValue().toAbsolutePath().normalize();
        }
        own += rate == 0 ? "" : " fps=" + rate;
        own += aspect == Aspect.SQUASH ? "" : " aspect=keep";
        if (Files.exists(file)) {
            String before = Files.readString(file).strip();
            if (!before.equals(own)) {
                throw new IllegalArgumentException(out + " holds clips that were cut otherwise ("
                        + difference(before, own) + "); use another folder, or delete this one to start again");
            }
        } else {
            requireUnused(out);
            write(file, own);
        }
    }

    /** What lies there already would be trained on as a clip, or be lost; modalities from elsewhere may lie beside those that are cut. */
    private void requireUnused(Path out) {
        Set<String> others = Modality.KNOWN.stream()
                .filter(modality -> !modalities.contains(modality))
                .map(Modality::id)
                .collect(Collectors.toSet());
        List<Path> found = ClipFolder.list(out, entry -> !others.contains(String.valueOf(entry.getFileName())));
        if (!found.isEmpty()) {
            throw new IllegalArgumentException(
                    out + " holds other files, such as " + found.getFirst().getFileName()
                            + ", and no clips of an extraction; name a new or an empty folder");
        }
    }

    /** As folders of clips have kept it from the beginning. */
    private static String settings(ClipCut cut) {
        return "ClipCut[frames=" + cut.frames() + ", height=" + cut.height() + ", width=" + cut.width()
                + ", clipSeconds="
                + cut.clipSeconds() + ", strideSeconds=" + cut.strideSeconds() + ", from=" + cut.from() + ", to="
                + cut.to() + "]";
    }

    /** In what two lines of settings differ, in words such as {@code clip seconds 2.0, now 1.0}. */
    private static String difference(String before, String now) {
        Map<String, String> was = entries(before);
        Map<String, String> is = entries(now);
        Set<String> names = new LinkedHashSet<>(is.keySet());
        names.addAll(was.keySet());
        String differences = names.stream()
                .filter(name -> !was.getOrDefault(name, NOTHING).equals(is.getOrDefault(name, NOTHING)))
                .map(name -> name.replaceFirst("Seconds$", " seconds") + " " + was.getOrDefault(name, NOTHING)
                        + ", now " + is.getOrDefault(name, NOTHING))
                .collect(Collectors.joining("; "));
        return differences.isEmpty() ? "by settings that cannot be read" : differences;
    }

    private static Map<String, String> entries(String settings) {
        Map<String, String> entries = new LinkedHashMap<>();
        int end = settings.indexOf("] ");
        if (end >= 0) {
            String rest = settings.substring(end + 2);
            int blank = rest.indexOf(' ');
            entries.put("modalities", blank < 0 ? rest : rest.substring(0, blank));
        }
        Matcher entry = ENTRY.matcher(settings);
        while (entry.find()) {
            entries.put(entry.group(1), entry.group(2));
        }
        return entries;
    }

    /** Removes what is there of sources that are not given any more, and says of how many. */
    private int removeOthers(List<Source> sources, Path out) throws IOException {
        Set<Path> wanted = sources.stream().map(source -> done(source, out)).collect(Collectors.toSet());
        int removed = 0;
        if (Files.isDirectory(out.resolve(DONE))) {
            for (Path label : ClipFolder.list(out.resolve(DONE), Files::isDirectory)) {
                for (Path file : ClipFolder.list(label, file -> !wanted.contains(file))) {
                    remove(label.getFileName().toString(), file.getFileName().toString(), out);
                    Files.delete(file);
                    removed++;
                }
            }
        }
        return removed;
    }

    /** A label's folder without a clip would be refused by who reads the clips. */
    private void removeEmptyFolders(Path out) throws IOException {
        for (Modality modality : modalities) {
            Path folder = out.resolve(modality.id());
            for (Path label :
                    Files.isDirectory(folder) ? ClipFolder.list(folder, Files::isDirectory) : List.<Path>of()) {
                try {
                    Files.delete(label);
                } catch (DirectoryNotEmptyException clips) {
                    // As it should be.
                }
            }
        }
    }

    private static Path done(Source source, Path out) {
        return out.resolve(DONE).resolve(source.label()).resolve(source.name());
    }

    /** Removes a source's clips: any of them may be missing, if an earlier call was killed while it made or removed them. */
    private void remove(String label, String name, Path out) throws IOException {
        Pattern own = Pattern.compile(Pattern.quote(name) + "-\\d{5,10}\\.(npy|wav)");
        for (Modality modality : modalities) {
            Path folder = out.resolve(modality.id()).resolve(label);
            if (Files.isDirectory(folder)) {
                for (Path clip : ClipFolder.list(
                        folder,
                        file -> own.matcher(String.valueOf(file.getFileName())).matches())) {
                    Files.deleteIfExists(clip);
                }
            }
        }
    }

    /** Where a clip lies. */
    Path file(Modality modality, String label, String name, int number, Path out) {
        String extension = modality.equals(Modality.AUDIO) ? ".wav" : ".npy";
        return out.resolve(modality.id())
                .resolve(label)
                .resolve(String.format(Locale.ROOT, "%s-%05d%s", name, number, extension));
    }

    /** The number of a source's clips, which are there afterwards. */
    private int clips(Source source, ClipMaker maker, Path out, Runnable changed) throws IOException {
        Path done = done(source, out);
        String state = state(source, maker);
        String before = Files.exists(done) ? Files.readString(done).strip() : "";
        if (before.startsWith(state + " ")) {
            String count = before.substring(state.length() + 1);
            if (count.matches("\\d{1,9}")) {
                return Integer.parseInt(count);
            }
        }
        // Clips of an interrupted call stay; those of the recording before it was changed do not.
        if (!before.equals(state)) {
            if (!before.isEmpty()) {
                changed.run();
            }
            remove(source.label(), source.name(), out);
            Files.createDirectories(done.getParent());
            write(done, state);
        }
        int count = maker.make(source);
        write(done, state + " " + count);
        return count;
    }

    /** What the clips of a source are made of, as far as a look tells. */
    private static String state(Source source, ClipMaker maker) throws IOException {
        if (!Files.exists(source.video())) {
            throw new IllegalArgumentException(
                    source.video() + " does not exist any more; put it back, or start again");
        }
        Segment segment = source.segment();
        return maker.state(source) + (segment.equals(Segment.WHOLE) ? "" : " " + segment);
    }

    private static void write(Path file, String text) {
        AtomicFile.write(file, stream -> stream.write((text + "\n").getBytes(StandardCharsets.UTF_8)));
    }
}
