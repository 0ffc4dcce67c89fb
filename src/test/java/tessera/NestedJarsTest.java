package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.ref.WeakReference;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.video.VideoException;
import tessera.distill.video.VideoReader;
import tessera.kernels.Device;
import tessera.natives.NativeLibraries;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tools.jackson.core.json.JsonFactory;

/** The library in an application whose jars lie in one jar, with their addresses; and one that the server forgets again. */
class NestedJarsTest {
    @TempDir
    private Path temp;

    /** What the application does, within its class loader. */
    public static final class Application {
        private Application() {}

        /** In lines: features, which program decodes videos, what computes. */
        public static List<String> work(String student) {
            List<String> lines = new ArrayList<>();
            try (Scope scope = Scope.open();
                    Student model = Student.load(Path.of(student), Device.cpu())) {
                Tensor clip = Tensor.zeros(1, TinyStudent.FRAMES, TinyStudent.SIZE, TinyStudent.SIZE, 3);
                lines.add("features "
                        + model.features(clip, Masking.of(.75, 2), 1).toDoubles().length);
            }
            try {
                lines.add("program " + VideoReader.program());
            } catch (VideoException e) {
                lines.add("refused " + e.getMessage());
            }
            lines.add("device " + Device.cpu().describe());
            return lines;
        }
    }

    /** A server that starts the application, from {@code [jar, temp, student, kind of addresses]}, and forgets it. */
    static final class Server {
        private Server() {}

        public static void main(String[] arguments) throws Exception {
            WeakReference<ClassLoader> forgotten = serve(arguments);
            // What is left of it: threads that end for want of work.
            for (Thread thread : Thread.getAllStackTraces().keySet()) {
                if (thread.getName().startsWith("tessera-")) {
                    thread.join();
                }
            }
            for (int i = 0; i < 50 && forgotten.get() != null; i++) {
                System.gc();
            }
            System.out.println(forgotten.get() == null ? "forgotten" : "kept");
        }

        /** On a thread of its own, as what threads keep for a class loader is theirs. */
        private static WeakReference<ClassLoader> serve(String[] arguments) throws Exception {
            NestedJarLoader loader =
                    new NestedJarLoader(Path.of(arguments[0]), Path.of(arguments[1]), arguments[3].equals("jars"));
            WeakReference<ClassLoader> reference = new WeakReference<>(loader);
            List<Object> said = new ArrayList<>();
            Thread request = new Thread(() -> {
                try {
                    Class<?> application = loader.loadClass(Application.class.getName());
                    said.addAll((List<?>)
                            application.getMethod("work", String.class).invoke(null, arguments[2]));
                } catch (ReflectiveOperationException e) {
                    said.add(String.valueOf(e.getCause()));
                }
            });
            request.setContextClassLoader(null);
            request.start();
            request.join();
            said.forEach(System.out::println);
            loader.close();
            return reference;
        }
    }

    private Path application() throws IOException {
        Path jar = temp.resolve("app.jar");
        try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
            int number = 0;
            for (Path place : places()) {
                out.putNextEntry(new JarEntry("BOOT-INF/lib/" + number++ + ".jar"));
                out.write(Files.isDirectory(place) ? packed(place) : Files.readAllBytes(place));
            }
            out.putNextEntry(new JarEntry("BOOT-INF/lib/application.jar"));
            out.write(own());
        }
        return jar;
    }

    /** Where the library lies, with what it needs to read a student and a video. */
    private static List<Path> places() {
        List<Path> places = new ArrayList<>();
        for (Class<?> each : List.of(
                NativeLibraries.class,
                Device.class,
                Tensor.class,
                Student.class,
                VideoReader.class,
                JsonFactory.class)) {
            places.add(Path.of(URI.create(
                    each.getProtectionDomain().getCodeSource().getLocation().toString())));
        }
        ModulePath.carriers().stream()
                .filter(each -> each.getFileName().toString().matches("(dnnl|ffmpeg)-.*"))
                .forEach(places::add);
        return places;
    }

    private byte[] packed(Path folder) throws IOException {
        Path jar = temp.resolve("packed.jar");
        try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar));
                Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                out.putNextEntry(new JarEntry(folder.relativize(file).toString().replace('\\', '/')));
                Files.copy(file, out);
            }
        }
        return Files.readAllBytes(jar);
    }

    private byte[] own() throws IOException {
        Path jar = temp.resolve("own.jar");
        try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
            for (Class<?> each : List.of(Application.class, TinyStudent.class)) {
                String name = each.getName().replace('.', '/') + ".class";
                try (InputStream in = NestedJarsTest.class.getResourceAsStream("/" + name)) {
                    out.putNextEntry(new JarEntry(name));
                    Objects.requireNonNull(in, name).transferTo(out);
                }
            }
        }
        return Files.readAllBytes(jar);
    }

    private List<String> serve(String addresses) throws Exception {
        Path student = temp.resolve("student.safetensors");
        TinyStudent.write(student, temp.resolve("head.safetensors"));
        Path cache = Files.createDirectory(temp.resolve("cache-" + addresses));
        String said = ChildJava.run(
                temp,
                List.of("--add-modules=jdk.incubator.vector", "-Dtessera.workers.idle=1"),
                Map.of("XDG_CACHE_HOME", cache.toString(), "PATH", temp.toString()),
                120,
                Server.class,
                application().toString(),
                temp.toString(),
                student.toString(),
                addresses);
        assertTrue(said.contains("features "), said);
        assertTrue(said.lines().anyMatch("forgotten"::equals), said);
        return said.lines().toList();
    }

    @Test
    void whatTheJarsCarryIsFound() throws Exception {
        List<String> said = serve("jars");
        assertTrue(said.stream().anyMatch(line -> line.startsWith("program " + temp)), said::toString);
        assertTrue(said.stream().noneMatch(line -> line.contains("plain Java")), said::toString);
    }

    /** FFmpeg is many files, and whose folder nobody can list cannot be unpacked: that is told, with what to do. */
    @Test
    void addressesOfAnotherKindAreToldWithWhatToDo() throws Exception {
        List<String> said = serve("bytes");
        List<String> refused =
                said.stream().filter(line -> line.startsWith("refused ")).toList();
        assertEquals(1, refused.size(), said::toString);
        assertTrue(refused.getFirst().contains("cannot be listed"), refused::toString);
        assertTrue(refused.getFirst().contains("tessera.ffmpeg"), refused::toString);
    }
}
