package tessera.kernels.cuda;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.jspecify.annotations.Nullable;
import org.junit.platform.launcher.LauncherSession;
import org.junit.platform.launcher.LauncherSessionListener;
import tessera.FakeCuda;

/**
 * Compares the arguments of every launch on the fake CUDA, which knows each kernel's struct, with what the source declares: a launch
 * that writes other kinds or in another order fails. JUnit finds it as a service, so every test that sees the fake is watched.
 */
public final class WatchedLaunches implements LauncherSessionListener {
    private static final Map<String, List<String>> FITTING = new ConcurrentHashMap<>();

    @Override
    public void launcherSessionOpened(LauncherSession session) {
        begin();
    }

    /** Watches this process, where it sees the fake; called before the first launch. */
    public static void begin() {
        if (FakeCuda.present()) {
            CudaLaunch.watch(watch(kernels(), KernelStructs.packaged()));
        }
    }

    /** The kernels that have been launched with the arguments of their struct. */
    public static Set<String> launched() {
        return new TreeSet<>(FITTING.keySet());
    }

    /**
     * A kernel as it is compiled.
     *
     * @param source name of its file
     * @param struct name of its parameters' struct
     * @param bytes of the struct
     */
    record Kernel(String source, String struct, int bytes) {}

    /** The project's kernels in the fake, by name. */
    static Map<String, Kernel> kernels() {
        Map<String, Kernel> kernels = new TreeMap<>();
        FakeCuda.kernels().lines().map(line -> line.split(" ", -1)).forEach(words -> {
            String source = words[1];
            if (CudaCode.SOURCES.contains(source.replace(".cu", ""))) {
                kernels.put(words[0], new Kernel(source, words[2], Integer.parseInt(words[3])));
            }
        });
        return kernels;
    }

    private static CudaLaunch.Watch watch(Map<String, Kernel> kernels, KernelStructs structs) {
        return (name, layout) -> {
            List<String> fitting = FITTING.getOrDefault(name, List.of());
            if (fitting.stream().noneMatch(known -> known.contentEquals(layout))) {
                require(name, kernels.get(name), structs, layout.toString());
                FITTING.computeIfAbsent(name, key -> new CopyOnWriteArrayList<>())
                        .add(layout.toString());
            }
        };
    }

    /** Fails unless the arguments of a launch are those of the kernel's struct. */
    static void require(String name, @Nullable Kernel kernel, KernelStructs structs, String layout) {
        if (kernel == null) {
            throw new AssertionError(name + " was launched, whose struct is not known");
        }
        KernelStructs.Struct struct = structs.struct(kernel.source, kernel.struct);
        if (!struct.fits(layout)) {
            throw new AssertionError("the arguments of " + name + " were written as " + layout + "but " + kernel.struct
                    + " in " + kernel.source + " is " + struct.fields());
        }
    }
}
