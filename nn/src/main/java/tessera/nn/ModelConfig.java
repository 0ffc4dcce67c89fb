package tessera.nn;

import java.util.Map;
import org.jspecify.annotations.Nullable;

/** What a model of any architecture takes and gives, and how its file describes it. Immutable. */
public interface ModelConfig {
    /** The clips it takes. */
    ClipShape input();

    /** Its tokens, or null if it sees every part of a clip and cannot be masked. */
    @Nullable
    TokenGrid grid();

    /**
     * The tokens that a {@link Pooling} may look at, each as wide as a feature, or null if the model gives none such.
     *
     * @param block after how many blocks, or {@link Pooling#LAST}
     */
    default @Nullable TokenGrid tokens(int block) {
        return null;
    }

    /** Values of a feature, D. */
    int featureWidth();

    /** Text entries from which {@link Architecture#build} makes the model again, {@link Architecture#ENTRY} among them. */
    Map<String, String> toMetadata();
}
