package tessera.distill.video;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalLong;
import java.util.Set;
import java.util.regex.Pattern;

/** What is known of a video without decoding it: what its headers claim, and from when to when its packets say there are pictures. */
final class Headers {
    /** Frames may have so many pixels, 192 MiB in RGB. */
    static final long MOST_PIXELS = 1 << 26;

    /** Formats in which FFmpeg draws any text as pictures, or follows references to other files. */
    private static final Set<String> NO_VIDEOS = Set.of("tty", "bin", "xbin", "adf", "idf", "hls", "concat", "dash");

    /** Packets at the beginning among which the first picture is, though they are stored in another order than shown. */
    private static final int FIRST_PACKETS = 16;

    /** Formats whose clock may begin again or jump midway, as where two recordings were joined; FFmpeg's decoder takes such jumps out. */
    private static final Set<String> JUMPING_CLOCKS = Set.of("mpegts", "mpeg", "ogg");

    /** How programs write of many files at once. */
    private static final Pattern PATTERN = Pattern.compile("%\\d*d|[*?]");

    private Headers() {}

    /**
     * What a look at a file finds.
     *
     * @param format in FFmpeg's word
     */
    record Found(VideoInfo info, String format) {
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
            return Math.max(1, (long) Math.floor((end - start) * rate + 1e-6));
        }
    }

    /** See {@link VideoReader#probe}. */
    static Found read(Path file, DecodeOptions options) {
        requireReadable(file);
        if (Files.isDirectory(file)) {
            return pictures(file, options.pictureRate());
        }
        Duration silence = options.timeout();
        Map<String, String> fields = new HashMap<>();
        try (Child probe = FfmpegProgram.find()
                .probe(
                        "-v error -protocol_whitelist file -select_streams V:0 -of flat -i VIDEO -show_entries "
                                + "stream=width,height,avg_frame_rate,nb_frames,duration:stream_side_data=rotation"
                                + ":format=duration,format_name",
                        file)) {
            if (!probe.listen(line -> addField(fields, line), silence)) {
                throw VideoException.silent(file, silence);
            }
            if (probe.exitValue() != 0) {
                throw VideoException.undecodable(file, probe.reason(file));
            }
        }
        String format = fields.getOrDefault("format.format_name", "");
        String wanted = "give a file with moving pictures";
        VideoException.require(!NO_VIDEOS.contains(format), file, "is a text or a play list, not a video", wanted);
        VideoException.require(fields.containsKey("width"), file, "holds no video stream", wanted);
        int width = (int) number(fields, "width").orElse(0);
        int height = (int) number(fields, "height").orElse(0);
        if (width <= 0 || height <= 0) {
            throw VideoException.undecodable(file, "its frame size cannot be found");
        }
        String large =
                "has frames of " + width + " x " + height + " pixels, more than the " + MOST_PIXELS + " that are read";
        VideoException.require((long) width * height <= MOST_PIXELS, file, large, "scale it down first");
        boolean turned = Math.round(Math.abs(number(fields, "rotation").orElse(0)) / 90) % 2 == 1;
        OptionalDouble frames = number(fields, "nb_frames");
        OptionalDouble streamDuration = number(fields, "duration");
        VideoInfo info = new VideoInfo(
                file,
                turned ? height : width,
                turned ? width : height,
                rate(fields.getOrDefault("avg_frame_rate", "")),
                streamDuration.isPresent() ? streamDuration : number(fields, "format.duration"),
                frames.isPresent() ? OptionalLong.of((long) frames.getAsDouble()) : OptionalLong.empty());
        return new Found(info, format);
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
        return new Found(info, "");
    }

    private static void requireReadable(Path file) {
        boolean pattern = PATTERN.matcher(String.valueOf(file.getFileName())).find();
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
    private static void addField(Map<String, String> fields, String line) {
        int equals = line.indexOf('=');
        if (equals > 0) {
            String path = line.substring(0, equals);
            String name = path.startsWith("format.") ? path : path.substring(path.lastIndexOf('.') + 1);
            fields.putIfAbsent(name, line.substring(equals + 1).replace("\"", ""));
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
     * @return empty where packets carry no time stamps, as in a bare stream
     */
    static Optional<Span> span(Path file, DecodeOptions options) {
        if (Files.isDirectory(file)) {
            return Optional.of(new Span(0, PictureFolder.openRecording(file).size() / options.pictureRate(), false));
        }
        Duration silence = options.timeout();
        // Of these nothing can be sought.
        Packets packets = new Packets(TransportStream.isJoined(file) ? "mpegts" : "");
        boolean whole = packets.format.isEmpty()
                && packets(file, silence, "-read_intervals %+#" + FIRST_PACKETS + ",100000000%", packets);
        if (!whole || packets.count == FIRST_PACKETS || JUMPING_CLOCKS.contains(packets.format)) {
            packets = new Packets(packets.format);
            packets(file, silence, "", packets);
        }
        return packets.end() > packets.start
                ? Optional.of(new Span(packets.start, packets.end(), packets.jumps))
                : Optional.empty();
    }

    private static boolean packets(Path file, Duration silence, String interval, Packets packets) {
        try (Child probe = FfmpegProgram.find()
                .probe(
                        "-v error -protocol_whitelist file" + optionsOf(packets.format)
                                + " -select_streams V:0 -of csv=p=0 -i VIDEO -show_entries "
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

        /** @param format that the file is known to have, or an empty text */
        Packets(String format) {
            this.format = format;
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
            double lasts = number(fields[2]).orElse(0);
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
