package tessera.distill.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.distill.video.ClipCut;
import tessera.distill.video.DecodeOptions;
import tessera.distill.video.PictureFolder;
import tessera.distill.video.Video;
import tessera.distill.video.VideoInfo;
import tessera.nn.audio.MelSpectrogram;
import tessera.tensor.Scope;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;
import tessera.tensor.io.StoredType;

/** One modality of one clip in a file or folder. What is wrong with it is an {@link IllegalArgumentException} of one line. */
sealed interface Recording {
    /** The file or folder. */
    Path path();

    /** Frames that it holds, of which some are chosen; 0 where the recording has no frames of its own, or exactly those of clips. */
    int frames();

    /**
     * The samples of chosen frames, in the type that the layout gives.
     *
     * @param chosen numbers of frames, ascending
     * @param of how many frames the clip has
     */
    MemorySegment read(Geometry geometry, long[] chosen, int of);

    /**
     * How much there is to choose from; of what has no pictures of its own size, as much as clips have.
     *
     * @param geometry of clips
     */
    default Extent extent(Geometry geometry) {
        return Extent.of(geometry);
    }

    /** An array of exactly the frames of a clip. */
    record Array(Path path, SampleLayout.Values values) implements Recording {
        @Override
        public int frames() {
            return 0;
        }

        @Override
        public MemorySegment read(Geometry geometry, long[] chosen, int of) {
            try (Arena arena = Arena.ofConfined()) {
                if (values == SampleLayout.Values.BYTE) {
                    return MemorySegment.ofArray(Npy.read(path, arena).data().toArray(ValueLayout.JAVA_BYTE));
                }
                float[] numbers = floats(Npy.read(path, arena));
                for (float value : numbers) {
                    if (!values.allows(value)) {
                        throw new IllegalArgumentException(path + " holds " + value + " but "
                                + (values == SampleLayout.Values.SHARE
                                        ? "heat maps lie in [0, 1]; scale them"
                                        : "numbers must be finite; write 0 where one is unknown"));
                    }
                }
                return MemorySegment.ofArray(numbers);
            }
        }
    }

    /** The numbers of an array of floats of any width. */
    static float[] floats(ArrayData array) {
        if (array.type() != StoredType.F64) {
            return array.floats();
        }
        double[] wide = array.doubles();
        float[] numbers = new float[wide.length];
        for (int i = 0; i < wide.length; i++) {
            numbers[i] = (float) wide[i];
        }
        return numbers;
    }

    /**
     * A video, whose frames are spread over all of it.
     *
     * @param info what measuring it found, or null before that
     */
    record Film(Path path, @Nullable VideoInfo info) implements Recording {
        public Film(Path path) {
            this(path, null);
        }

        /** The same with what measuring it finds. */
        Film measured() {
            return new Film(path, Video.measure(path));
        }

        @Override
        public int frames() {
            return 0;
        }

        @Override
        public MemorySegment read(Geometry geometry, long[] chosen, int of) {
            ClipCut whole = ClipCut.whole(geometry.frames(), geometry.size(), geometry.width());
            return MemorySegment.ofArray(Video.cut(path, whole).getFirst().pixels());
        }

        private VideoInfo known() {
            return info == null ? Video.measure(path) : info;
        }

        @Override
        public Extent extent(Geometry geometry) {
            VideoInfo known = known();
            return new Extent(
                    (int) Math.min(Integer.MAX_VALUE, known.frames().orElse(1)), known.height(), known.width());
        }

        /** Decodes what a view of its extent shows, and nothing before or behind it. */
        void show(View view, MemorySegment to) {
            int wide = (int) Math.round(view.seen().width() / view.width());
            int high = (int) Math.round(view.seen().size() / view.height());
            DecodeOptions options = DecodeOptions.NATIVE
                    .withSize(wide, high)
                    .withFrameRate(known().frameRate().orElse(0));
            long[] numbers =
                    view.frames().stream().mapToLong(Integer::longValue).toArray();
            byte[] pixels = Video.sample(path, options, numbers).pixels();
            view.ofItsFrames().show(Modality.RGB, high, wide, MemorySegment.ofArray(pixels), to);
        }
    }

    /** A folder of pictures, each resized as a whole. */
    record Frames(PictureFolder pictures) implements Recording {
        @Override
        public Path path() {
            return pictures.folder();
        }

        @Override
        public int frames() {
            return pictures.size();
        }

        @Override
        public MemorySegment read(Geometry geometry, long[] chosen, int of) {
            int length = geometry.frameLength(Modality.RGB);
            byte[] pixels = new byte[Math.multiplyExact(chosen.length, length)];
            for (int k = 0; k < chosen.length; k++) {
                float[] frame = resized(pictures.colours((int) chosen[k]), 3, geometry);
                for (int i = 0; i < length; i++) {
                    pixels[k * length + i] = (byte) Math.clamp(Math.round(frame[i]), 0, 255);
                }
            }
            return MemorySegment.ofArray(pixels);
        }

        @Override
        public Extent extent(Geometry geometry) {
            PictureFolder.Picture first = pictures.colours(0);
            return new Extent(pictures.size(), first.height(), first.width());
        }

        /** Decodes what a view of its extent shows. */
        void show(View view, MemorySegment to) {
            for (int t = 0; t < view.frames().size(); t++) {
                PictureFolder.Picture picture = pictures.colours(view.frames().get(t));
                view.showFrame(Modality.RGB, picture.values(), picture.height(), picture.width(), t, to);
            }
        }
    }

    /**
     * Two folders of pictures of 8 bits, {@code u} to the right and {@code v} down: level 0 is a motion of {@code -bound} pixels of
     * the picture, 255 of {@code bound}. One pair fewer than frames is the motion from each to the next; the last one then stands
     * for the last frame too.
     */
    record FlowPairs(Path path, PictureFolder right, PictureFolder down, double bound) implements Recording {
        public FlowPairs {
            if (right.size() != down.size()) {
                throw new IllegalArgumentException(right.folder() + " holds " + right.size() + " pictures but "
                        + down.folder() + " " + down.size() + "; extract the clip's flow again, or remove the clip");
            }
        }

        @Override
        public int frames() {
            return right.size();
        }

        @Override
        public MemorySegment read(Geometry geometry, long[] chosen, int of) {
            int area = geometry.size() * geometry.width();
            float[] flow = new float[Math.multiplyExact(chosen.length, 2 * area)];
            for (int k = 0; k < chosen.length; k++) {
                int frame = (int) Math.min(chosen[k], frames() - 1);
                PictureFolder.Picture u = right.levels(frame);
                PictureFolder.Picture v = down.levels(frame);
                float[] across = resized(u, 1, geometry);
                float[] along = resized(v, 1, geometry);
                // Motion is in pixels of what is kept.
                double wider = (double) geometry.width() / u.width();
                double higher = (double) geometry.size() / v.height();
                for (int i = 0; i < area; i++) {
                    flow[2 * (k * area + i)] = (float) (wider * bound * (across[i] / 127.5 - 1));
                    flow[2 * (k * area + i) + 1] = (float) (higher * bound * (along[i] / 127.5 - 1));
                }
            }
            return MemorySegment.ofArray(flow);
        }
    }

    /** Boxes of every frame. */
    record BoxList(Path path, List<float[]> boxes) implements Recording {
        @Override
        public int frames() {
            return boxes.size();
        }

        @Override
        public MemorySegment read(Geometry geometry, long[] chosen, int of) {
            int length = geometry.frameLength(Modality.BOXES);
            float[] numbers = new float[chosen.length * length];
            for (int k = 0; k < chosen.length; k++) {
                System.arraycopy(boxes.get((int) chosen[k]), 0, numbers, k * length, length);
            }
            return MemorySegment.ofArray(numbers);
        }
    }

    /** Sound that lasts as long as the clip: frame i of n is in the middle of its n-th part. */
    record Sound(Path path) implements Recording {
        @Override
        public int frames() {
            return 0;
        }

        @Override
        public MemorySegment read(Geometry geometry, long[] chosen, int of) {
            WavFile sound = WavFile.read(path);
            double seconds = (double) sound.samples().length / sound.rate();
            double[] middles = new double[chosen.length];
            for (int k = 0; k < middles.length; k++) {
                middles[k] = (chosen[k] + .5) / of * seconds;
            }
            try (Scope scope = Scope.open()) {
                return MemorySegment.ofArray(new MelSpectrogram(geometry.rows(Modality.AUDIO))
                        .images(sound.samples(), sound.rate(), middles)
                        .toFloats());
            } catch (IllegalArgumentException e) {
                throw new IllegalArgumentException(path + ": " + e.getMessage(), e);
            }
        }
    }

    private static float[] resized(PictureFolder.Picture picture, int channels, Geometry geometry) {
        return Resampling.apply(
                picture.values(),
                picture.width(),
                channels,
                Resampling.whole(picture.height(), geometry.size()),
                Resampling.whole(picture.width(), geometry.width()));
    }
}
