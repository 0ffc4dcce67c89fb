package tessera.nn.export;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Pooling;
import tessera.nn.inference.Head;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Tensor;

/** A VideoMAE student to be written for other programs. Not thread-safe; {@link #close} frees the weights. */
public final class StudentWeights implements AutoCloseable {
    private final Checkpoint checkpoint;
    private final VideoMaeConfig config;
    private final List<Head> heads;

    private StudentWeights(Checkpoint checkpoint, VideoMaeConfig config, List<Head> heads) {
        this.checkpoint = checkpoint;
        this.config = config;
        this.heads = heads;
    }

    /**
     * Reads a student's file.
     *
     * @param heads that were learned with it; none for those of its file
     * @throws IllegalArgumentException if the file is no student, a head was learned with another, or the student is of another
     *     architecture or on bytes
     */
    public static StudentWeights read(Path file, List<Head> heads) {
        VideoMaeConfig config;
        List<Head> used;
        try (Student student = Student.load(file, Device.cpu(), DType.F32)) {
            if (!(student.config() instanceof VideoMaeConfig sizes)) {
                throw new CheckpointException(
                        file + " is no VideoMAE, the only architecture that can be exported; a Swin3D"
                                + " is written for torchvision by `tessera import --names torchvision`");
            }
            if (student.isInt8()) {
                throw new CheckpointException(
                        file + " has its weights in int8; pass the student that it was made from");
            }
            config = sizes;
            used = heads.isEmpty() ? student.heads() : student.withHeads(heads).heads();
            for (Head head : used) {
                if (!head.pooling().equals(Pooling.MEAN)) {
                    throw new IllegalArgumentException(
                            "head '" + head.name() + "' looks at features by " + head.pooling()
                                    + ", and an export has the student's own alone; learn one with --pooling mean");
                }
            }
        }
        return new StudentWeights(Checkpoint.read(file), config, used);
    }

    VideoMaeConfig config() {
        return config;
    }

    List<Head> heads() {
        return heads;
    }

    Map<String, Tensor> tensors() {
        return checkpoint.tensors();
    }

    /** Values of a weight that every student of its sizes has. */
    float[] values(String name) {
        Tensor tensor = checkpoint.tensors().get(name);
        if (tensor == null) {
            throw new CheckpointException("the student lacks " + name + "; use the file as it was written");
        }
        return tensor.toFloats();
    }

    @Override
    public void close() {
        checkpoint.close();
    }
}
