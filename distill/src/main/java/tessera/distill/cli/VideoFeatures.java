package tessera.distill.cli;

import java.lang.foreign.MemorySegment;
import java.util.List;
import tessera.distill.video.VideoClip;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Student;
import tessera.nn.VideoMaeConfig;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** A student's features of clips of videos. */
final class VideoFeatures {
    private static final int BATCH = 8;

    private VideoFeatures() {}

    /**
     * Features of clips under {@code ensemble} masks each.
     *
     * @param first number of the first clip, which its masks depend on beside the seed
     * @return {@code [clips][ensemble][D]}
     */
    static double[][][] of(Student student, List<VideoClip> clips, MaskOptions masks, long first) {
        VideoMaeConfig config = student.config();
        int width = config.embedDim();
        int ensemble = masks.ensemble();
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
                double[] values = student.features(input, masks.maskRatio(), ensemble, masks.seed() + first + from)
                        .toDoubles();
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
