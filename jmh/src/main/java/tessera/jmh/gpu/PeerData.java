package tessera.jmh.gpu;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.tensor.Autograd;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;
import tessera.tensor.io.StoredType;

/** What PyTorch gets, and whether what it gives back for it is what our model gives in f32 for the same masks. */
final class PeerData {
    private static final String HEAD_WEIGHT = "head.weight";
    private static final String HEAD_BIAS = "head.bias";

    private final Device device;
    private final Sizes sizes;
    private final Map<String, Tensor> weights;
    private final Head head;

    /** @param weights of a model without a head, on the CPU, borrowed */
    PeerData(Device device, Sizes sizes, Map<String, Tensor> weights, Head head) {
        this.device = device;
        this.sizes = sizes;
        this.weights = weights;
        this.head = head;
    }

    /** Writes weights and clips, the largest batch of them. */
    void write(Path file, MemorySegment clips) {
        List<ArrayData> arrays = new ArrayList<>();
        weights.forEach((name, tensor) -> arrays.add(new ArrayData(
                name, StoredType.F32, tensor.shape().toArray(), tensor.buffer().segment())));
        arrays.add(ArrayData.of(HEAD_WEIGHT, head.weight(), head.classes(), head.width()));
        arrays.add(ArrayData.of(HEAD_BIAS, head.bias(), head.classes()));
        var config = sizes.config();
        long[] shape = {
            sizes.batch(),
            config.frames(),
            config.height(),
            config.width(),
            config.patches().channels()
        };
        arrays.add(new ArrayData("clips", StoredType.U8, shape, clips));
        Safetensors.write(file, arrays, Map.of());
    }

    /**
     * The norm of the difference to ours over the norm of ours: of probabilities, or of the loss where labels are given. Infinite
     * where that is not a number.
     *
     * @param file what PyTorch gave
     * @param labels of the clips, or none
     */
    double error(Path file, Tensor clips, Tensor... labels) {
        try (SafetensorsFile given = Safetensors.open(file)) {
            float[] theirs = given.floats("value");
            float[] ours = ours(given.ints("visible"), clips, labels);
            double difference = 0;
            double norm = 0;
            for (int i = 0; i < ours.length; i++) {
                difference += (theirs[i] - (double) ours[i]) * (theirs[i] - (double) ours[i]);
                norm += (double) ours[i] * ours[i];
            }
            double error = Math.sqrt(difference / norm);
            return ours.length != theirs.length || Double.isNaN(error) ? Double.POSITIVE_INFINITY : error;
        }
    }

    private float[] ours(int[] indices, Tensor clips, Tensor... labels) {
        return Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                Map<String, Tensor> all = new LinkedHashMap<>(weights);
                all.put(HEAD_WEIGHT, Tensor.of(head.weight(), head.classes(), head.width()));
                all.put(HEAD_BIAS, Tensor.of(head.bias(), head.classes()));
                VideoMaeClassifier model =
                        new VideoMaeClassifier(Params.from(device, DType.F32, all), sizes.config(), head.classes());
                long batch = clips.size(0);
                Tensor visible = Tensor.empty(device, DType.I32, Shape.of(batch, indices.length / batch));
                try (Buffer host = Device.cpu().allocate(DType.I32, indices.length)) {
                    host.segment().copyFrom(MemorySegment.ofArray(indices));
                    host.copyTo(visible.buffer());
                }
                Tensor logits = model.forward(clips, visible);
                float[] result = ModelBenchmark.values(
                        labels.length == 0 ? logits.softmax() : Losses.crossEntropy(logits, labels[0]));
                model.close();
                return result;
            }
        });
    }
}
