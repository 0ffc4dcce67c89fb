package tessera.distill.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalLong;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.annotation.Segment;
import tessera.distill.video.ClipCut;
import tessera.distill.video.OpticalFlow;
import tessera.distill.video.SoundTrack;
import tessera.distill.video.Video;
import tessera.nn.audio.MelSpectrogram;
import tessera.nn.inference.FrameSampling;
import tessera.nn.inference.VideoClip;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;
import tessera.tensor.io.WriteFailure;

/**
 * Cuts recordings into clips and writes these. For one thread, which others help; what belongs to a recording is kept as long as it is
 * the same.
 */
final class ClipMaker {
    /** Bounds that are whole frames but for rounding count as these. */
    private static final double ROUNDING = 1e-6;

    private final Extraction settings;
    private final Path out;
    private final Footage.Gaps gaps;
    private final JobPool pool;
    private @Nullable Opened opened;
    private @Nullable State state;

    ClipMaker(Extraction settings, Path out, Footage.Gaps gaps, JobPool pool) {
        this.settings = settings;
        this.out = out;
        this.gaps = gaps;
        this.pool = pool;
    }

    /** @param middle how its pictures become those of clips */
    private record Opened(Path video, Footage footage, Beside beside, Aspect.Middle middle) {}

    private record State(Path video, String text) {}

    /**
     * A clip on its way.
     *
     * @param numbers of its frames
     * @param times of its frames in seconds from the recording's first, NaN where the rate is unknown
     * @param from where it begins, in seconds
     * @param seconds how long it lasts
     */
    private record Taken(VideoClip clip, long[] numbers, double[] times, double from, double seconds) {}

    /**
     * Writes the clips of a source that are not there yet.
     *
     * @return how many there are then
     * @throws IllegalArgumentException if the recording, or what lies beside it, is broken
     */
    int make(Extraction.Source source) {
        Opened all = open(source);
        Footage footage = all.footage;
        ClipCut cut = settings.cut();
        if (footage instanceof Footage.Film && source.segment().equals(Segment.WHOLE) && cut.clipSeconds() > 0) {
            return stream(source, all);
        }
        List<long[]> plan = plan(source.segment(), footage);
        try (JobPool.Parts parts = pool.new Parts()) {
            for (int i = 0; i < plan.size(); i++) {
                if (!isThere(source, i)) {
                    int number = i;
                    Taken taken = taken(plan.get(i), all);
                    parts.run(() -> write(source, number, taken, all));
                }
            }
        }
        return plan.size();
    }

    /** What the clips of a source's recording are made of, as far as a look tells; what it says changes with that. */
    String state(Extraction.Source source) throws IOException {
        State before = state;
        if (before == null || !before.video.equals(source.video())) {
            String text = Fingerprint.of(source.video()) + Beside.state(settings.given(), source.key(), source.video());
            before = new State(source.video(), text);
            state = before;
        }
        return before.text;
    }

    private Taken taken(long[] planned, Opened all) {
        Footage footage = all.footage;
        long[] numbers = Arrays.stream(planned).map(footage::shown).toArray();
        double[] times = new double[numbers.length];
        for (int k = 0; k < numbers.length; k++) {
            times[k] = footage.rate() > 0 ? (numbers[k] - footage.first()) / footage.rate() : Double.NaN;
        }
        double step = numbers.length > 1 ? (times[times.length - 1] - times[0]) / (times.length - 1) : 0;
        VideoClip clip = all.middle.of(footage.frames(numbers, all.middle.high(), all.middle.wide()));
        // Frames stand in the middle of equal parts.
        double from = Math.max(0, times[0] - step / 2);
        return new Taken(clip, numbers, times, from, step * times.length);
    }

    private Opened open(Extraction.Source source) {
        Opened before = opened;
        if (before != null && before.video.equals(source.video())) {
            return before;
        }
        Footage footage = Footage.open(source.video(), settings.rate(), gaps);
        ClipCut cut = settings.cut();
        Opened now = new Opened(
                source.video(),
                footage,
                new Beside(settings.given(), source.key(), footage, gaps),
                middle(footage, cut.height(), cut.width()));
        opened = now;
        return now;
    }

    private Aspect.Middle middle(Footage footage, int rows, int columns) {
        // Asking for the size of a folder's frames reads one of them.
        return settings.aspect() == Aspect.SQUASH
                ? new Aspect.Middle(rows, columns, rows, columns)
                : settings.aspect().of(footage.size(), rows, columns);
    }

    /** Clips one after the other as they are decoded, so that a recording of any length is read once. */
    private int stream(Extraction.Source source, Opened all) {
        ClipCut cut = settings.cut();
        Aspect.Middle middle = all.middle;
        ClipCut whole = new ClipCut(
                cut.frames(),
                middle.high(),
                middle.wide(),
                cut.clipSeconds(),
                cut.strideSeconds(),
                cut.from(),
                cut.to());
        double rate = cut.frames() / cut.clipSeconds();
        long stride = Math.max(1, Math.round(cut.strideSeconds() * rate));
        boolean[] tooShort = {isTooShort((Footage.Film) all.footage)};
        int[] made = {0};
        if (!tooShort[0]) {
            try (JobPool.Parts parts = pool.new Parts();
                    Stream<VideoClip> clips = Video.clips(source.video(), whole, note -> tooShort[0] = true)) {
                clips.forEach(clip -> {
                    if (!tooShort[0]) {
                        int number = made[0]++;
                        if (!isThere(source, number)) {
                            Taken taken = taken(middle.of(clip), number * stride, rate, all.footage);
                            parts.run(() -> write(source, number, taken, all));
                        }
                    }
                });
            }
        }
        return made[0];
    }

    private static Taken taken(VideoClip clip, long firstFrame, double rate, Footage footage) {
        long[] numbers = new long[clip.frames()];
        double[] times = new double[clip.frames()];
        for (int k = 0; k < times.length; k++) {
            times[k] = (firstFrame + k) / rate;
            numbers[k] = footage.first() + Math.round(times[k] * (footage.rate() > 0 ? footage.rate() : rate));
        }
        return new Taken(clip, numbers, times, times[0], clip.frames() / rate);
    }

    /** Whether a video's headers say that it has no clip; FFmpeg may give no frame at all of a video that is much too short. */
    private boolean isTooShort(Footage.Film film) {
        ClipCut cut = settings.cut();
        OptionalLong frames = film.info().framesAt(cut.frames() / cut.clipSeconds());
        return frames.isPresent() && frames.getAsLong() < cut.frames();
    }

    /** The numbers of each clip's frames. */
    private List<long[]> plan(Segment segment, Footage footage) {
        ClipCut cut = settings.cut();
        if (segment.step() > 0 && segment.frames() != null) {
            return List.of(every(segment, segment.frames().start(), footage));
        }
        double[] part = part(segment, footage);
        List<long[]> clips = new ArrayList<>();
        if (cut.clipSeconds() > 0) {
            double length = cut.clipSeconds() * requireRate(footage);
            double stride = cut.strideSeconds() * footage.rate();
            for (int i = 0; part[0] + i * stride + length <= part[1] + .5; i++) {
                double from = part[0] + i * stride;
                clips.add(spread(from, from + length, cut.frames()));
            }
        }
        // A part that somebody marked is a clip, however short; a whole folder of frames is not.
        if (clips.isEmpty() && (cut.clipSeconds() == 0 || !segment.equals(Segment.WHOLE))) {
            clips.add(spread(part[0], part[1], cut.frames()));
        }
        return clips;
    }

    private static long[] spread(double from, double to, int frames) {
        long first = (long) Math.floor(from + ROUNDING);
        return FrameSampling.uniform(first, Math.max(first + 1, Math.round(to)), frames);
    }

    /** Frames at a distance; a video with another rate than the numbers have is looked at at the same times. */
    private long[] every(Segment segment, double start, Footage footage) {
        boolean film = footage instanceof Footage.Film;
        double scale = film && segment.rate() > 0 ? requireRate(footage) / segment.rate() : 1;
        long[] numbers = new long[settings.cut().frames()];
        for (int k = 0; k < numbers.length; k++) {
            double number = Math.max(1, start + (double) k * segment.step());
            numbers[k] = film ? 1 + Math.round((number - 1) * scale) : Math.round(number);
        }
        return numbers;
    }

    /** The number of the first frame of a part, and that behind its last. */
    private double[] part(Segment segment, Footage footage) {
        Segment.Span frames = segment.frames();
        Segment.Span seconds = segment.seconds();
        boolean film = footage instanceof Footage.Film;
        if (frames != null && (!film || seconds == null)) {
            double counted = segment.rate() > 0 ? segment.rate() : settings.rate();
            if (!film || counted == 0) {
                return new double[] {Math.max((double) footage.first(), frames.start()), frames.end() + 1};
            }
            double scale = requireRate(footage) / counted;
            return new double[] {1 + Math.max(0, frames.start() - 1) * scale, 1 + frames.end() * scale};
        }
        if (seconds != null) {
            double rate = requireRate(footage);
            return new double[] {footage.first() + rate * seconds.start(), footage.first() + rate * seconds.end()};
        }
        return new double[] {footage.first(), footage.end()};
    }

    private double requireRate(Footage footage) {
        if (!(footage.rate() > 0)) {
            throw new IllegalArgumentException(footage.path()
                    + " does not tell its frames a second, which times need; convert it to another format");
        }
        if (footage instanceof Footage.Stills && settings.rate() == 0) {
            gaps.rateIsUnknown(footage.path());
        }
        return footage.rate();
    }

    private Path file(Modality modality, Extraction.Source source, int number) {
        return settings.file(modality, source.label(), source.name(), number, out);
    }

    private boolean isThere(Extraction.Source source, int number) {
        return settings.modalities().stream().allMatch(modality -> Files.exists(file(modality, source, number)));
    }

    private void write(Extraction.Source source, int number, Taken taken, Opened all) {
        VideoClip clip = taken.clip;
        int frames = clip.frames();
        for (Modality modality : settings.modalities().stream().sorted().toList()) {
            Path file = file(modality, source, number);
            try {
                Files.createDirectories(file.getParent());
            } catch (IOException e) {
                throw WriteFailure.of(file, e);
            }
            switch (modality.id()) {
                case "rgb" ->
                    Npy.write(file, ArrayData.of("rgb", clip.pixels(), frames, clip.height(), clip.width(), 3));
                case "flow" -> {
                    float[] flow = settings.given().containsKey(modality)
                            ? all.middle.of(
                                    all.beside.flow(taken.numbers, all.middle.high(), all.middle.wide()), frames, 2)
                            : OpticalFlow.dis().of(clip);
                    Npy.write(file, ArrayData.of("flow", flow, frames, clip.height(), clip.width(), 2));
                }
                case "pose" -> {
                    int rows = Math.max(4, clip.height() / 4);
                    int columns = Math.max(4, Math.round(clip.width() / 4f));
                    Aspect.Middle middle = middle(all.footage, rows, columns);
                    float[] maps = middle.of(
                            all.beside.pose(taken.numbers, taken.times, middle.high(), middle.wide()),
                            frames,
                            JointMaps.JOINTS);
                    Npy.write(file, ArrayData.of("pose", maps, frames, rows, columns, JointMaps.JOINTS));
                }
                case "boxes" ->
                    Npy.write(
                            file,
                            ArrayData.of(
                                    "boxes",
                                    all.beside.boxes(taken.numbers),
                                    frames,
                                    Boxes.PER_FRAME,
                                    1,
                                    Boxes.NUMBERS));
                default -> WavFile.write(file, MelSpectrogram.RATE, sound(taken, all.footage));
            }
        }
    }

    private static short[] sound(Taken taken, Footage footage) {
        if (!(footage instanceof Footage.Film)) {
            throw new IllegalArgumentException(
                    footage.path() + " is a folder of frames, which has no sound; leave it or the sound out");
        }
        double least = 1.0 / MelSpectrogram.RATE;
        return SoundTrack.read(footage.path(), taken.from, Math.max(least, taken.seconds), MelSpectrogram.RATE);
    }
}
