package tessera.jmh.peers.onnx;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import java.nio.FloatBuffer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tessera.jmh.Host;
import tessera.jmh.peers.Contender;
import tessera.jmh.peers.OnnxStudent;
import tessera.jmh.peers.Peer;
import tessera.jmh.peers.Precision;
import tessera.jmh.peers.Task;
import tessera.jmh.peers.Work;

/** ONNX Runtime through its Java API, on the models of {@link OnnxStudent}: f32, and int8 with dynamic quantisation. */
public final class OnnxRuntimePeer implements Peer {
    private static final String NAME = "ONNX Runtime";

    private final OrtEnvironment environment;
    private final int threads;

    private OnnxRuntimePeer(OrtEnvironment environment, int threads) {
        this.environment = environment;
        this.threads = threads;
    }

    /** For {@link java.util.ServiceLoader}. */
    public static final class Maker implements Factory {
        public Maker() {}

        @Override
        public String name() {
            return NAME;
        }

        @Override
        public Peer load(int threads) {
            return new OnnxRuntimePeer(OrtEnvironment.getEnvironment(), threads);
        }
    }

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public Map<String, String> versions() {
        return Map.of("version", environment.getVersion());
    }

    @Override
    public List<Way> ways(Work work) {
        Way f32 = new Way("", Precision.F32);
        return switch (work.kind()) {
            case LAYER_NORM, ATTENTION -> List.of(f32);
            case MATMUL, LINEAR, LINEAR_GELU, BLOCK, FORWARD -> List.of(f32, new Way("", Precision.INT8));
            default -> List.of();
        };
    }

    @Override
    public Contender open(Task task, Way way) {
        int ofBytes = Host.hasVnni() ? OnnxStudent.LARGEST_WEIGHT : OnnxStudent.LARGEST_WEIGHT_IN_PAIRS;
        OnnxStudent student = new OnnxStudent(task, way.precision() == Precision.INT8 ? ofBytes : 0);
        try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
            options.setIntraOpNumThreads(threads);
            options.setInterOpNumThreads(1);
            options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT);
            return new Run(environment.createSession(student.model(), options), student);
        } catch (OrtException e) {
            throw new AbsentException(String.valueOf(e.getMessage()));
        }
    }

    /** A session with its inputs. */
    private final class Run extends Contender {
        private final OrtSession session;
        private final Map<String, OnnxTensor> inputs = new LinkedHashMap<>();

        Run(OrtSession session, OnnxStudent student) throws OrtException {
            this.session = session;
            for (Map.Entry<String, OnnxStudent.Input> entry : student.inputs().entrySet()) {
                OnnxStudent.Input input = entry.getValue();
                OnnxJavaType type =
                        input.indices() ? OnnxJavaType.INT64 : input.u8() ? OnnxJavaType.UINT8 : OnnxJavaType.FLOAT;
                inputs.put(entry.getKey(), OnnxTensor.createTensor(environment, input.data(), input.shape(), type));
            }
        }

        @Override
        public float[] output() {
            try (OrtSession.Result result = session.run(inputs)) {
                FloatBuffer values = ((OnnxTensor) result.get(0)).getFloatBuffer();
                float[] copy = new float[values.remaining()];
                values.get(copy);
                return copy;
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        protected void call() {
            try {
                session.run(inputs).close();
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void close() {
            inputs.values().forEach(OnnxTensor::close);
            try {
                session.close();
            } catch (OrtException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    @Override
    public void close() {}
}
