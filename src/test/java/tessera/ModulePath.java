package tessera;

import java.io.File;
import java.io.IOException;
import java.lang.module.Configuration;
import java.lang.module.ModuleFinder;
import java.lang.module.ModuleReference;
import java.lang.module.ResolvedModule;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.jar.JarFile;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Where the modules of the project and those they need lie: jars or folders of classes, as the class path of the tests has them. */
final class ModulePath {
    private ModulePath() {}

    /** The places of these modules and of all that they require; every one has a descriptor, so jlink takes it. */
    static List<Path> of(String... roots) {
        ModuleFinder finder =
                ModuleFinder.of(entries().filter(ModulePath::isModule).toArray(Path[]::new));
        return Configuration.empty().resolve(finder, ModuleFinder.ofSystem(), Set.of(roots)).modules().stream()
                .map(ResolvedModule::reference)
                .map(ModuleReference::location)
                .flatMap(Optional::stream)
                .filter(location -> location.getScheme().equals("file"))
                .map(Path::of)
                .sorted()
                .toList();
    }

    /** The jars that carry native libraries. */
    static List<Path> carriers() {
        return entries()
                .filter(entry -> entry.getFileName()
                        .toString()
                        .matches("(dnnl|ffmpeg)-.*\\.jar|(opencv|openblas|javacpp)-.*-[a-z]+-[a-z0-9_]+\\.jar"))
                .toList();
    }

    /** In the form of a command line's option. */
    static String join(List<Path> places) {
        return places.stream().map(Path::toString).collect(Collectors.joining(File.pathSeparator));
    }

    private static Stream<Path> entries() {
        return Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .map(Path::of)
                .filter(Files::exists);
    }

    private static boolean isModule(Path entry) {
        if (Files.isDirectory(entry)) {
            return Files.exists(entry.resolve("module-info.class"));
        }
        if (carriers().contains(entry)) {
            return false;
        }
        try (JarFile jar = new JarFile(entry.toFile(), false, JarFile.OPEN_READ, Runtime.version())) {
            return jar.getEntry("module-info.class") != null;
        } catch (IOException e) {
            return false;
        }
    }
}
