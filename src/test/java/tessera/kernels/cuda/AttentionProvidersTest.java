package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.kernels.cuda.AttentionProviders.Line;

class AttentionProvidersTest {
    private static final Map<Line, AttentionProviders.Provider> TABLE = AttentionProviders.read(List.of(
            "80 forward 392 392 64 tall",
            "80 backward 392 392 64 cudnn",
            "80 forward 98 98 64 cudnn",
            "80 forward 98 98 64 own",
            "80 forward 49 49 64 another",
            "90 biased-forward 392 392 32 wgmma",
            "90 biased-backward 392 392 32 own",
            "90 backward 392 392 80 wgmma",
            "80 forward 7"));

    @ParameterizedTest
    @CsvSource({
        "auto, 80, false, false, 392, 64, TALL",
        "auto, 80, true, false, 392, 64, CUDNN",
        "auto, 80, false, false, 98, 64, OWN",
        "auto, 80, false, false, 49, 64, OWN",
        "auto, 90, false, false, 392, 64, OWN",
        "auto, 80, false, false, 392, 32, OWN",
        "auto, 90, false, true, 392, 32, WGMMA",
        "auto, 90, false, false, 392, 32, OWN",
        "auto, 90, true, true, 392, 32, OWN",
        "auto, 90, true, false, 392, 80, WGMMA",
        "own, 80, false, false, 392, 64, OWN",
        "tall, 90, false, false, 5, 16, TALL",
        "wgmma, 90, false, true, 5, 16, WGMMA",
        "cudnn, 80, false, false, 5, 16, CUDNN"
    })
    void thePropertyOrTheTableTellsWhoComputes(
            String choice,
            int capability,
            boolean backward,
            boolean biased,
            int tokens,
            int headDim,
            AttentionProviders.Provider wanted) {
        assertEquals(
                wanted,
                AttentionProviders.wanted(
                        choice, TABLE, new Line(capability, backward, biased, tokens, tokens, headDim)));
    }

    @Test
    void anotherValueOfThePropertyIsRefused() {
        Line line = new Line(80, false, false, 5, 5, 16);
        assertEquals(
                "property tessera.cuda.attention is 'TALL'; set it to auto, own, tall, wgmma or cudnn",
                assertThrows(IllegalArgumentException.class, () -> AttentionProviders.wanted("TALL", TABLE, line))
                        .getMessage());
    }
}
