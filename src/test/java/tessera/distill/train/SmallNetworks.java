package tessera.distill.train;

import java.util.LinkedHashMap;
import java.util.Map;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Tensor;

/** Networks and clips as small as they may be. */
final class SmallNetworks {
    static final Geometry GEOMETRY = new Geometry(4, 16, 4);
    static final int WIDTH = 16;

    private SmallNetworks() {}

    /** A network with its parameters. */
    record Made(ModelNetwork network, Map<String, Tensor> parameters) {}

    static VideoMaeConfig config(Modality modality) {
        return new ModalityInput(GEOMETRY, 4, 2, FlowStats.NONE)
                .config(modality, new ModalityInput.ModelSize(WIDTH, 1, 2, 8, 1, 1));
    }

    /** A network with a head for the classes; its parameters belong to the open scope. */
    static Made make(Device device, Modality modality, int classes, long seed, boolean frozen) {
        Params params = Params.random(device, DType.F32, seed);
        VideoMaeClassifier model = new VideoMaeClassifier(params, config(modality), 0);
        Linear head = Linear.fanIn(params.at("head_action"), WIDTH, classes);
        params.finish();
        params.all().values().forEach(parameter -> parameter.requiresGrad(!frozen));
        return new Made(new ModelNetwork(model, Map.of(ClipBatches.ACTION, head)), new LinkedHashMap<>(params.all()));
    }

    static ClipSet clips() {
        EgoSim sim = new EgoSim(GEOMETRY, 3);
        return EgoSimClips.render(sim, Split.VALIDATION, Domain.SOURCE, 1, Modality.ALL, done -> {});
    }
}
