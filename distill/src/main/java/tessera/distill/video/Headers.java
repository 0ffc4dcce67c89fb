package tessera.distill.video;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.DoubleSummaryStatistics;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** What is known of a video without decoding it: what its headers claim, and from when to when its packets say there are pictures. */
final class Headers {
    private static final System.Logger LOG = System.getLogger(Headers.class.getName());

    /** Frames may have so many pixels, 192 MiB in RGB. */
    static final long MOST_PIXELS = 1 << 26;

    /** Formats in which FFmpeg draws any text as pictures, or follows references to other files. */
    private static final Set<String> NO_VIDEOS = Set.of("tty", "bin", "xbin", "adf", "idf", "hls", "concat", "dash");

    /** Packets at the beginning among which the first picture is, though they are stored in another order than shown. */
    private static final int FIRST_PACKETS = 16;

    /** Formats whose clock may begin again or jump midway, as where two recordings were joined; FFmpeg's decoder takes such jumps out. */
    private static final Set<String> JUMPING_CLOCKS = Set.of("mpegts", "mpeg", "ogg");

    /** So many packets of one time at the beginning do not come of rounding. */
    private static final int STANDING = 4;

    /** So small a share of the time that they should take does not count: some formats add a tick to each. */
    private static final double STILL = .01;

    private static final Pattern TIME =
            Pattern.compile("packets\\.packet\\.\\d+\\.pts_time=\"(-?\\d{1,15}(?:\\.\\d{1,12})?)\"");

    /** How programs write of many files at once. */
    private static final Pattern PATTERN = Pattern.compile("%\\d*d|[*?]");

    /** As a path has it, which keeps one of two slashes. */
    private static final Pattern ADDRESS = Pattern.compile("^[a-z][a-z0-9+]+:/", Pattern.CASE_INSENSITIVE);

    private static final Pattern FIELD =
            Pattern.compile("(?:format|streams\\.stream\\.(\\d{1,6}))\\.(?:.*\\.)?(\\w+)=(.*)");

    /** FFmpeg's word for tracks of pictures that are no cover. */
    private static final String PICTURES = "V";

    private static final String SOUND = "a";

    /** Width of a pixel over its height, or the other way. */
    private static final double WIDEST_PIXEL = 4;

    /** In a second. */
    private static final double MOST_FRAMES = 1000;

    /** What a look at each file found, and its track of sound. */
    private static final PerFile<Found> FOUND = new PerFile<>();

    private static final PerFile<String> SOUNDS = new PerFile<>();

    private Headers() {}

    /**
     * What a look at a file finds.
     *
     * @param format in FFmpeg's word
     * @param track whose pictures are taken, as FFmpeg is told of it
     * @param stands whether its first pictures all have one time, so that times tell nothing
     * @param width of a picture in the file's own pixels, turned as it is shown
     * @param height likewise
     */
    record Found(VideoInfo info, String format, String track, boolean stands, int width, int height) {
        /** Options for opening the file, behind a blank, or nothing. */
        String options() {
            return optionsOf(format);
        }
    }

    /** A broadcast may go on under other numbers midway; without this option it would seem to end there. */
    private static String optionsOf(String format) {
        return format.equals("mpegts") ? " -merge_pmt_versions 1" : "";
    }

    /**
     * When the first picture begins and the last one ends, in seconds of the file's own clock, which need not begin at 0.
     *
     * @param start of the first picture
     * @param end of the last picture; where the clock jumps, what it would be without
     * @param jumps whether the clock does, so that nothing can be sought by its time
     */
    record Span(double start, double end, boolean jumps) {
        /** Number of frames when the pictures are resampled to so many per second. */
        long framesAt(double rate) {
            return VideoInfo.frames(end - start, rate);
        }
    }

    /** See {@link VideoReader#probe}. */
    static Found read(Path file, DecodeOptions options) {
        requireReadable(file);
        if (Files.isDirectory(file)) {
            return pictures(file, options.pictureRate());
        }
        VideoException.animation(file).ifPresent(problem -> {
            throw new VideoException(file, problem, VideoException.CONVERT);
        });
        Duration silence = options.timeout();
        Map<String, String> container = new HashMap<>();
        String wanted =
                "codec_name,codec_tag_string,width,height,sample_aspect_ratio,avg_frame_rate,r_frame_rate,nb_frames,duration";
        List<Double> times = new ArrayList<>();
        Consumer<String> packets = line -> {
            Matcher time = TIME.matcher(line);
            if (time.matches()) {
                times.add(Double.valueOf(time.group(1)));
            }
        };
        SortedMap<Integer, Map<String, String>> tracks =
                tracks(file, PICTURES, wanted + ":packet=pts_time", silence, container, packets);
        int track = shown(tracks, "width");
        Map<String, String> fields = tracks.getOrDefault(track, Map.of());
        String format = container.getOrDefault("format_name", "");
        String remedy = "give a file with moving pictures";
        VideoException.require(!NO_VIDEOS.contains(format), file, "is a text or a play list, not a video", remedy);
        VideoException.require(fields.containsKey("width"), file, "holds no video stream", remedy);
        if ("unknown".equals(fields.get("codec_name"))) {
            throw VideoException.unknownKind(file, fields.getOrDefault("codec_tag_string", ""));
        }
        int width = (int) number(fields, "width").orElse(0);
        int height = (int) number(fields, "height").orElse(0);
        if (width <= 0 || height <= 0) {
            throw VideoException.undecodable(file, "its frame size cannot be found");
        }
        String large =
                "has frames of " + width + " x " + height + " pixels, more than the " + MOST_PIXELS + " that are read";
        VideoException.require((long) width * height <= MOST_PIXELS, file, large, "scale it down first");
        int shown = shownWidth(
                width,
                height,
                rate(fields.getOrDefault("sample_aspect_ratio", "").replace(':', '/')));
        boolean turned = isTurned(number(fields, "rotation").orElse(0));
        OptionalDouble frames = number(fields, "nb_frames");
        OptionalDouble streamDuration = number(fields, "duration");
        OptionalDouble rate = frameRate(fields);
        DoubleSummaryStatistics spread = times.stream().collect(Collectors.summarizingDouble(Double::valueOf));
        double expected = (times.size() - 1) / fastest(fields, rate.orElse(Double.POSITIVE_INFINITY));
        boolean stands = times.size() >= STANDING && spread.getMax() - spread.getMin() < STILL * expected;
        OptionalDouble duration = streamDuration.isPresent() ? streamDuration : number(container, "duration");
        VideoInfo info = new VideoInfo(
                file,
                turned ? height : shown,
                turned ? shown : height,
                rate,
                stands ? OptionalDouble.empty() : duration,
                frames.isPresent() ? OptionalLong.of((long) frames.getAsDouble()) : OptionalLong.empty());
        String name = PICTURES + ":" + track;
        if (FOUND.get(file).isEmpty() && Behind.isAnother(file, format)) {
            LOG.log(
                    System.Logger.Level.WARNING,
                    "{0}: holds several recordings one behind the other, of which only the first is shown; join them with a"
                            + " program for videos, not by their bytes",
                    file);
        }
        Found found = new Found(info, format, name, stands, turned ? height : width, turned ? width : height);
        FOUND.put(file, found);
        return found;
    }

    /** In square pixels: those of a file may be wider or narrower, as on DVDs. What no camera has is an error of the file. */
    private static int shownWidth(int width, int height, OptionalDouble aspect) {
        double wide = width * aspect.orElse(1);
        boolean sane = wide >= width / WIDEST_PIXEL && wide <= width * WIDEST_PIXEL && wide * height <= MOST_PIXELS;
        return sane ? Math.max(1, (int) Math.round(wide)) : width;
    }

    /** By a quarter, as FFmpeg takes it, which turns by other angles within the picture. */
    private static boolean isTurned(double degrees) {
        return Math.abs(Math.abs(degrees) % 180 - 90) < 1;
    }

    /** The rate on average, or a faster one by which times are counted: a clock that jumps makes the first as slow as it likes. */
    private static double fastest(Map<String, String> fields, double mean) {
        double counted = rate(fields.getOrDefault("r_frame_rate", "")).orElse(0);
        return counted <= MOST_FRAMES ? Math.max(mean, counted) : mean;
    }

    /** On average, where that can be; files that state nonsense may have a rate at which their times are counted. */
    private static OptionalDouble frameRate(Map<String, String> fields) {
        OptionalDouble mean = rate(fields.getOrDefault("avg_frame_rate", ""));
        OptionalDouble counted = rate(fields.getOrDefault("r_frame_rate", ""));
        return mean.orElse(0) > MOST_FRAMES && counted.isPresent() && counted.getAsDouble() <= MOST_FRAMES
                ? counted
                : mean;
    }

    /**
     * What a file says of its tracks of a kind, each by its number among these.
     *
     * @param container gets what it says of all
     * @param others gets the lines of its first packets, if these are wanted
     */
    private static SortedMap<Integer, Map<String, String>> tracks(
            Path file,
            String kind,
            String wanted,
            Duration silence,
            Map<String, String> container,
            Consumer<String> others) {
        SortedMap<Integer, Map<String, String>> tracks = new TreeMap<>();
        try (Child probe = FfmpegProgram.find()
                .probe(
                        "-v error -protocol_whitelist file -select_streams " + kind + " -read_intervals %+#"
                                + FIRST_PACKETS + " -of flat -i VIDEO -show_entries "
                                + "stream=" + wanted + ":stream_disposition=default"
                                + ":stream_side_data=rotation:format=duration,format_name",
                        file)) {
            Consumer<String> lines = line -> addField(container, tracks, line);
            if (!probe.listen(lines.andThen(others), silence)) {
                throw VideoException.silent(file, silence);
            }
            if (probe.exitValue() != 0) {
                throw VideoException.undecodable(file, probe.reason(file));
            }
        }
        return tracks;
    }

    /** Of several tracks the one that players take, which files mark as the default; the first where none has what is needed. */
    private static int shown(SortedMap<Integer, Map<String, String>> tracks, String needed) {
        List<Map.Entry<Integer, Map<String, String>>> usable = tracks.entrySet().stream()
                .filter(track -> number(track.getValue(), needed).isPresent())
                .toList();
        return usable.stream()
                .filter(track -> "1".equals(track.getValue().get("default")))
                .findFirst()
                .or(() -> usable.stream().findFirst())
                .map(Map.Entry::getKey)
                .orElse(0);
    }

    /** The track of sound that players play, as FFmpeg is told of it. */
    static String sound(Path file, DecodeOptions options) {
        Optional<String> known = SOUNDS.get(file);
        if (known.isPresent()) {
            return known.get();
        }
        String wanted = "sample_rate";
        String track = SOUND + ":"
                + shown(tracks(file, SOUND, wanted, options.timeout(), new HashMap<>(), line -> {}), wanted);
        SOUNDS.put(file, track);
        return track;
    }

    /** As {@link #read} of a file that may have been looked at before. */
    private static Found found(Path file, DecodeOptions options) {
        return FOUND.get(file).orElseGet(() -> read(file, options));
    }

    private static Found pictures(Path folder, double rate) {
        PictureFolder pictures = PictureFolder.openRecording(folder);
        PictureFolder.Picture first = pictures.colours(0);
        VideoInfo info = new VideoInfo(
                folder,
                first.width(),
                first.height(),
                OptionalDouble.of(rate),
                OptionalDouble.of(pictures.size() / rate),
                OptionalLong.of(pictures.size()));
        return new Found(info, "", PICTURES + ":0", false, first.width(), first.height());
    }

    private static void requireReadable(Path file) {
        boolean pattern = PATTERN.matcher(String.valueOf(file.getFileName())).find();
        boolean address = ADDRESS.matcher(file.toString()).find() && !Files.exists(file);
        VideoException.require(!address, file, "is an address in a network, not a file", "fetch the recording first");
        VideoException.require(
                Files.exists(file),
                file,
                "does not exist",
                pattern ? "of frames as pictures name the folder that holds them, not a pattern" : "check the path");
        boolean folder = Files.isDirectory(file);
        VideoException.require(
                !folder || PictureFolder.isOne(file),
                file,
                "is a folder, not a video",
                "name a file, or a folder that holds nothing but frames as numbered JPEG or PNG pictures");
        VideoException.require(
                folder || Files.isRegularFile(file), file, "is no ordinary file", "copy the video into a file");
        VideoException.require(Files.isReadable(file), file, "may not be read", "check its permissions");
    }

    /** From a line such as {@code streams.stream.0.width=640} or {@code format.duration="5.0"}; the first value wins. */
    private static void addField(Map<String, String> container, Map<Integer, Map<String, String>> tracks, String line) {
        Matcher field = FIELD.matcher(line);
        if (field.matches()) {
            Map<String, String> fields = field.group(1) == null
                    ? container
                    : tracks.computeIfAbsent(Integer.valueOf(field.group(1)), track -> new HashMap<>());
            fields.putIfAbsent(field.group(2), field.group(3).replace("\"", ""));
        }
    }

    /** A positive or negative number that the file states; zero and N/A stand for unknown. */
    private static OptionalDouble number(Map<String, String> fields, String name) {
        OptionalDouble value = number(fields.getOrDefault(name, ""));
        return value.isPresent() && value.getAsDouble() == 0 ? OptionalDouble.empty() : value;
    }

    private static OptionalDouble number(String text) {
        return text.matches("-?\\d{1,15}(\\.\\d{1,12})?")
                ? OptionalDouble.of(Double.parseDouble(text))
                : OptionalDouble.empty();
    }

    private static OptionalDouble rate(String fraction) {
        if (!fraction.matches("\\d{1,15}/\\d{1,15}")) {
            return OptionalDouble.empty();
        }
        int slash = fraction.indexOf('/');
        double rate =
                Double.parseDouble(fraction.substring(0, slash)) / Double.parseDouble(fraction.substring(slash + 1));
        return rate > 0 && Double.isFinite(rate) ? OptionalDouble.of(rate) : OptionalDouble.empty();
    }

    /**
     * From the packets at the beginning and, where the file lets itself be searched, those at the end; otherwise, and where the clock may
     * jump, from all. Other streams, which may be longer, and what headers claim count for nothing.
     *
     * @return empty where packets carry no time stamps, as in a bare stream, or all have one
     */
    static Optional<Span> span(Path file, DecodeOptions options) {
        if (Files.isDirectory(file)) {
            return Optional.of(new Span(0, PictureFolder.openRecording(file).size() / options.pictureRate(), false));
        }
        Duration silence = options.timeout();
        // Of these nothing can be sought.
        Found found = found(file, options);
        OptionalDouble rate = found.info.frameRate();
        double lasts = rate.isPresent() ? 1 / rate.getAsDouble() : 0;
        Packets packets = new Packets(TransportStream.isJoined(file) ? "mpegts" : "", lasts);
        if (found.stands) {
            return Optional.empty();
        }
        String track = found.track;
        boolean whole = packets.format.isEmpty()
                && packets(file, track, silence, "-read_intervals %+#" + FIRST_PACKETS + ",100000000%", packets);
        if (!whole || packets.count == FIRST_PACKETS || JUMPING_CLOCKS.contains(packets.format)) {
            packets = new Packets(packets.format, lasts);
            packets(file, track, silence, "", packets);
        }
        return packets.end() > packets.start
                ? Optional.of(new Span(packets.start, packets.end(), packets.jumps))
                : Optional.empty();
    }

    private static boolean packets(Path file, String track, Duration silence, String interval, Packets packets) {
        try (Child probe = FfmpegProgram.find()
                .probe(
                        "-v error -protocol_whitelist file" + optionsOf(packets.format)
                                + " -select_streams " + track + " -of csv=p=0 -i VIDEO -show_entries "
                                + ("packet=pts_time,dts_time,duration_time,flags:format=format_name " + interval)
                                        .strip(),
                        file)) {
            if (!probe.listen(packets::add, silence)) {
                throw VideoException.silent(file, silence);
            }
            return probe.exitValue() == 0;
        }
    }

    /** Of packets that are shown. */
    private static final class Packets {
        /** What FFmpeg takes for a jump forwards, and backwards, in seconds. */
        private static final double FORWARDS = 10;

        private static final double BACKWARDS = 0.1;

        private String format;
        private long count;
        private double start = Double.POSITIVE_INFINITY;
        private double end = Double.NEGATIVE_INFINITY;
        private boolean jumps;

        /** When the first packet is decoded and the last one ends. */
        private double firstDecoded = Double.POSITIVE_INFINITY;

        private double lastDecoded = Double.NEGATIVE_INFINITY;

        /** Whether some say only when they are decoded, as most in program streams and some in AVI. */
        private boolean untimed;

        /** What is added to the clock since it jumped. */
        private double offset;

        /** When the next packet should be decoded by the one before it; NaN before the first. */
        private double expected = Double.NaN;

        /** How long a picture lasts of which the file does not say it. */
        private final double lasting;

        /** @param format that the file is known to have, or an empty text */
        Packets(String format, double lasting) {
            this.format = format;
            this.lasting = lasting;
        }

        /**
         * From a line such as {@code 1.280000,1.240000,0.040000,K__}, with a D behind where the picture is decoded but not shown; or from the name
         * of the format.
         */
        private void add(String line) {
            if (!line.isEmpty() && (Character.isLowerCase(line.charAt(0)) || line.charAt(0) == '"')) {
                format = line;
                return;
            }
            String[] fields = line.split(",", -1);
            if (fields.length < 4) {
                return;
            }
            count++;
            double told = number(fields[2]).orElse(0);
            double lasts = told > 0 ? told : lasting;
            OptionalDouble decode = number(fields[1]);
            if (JUMPING_CLOCKS.contains(format)) {
                follow(decode, lasts);
            }
            OptionalDouble from = number(fields[0]);
            if (fields[3].contains("D")) {
                return;
            }
            if (from.isPresent()) {
                start = Math.min(start, from.getAsDouble() + offset);
                end = Math.max(end, from.getAsDouble() + offset + lasts);
            } else {
                untimed = true;
            }
            if (decode.isPresent()) {
                firstDecoded = Math.min(firstDecoded, decode.getAsDouble() + offset);
                lastDecoded = Math.max(lastDecoded, decode.getAsDouble() + offset + lasts);
            }
        }

        /** When the last picture ends: pictures are shown for as long as they are decoded. */
        private double end() {
            return untimed ? Math.max(end, start + (lastDecoded - firstDecoded)) : end;
        }

        private void follow(OptionalDouble decoded, double lasts) {
            if (decoded.isEmpty()) {
                return;
            }
            double late = decoded.getAsDouble() + offset - expected;
            if (late > FORWARDS || late < -BACKWARDS) {
                offset -= late;
                jumps = true;
            }
            expected = decoded.getAsDouble() + offset + lasts;
        }
    }
}
