package tessera.distill.video;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.File;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.NavigableMap;
import java.util.NavigableSet;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import tessera.nn.inference.Pictures;

/**
 * Numbered JPEG or PNG pictures of one size: the frames of a clip in the order of the last number in their names, which rises by
 * the same step from each to the next. A recording may lack some, in place of which the one before is repeated. What is wrong is an {@link
 * IllegalArgumentException} of one line. Immutable; pictures are read when they are asked for, by any number of threads.
 */
public final class PictureFolder {
    private static final int LOOKED_AT = 32;
    private static final Pattern PICTURE = Pattern.compile(".*\\.(?:jpg|jpeg|png)");
    private static final Pattern NUMBERED = Pattern.compile("^(?:.*\\D)?(\\d{1,18})\\D*\\.(?:jpg|jpeg|png)$");

    private static final Pattern LAST_NUMBER = Pattern.compile("^(|.*\\D)(\\d{1,18})(\\D*\\.\\w+)$");

    private final Path folder;
    private final List<Path> files;
    private final NavigableMap<Long, Path> byNumber;
    private final long step;

    private PictureFolder(Path folder, List<Path> files, NavigableMap<Long, Path> byNumber, long step) {
        this.folder = folder;
        this.files = files;
        this.byNumber = byNumber;
        this.step = step;
    }

    /** Whether a folder holds pictures and nothing else, as far as the names of its first files tell. */
    static boolean isOne(Path folder) {
        return holds(folder, PICTURE);
    }

    /** Whether a folder holds numbered pictures and nothing else, as far as the names of its first files tell. */
    public static boolean isRecording(Path folder) {
        return holds(folder, NUMBERED);
    }

    private static boolean holds(Path folder, Pattern names) {
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder)) {
            int seen = 0;
            for (Path entry : entries) {
                if (ClipFolder.isPassedOver(entry)) {
                    continue;
                }
                String name = String.valueOf(entry.getFileName()).toLowerCase(Locale.ROOT);
                if (!names.matcher(name).matches()) {
                    return false;
                }
                if (++seen == LOOKED_AT) {
                    break;
                }
            }
            return seen > 0;
        } catch (IOException | DirectoryIteratorException notListed) {
            return false;
        }
    }

    /**
     * Lists the folder of a clip that is trained on, of which nothing is made up.
     *
     * @throws IllegalArgumentException if it holds anything else, no picture, or lacks a number
     */
    public static PictureFolder open(Path folder) {
        NavigableMap<Long, Path> byNumber = byNumber(folder);
        long step = step(byNumber.navigableKeySet());
        List<Path> files = new ArrayList<>();
        long expected = byNumber.firstKey();
        for (Map.Entry<Long, Path> each : byNumber.entrySet()) {
            if (each.getKey() != expected) {
                throw lacks(folder, expected, files.getLast(), "; extract the clip again, or remove it");
            }
            files.add(each.getValue());
            expected = each.getKey() + step;
        }
        return new PictureFolder(folder, List.copyOf(files), byNumber, step);
    }

    /**
     * Lists the folder of a recording: a frame that is missing is the one before it.
     *
     * @throws IllegalArgumentException if it holds anything else, no picture, or lacks more frames than it has, or numbers do not rise
     *     by even steps
     */
    static PictureFolder openRecording(Path folder) {
        NavigableMap<Long, Path> byNumber = byNumber(folder);
        long step = step(byNumber.navigableKeySet());
        List<Path> files = new ArrayList<>();
        long expected = byNumber.firstKey();
        for (Map.Entry<Long, Path> each : byNumber.entrySet()) {
            long missing = (each.getKey() - expected) / step;
            boolean even = expected + missing * step == each.getKey();
            if (!even || files.size() + missing >= 2L * byNumber.size()) {
                String next = "; extract the frames again, or name a folder of one recording's frames alone";
                throw lacks(folder, expected, files.getLast(), (even ? ", and more of them than it has" : "") + next);
            }
            for (long k = 0; k < missing; k++) {
                files.add(files.getLast());
            }
            files.add(each.getValue());
            expected = each.getKey() + step;
        }
        return new PictureFolder(folder, List.copyOf(files), byNumber, step);
    }

    /**
     * Lists a folder whose frames are asked for by their numbers, of which any may be missing.
     *
     * @throws IllegalArgumentException if it holds anything else, or no picture
     */
    public static PictureFolder numbered(Path folder) {
        NavigableMap<Long, Path> byNumber = byNumber(folder);
        return new PictureFolder(folder, List.copyOf(byNumber.values()), byNumber, step(byNumber.navigableKeySet()));
    }

    private static NavigableMap<Long, Path> byNumber(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw new IllegalArgumentException(folder + (Files.exists(folder) ? " is no folder" : " does not exist")
                    + "; it holds a clip's frames as numbered JPEG or PNG files");
        }
        NavigableMap<Long, Path> byNumber = new TreeMap<>();
        for (Path file : ClipFolder.list(folder, file -> true)) {
            Matcher name = NUMBERED.matcher(String.valueOf(file.getFileName()).toLowerCase(Locale.ROOT));
            if (Files.isDirectory(file) || !name.matches()) {
                throw new IllegalArgumentException(file
                        + " is no numbered JPEG or PNG file; a folder of frames holds nothing else, so move it away");
            }
            Path other = byNumber.put(Long.parseLong(name.group(1)), file);
            if (other != null) {
                throw new IllegalArgumentException(other + " and " + file + " have the same number; keep one of them");
            }
        }
        if (byNumber.isEmpty()) {
            throw new IllegalArgumentException(folder + " holds no frames; put them there or remove the folder");
        }
        return byNumber;
    }

    /** By how much frames' numbers rise where none is missing, since recordings may be thinned out; 1 of fewer than two frames. */
    public static long step(NavigableSet<Long> numbers) {
        long step = numbers.size() < 2 ? 1 : Long.MAX_VALUE;
        long before = Long.MIN_VALUE;
        for (long number : numbers) {
            step = before == Long.MIN_VALUE ? step : Math.min(step, number - before);
            before = number;
        }
        return step;
    }

    private static IllegalArgumentException lacks(Path folder, long number, Path before, String rest) {
        return new IllegalArgumentException(
                folder + " lacks the frame " + number + " after " + folder.relativize(before) + rest);
    }

    /** The folder itself. */
    public Path folder() {
        return folder;
    }

    /** How many frames there are, those that are repeated too. */
    public int size() {
        return files.size();
    }

    /** How many of them repeat the one before because they are missing. */
    int missing() {
        return files.size() - byNumber.size();
    }

    /** Number of the first frame. */
    public long first() {
        return byNumber.firstKey();
    }

    /** Number of the last frame. */
    public long last() {
        return byNumber.lastKey();
    }

    /** By how much numbers rise from each frame to the next; more than 1 where a recording was thinned out. */
    public long step() {
        return step;
    }

    /** The frame with a number, if it is there. */
    public Optional<Path> file(long number) {
        return Optional.ofNullable(byNumber.get(number));
    }

    /** What the file of a number would be called, after those that are there. */
    public Path name(long number) {
        String pattern = String.valueOf(files.getFirst().getFileName());
        Matcher digits = LAST_NUMBER.matcher(pattern);
        if (!digits.matches()) {
            throw new IllegalStateException(pattern + " has no number");
        }
        String padded = String.format(Locale.ROOT, "%0" + digits.group(2).length() + "d", number);
        return folder.resolve(digits.group(1) + padded + digits.group(3));
    }

    /**
     * A picture.
     *
     * @param values {@code [height, width, 3]} where they are colours, or else {@code [height, width]}
     */
    public record Picture(int height, int width, float[] values) {}

    /**
     * A frame's colours, {@code [height, width, 3]} in [0, 255].
     *
     * @throws IllegalArgumentException if the file is broken
     */
    public Picture colours(int frame) {
        return colours(files.get(frame));
    }

    /** As {@link #colours(int)}, of a single file. */
    public static Picture colours(Path file) {
        BufferedImage image = decode(file);
        int height = image.getHeight();
        int width = image.getWidth();
        byte[] pixels = Pictures.pixels(image);
        float[] values = new float[pixels.length];
        for (int i = 0; i < pixels.length; i++) {
            values[i] = pixels[i] & 0xFF;
        }
        return new Picture(height, width, values);
    }

    /**
     * The first channel of a frame as it is stored, {@code [height, width]} in [0, 255], without any correction of its tones.
     *
     * @throws IllegalArgumentException if the file is broken or has not 8 bits
     */
    public Picture levels(int frame) {
        Path file = files.get(frame);
        BufferedImage image = decode(file);
        Raster raster = image.getRaster();
        if (image.getColorModel() instanceof IndexColorModel) {
            // Programs that make files small write few levels as a palette.
            Picture colours = colours(file);
            float[] levels = new float[colours.height() * colours.width()];
            for (int i = 0; i < levels.length; i++) {
                levels[i] = colours.values()[3 * i];
            }
            return new Picture(colours.height(), colours.width(), levels);
        }
        if (raster.getSampleModel().getSampleSize(0) != 8) {
            throw new IllegalArgumentException(
                    file + " has " + raster.getSampleModel().getSampleSize(0)
                            + " bits a number but must have 8; write it as 8 bit grey, or remove the clip");
        }
        float[] values = raster.getSamples(0, 0, raster.getWidth(), raster.getHeight(), 0, (float[]) null);
        return new Picture(raster.getHeight(), raster.getWidth(), values);
    }

    private static BufferedImage decode(Path file) {
        List<String> faults = new ArrayList<>();
        try (ImageInputStream in = ImageIO.createImageInputStream(new File(file.toString()))) {
            Iterator<ImageReader> readers =
                    in == null ? List.<ImageReader>of().iterator() : ImageIO.getImageReaders(in);
            if (!readers.hasNext()) {
                throw broken(file, "it is neither JPEG nor PNG");
            }
            ImageReader reader = readers.next();
            try {
                reader.setInput(in, true, true);
                // The decoder of JPEG fills what is missing with grey and only warns.
                reader.addIIOReadWarningListener((source, warning) -> {
                    if (warning.startsWith("Premature") || warning.startsWith("Corrupt")) {
                        faults.add(warning);
                    }
                });
                BufferedImage image = reader.read(0);
                if (!faults.isEmpty()) {
                    throw broken(file, faults.getFirst());
                }
                return image;
            } finally {
                reader.dispose();
            }
        } catch (IOException | IndexOutOfBoundsException e) {
            throw broken(file, String.valueOf(e.getMessage()));
        }
    }

    private static IllegalArgumentException broken(Path file, String why) {
        return new IllegalArgumentException(file + " cannot be read as a picture ("
                + why.lines().findFirst().orElse(why) + "); extract it again, or remove the clip");
    }
}
