package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Enumeration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.kernels.Device;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** The library inside servers and other programs: in two class loaders at once, in one jar with the application, in folders of any name. */
class ClassLoadersTest {
    private static final String SERVICES = "META-INF/services/";
    private static final String ARCHITECTURES = SERVICES + "tessera.nn.Architecture";

    @TempDir
    private Path temp;

    private Path folder;
    private Path student;

    @BeforeEach
    void write() throws IOException {
        folder = Files.createDirectory(temp.resolve("pl ace #1 %20 é"));
        student = folder.resolve("student.safetensors");
        TinyStudent.write(student, folder.resolve("head.safetensors"));
    }

    /** What an application does. */
    public static final class Worker {
        private Worker() {}

        /** The sum of the features of a black clip, as text. */
        public static String work(String student) {
            try (Scope scope = Scope.open();
                    Student model = Student.load(Path.of(student), Device.cpu())) {
                Tensor clip = Tensor.zeros(1, TinyStudent.FRAMES, TinyStudent.SIZE, TinyStudent.SIZE, 3);
                double sum = 0;
                for (double value : model.features(clip, Masking.of(.75, 2), 1).toDoubles()) {
                    sum += Math.abs(value);
                }
                return "features " + sum;
            }
        }

        public static void main(String[] arguments) {
            try {
                System.out.println(work(arguments[0]));
            } catch (IllegalArgumentException refused) {
                System.out.println(refused.getMessage());
            }
        }
    }

    /** Two applications of one server, which has the library too, each with a copy of its own. */
    static final class Server {
        private Server() {}

        public static void main(String[] arguments) throws Exception {
            URL[] jar = {Path.of(arguments[0]).toUri().toURL()};
            List<Callable<String>> applications = new ArrayList<>();
            for (int i = 0; i < 2; i++) {
                applications.add(() -> {
                    try (URLClassLoader loader = new URLClassLoader(jar, ClassLoader.getPlatformClassLoader())) {
                        Thread.currentThread().setContextClassLoader(null);
                        Class<?> worker = loader.loadClass(Worker.class.getName());
                        return (String) worker.getMethod("work", String.class).invoke(null, arguments[1]);
                    }
                });
            }
            try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
                for (Future<String> done : threads.invokeAll(applications)) {
                    System.out.println(done.get());
                }
            }
        }
    }

    /**
     * One jar of all that an application needs: the library's modules and this class.
     *
     * @param services whether the file that names architectures is kept
     */
    private Path together(boolean services) throws IOException {
        Path jar = folder.resolve(services ? "all.jar" : "bare.jar");
        Set<String> names = new HashSet<>();
        try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(jar))) {
            for (Path place : ModulePath.of("tessera.nn", "org.jspecify")) {
                add(place, out, names, services);
            }
            for (Class<?> own : List.of(Worker.class, TinyStudent.class)) {
                String name = own.getName().replace('.', '/') + ".class";
                try (InputStream in = ClassLoadersTest.class.getResourceAsStream("/" + name)) {
                    out.putNextEntry(new JarEntry(name));
                    Objects.requireNonNull(in, name).transferTo(out);
                }
            }
        }
        return jar;
    }

    private static void add(Path place, JarOutputStream out, Set<String> names, boolean services) throws IOException {
        if (Files.isDirectory(place)) {
            try (Stream<Path> files = Files.walk(place)) {
                for (Path file : files.filter(Files::isRegularFile).toList()) {
                    String name = place.relativize(file).toString().replace('\\', '/');
                    if (isKept(name, services) && names.add(name)) {
                        out.putNextEntry(new JarEntry(name));
                        Files.copy(file, out);
                    }
                }
            }
            return;
        }
        try (JarFile jar = new JarFile(place.toFile())) {
            Enumeration<JarEntry> entries = jar.entries();
            while (entries.hasMoreElements()) {
                JarEntry entry = entries.nextElement();
                if (!entry.isDirectory() && isKept(entry.getName(), services) && names.add(entry.getName())) {
                    out.putNextEntry(new JarEntry(entry.getName()));
                    try (InputStream in = jar.getInputStream(entry)) {
                        in.transferTo(out);
                    }
                }
            }
        }
    }

    private static boolean isKept(String name, boolean services) {
        return !name.equals("module-info.class")
                && (!name.startsWith("META-INF/")
                        || (name.startsWith(SERVICES) && (services || !name.equals(ARCHITECTURES))));
    }

    private String child(Class<?> main, List<String> options, String... arguments) throws Exception {
        return ChildJava.run(temp, options, Map.of("LC_ALL", "C.UTF-8"), 120, main, arguments);
    }

    @Test
    void twoClassLoadersAtOnce() throws Exception {
        String expected = Worker.work(student.toString());
        String said = child(
                Server.class,
                List.of("--add-modules=jdk.incubator.vector"),
                together(true).toString(),
                student.toString());
        assertEquals(2, said.lines().filter(line -> near(line, expected)).count(), said);
    }

    /** By its own class path, with the flags that the README names and with none. */
    @Test
    void oneJarInAFolderOfAnyName() throws Exception {
        Path jar = together(true);
        String expected = Worker.work(student.toString());
        for (List<String> options : List.of(List.of("--add-modules=jdk.incubator.vector"), List.<String>of())) {
            String said = alone(jar, options);
            assertTrue(said.lines().anyMatch(line -> near(line, expected)), said);
        }
    }

    /** As some tools put jars together: without a file that names services. */
    @Test
    void aJarWithoutServicesSaysWhatItLacks() throws Exception {
        String said = alone(together(false), List.of());
        assertTrue(said.contains("keep " + ARCHITECTURES), said);
    }

    private String alone(Path jar, List<String> options) throws Exception {
        List<String> all = new ArrayList<>(options);
        // What comes behind are further words of this program.
        all.addAll(List.of("-cp", jar.toString(), Worker.class.getName(), student.toString()));
        return child(Worker.class, all);
    }

    /** Other kernels add in another order. */
    private static boolean near(String line, String expected) {
        return line.startsWith("features ")
                && Math.abs(Double.parseDouble(line.substring(9)) / Double.parseDouble(expected.substring(9)) - 1)
                        < 1e-4;
    }
}
