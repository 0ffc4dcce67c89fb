package tessera.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** The memory's debug mode, which a process chooses when it starts. */
class MemoryDebugTest {
    @Test
    void strayWritesAndStaleReadsAreFound(@TempDir Path temp) throws Exception {
        List<String> expected = List.of(
                "fresh NaN",
                "freed NaN",
                "a kernel wrote 4 bytes past the end of a buffer of 40 bytes",
                "exp: f32[3] was used after its memory was freed; return it from its scope with scope.keep(tensor), or"
                        + " close it later",
                "tensor made here, memory freed here");
        String output = ChildJava.run(temp, "-Dtessera.memory.debug=true", MemoryDebugTest.class);
        assertTrue(output.lines().toList().containsAll(expected), output);
    }

    public static void main(String[] args) {
        HostMemory memory = new HostMemory();
        HostMemory.Block block = memory.allocate(40);
        MemorySegment segment = block.segment();
        System.out.println("fresh " + segment.get(ValueLayout.JAVA_FLOAT, 36));
        segment.asSlice(0, 40).fill((byte) 0);
        block.free();
        System.out.println("freed " + segment.get(ValueLayout.JAVA_FLOAT, 0));

        HostMemory.Block overrun = memory.allocate(40);
        overrun.segment().set(ValueLayout.JAVA_BYTE, 44, (byte) 0);
        say(overrun::free);

        Tensor closed;
        try (Scope scope = Scope.open()) {
            closed = Tensor.ones(3);
        }
        say(closed::exp);
    }

    private static void say(Runnable wrong) {
        try {
            wrong.run();
        } catch (IllegalStateException e) {
            System.out.println(e.getMessage());
            if (e.getSuppressed().length > 0) {
                System.out.println(e.getSuppressed()[0].getMessage() + ", " + e.getSuppressed()[1].getMessage());
            }
        }
    }
}
