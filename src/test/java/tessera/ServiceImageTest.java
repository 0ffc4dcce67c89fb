package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.MovingVideo;

/** The HTTP service of the README as a module in a runtime image of its own, started and stopped as a system does it. */
class ServiceImageTest {
    private static final String ACCESS =
            "--enable-native-access=tessera.natives,org.bytedeco.javacpp,org.bytedeco.opencv";

    @TempDir
    private Path folder;

    @Test
    void answersUntilItIsTerminated() throws Exception {
        Path student = folder.resolve("student.safetensors");
        Path head = folder.resolve("head.safetensors");
        TinyStudent.write(student, head);
        Path video = MovingVideo.write(folder.resolve("video"), 20, 64, MovingVideo.steady(1, 0));
        Path java = link().resolve("bin").resolve("java");
        Path log = folder.resolve("log");
        Process process = new ProcessBuilder(
                        java.toString(),
                        "-cp",
                        ModulePath.join(ModulePath.carriers()),
                        "--module",
                        "example/example.RecognitionService",
                        student.toString(),
                        head.toString(),
                        "127.0.0.1",
                        "0")
                .redirectError(log.toFile())
                .start();
        try (HttpClient client = HttpClient.newHttpClient()) {
            String line = process.inputReader().readLine();
            assertTrue(line != null && line.startsWith("listening on http://127.0.0.1:"), () -> line + read(log));
            URI uri = URI.create(line.substring("listening on ".length()) + "/predict");
            HttpResponse<String> answer = client.send(
                    HttpRequest.newBuilder(uri)
                            .POST(HttpRequest.BodyPublishers.ofFile(video))
                            .build(),
                    HttpResponse.BodyHandlers.ofString());
            assertEquals(200, answer.statusCode(), () -> answer.body() + read(log));
            assertTrue(answer.body().contains("{\"label\":\"pour\",\"probability\":0.7"), answer.body());
            process.destroy();
            assertTrue(process.waitFor(120, TimeUnit.SECONDS), () -> "it goes on after SIGTERM; " + read(log));
            assertEquals(128 + 15, process.exitValue(), () -> read(log));
        } finally {
            process.destroyForcibly();
        }
    }

    private static String read(Path log) {
        try {
            return Files.readString(log);
        } catch (java.io.IOException e) {
            return e.toString();
        }
    }

    /** The service as a module, compiled outside the project, with all that it requires and no module more. */
    private Path link() throws Exception {
        Path module = folder.resolve("module");
        Path descriptor = Files.createDirectory(folder.resolve("source")).resolve("module-info.java");
        Files.writeString(
                descriptor, "module example {\n    requires jdk.httpserver;\n    requires tessera.distill;\n}\n");
        List<Path> path = new ArrayList<>(ModulePath.of("tessera.distill"));
        JdkTool.run(
                "javac",
                "-Xlint:all,-requires-automatic",
                "-d",
                module,
                "--module-path",
                ModulePath.join(ModulePath.of("tessera.distill", "org.jspecify")),
                descriptor,
                Path.of("java", "example", "RecognitionService.java"));
        path.add(module);
        Path image = folder.resolve("image");
        JdkTool.run(
                "jlink",
                "--module-path",
                ModulePath.join(path),
                "--add-modules",
                "example,jdk.incubator.vector",
                "--add-options=" + ACCESS + " --add-modules=jdk.incubator.vector",
                "--strip-debug",
                "--no-header-files",
                "--no-man-pages",
                "--output",
                image);
        return image;
    }
}
