package tessera.kernels.cpu.device;

import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Elementwise;
import tessera.kernels.Graph;
import tessera.kernels.Kernels;
import tessera.kernels.Losses;
import tessera.kernels.Matmul;
import tessera.kernels.Norms;
import tessera.kernels.Optimiser;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Patches;
import tessera.kernels.Tokens;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.Reflected;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarRandom;

/**
 * The calls of kernels and the copies that a piece of work consists of, in their order. A launch does them again with the buffers
 * they were noted with, so what led to them, tensors and operations, is spared; of a kernel whose work was nothing but repeatable loops, only
 * these run.
 */
final class HostGraph implements Graph {
    private final CpuDevice device;
    private final HostMemory.Reserve memory;
    private final List<Node> nodes = new ArrayList<>();
    private boolean closed;

    /** @param memory where buffers lie that are made during the recording; closed with this */
    HostGraph(CpuDevice device, HostMemory.Reserve memory) {
        this.device = device;
        this.memory = memory;
    }

    /** What a launch does again. */
    @FunctionalInterface
    interface Node {
        void run(Variables values);
    }

    HostMemory.Reserve memory() {
        return memory;
    }

    void note(Node node) {
        nodes.add(node);
    }

    /**
     * These kernels, which note here what they are asked instead of doing it.
     *
     * @param workers who draw masks
     */
    Kernels noting(Kernels kernels, Workers workers) {
        return new Kernels(
                noting(Elementwise.class, kernels.elementwise()),
                noting(Matmul.class, kernels.matmul()),
                noting(Norms.class, kernels.norms()),
                noting(Attention.class, kernels.attention()),
                noting(Patches.class, kernels.patches()),
                noting(Tokens.class, kernels.tokens()),
                new NotedRandom(this, kernels.random(), new ScalarRandom(workers)),
                noting(Losses.class, kernels.losses()),
                noting(Optimiser.class, kernels.optimiser()));
    }

    /** One family of kernels that notes its calls. */
    <T> T noting(Class<T> family, T kernels) {
        Object noting =
                Proxy.newProxyInstance(family.getClassLoader(), new Class<?>[] {family}, (proxy, method, arguments) -> {
                    if (method.getReturnType() == void.class) {
                        note(new Call(kernels, method, arguments));
                        return null;
                    }
                    return answer(kernels, method, arguments);
                });
        return family.cast(noting);
    }

    /** A question is answered at once, one for further kernels by such that note; a weight is packed from what does not exist yet. */
    private @Nullable Object answer(Object kernels, Method method, Object[] arguments) {
        if (Matmul.PackedWeight.class.isAssignableFrom(method.getReturnType())) {
            throw new DeviceException(
                    DeviceException.Reason.FAILED,
                    "a weight cannot be packed while a graph is recorded; run the work once before, or without recording",
                    null);
        }
        @Nullable Object answer = Reflected.call(kernels, method, arguments);
        return answer instanceof Attention attention ? noting(Attention.class, attention) : answer;
    }

    /**
     * A call of a kernel. The first launch makes it, and where it is nothing but {@linkplain Workers#repeatableFor repeatable} loops, later
     * launches run those: what it checked, computed and allocated before is spared.
     */
    private static final class Call implements Node {
        private final Object kernels;
        private final Method method;
        private final Object[] noted;
        /** Whether launches differ in an argument. */
        private final boolean varies;
        /** As noted, but for what launches differ in. */
        private final Object[] arguments;

        private boolean made;
        private @Nullable Runnable loops;

        Call(Object kernels, Method method, Object[] noted) {
            this.kernels = kernels;
            this.method = method;
            this.noted = noted;
            boolean some = false;
            for (Object argument : noted) {
                some |= argument instanceof AdamWStep;
            }
            this.varies = some;
            this.arguments = noted.clone();
        }

        @Override
        public void run(Variables values) {
            Runnable known = loops;
            if (known != null) {
                known.run();
                return;
            }
            if (!made && !varies) {
                loops = Workers.noted(() -> Reflected.call(kernels, method, arguments));
                made = true;
                return;
            }
            for (int i = 0; varies && i < noted.length; i++) {
                if (noted[i] instanceof AdamWStep step) {
                    arguments[i] = new AdamWStep(
                            values.lr(), step.beta1(), step.beta2(), step.eps(), values.step(), step.clip());
                }
            }
            Reflected.call(kernels, method, arguments);
        }
    }

    @Override
    public synchronized void launch(Variables values) {
        if (closed) {
            throw new IllegalStateException(
                    "a graph of " + device + " is launched after it was closed; record it again");
        }
        if (device.recordsHere()) {
            throw new IllegalStateException("a graph of " + device
                    + " cannot be launched while another is recorded; launch one after the other,"
                    + " or record the work of both in one");
        }
        for (int i = 0; i < nodes.size(); i++) {
            nodes.get(i).run(values);
        }
    }

    @Override
    public long nodes() {
        return nodes.size();
    }

    @Override
    public Device device() {
        return device;
    }

    @Override
    public synchronized void close() {
        closed = true;
        memory.close();
    }
}
