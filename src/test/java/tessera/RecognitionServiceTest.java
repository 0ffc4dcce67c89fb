package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import example.RecognitionService;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.distill.MovingVideo;
import tessera.distill.report.Json;
import tessera.distill.video.ClipCut;
import tessera.distill.video.Video;
import tessera.kernels.Device;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.tensor.TokenMask;

/** The HTTP service of the README: what it answers, refuses and finishes. */
class RecognitionServiceTest {
    private static final int FRAMES = 20;
    private static final int HEIGHT = 48;
    private static final int WIDTH = 64;
    private static final int MOST_BYTES = 1 << 20;
    private static final int LABELS = 3;
    private static final String SIZES = "?frames=" + FRAMES + "&height=" + HEIGHT + "&width=" + WIDTH;

    private final HttpClient client = HttpClient.newHttpClient();
    private final List<AutoCloseable> open = new ArrayList<>();

    @TempDir
    private Path folder;

    private Student loaded;
    private Student student;

    @BeforeEach
    void makeStudent() {
        Path file = folder.resolve("student.safetensors");
        TinyStudent.write(file, folder.resolve("head.safetensors"));
        loaded = Student.load(file, Device.cpu());
        Random random = new Random(3);
        double[][] weights = IntStream.range(0, LABELS)
                .mapToObj(label -> random.doubles(loaded.featureWidth(), -2, 2).toArray())
                .toArray(double[][]::new);
        student = loaded.withHead(Head.of(weights, new double[LABELS], List.of("pour", "stir", "\"wipe\"")));
        open.add(loaded);
    }

    @AfterEach
    void closeAll() throws Exception {
        client.close();
        for (AutoCloseable each : open.reversed()) {
            each.close();
        }
    }

    private RecognitionService service(int predictors, int waiting, MaskStrategy masks) throws IOException {
        Masking masking = Masking.of(.75, 2).withStrategy(masks);
        List<Predictor> pool = Stream.generate(() -> Predictor.of(student, masking, 1))
                .limit(predictors)
                .toList();
        open.addAll(pool);
        RecognitionService service = new RecognitionService(
                new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), pool, waiting, MOST_BYTES);
        open.add(service);
        return service;
    }

    /** Noise, another for each number. */
    private static byte[] frames(int number) {
        byte[] pixels = new byte[3 * FRAMES * HEIGHT * WIDTH];
        new Random(number).nextBytes(pixels);
        return pixels;
    }

    private static URI uri(RecognitionService service, String place) {
        return URI.create("http://" + InetAddress.getLoopbackAddress().getHostAddress() + ":" + service.port() + place);
    }

    private static HttpRequest post(RecognitionService service, String query, String type, byte[] body) {
        return HttpRequest.newBuilder(uri(service, "/predict" + query))
                .header("Content-Type", type)
                .POST(HttpRequest.BodyPublishers.ofByteArray(body))
                .build();
    }

    private static HttpRequest raw(RecognitionService service, int number) {
        return post(service, SIZES, "application/octet-stream", frames(number));
    }

    private HttpResponse<String> send(HttpRequest request) throws Exception {
        return client.send(request, HttpResponse.BodyHandlers.ofString());
    }

    private HttpResponse<String> get(RecognitionService service, String place) throws Exception {
        return send(HttpRequest.newBuilder(uri(service, place)).build());
    }

    private CompletableFuture<HttpResponse<String>> start(HttpRequest request) {
        return client.sendAsync(request, HttpResponse.BodyHandlers.ofString());
    }

    /** Sends requests of the numbers from 0 on at once; the queue gets each answer when it comes. */
    private BlockingQueue<HttpResponse<String>> crowd(RecognitionService service, int requests) {
        BlockingQueue<HttpResponse<String>> answers = new LinkedBlockingQueue<>();
        for (int i = 0; i < requests; i++) {
            var _ = start(raw(service, i)).thenAccept(answers::add);
        }
        return answers;
    }

    private static HttpResponse<String> next(BlockingQueue<HttpResponse<String>> answers) throws InterruptedException {
        return Objects.requireNonNull(answers.poll(120, TimeUnit.SECONDS), "no answer");
    }

    private static String text(Prediction prediction) {
        return Json.text(prediction);
    }

    private String expected(int number) {
        try (Predictor direct = Predictor.of(student, Masking.of(.75, 2), 1)) {
            return text(direct.predict(frames(number), FRAMES, HEIGHT, WIDTH));
        }
    }

    /** The standard masks, drawn when the test lets go of them. */
    private static final class Gate implements MaskStrategy {
        final CountDownLatch reached = new CountDownLatch(1);
        final CountDownLatch opened = new CountDownLatch(1);

        @Override
        public TokenMask draw(MaskContext context) {
            reached.countDown();
            try {
                assertTrue(opened.await(300, TimeUnit.SECONDS), "the test let go");
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
            return MaskStrategy.pairs().draw(context);
        }
    }

    @Test
    void answersAreThoseOfAPredictor() throws Exception {
        RecognitionService service = service(2, 6, MaskStrategy.pairs());
        List<CompletableFuture<HttpResponse<String>>> answers =
                IntStream.range(0, 8).mapToObj(i -> start(raw(service, i))).toList();
        for (int i = 0; i < answers.size(); i++) {
            HttpResponse<String> answer = answers.get(i).get(120, TimeUnit.SECONDS);
            assertEquals(200, answer.statusCode(), answer.body());
            assertEquals(expected(i), answer.body());
            assertEquals(
                    "application/json",
                    answer.headers().firstValue("Content-Type").orElse(""));
        }
        assertNotEquals(expected(0), expected(1), "the answer tells frames apart");
        assertTrue(expected(0).contains("\"label\":\"\\\"wipe\\\"\""), expected(0));
    }

    @Test
    void aRecordingIsCutIntoClips() throws Exception {
        Path video = MovingVideo.write(folder.resolve("video"), 40, WIDTH, MovingVideo.steady(1, .5));
        RecognitionService service = service(1, 0, MaskStrategy.pairs());
        try (Predictor direct = Predictor.of(student, Masking.of(.75, 2), 1)) {
            for (double seconds : new double[] {0, 2}) {
                ClipCut cut =
                        new ClipCut(TinyStudent.FRAMES, TinyStudent.SIZE, TinyStudent.SIZE, seconds, seconds, 0, 1);
                List<Prediction> clips = direct.predictAll(Video.cut(video, cut));
                assertEquals(seconds == 0 ? 1 : 2, clips.size());
                HttpResponse<String> answer = send(post(
                        service,
                        seconds == 0 ? "" : "?seconds=" + seconds,
                        "application/x-yuv4mpeg",
                        Files.readAllBytes(video)));
                assertEquals(200, answer.statusCode(), answer.body());
                assertEquals(text(Prediction.mean(clips)), answer.body());
            }
        }
    }

    @Test
    void moreThanCanWaitAreRefusedAndTheOthersAnswered() throws Exception {
        Gate gate = new Gate();
        RecognitionService service = service(1, 2, gate);
        BlockingQueue<HttpResponse<String>> answers = crowd(service, 8);
        // One computes and two wait: nobody else gets an answer before the gate opens.
        for (int i = 0; i < 5; i++) {
            HttpResponse<String> refused = next(answers);
            assertEquals(503, refused.statusCode(), refused.body());
            assertEquals("1", refused.headers().firstValue("Retry-After").orElse(""));
            assertTrue(refused.body().contains("too many requests"), refused.body());
        }
        assertTrue(gate.reached.await(120, TimeUnit.SECONDS), "one computes");
        assertTrue(answers.isEmpty(), answers::toString);
        assertEquals(200, get(service, "/health").statusCode(), "a full service is a healthy one");
        gate.opened.countDown();
        HashSet<String> told = new HashSet<>();
        for (int i = 0; i < 3; i++) {
            HttpResponse<String> answer = next(answers);
            assertEquals(200, answer.statusCode(), answer.body());
            told.add(answer.body());
        }
        List<String> all = IntStream.range(0, 8).mapToObj(this::expected).toList();
        assertEquals(3, told.size(), "each its own");
        assertTrue(all.containsAll(told), told::toString);
        assertEquals(expected(9), send(raw(service, 9)).body(), "their places are free again");
    }

    @Test
    void whatWasTakenIsFinishedBeforeItStops() throws Exception {
        Gate gate = new Gate();
        RecognitionService service = service(1, 2, gate);
        BlockingQueue<HttpResponse<String>> answers = crowd(service, 4);
        assertEquals(503, next(answers).statusCode(), "the three others are taken");

        assertEquals("{\"status\":\"ready\"}", get(service, "/health").body());
        service.drain();
        HttpResponse<String> health = get(service, "/health");
        assertEquals("503 {\"status\":\"draining\"}", health.statusCode() + " " + health.body());
        HttpResponse<String> late = send(raw(service, 7));
        assertEquals(503, late.statusCode());
        assertTrue(late.body().contains("shutting down"), late.body());

        CompletableFuture<Void> closing = CompletableFuture.runAsync(service::close);
        assertFalse(closing.isDone());
        gate.opened.countDown();
        for (int i = 0; i < 3; i++) {
            HttpResponse<String> answer = next(answers);
            assertEquals(200, answer.statusCode(), answer.body());
        }
        closing.get(120, TimeUnit.SECONDS);
        URI gone = uri(service, "/health");
        assertThrows(
                ConnectException.class, () -> send(HttpRequest.newBuilder(gone).build()));
        service.close();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "?frames=20&height=48 | application/octet-stream | width is '';",
                "?frames=0&height=48&width=64 | application/octet-stream | frames is '0';",
                "?frames=21&height=48&width=64 | application/octet-stream | u8[21, 48, 64, 3] needs 193536 bytes but 184320 are given",
                "?seconds=0.001 | video/mp4 | more than 1000 per second",
                "?seconds=soon | video/mp4 | seconds is 'soon';",
                "'' | video/mp4 | recording: ",
            })
    void whatTheSenderCanMendIsToldInOneLine(String query, String type, String problem) throws Exception {
        RecognitionService service = service(1, 0, MaskStrategy.pairs());
        HttpResponse<String> answer = send(post(service, query, type, frames(1)));
        assertEquals(400, answer.statusCode(), answer.body());
        String reason = String.valueOf(Json.object(answer.body()).get("error"));
        assertTrue(reason.contains(problem) && reason.lines().count() == 1, reason);
        assertEquals(200, send(raw(service, 1)).statusCode(), "it goes on");
    }

    @Test
    void otherRequestsAreRefused() throws Exception {
        RecognitionService service = service(1, 0, MaskStrategy.pairs());
        HttpResponse<String> read = get(service, "/predict" + SIZES);
        assertEquals(405, read.statusCode());
        assertEquals("POST", read.headers().firstValue("Allow").orElse(""));
        assertEquals(404, get(service, "/").statusCode());
        for (String type : List.of("application/octet-stream", "video/mp4")) {
            HttpResponse<String> large = send(post(service, SIZES, type, new byte[MOST_BYTES + 1]));
            assertEquals(413, large.statusCode(), large.body());
        }
        assertEquals(200, send(raw(service, 1)).statusCode(), "their places are free again");
    }
}
