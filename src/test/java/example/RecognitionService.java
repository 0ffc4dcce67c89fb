package example;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import tessera.distill.report.Json;
import tessera.distill.video.ClipCut;
import tessera.distill.video.Video;
import tessera.nn.ClipShape;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.nn.inference.VideoClip;

/**
 * A small HTTP service outside the project, with the one dependency tessera-distill.
 *
 * <pre>
 * POST /predict?frames=16&amp;height=224&amp;width=224   u8 RGB frames, as application/octet-stream
 * POST /predict?seconds=2                        a recording, as any other type; without seconds it is one clip
 * GET  /health                                   200 while it takes requests, else 503
 * </pre>
 *
 * <p>Each request has a virtual thread. So many are taken as there are predictors and places to wait for one; those beyond get 503 and
 * Retry-After at once, so that neither memory nor waiting grows with the crowd. {@link #close} finishes what was taken.
 */
public final class RecognitionService implements AutoCloseable {
    private static final System.Logger LOG = System.getLogger(RecognitionService.class.getName());

    private final BlockingQueue<Predictor> idle;
    private final int capacity;
    private final Semaphore places;
    private final int mostBytes;
    private final HttpServer server;
    private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
    private final AtomicBoolean closed = new AtomicBoolean();
    private volatile boolean draining;

    /**
     * Starts it.
     *
     * @param predictors how many answers are computed at once; they stay the caller's and are closed after the service
     * @param waiting how many more requests are taken
     * @param mostBytes of a request's body
     */
    public RecognitionService(InetSocketAddress address, List<Predictor> predictors, int waiting, int mostBytes)
            throws IOException {
        idle = new ArrayBlockingQueue<>(predictors.size(), true, predictors);
        capacity = predictors.size() + waiting;
        places = new Semaphore(capacity);
        this.mostBytes = mostBytes;
        server = HttpServer.create(address, 0);
        server.setExecutor(threads);
        server.createContext("/predict", this::predict);
        server.createContext("/health", this::health);
        server.start();
    }

    /** STUDENT HEAD HOST PORT */
    public static void main(String[] args) throws IOException {
        if (args.length != 4) {
            System.err.println(
                    "pass STUDENT HEAD HOST PORT, for example student.safetensors head.safetensors 127.0.0.1 8080");
            System.exit(2);
        }
        Student student = Student.load(Path.of(args[0])).withHead(Head.load(Path.of(args[1])));
        // Two, so that one computes while another's frames are prepared. All see the same weights.
        List<Predictor> predictors = Stream.generate(() -> Predictor.of(student, Masking.DEFAULT, 1))
                .limit(2)
                .toList();
        InetSocketAddress address = new InetSocketAddress(args[2], Integer.parseInt(args[3]));
        RecognitionService service = new RecognitionService(address, predictors, 16, 64 << 20);
        Runtime.getRuntime().addShutdownHook(new Thread(service::close)); // SIGTERM, Ctrl-C
        System.out.println("listening on http://" + args[2] + ":" + service.port());
    }

    /** Where it listens, also where the address left that to the system. */
    public int port() {
        return server.getAddress().getPort();
    }

    private void health(HttpExchange exchange) throws IOException {
        try (exchange) {
            String state = draining ? "draining" : "ready";
            reply(exchange, draining ? 503 : 200, Map.of("status", state));
        }
    }

    private void predict(HttpExchange exchange) throws IOException {
        try (exchange) {
            if (!exchange.getRequestMethod().equals("POST")) {
                exchange.getResponseHeaders().set("Allow", "POST");
                refuse(exchange, 405, exchange.getRequestMethod() + " is not understood here; send POST");
            } else if (draining || !places.tryAcquire()) {
                exchange.getResponseHeaders().set("Retry-After", "1");
                refuse(exchange, 503, draining ? "shutting down" : "too many requests; send it again later");
            } else {
                try {
                    take(exchange);
                } finally {
                    places.release();
                }
            }
        }
    }

    private void take(HttpExchange exchange) throws IOException {
        Prediction prediction;
        try {
            String type = exchange.getRequestHeaders().getFirst("Content-Type");
            Map<String, String> query = query(exchange);
            prediction = "application/octet-stream".equals(type) ? ofFrames(exchange, query) : ofVideo(exchange, query);
        } catch (TooLargeException e) {
            refuse(exchange, 413, "the body has more than " + mostBytes + " bytes; send less");
            return;
        } catch (IllegalArgumentException e) { // what the sender can mend, in one line
            refuse(exchange, 400, e.getMessage());
            return;
        } catch (InterruptedException | IOException | RuntimeException e) {
            LOG.log(System.Logger.Level.ERROR, "a request failed", e);
            refuse(exchange, 500, "no answer could be computed; the log says why");
            return;
        }
        reply(exchange, 200, prediction);
    }

    private Prediction ofFrames(HttpExchange exchange, Map<String, String> query)
            throws IOException, InterruptedException {
        int frames = Integer.parseInt(required(query, "frames"));
        int height = Integer.parseInt(required(query, "height"));
        int width = Integer.parseInt(required(query, "width"));
        byte[] pixels = exchange.getRequestBody().readNBytes(mostBytes + 1);
        requireFit(pixels.length);
        return byOne(predictor -> predictor.predict(pixels, frames, height, width));
    }

    /** Clips are looked at as they are decoded, so that a long recording takes no more memory than a short one. */
    private Prediction ofVideo(HttpExchange exchange, Map<String, String> query)
            throws IOException, InterruptedException {
        String seconds = query.getOrDefault("seconds", "0");
        if (!seconds.matches("[0-9]{1,6}([.][0-9]{1,6})?")) {
            throw new IllegalArgumentException(
                    "seconds is '" + seconds + "'; send the length of a clip, such as seconds=2");
        }
        Path file = Files.createTempFile("recording", "");
        try {
            try (OutputStream out = Files.newOutputStream(file)) {
                InputStream body = exchange.getRequestBody();
                byte[] part = new byte[1 << 16];
                long received = 0;
                for (int read = body.read(part); read >= 0; read = body.read(part)) {
                    received += read;
                    requireFit(received);
                    out.write(part, 0, read);
                }
            }
            return byOne(predictor -> ofVideo(file, Double.parseDouble(seconds), predictor));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(String.valueOf(e.getMessage()).replace(file.toString(), "recording"), e);
        } finally {
            Files.deleteIfExists(file);
        }
    }

    private static Prediction ofVideo(Path file, double seconds, Predictor predictor) {
        ClipShape input = predictor.student().config().input();
        ClipCut cut = new ClipCut(input.frames(), input.height(), input.width(), seconds, seconds, 0, 1);
        List<Prediction> predictions = new ArrayList<>();
        try (Stream<VideoClip> clips = Video.clips(file, cut)) {
            predictor.predictAll(clips, predictions::add);
        }
        return Prediction.mean(predictions);
    }

    /** Waits for a predictor, first come, first served. */
    private Prediction byOne(Function<Predictor, Prediction> look) throws InterruptedException {
        Predictor predictor = idle.take();
        try {
            return look.apply(predictor);
        } finally {
            idle.add(predictor);
        }
    }

    private static final class TooLargeException extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    private void requireFit(long length) {
        if (length > mostBytes) {
            throw new TooLargeException();
        }
    }

    private static Map<String, String> query(HttpExchange exchange) {
        String query = exchange.getRequestURI().getQuery();
        return Arrays.stream(query == null ? new String[0] : query.split("&"))
                .map(word -> word.split("=", 2))
                .collect(Collectors.toMap(pair -> pair[0], pair -> pair.length > 1 ? pair[1] : "", (a, b) -> b));
    }

    private static String required(Map<String, String> query, String name) {
        String value = query.getOrDefault(name, "");
        if (!value.matches("[1-9][0-9]{0,5}")) {
            throw new IllegalArgumentException(
                    name + " is '" + value + "'; send frames=16&height=224&width=224 in the query");
        }
        return value;
    }

    private static void refuse(HttpExchange exchange, int code, String reason) throws IOException {
        // Read to its end, or the connection would be reset before the sender sees the answer.
        if (code != 413) {
            exchange.getRequestBody().transferTo(OutputStream.nullOutputStream());
        }
        reply(exchange, code, Map.of("error", reason));
    }

    private static void reply(HttpExchange exchange, int code, Object answer) throws IOException {
        byte[] text = Json.text(answer).getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        exchange.sendResponseHeaders(code, text.length);
        try (OutputStream out = exchange.getResponseBody()) {
            out.write(text);
        }
    }

    /** From now on refuses requests and says so to those who ask for its health; what was taken goes on. */
    public void drain() {
        draining = true;
    }

    /** Drains, waits until all that was taken is answered, and stops listening. */
    @Override
    public void close() {
        drain();
        if (closed.compareAndSet(false, true)) {
            places.acquireUninterruptibly(capacity);
            server.stop(1);
            threads.close();
        }
    }
}
