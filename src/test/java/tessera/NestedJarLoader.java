package tessera;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.URLConnection;
import java.net.URLStreamHandler;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Enumeration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import org.jspecify.annotations.Nullable;

/**
 * A class loader of jars that lie in a jar, as application servers and executable jars have them: the addresses of its resources are {@code
 * jar:nested:/app.jar/!BOOT-INF/lib/x.jar!/entry}, which Java itself cannot open, and the jar that a connection gives is no file.
 */
final class NestedJarLoader extends ClassLoader implements AutoCloseable {
    private final Path outer;
    private final Map<String, JarFile> inner = new LinkedHashMap<>();
    private final Map<String, Path> copies = new LinkedHashMap<>();
    /** Whether connections are of Java's kind for jars; some servers' are not. */
    private final boolean ofJars;

    NestedJarLoader(Path outer, Path temp, boolean ofJars) throws IOException {
        super("nested", ClassLoader.getPlatformClassLoader());
        this.outer = outer;
        this.ofJars = ofJars;
        try (JarFile jar = new JarFile(outer.toFile())) {
            for (JarEntry entry : Collections.list(jar.entries())) {
                if (entry.getName().endsWith(".jar")) {
                    Path copy = Files.createTempFile(temp, "inner", ".jar");
                    try (InputStream in = jar.getInputStream(entry)) {
                        Files.copy(in, copy, StandardCopyOption.REPLACE_EXISTING);
                    }
                    copies.put(entry.getName(), copy);
                    inner.put(entry.getName(), new JarFile(copy.toFile()));
                }
            }
        }
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
        String entry = name.replace('.', '/') + ".class";
        for (JarFile jar : inner.values()) {
            ZipEntry found = jar.getEntry(entry);
            if (found != null) {
                try (InputStream in = jar.getInputStream(found)) {
                    byte[] bytes = in.readAllBytes();
                    return defineClass(name, bytes, 0, bytes.length);
                } catch (IOException e) {
                    throw new ClassNotFoundException(name, e);
                }
            }
        }
        throw new ClassNotFoundException(name);
    }

    @Override
    protected @Nullable URL findResource(String name) {
        Enumeration<URL> found = findResources(name);
        return found.hasMoreElements() ? found.nextElement() : null;
    }

    @Override
    protected Enumeration<URL> findResources(String name) {
        List<URL> found = new ArrayList<>();
        inner.forEach((place, jar) -> {
            if (jar.getEntry(name) != null) {
                found.add(address(place, jar, name));
            }
        });
        return Collections.enumeration(found);
    }

    private URL address(String place, JarFile jar, String name) {
        try {
            return URL.of(
                    URI.create(
                            (ofJars ? "jar:nested:" : "vfs:") + outer.toUri().getPath() + "/!" + place + "!/" + name),
                    new URLStreamHandler() {
                        @Override
                        protected URLConnection openConnection(URL url) throws IOException {
                            return ofJars ? new InJar(url, place, name) : new Elsewhere(url, jar, name);
                        }
                    });
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void close() throws IOException {
        for (JarFile jar : inner.values()) {
            jar.close();
        }
    }

    /** The jar is one of the connection's own: whoever does without caches closes it. */
    private final class InJar extends JarURLConnection {
        private final String place;
        private final String name;
        private @Nullable Nested jar;

        InJar(URL url, String place, String name) throws IOException {
            // What Java reads of the address must be one that it knows.
            super(URI.create("jar:" + outer.toUri() + "!/unknown").toURL());
            this.url = url;
            this.place = place;
            this.name = name;
        }

        @Override
        public void connect() throws IOException {
            if (jar == null) {
                jar = new Nested(outer, copies.get(place));
            }
        }

        @Override
        public JarFile getJarFile() throws IOException {
            connect();
            return Objects.requireNonNull(jar);
        }

        @Override
        public String getEntryName() {
            return name;
        }

        @Override
        public JarEntry getJarEntry() throws IOException {
            return getJarFile().getJarEntry(name);
        }

        @Override
        public InputStream getInputStream() throws IOException {
            return getJarFile().getInputStream(getJarEntry());
        }
    }

    /** By its name the outer jar, by what it answers the inner one. */
    private static final class Nested extends JarFile {
        private final JarFile answers;

        Nested(Path outer, @Nullable Path copy) throws IOException {
            super(outer.toFile());
            answers = new JarFile(Objects.requireNonNull(copy).toFile());
        }

        @Override
        public Enumeration<JarEntry> entries() {
            return answers.entries();
        }

        @Override
        public Stream<JarEntry> stream() {
            return answers.stream();
        }

        @Override
        public JarEntry getJarEntry(String name) {
            return answers.getJarEntry(name);
        }

        @Override
        public ZipEntry getEntry(String name) {
            return answers.getEntry(name);
        }

        @Override
        public synchronized InputStream getInputStream(ZipEntry entry) throws IOException {
            return answers.getInputStream(entry);
        }

        @Override
        public void close() throws IOException {
            answers.close();
            super.close();
        }
    }

    /** A connection that tells bytes and nothing else. */
    private static final class Elsewhere extends URLConnection {
        private final JarFile jar;
        private final String name;

        Elsewhere(URL url, JarFile jar, String name) {
            super(url);
            this.jar = jar;
            this.name = name;
        }

        @Override
        public void connect() {}

        @Override
        public InputStream getInputStream() throws IOException {
            return new ByteArrayInputStream(
                    jar.getInputStream(jar.getEntry(name)).readAllBytes());
        }
    }
}
