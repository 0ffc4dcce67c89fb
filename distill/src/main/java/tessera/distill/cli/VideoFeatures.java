package tessera.distill.cli;

import java.lang.foreign.MemorySegment;
import java.util.List;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.ClipShape;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.inference.VideoClip;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** A student's features of clips of videos. */
final class VideoFeatures {
    private static final int BATCH = 8;

    private VideoFeatures() {}

    /**
     * Features of clips under the masks of an ensemble each.
     *
     * @param seed of the first clip's masks; those of a later batch depend on the number of its first clip too
     * @return {@code [clips][ensemble][D]}
     */
    static double[][][] of(Student student, List<VideoClip> clips, Masking masking, long seed) {
        ClipShape config = student.config().input();
        int width = student.config().featureWidth();
        int ensemble = masking.ensemble();
        double[][][] features = new double[clips.size()][ensemble][width];
        for (int from = 0; from < clips.size(); from += BATCH) {
            int batch = Math.min(BATCH, clips.size() - from);
            try (Scope scope = Scope.open()) {
                Tensor input = Tensor.empty(
                        Device.cpu(), DType.U8, Shape.of(batch, config.frames(), config.height(), config.width(), 3));
                for (int i = 0; i < batch; i++) {
                    MemorySegment pixels =
                            MemorySegment.ofArray(clips.get(from + i).pixels());
                    MemorySegment.copy(pixels, 0, input.segment(), i * pixels.byteSize(), pixels.byteSize());
                }
                double[] values = student.features(input, masking, seed + from).toDoubles();
                for (int p = 0; p < ensemble; p++) {
                    for (int i = 0; i < batch; i++) {
                        System.arraycopy(values, (p * batch + i) * width, features[from + i][p], 0, width);
                    }
                }
            }
        }
        return features;
    }
}
