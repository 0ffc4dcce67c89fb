package tessera;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaCall;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaFieldAccess;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchRule;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the module graph cannot say about who may do what. */
class ArchitectureTest {

    private static final String COMMAND_LINE = "tessera.distill.cli";
    private static final String MAIN = "tessera.distill.cli.Main";

    /** The classes that ship: without the benchmarks, which are programs of their own and not shipped. */
    private static final JavaClasses LIBRARY = new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .withImportOption(location -> !location.contains("/tessera/jmh/"))
            .importPackages("tessera");

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
                "tessera.nn.inference",
                "tessera.distill",
                "tessera.distill.cli"
            })
    void everyRoomIsLookedAt(String room) {
        assertTrue(
                LIBRARY.stream().anyMatch(resideInAPackage(room)),
                "no class of " + room + " was imported, so no rule below means anything for it");
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
                .dependOnClassesThat(describe(
                        "are of CUDA",
                        other -> other.getPackageName().startsWith("tessera.kernels")
                                && (other.getSimpleName().startsWith("Cuda")
                                        || other.getPackageName().startsWith("tessera.kernels.cuda"))))
                .because("models and training are written for any device"));
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
        slices().matching("tessera.(**)").should().beFreeOfCycles().check(LIBRARY);
    }

    private static void check(ArchRule rule) {
        rule.check(LIBRARY);
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
