package tessera.jmh.peers.torch;

import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.openblas.global.openblas;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import tessera.jmh.peers.Contender;
import tessera.jmh.peers.Peer;
import tessera.jmh.peers.Precision;
import tessera.jmh.peers.Task;
import tessera.jmh.peers.Work;

/** PyTorch through the C++ API that Bytedeco binds to Java: eager, in f32, and products also in bf16. */
public final class TorchPeer implements Peer {
    private static final String NAME = "PyTorch Java";

    private TorchPeer() {}

    /** For {@link java.util.ServiceLoader}. */
    public static final class Maker implements Factory {
        public Maker() {}

        @Override
        public String name() {
            return NAME;
        }

        @Override
        public Peer load(int threads) {
            torch.set_num_threads(threads);
            openblas.blas_set_num_threads(threads);
            return new TorchPeer();
        }
    }

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public Map<String, String> versions() {
        String version = torch.class.getPackage().getImplementationVersion();
        return Map.of("version", version == null ? "unknown" : version);
    }

    @Override
    public List<Way> ways(Work work) {
        Way f32 = new Way("", Precision.F32);
        return switch (work.kind()) {
            // Its attention has no fast bf16: alone it would take most of the time of a run.
            case MATMUL, LINEAR, LINEAR_GELU -> List.of(f32, new Way("bf16", Precision.BF16));
            case LAYER_NORM, ATTENTION, BLOCK, FORWARD, TRAIN -> List.of(f32);
            default -> List.of();
        };
    }

    @Override
    public Contender open(Task task, Way way) {
        TorchStudent student = new TorchStudent(task, way.precision() == Precision.BF16);
        return switch (task.work().kind()) {
            case TRAIN -> new TorchTraining(task, student);
            default -> new Inference(student);
        };
    }

    /** Results without gradients. */
    private static final class Inference extends Contender {
        private final TorchStudent student;

        Inference(TorchStudent student) {
            this.student = student;
        }

        @Override
        public float[] output() {
            try (PointerScope scope = new PointerScope();
                    NoGradGuard guard = new NoGradGuard()) {
                return TorchStudent.floats(student.run());
            }
        }

        @Override
        protected void call() {
            try (PointerScope scope = new PointerScope();
                    NoGradGuard guard = new NoGradGuard()) {
                Tensor result = student.run();
                result.close();
            }
        }

        @Override
        public void close() {
            student.close();
        }
    }

    @Override
    public void close() {}
}
