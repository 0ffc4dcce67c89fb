package tessera.jmh.peers;

import static java.util.Objects.requireNonNull;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Json;
import tessera.jmh.Models;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;

/** PyTorch in a Python of its own, which {@code torch_peer.py} runs in and times by its own clock. */
final class PythonPeer implements Peer {
    private static final String NAME = "PyTorch";
    /** Reading it from a slow disk, or compiling a model. */
    private static final long PATIENCE_SECONDS = 600;

    private static final String ENDED = "ended";
    /** The mode of torch.compile, which compiles while a task is made ready. */
    private static final String COMPILED = "compiled";

    private final Process process;
    private final Writer requests;
    private final BlockingQueue<String> answers = new LinkedBlockingQueue<>();
    private final Path complaints;
    private final Map<String, String> versions = new LinkedHashMap<>();
    private final boolean compiled;
    private int tasks;

    /**
     * Starts it.
     *
     * @param python the program
     * @param compiled whether some models are also compiled, where there is a C++ compiler
     * @param folder for its files
     * @throws AbsentException if the program does not start or has no torch
     */
    PythonPeer(String python, int threads, boolean compiled, Path folder) {
        this.compiled = compiled;
        complaints = folder.resolve("python.txt");
        try {
            Path script = folder.resolve("torch_peer.py");
            try (InputStream source = requireNonNull(PythonPeer.class.getResourceAsStream("torch_peer.py"))) {
                Files.write(script, source.readAllBytes());
            }
            ProcessBuilder builder = new ProcessBuilder(python, "-u", script.toString(), Integer.toString(threads))
                    .redirectError(ProcessBuilder.Redirect.appendTo(complaints.toFile()));
            builder.environment().put("OMP_NUM_THREADS", Integer.toString(threads));
            process = builder.start();
        } catch (IOException e) {
            throw new AbsentException(
                    e.getMessage() + "; name a Python that has torch with TESSERA_PEER_PYTHON or --python");
        }
        requests = process.outputWriter(StandardCharsets.UTF_8);
        Thread.ofPlatform().daemon().start(() -> {
            try (var reader = process.inputReader(StandardCharsets.UTF_8)) {
                reader.lines().forEach(answers::add);
            } catch (IOException | UncheckedIOException e) {
                // The process was ended.
            }
            answers.add(ENDED);
        });
        try {
            answer().forEach((name, value) -> versions.put(name, String.valueOf(value)));
        } catch (IllegalStateException e) {
            close();
            throw new AbsentException(python + ": " + e.getMessage()
                    + "; name a Python that has torch with TESSERA_PEER_PYTHON or --python");
        }
    }

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public Map<String, String> versions() {
        return versions;
    }

    @Override
    public List<Way> ways(Work work) {
        List<Way> ways = new ArrayList<>(List.of(new Way("eager", Precision.F32)));
        if (compiled && isCompiled(work)) {
            ways.add(new Way(COMPILED, Precision.F32));
            ways.add(new Way(COMPILED + " autocast", Precision.BF16));
        }
        switch (work.kind()) {
            case MATMUL, LINEAR, LINEAR_GELU, BLOCK -> {
                ways.add(new Way("bf16", Precision.BF16));
                ways.add(new Way("int8", Precision.INT8));
            }
            case FORWARD -> {
                ways.add(new Way("autocast", Precision.BF16));
                ways.add(new Way("bf16", Precision.BF16));
                ways.add(new Way("int8", Precision.INT8));
            }
            case ATTENTION, LINEAR_INPUT_GRADIENT, LINEAR_WEIGHT_GRADIENT, ATTENTION_GRADIENTS ->
                ways.add(new Way("bf16", Precision.BF16));
            case SWIN, TRAIN -> ways.add(new Way("autocast", Precision.BF16));
            default -> {}
        }
        return ways;
    }

    /** Compiling takes a minute or so each: of one clip seen whole and with most of it hidden, and of the step. */
    private static boolean isCompiled(Work work) {
        boolean forward = work.kind() == Kind.FORWARD && work.sequences() == 1;
        return work.kind() == Kind.TRAIN || (forward && (work.ratio() == 0 || work.ratio() == .75));
    }

    @Override
    public Contender open(Task task, Way way) {
        if (way.mode().startsWith(COMPILED)
                && versions.getOrDefault("compiler", "").isEmpty()) {
            throw new AbsentException(
                    "torch.compile needs a C++ compiler, and Python finds no g++; install one, or name another with"
                            + " CXX");
        }
        String id = Integer.toString(++tasks);
        Path output = task.folder().resolve("output." + id);
        try {
            ask(Map.of(
                    "do", "open",
                    "id", id,
                    "kind", task.work().kind().text(),
                    "mode", way.mode(),
                    "weights", task.weightsFile().toString(),
                    "inputs", task.inputsFile().toString(),
                    "output", output.toString(),
                    "config", config(task)));
            return new Remote(id, floats(output));
        } catch (IllegalStateException e) {
            throw new AbsentException(String.valueOf(e.getMessage()));
        }
    }

    private static Map<String, Object> config(Task task) {
        VideoMaeConfig config = task.shapes().config();
        boolean swin = task.work().kind() == Kind.SWIN;
        Patches patches = swin ? Models.swin().patches() : config.patches();
        Map<String, Object> entries = new LinkedHashMap<>();
        entries.put("width", config.embedDim());
        entries.put("depth", config.depth());
        entries.put("heads", config.heads());
        entries.put("eps", config.layerNormEps());
        entries.put("side", config.height());
        entries.put("frames", config.frames());
        entries.put("patch", patches.patch());
        entries.put("tubelet", patches.tubelet());
        entries.put("scale", patches.scale());
        entries.put("mean", list(patches.mean()));
        entries.put("std", list(patches.std()));
        entries.put("rate", Task.RATE);
        entries.put("decay", Task.DECAY);
        entries.put("steps", Task.STEPS);
        entries.put("temperature", Task.TEMPERATURE);
        entries.put("labels", Task.LABELS);
        entries.put("teachers", list(Task.teacherWeights()));
        entries.put("patch_eps", Task.PATCH_EPS);
        entries.put("earlier_steps", Task.EARLIER_STEPS);
        entries.put("earlier_squares", Task.EARLIER_SQUARES);
        return entries;
    }

    private static List<Double> list(double[] values) {
        return java.util.Arrays.stream(values).boxed().toList();
    }

    private static float[] floats(Path file) {
        try {
            byte[] bytes = Files.readAllBytes(file);
            Files.delete(file);
            float[] values = new float[bytes.length / Float.BYTES];
            ByteBuffer.wrap(bytes)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .asFloatBuffer()
                    .get(values);
            return values;
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read what the peer wrote", e);
        }
    }

    private Map<String, @Nullable Object> ask(Map<String, ?> request) {
        try {
            requests.write(Json.text(request) + "\n");
            requests.flush();
        } catch (IOException e) {
            throw new IllegalStateException("Python has ended; what it said is in " + complaints, e);
        }
        return answer();
    }

    /** The next answer; an error in it is thrown. */
    private Map<String, @Nullable Object> answer() {
        String line;
        try {
            line = answers.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while Python was asked", e);
        }
        if (line == null || line.equals(ENDED)) {
            throw new IllegalStateException(line == null ? "no answer in " + PATIENCE_SECONDS + " s" : "Python ended");
        }
        Map<String, @Nullable Object> answer;
        try {
            answer = Json.object(line);
        } catch (IllegalArgumentException e) {
            throw new IllegalStateException("Python said '" + line + "'", e);
        }
        Object error = answer.get("error");
        if (error != null) {
            throw new IllegalStateException(error.toString());
        }
        return answer;
    }

    /** A task that Python holds. */
    private final class Remote extends Contender {
        private final String id;
        private final float[] output;

        Remote(String id, float[] output) {
            this.id = id;
            this.output = output;
        }

        @Override
        public float[] output() {
            return output;
        }

        @Override
        protected void call() {
            seconds(1);
        }

        @Override
        public double seconds(int calls) {
            Object seconds = ask(Map.of("do", "time", "id", id, "calls", calls)).get("seconds");
            if (seconds instanceof Number number) {
                return number.doubleValue();
            }
            throw new IllegalStateException("Python gave no time");
        }

        @Override
        public void close() {
            ask(Map.of("do", "close", "id", id));
        }
    }

    @Override
    public void close() {
        try {
            requests.close();
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                process.destroyForcibly();
            }
        } catch (IOException e) {
            process.destroyForcibly();
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }
}
