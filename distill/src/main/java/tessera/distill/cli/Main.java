package tessera.distill.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.logging.Level;
import java.util.logging.Logger;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.RunLast;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;
import tessera.distill.data.Modality;
import tessera.distill.train.StopSignal;
import tessera.distill.video.VideoReader;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.tensor.io.Printable;

/**
 * The root command. A new command is a class of its own in this package, a {@link ToolCommand}, named in
 * {@link #COMMANDS}. It throws {@link IllegalArgumentException} for bad input, with one line that names the
 * thing and the remedy; this class turns it into exit code 2.
 */
@Command(
        name = "tessera",
        description = "Teach a small video student from multimodal teachers; recognise actions from few examples.",
        mixinStandardHelpOptions = true,
        versionProvider = Main.Version.class,
        synopsisSubcommandLabel = "COMMAND")
public final class Main implements Callable<Integer> {
    /** By the names in their annotations, in the order of the help. */
    static final Map<String, Class<?>> COMMANDS = commands(
            Map.entry("demo", DemoCommand.class),
            Map.entry("pretrain", Pretrain.class),
            Map.entry("train", Train.class),
            Map.entry("distill", Distill.class),
            Map.entry("fewshot", FewShot.class),
            Map.entry("evaluate", Evaluate.class),
            Map.entry("extract", Extract.class),
            Map.entry("sweep", SweepCommand.class),
            Map.entry("adapt", Adapt.class),
            Map.entry("learn", Learn.class),
            Map.entry("predict", Predict.class),
            Map.entry("features", Features.class),
            Map.entry("import", ImportCheckpoint.class),
            Map.entry("export", Export.class),
            Map.entry("quantize", Quantize.class),
            Map.entry("inspect", Inspect.class),
            Map.entry("doctor", Doctor.class),
            Map.entry("bench", LauncherCommands.Bench.class),
            Map.entry("bundle", LauncherCommands.Bundle.class));

    /** Kept, because a logger that nothing refers to forgets its level. */
    private static final Logger LIBRARY = Logger.getLogger("tessera");

    @Option(
            names = "--stacktrace",
            scope = ScopeType.INHERIT,
            description = "Print the stack trace of an error after its line.")
    private boolean stacktrace;

    @Option(
            names = "--verbose",
            scope = ScopeType.INHERIT,
            description = "Print the library's notes too, not only its warnings.")
    private boolean verbose;

    @Spec
    private CommandSpec spec;

    Main() {}

    @SafeVarargs
    private static Map<String, Class<?>> commands(Map.Entry<String, Class<?>>... commands) {
        Map<String, Class<?>> named = new LinkedHashMap<>();
        for (Map.Entry<String, Class<?>> command : commands) {
            named.put(command.getKey(), command.getValue());
        }
        return Collections.unmodifiableMap(named);
    }

    /** What picocli has to look at: the command that the first word names, or all where it names none. To look at one takes a while. */
    private static Collection<Class<?>> needed(List<String> args) {
        String first =
                args.stream().filter(word -> !word.startsWith("-")).findFirst().orElse("");
        Class<?> named = COMMANDS.get(first);
        return named == null ? COMMANDS.values() : List.of(named);
    }

    /** Without a command: the list of them. */
    @Override
    public Integer call() {
        spec.commandLine().usage(spec.commandLine().getOut());
        return ExitCode.OK;
    }

    /** Runs the command line on the process's own streams and exits with its code. */
    public static void main(String[] args) {
        // Figures are read by programs and compared with the README's: a decimal point everywhere.
        Locale.setDefault(Locale.Category.FORMAT, Locale.ROOT);
        loadAhead(args);
        PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        PrintWriter err = new PrintWriter(System.err, true, StandardCharsets.UTF_8);
        System.exit(run(List.of(args), out, err));
    }

    /**
     * Loads what a prediction needs on a thread of its own, while this one still reads the words and the student. What fails there
     * fails again, and is told, where it is needed.
     */
    private static void loadAhead(String[] args) {
        if (args.length > 0 && args[0].equals("predict") && !List.of(args).contains("--verbose")) {
            LIBRARY.setLevel(Level.WARNING);
            Thread.ofPlatform().daemon().name("tessera-load-ahead").start(() -> {
                try {
                    Device.cpu();
                    VideoReader.program();
                } catch (RuntimeException | LinkageError told) {
                    LIBRARY.log(Level.FINE, "nothing was loaded ahead", told);
                }
            });
        }
    }

    /**
     * Runs one command line.
     *
     * @param args the words after {@code tessera}
     * @param out where results go
     * @param err where errors, logs and progress go
     * @return the exit code: 0 success, 1 failure, 2 bad usage or bad input
     */
    public static int run(List<String> args, PrintWriter out, PrintWriter err) {
        Main main = new Main();
        CommandLine commandLine = new CommandLine(main);
        needed(args).forEach(commandLine::addSubcommand);
        commandLine
                .setOut(out)
                .setErr(err)
                .setAbbreviatedOptionsAllowed(false)
                .setExpandAtFiles(false) // a video may be called @home.mp4
                .registerConverter(Path.class, PathWords::parse)
                .registerConverter(Modality.class, Clips::modality)
                .registerConverter(NamedTeacher.class, NamedTeacher::parse)
                .registerConverter(ViewScheme.class, ViewScheme::parse)
                .setExecutionStrategy(parsed -> {
                    LIBRARY.setLevel(main.verbose ? Level.INFO : Level.WARNING);
                    return new RunLast().execute(parsed);
                })
                .setParameterExceptionHandler((e, words) -> badUsage(e))
                .setExecutionExceptionHandler((e, command, parsed) -> failure(e, main.stacktrace, err));
        EnumWords.teach(commandLine);
        NumberWords.teach(commandLine);
        int code;
        try {
            code = commandLine.execute(args.toArray(String[]::new));
        } catch (OutOfMemoryError e) {
            // Java's own memory; a device's is a DeviceException, whose message says what to do.
            err.println("tessera: error: out of memory: " + flat(String.valueOf(e.getMessage()))
                    + "; use a smaller batch or fewer clips, or a larger heap by TESSERA_JAVA_OPTS=-Xmx8g");
            code = ExitCode.FAILURE;
        }
        // Who only looks at the exit code must not take half of a result for the whole.
        if (out.checkError() && code == ExitCode.OK) {
            err.println("tessera: error: standard output took only a part of the result (a full disk, or nobody reads"
                    + " it any more); send it to a place with room, and run it again");
            code = ExitCode.FAILURE;
        }
        err.flush();
        return code;
    }

    private static int badUsage(ParameterException e) {
        CommandLine command = e.getCommandLine();
        String help = " (see '" + command.getCommandSpec().qualifiedName() + " --help')";
        command.getErr().println("tessera: error: " + flat(UsageErrors.describe(e)) + help);
        return ExitCode.BAD_INPUT;
    }

    private static int failure(Exception e, boolean stacktrace, PrintWriter err) {
        if (e instanceof StopSignal.Stopped) {
            // The command's shutdown hook, which asked for it, says so.
            return ExitCode.FAILURE;
        }
        boolean badInput = e instanceof IllegalArgumentException;
        String hint =
                badInput || stacktrace || e instanceof UncheckedIOException ? "" : " (add --stacktrace to see where)";
        err.println("tessera: error: " + oneLine(e) + hint);
        if (stacktrace) {
            e.printStackTrace(err);
        }
        return badInput ? ExitCode.BAD_INPUT : ExitCode.FAILURE;
    }

    /** What of a failure is told. */
    static String oneLine(Throwable e) {
        String message = e.getMessage();
        if (e instanceof DeviceException failure && failure.outOfMemory()) {
            return "out of memory: " + flat(String.valueOf(message));
        }
        if (e instanceof IllegalArgumentException && message != null) {
            return flat(message);
        }
        if (e instanceof UncheckedIOException failure && message != null) {
            IOException cause = failure.getCause();
            String reason = cause == null ? null : cause.getMessage();
            return flat(reason == null || message.contains(reason) ? message : message + " (" + reason + ")");
        }
        String name = e.getClass().getSimpleName();
        return message == null ? name : name + ": " + flat(message);
    }

    private static String flat(String message) {
        return Printable.line(message.strip().replaceAll("\\s*\\R\\s*", " "));
    }

    /** What {@code tessera --version} prints. */
    static final class Version implements IVersionProvider {
        @Override
        public String[] getVersion() {
            return new String[] {"tessera " + current()};
        }

        static String current() {
            var descriptor = Main.class.getModule().getDescriptor();
            return descriptor == null
                    ? "(on the class path)"
                    : descriptor.rawVersion().orElse("(no version)");
        }
    }
}
