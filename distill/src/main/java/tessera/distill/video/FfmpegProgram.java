package tessera.distill.video;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.natives.NativeLibraries;

/**
 * The pair of programs {@code ffmpeg} and {@code ffprobe} in one folder, and how to start them.
 *
 * <p>Which one: the program named by the system property {@code tessera.ffmpeg}; otherwise the one carried by the platform
 * jar of {@code org.bytedeco:ffmpeg}, if it starts here; otherwise the one on the {@code PATH}.
 */
final class FfmpegProgram {
    static final String PROPERTY = "tessera.ffmpeg";

    private static final int MOST_STAND_INS = 16;
    private static final Pattern BLANKS = Pattern.compile(" +");

    private static final System.Logger LOG = System.getLogger(FfmpegProgram.class.getName());
    private static final String REMEDY =
            "install FFmpeg 5.1 or newer, or name its program with -D" + PROPERTY + "=/path/to/ffmpeg";

    private static final String OTHER_FOLDER =
            "set XDG_CACHE_HOME to a folder with 250 MB of room in which programs may be written and run, or " + REMEDY;

    /** What holds without the property does not change while the JVM runs: looked for once, unless it fails. */
    private static volatile @Nullable FfmpegProgram unnamed;

    private final Path ffmpeg;
    private final boolean carried;

    private FfmpegProgram(Path ffmpeg, boolean carried) {
        this.ffmpeg = ffmpeg;
        this.carried = carried;
    }

    /** The program to use; it has been started once in this JVM. */
    static FfmpegProgram find() {
        String named = System.getProperty(PROPERTY);
        if (named != null) {
            return named(named);
        }
        FfmpegProgram program = unnamed;
        return program != null ? program : findOnce();
    }

    /** Others wait: a thread that unpacked it a second time would leave that unfinished where the process ends before it. */
    private static synchronized FfmpegProgram findOnce() {
        FfmpegProgram program = unnamed;
        if (program == null) {
            program = carriedOrOnPath();
            unnamed = program;
        }
        return program;
    }

    private static FfmpegProgram named(String named) {
        Path path = Path.of(named);
        Path program = path.getNameCount() > 1 || path.isAbsolute()
                ? path.toAbsolutePath()
                : onPath(named).orElse(path);
        FfmpegProgram candidate = new FfmpegProgram(program, false);
        String refusal = candidate.refusal();
        if (!refusal.isEmpty()) {
            throw new VideoException(
                    "-D" + PROPERTY + "=" + named, refusal, "name a program of FFmpeg 5.1 or newer", null);
        }
        return candidate;
    }

    private static FfmpegProgram carriedOrOnPath() {
        List<String> refusals = new ArrayList<>();
        String remedy = REMEDY;
        try {
            Optional<Path> carried = CarriedProgram.unpack();
            if (carried.isPresent()) {
                FfmpegProgram candidate = new FfmpegProgram(carried.get(), true);
                String refusal = candidate.refusal();
                for (int tries = 0; tries < MOST_STAND_INS && CarriedProgram.standIn(carried.get(), refusal); tries++) {
                    refusal = candidate.refusal();
                }
                if (refusal.isEmpty()) {
                    return candidate;
                }
                refusals.add("the carried program " + carried.get() + " does not start here: " + refusal);
                remedy = OTHER_FOLDER;
            } else {
                refusals.add("no platform jar of org.bytedeco:ffmpeg is on the class path");
            }
        } catch (IOException failure) {
            refusals.add("the carried program cannot be unpacked: " + failure);
            remedy = OTHER_FOLDER;
        }
        Optional<Path> installed = onPath("ffmpeg");
        if (installed.isPresent()) {
            FfmpegProgram candidate = new FfmpegProgram(installed.get(), false);
            String refusal = candidate.refusal();
            if (refusal.isEmpty()) {
                LOG.log(System.Logger.Level.INFO, "using {0}, because {1}", installed.get(), refusals.getFirst());
                return candidate;
            }
            refusals.add(installed.get() + ": " + refusal);
        } else {
            refusals.add("there is no ffmpeg on the PATH");
        }
        throw new VideoException("reading videos", "no FFmpeg program: " + String.join(", ", refusals), remedy, null);
    }

    private static Optional<Path> onPath(String name) {
        return Optional.ofNullable(System.getenv("PATH")).stream()
                .flatMap(Pattern.compile(File.pathSeparator)::splitAsStream)
                .map(folder -> Path.of(folder.isEmpty() ? "." : folder).resolve(executable(name)))
                .filter(program -> Files.isRegularFile(program) && Files.isExecutable(program))
                .findFirst()
                .map(Path::toAbsolutePath);
    }

    @Override
    public String toString() {
        return ffmpeg + (carried ? " (carried by the jar of org.bytedeco:ffmpeg)" : "");
    }

    /** Why the pair cannot be used, or an empty text. */
    private String refusal() {
        for (Path program : List.of(ffmpeg, ffprobe())) {
            if (!Files.isRegularFile(program)) {
                return "there is no program " + program;
            }
            try (Child child = start(program, BLANKS.splitAsStream("-hide_banner -v error -version"))) {
                if (!child.waitFor(Duration.ofSeconds(30)) || child.exitValue() != 0) {
                    return child.complaint().isEmpty() ? program + " does not work" : child.complaint();
                }
            } catch (IOException failure) {
                return String.valueOf(failure.getMessage());
            }
        }
        return "";
    }

    /** Starts the decoder. */
    Child decode(String arguments, Path video) {
        return start(ffmpeg, arguments, video);
    }

    /** Starts the program that reports what a file holds. */
    Child probe(String arguments, Path video) {
        return start(ffprobe(), arguments, video);
    }

    private Path ffprobe() {
        return ffmpeg.resolveSibling(executable("ffprobe"));
    }

    /** How the programs are told of a file: with the scheme in front, no name is taken for an option or another protocol. */
    static String url(Path file) {
        return "file:" + file.toAbsolutePath();
    }

    /** With the video in the place of the word VIDEO. */
    private Child start(Path program, String arguments, Path video) {
        boolean joined = TransportStream.isJoined(video);
        String opened = joined ? arguments.replace("-protocol_whitelist file", "-protocol_whitelist pipe") : arguments;
        Stream<String> words =
                BLANKS.splitAsStream(opened).map(word -> !word.equals("VIDEO") ? word : joined ? "pipe:0" : url(video));
        try {
            return joined
                    ? Child.fed(process(program, words), in -> TransportStream.copy(video, in))
                    : start(program, words);
        } catch (IOException failure) {
            throw new VideoException(
                    program.toString(), "cannot be started (" + failure.getMessage() + ")", REMEDY, failure);
        }
    }

    private Child start(Path program, Stream<String> arguments) throws IOException {
        return new Child(process(program, arguments));
    }

    private Process process(Path program, Stream<String> arguments) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(
                Stream.concat(Stream.of(program.toString()), arguments).toList());
        // Would make FFmpeg write a log file into the current folder.
        builder.environment().remove("FFREPORT");
        if (carried) {
            // The libraries lie beside the program, but do not all know that they find each other there.
            String variable = NativeLibraries.platform().startsWith("mac") ? "DYLD_LIBRARY_PATH" : "LD_LIBRARY_PATH";
            builder.environment()
                    .put(variable, ffmpeg.getParent() + File.pathSeparator + CarriedProgram.standIns(ffmpeg));
        }
        return builder.start();
    }

    static String executable(String name) {
        return NativeLibraries.platform().startsWith("windows") ? name + ".exe" : name;
    }
}
