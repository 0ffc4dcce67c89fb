package tessera;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaCall;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaFieldAccess;
import com.tngtech.archunit.core.domain.JavaMethod;
import com.tngtech.archunit.core.domain.JavaMethodCall;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ArchRule;
import java.io.IOException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the module graph cannot say about who may do what. */
class ArchitectureTest {

    private static final String COMMAND_LINE = "tessera.distill.cli";
    private static final String MAIN = "tessera.distill.cli.Main";
    private static final String DRIVER_BENCHMARK = "tessera.jmh.LaunchBenchmark";

    private static final int MOST_LINES = 700;

    private static final Pattern SOURCE = Pattern.compile("\\.(java|py|sh|c|cpp|h|cuh)$");

    /** The classes that ship: without the benchmarks, which are programs of their own and not shipped. */
    private static final JavaClasses LIBRARY = new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .withImportOption(location -> !location.contains("/tessera/jmh/"))
            .importPackages("tessera");

    /** The benchmarks, without what JMH generates for them. */
    private static final JavaClasses BENCHMARKS = new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .withImportOption(location -> location.contains("/tessera/jmh/") && !location.contains("/jmh_generated/"))
            .importPackages("tessera.jmh");

    private static final JavaClasses TESTS = new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.ONLY_INCLUDE_TESTS)
            .importPackages("tessera");

    @ParameterizedTest
    @ValueSource(
            strings = {
                "tessera.natives",
                "tessera.kernels",
                "tessera.tensor",
                "tessera.tensor.io",
                "tessera.nn",
                "tessera.nn.videomae",
                "tessera.nn.stlt",
                "tessera.nn.audio",
                "tessera.nn.inference",
                "tessera.distill",
                "tessera.distill.cli"
            })
    void everyRoomIsLookedAt(String room) {
        assertTrue(
                LIBRARY.stream().anyMatch(resideInAPackage(room)),
                "no class of " + room + " was imported, so no rule below means anything for it");
    }

    @ParameterizedTest
    @ValueSource(strings = {"tessera.jmh", "tessera.jmh.gpu"})
    void everyBenchmarkIsLookedAt(String room) {
        assertTrue(BENCHMARKS.stream().anyMatch(resideInAPackage(room)), "no class of " + room + " was imported");
    }

    @Test
    void onlyNativesCallNativeCode() {
        check(noClasses()
                .that()
                .resideOutsideOfPackage("tessera.natives..")
                .should()
                .dependOnClassesThat()
                .belongToAnyOf(Linker.class, SymbolLookup.class, FunctionDescriptor.class)
                .because("native calls are made in the room native and nowhere else"));
        check(noClasses()
                .that()
                .resideOutsideOfPackage("tessera.natives..")
                .should()
                .callMethodWhere(calls(System.class, Set.of("load", "loadLibrary")))
                .because("libraries are loaded in the room native and nowhere else"));
    }

    @Test
    void onlyTheCommandLinePrints() {
        check(noClasses()
                .that()
                .resideOutsideOfPackage(COMMAND_LINE)
                .should()
                .accessFieldWhere(describe("the target is System.out or System.err", ArchitectureTest::isStream))
                .because("a library logs with System.Logger"));
        check(noClasses()
                .should()
                .callMethodWhere(describe("the target is printStackTrace()", ArchitectureTest::printsStack))
                .because("a library throws or logs; the command line prints to the writer it was given"));
    }

    @Test
    void onlyMainExits() {
        check(noClasses()
                .that()
                .doNotHaveFullyQualifiedName(MAIN)
                .should()
                .callMethodWhere(calls(System.class, Set.of("exit")).or(calls(Runtime.class, Set.of("exit", "halt"))))
                .because("a library never ends the process of its host"));
    }

    @Test
    void nobodyChangesTheHost() {
        check(noClasses()
                .should()
                .callMethodWhere(calls(
                        System.class, Set.of("setProperty", "setProperties", "clearProperty", "setOut", "setErr")))
                .because("properties and streams belong to the whole JVM, not to a library"));
    }

    @Test
    void onlyCloseComparesWithTolerance() {
        ArchRule rule = noClasses()
                .that()
                .doNotBelongToAnyOf(Close.class)
                .should()
                .callMethodWhere(describe(
                        "the target is an assertion of JUnit with a tolerance", ArchitectureTest::hasTolerance))
                .because("tolerances are judged in one place, tessera.Close, where NaN never passes");
        rule.check(TESTS);
    }

    /** General concepts do not live in the synthetic benchmark. */
    @Test
    void dataKnowsNothingOfTheBenchmark() {
        check(noClasses()
                .that()
                .resideInAPackage("tessera.distill.data..")
                .should()
                .dependOnClassesThat()
                .resideInAPackage("tessera.distill.egosim..")
                .because("the benchmark is one of the things that fill clip sets, not what they are made of"));
    }

    @Test
    void nothingAboveTensorKnowsCuda() {
        check(noClasses()
                .that()
                .resideInAnyPackage("tessera.nn..", "tessera.distill..")
                .should()
                .dependOnClassesThat(describe("are of CUDA", ArchitectureTest::isOfCuda))
                .because("models and training are written for any device"));
        noClasses()
                .that()
                .doNotHaveFullyQualifiedName(DRIVER_BENCHMARK)
                .should()
                .dependOnClassesThat(describe("are of CUDA", ArchitectureTest::isOfCuda))
                .because("benchmarks measure any device, too")
                .check(BENCHMARKS);
    }

    /** What a kernel costs less what the driver's call costs is measured by calling the driver, but only its binding. */
    @Test
    void theBenchmarkOfTheDriverKnowsItsBindingAlone() {
        noClasses()
                .should()
                .dependOnClassesThat()
                .resideInAPackage("tessera.kernels.cuda..")
                .because("how kernels are started on CUDA is nobody else's business")
                .check(BENCHMARKS);
    }

    /** An op that passes through a class which only hands it on has to be declared there, too. */
    @Test
    void noClassOfKernelsOnlyForwards() {
        check(noClasses()
                .that()
                .resideInAPackage("tessera.kernels..")
                .should(ArchCondition.from(describe("only forward", ArchitectureTest::onlyForwards)))
                .because("families are called directly"));
        assertTrue(onlyForwards(TESTS.get(Facade.class)), "a forwarding class is known when there is one");
    }

    /** What the rule above looks for. */
    record Facade(List<String> target) {
        int indexOf(Object o) {
            return target.indexOf(o);
        }

        boolean contains(Object o) {
            return target.contains(o);
        }
    }

    /** Bindings are as long as the library they bind, and a family's kernels lie in one file; so does the fake of both. */
    @Test
    void filesAreShort() throws IOException {
        Path root = SourceTree.root();
        List<Path> files = new ArrayList<>();
        for (String folder : List.of("kernels", "tensor", "nn", "distill", "jmh", "src/spark", "src/test")) {
            try (Stream<Path> tree = Files.walk(root.resolve(folder))) {
                tree.filter(Files::isRegularFile)
                        .filter(file -> SOURCE.matcher(file.toString()).find())
                        .map(root::relativize)
                        .filter(file -> !file.toString().contains("/target/") && !file.startsWith("src/test/cuda"))
                        .forEach(files::add);
            }
        }
        assertTrue(
                files.contains(Path.of("src/test/java/tessera/ArchitectureTest.java"))
                        && files.contains(Path.of("jmh/src/main/java/tessera/jmh/LaunchBenchmark.java"))
                        && files.contains(Path.of("kernels/src/main/java/tessera/kernels/Device.java")),
                files::toString);
        List<String> longOnes = new ArrayList<>();
        for (Path file : files) {
            long lines = Files.readAllLines(root.resolve(file)).size();
            if (lines > MOST_LINES) {
                longOnes.add(file + ": " + lines + " lines");
            }
        }
        assertEquals(List.of(), longOnes, "files of more than " + MOST_LINES + " lines; split them by topic");
    }

    @Test
    void onlyTheCommandLineHasStreams() {
        check(noClasses()
                .that()
                .resideInAPackage("tessera.distill..")
                .and()
                .resideOutsideOfPackage(COMMAND_LINE)
                .should()
                .dependOnClassesThat()
                .belongToAnyOf(java.io.PrintStream.class)
                .because("progress goes to a listener, results to files"));
    }

    @Test
    void packagesHaveNoCycles() {
        for (JavaClasses classes : List.of(LIBRARY, BENCHMARKS, TESTS)) {
            slices().matching("tessera.(**)").should().beFreeOfCycles().check(classes);
        }
    }

    private static void check(ArchRule rule) {
        rule.check(LIBRARY);
    }

    private static boolean isOfCuda(JavaClass other) {
        return other.getPackageName().startsWith("tessera.natives.cuda")
                || other.getPackageName().startsWith("tessera.kernels.cuda")
                || (other.getPackageName().startsWith("tessera.kernels")
                        && other.getSimpleName().startsWith("Cuda"));
    }

    /** Whether there are methods and each of them does nothing but call one of its name with its parameters elsewhere. */
    private static boolean onlyForwards(JavaClass type) {
        List<JavaMethod> methods = type.getMethods().stream()
                .filter(method -> !method.getModifiers().contains(JavaModifier.STATIC)
                        && !method.getModifiers().contains(JavaModifier.ABSTRACT)
                        && !method.getModifiers().contains(JavaModifier.SYNTHETIC))
                // A record's own.
                .filter(method -> !method.getRawParameterTypes().isEmpty() || !isComponent(type, method))
                .filter(method -> !Set.of("equals", "hashCode", "toString").contains(method.getName()))
                .toList();
        return methods.size() > 1 && methods.stream().allMatch(ArchitectureTest::forwards);
    }

    private static boolean isComponent(JavaClass type, JavaMethod method) {
        return type.isRecord() && type.tryGetField(method.getName()).isPresent();
    }

    private static boolean forwards(JavaMethod method) {
        Set<JavaMethodCall> calls = method.getMethodCallsFromSelf();
        return calls.size() == 1
                && calls.stream()
                        .allMatch(call -> call.getName().equals(method.getName())
                                && !call.getTargetOwner().equals(method.getOwner())
                                && names(call.getTarget().getRawParameterTypes())
                                        .equals(names(method.getRawParameterTypes())));
    }

    private static List<String> names(List<JavaClass> types) {
        return types.stream().map(JavaClass::getName).toList();
    }

    private static boolean isStream(JavaFieldAccess access) {
        return access.getTargetOwner().isEquivalentTo(System.class)
                && Set.of("out", "err").contains(access.getName());
    }

    private static boolean printsStack(JavaCall<?> call) {
        return call.getName().equals("printStackTrace")
                && call.getTargetOwner().isAssignableTo(Throwable.class)
                && call.getTarget().getRawParameterTypes().isEmpty();
    }

    private static DescribedPredicate<JavaCall<?>> calls(Class<?> owner, Set<String> names) {
        return describe(
                "the target is one of " + owner.getSimpleName() + "." + names,
                call -> call.getTargetOwner().isEquivalentTo(owner) && names.contains(call.getName()));
    }

    /** Assertions with a tolerance take three numbers, or two arrays of them and a number. */
    private static boolean hasTolerance(JavaCall<?> call) {
        List<JavaClass> parameters = call.getTarget().getRawParameterTypes();
        return call.getTargetOwner().isEquivalentTo(Assertions.class)
                && parameters.size() >= 3
                && (parameters.get(2).isEquivalentTo(float.class)
                        || parameters.get(2).isEquivalentTo(double.class));
    }
}
