package tessera.distill.data;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tessera.distill.video.DecodeOptions;
import tessera.distill.video.PictureFolder;
import tessera.distill.video.Video;
import tessera.distill.video.VideoInfo;
import tessera.distill.video.VideoReader;
import tessera.nn.inference.VideoClip;

/** The frames of one recording by their numbers. What is wrong with it is an {@link IllegalArgumentException} of one line. */
sealed interface Footage {
    /** The video, or the folder of pictures. */
    Path path();

    /** By how much frames' numbers rise in a second, 0 if unknown. */
    double rate();

    /** Number of the first frame. */
    long first();

    /** One more than the number of the last frame. */
    long end();

    /** Height and width of a frame as it is shown, in square pixels. */
    int[] size();

    /** Height and width of a frame in the pixels that detectors count. */
    default int[] stored() {
        return size();
    }

    /**
     * The frames with some numbers, each resized as a whole.
     *
     * @param numbers ascending, from {@link #first} on
     */
    VideoClip frames(long[] numbers, int height, int width);

    /** How many frames there are before the one with a number, if none is missing. */
    default long order(long number) {
        return number - first();
    }

    /** The number of the frame that is shown in the place of a number: itself, unless the recording was thinned out. */
    default long shown(long number) {
        return number;
    }

    /**
     * Opens a video or a folder of numbered pictures.
     *
     * @param rate pictures a second of a folder, or 0 for the usual
     */
    static Footage open(Path path, double rate, Gaps gaps) {
        if (!Files.isDirectory(path)) {
            return new Film(VideoReader.probe(path));
        }
        return new Stills(PictureFolder.numbered(path), rate > 0 ? rate : DecodeOptions.PICTURE_RATE, gaps);
    }

    /** What frame folders lack, for several threads: frames, which are counted, and who says how many there are in a second. */
    final class Gaps {
        private final AtomicLong frames = new AtomicLong();
        private final AtomicReference<@Nullable Path> first = new AtomicReference<>();
        private final AtomicReference<@Nullable Path> unknown = new AtomicReference<>();

        void add(Path missing) {
            frames.incrementAndGet();
            first.compareAndSet(null, missing);
        }

        /** A folder's frames a second are needed, and nobody said how many. */
        void rateIsUnknown(Path folder) {
            unknown.compareAndSet(null, folder);
        }

        /** Tells what was lacking, in a line each. */
        void tell(Consumer<String> notes) {
            if (unknown.get() != null) {
                notes.accept(String.format(
                        Locale.ROOT,
                        "folders of frames are taken to have %.0f in a second, such as %s; pass --fps where they have not",
                        DecodeOptions.PICTURE_RATE,
                        unknown.get()));
            }
            if (frames.get() > 0) {
                notes.accept((frames.get() == 1 ? "1 frame is" : frames + " frames are")
                        + " missing, and the one before is repeated; the first is " + first.get());
            }
        }
    }

    /** A video, whose frames are taken at its mean rate and numbered from 1. */
    record Film(VideoInfo info) implements Footage {
        @Override
        public Path path() {
            return info.file();
        }

        @Override
        public double rate() {
            OptionalDouble told = info.frameRate();
            return told.isPresent() ? Math.min(1000, told.getAsDouble()) : 0;
        }

        @Override
        public long first() {
            return 1;
        }

        @Override
        public long end() {
            return 1 + (rate() > 0 ? Video.count(path(), rate()) : Video.count(path(), DecodeOptions.NATIVE));
        }

        @Override
        public int[] size() {
            return new int[] {info.height(), info.width()};
        }

        @Override
        public int[] stored() {
            return VideoReader.storedSize(path());
        }

        @Override
        public VideoClip frames(long[] numbers, int height, int width) {
            long[] indices = numbers.clone();
            for (int k = 0; k < indices.length; k++) {
                indices[k]--;
            }
            DecodeOptions options = DecodeOptions.NATIVE.withSize(width, height).withFrameRate(rate());
            return Video.sample(path(), options, indices);
        }
    }

    /**
     * A folder of pictures, numbered as their files. A missing one is the one before it, as in MM-CDFSL, and counted; what was left out of a
     * recording that was thinned out does not count.
     */
    final class Stills implements Footage {
        private final PictureFolder pictures;
        private final double rate;
        private final Gaps gaps;

        /** @param rate pictures a second */
        Stills(PictureFolder pictures, double rate, Gaps gaps) {
            this.pictures = pictures;
            this.rate = rate;
            this.gaps = gaps;
        }

        @Override
        public Path path() {
            return pictures.folder();
        }

        @Override
        public double rate() {
            return rate * pictures.step();
        }

        @Override
        public long first() {
            return pictures.first();
        }

        @Override
        public long end() {
            return pictures.last() + pictures.step();
        }

        @Override
        public long order(long number) {
            return Math.floorDiv(number - first(), pictures.step());
        }

        @Override
        public long shown(long number) {
            return number < first() ? number : first() + order(number) * pictures.step();
        }

        @Override
        public int[] size() {
            PictureFolder.Picture picture = pictures.colours(0);
            return new int[] {picture.height(), picture.width()};
        }

        @Override
        public VideoClip frames(long[] numbers, int height, int width) {
            int length = 3 * height * width;
            byte[] pixels = new byte[Math.multiplyExact(numbers.length, length)];
            for (int k = 0; k < numbers.length; k++) {
                boolean again = k > 0 && numbers[k] == numbers[k - 1];
                Path file = again ? null : pictures.file(numbers[k]).orElse(null);
                if (file == null) {
                    if (k == 0) {
                        throw new IllegalArgumentException(pictures.name(numbers[k])
                                + " is missing and no frame of its clip comes before it; extract the frames again, or"
                                + " leave the clip out");
                    }
                    if (!again) {
                        gaps.add(pictures.name(numbers[k]));
                    }
                    System.arraycopy(pixels, (k - 1) * length, pixels, k * length, length);
                    continue;
                }
                PictureFolder.Picture picture = PictureFolder.colours(file);
                float[] resized = Resampling.apply(
                        picture.values(),
                        picture.width(),
                        3,
                        Resampling.whole(picture.height(), height),
                        Resampling.whole(picture.width(), width));
                for (int i = 0; i < length; i++) {
                    pixels[k * length + i] = (byte) Math.clamp(Math.round(resized[i]), 0, 255);
                }
            }
            return new VideoClip(numbers.length, height, width, pixels);
        }
    }
}
