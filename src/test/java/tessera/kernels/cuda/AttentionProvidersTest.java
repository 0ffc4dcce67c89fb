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
            "Some_Card 80 forward 392 392 64 tall",
            "Some_Card 80 backward 392 392 64 cudnn",
            "Some_Card 80 forward 98 98 64 cudnn",
            "Some_Card 80 forward 98 98 64 own",
            "Some_Card 80 forward 49 49 64 another",
            "H100 90 biased-forward 392 392 32 wgmma",
            "H100 90 biased-backward 392 392 32 own",
            "H100 90 backward 392 392 80 wgmma",
            "H100 90 forward 1568 1568 64 own",
            "H200 90 forward 1568 1568 64 cudnn",
            "80 forward 7 7 64 cudnn",
            "Some_Card 80 forward 7"));

    /** What was measured on the card itself, and else the last of what was measured on cards of its capability. */
    @ParameterizedTest
    @CsvSource({
        "auto, Some_Card, 80, false, false, 392, 64, TALL",
        "auto, Some_Card, 80, true, false, 392, 64, CUDNN",
        "auto, Other_Card, 80, true, false, 392, 64, CUDNN",
        "auto, Some_Card, 80, false, false, 98, 64, OWN",
        "auto, Some_Card, 80, false, false, 49, 64, OWN",
        "auto, Some_Card, 80, false, false, 7, 64, OWN",
        "auto, Some_Card, 90, false, false, 98, 64, OWN",
        "auto, Some_Card, 80, false, false, 392, 32, OWN",
        "auto, H100, 90, false, true, 392, 32, WGMMA",
        "auto, H100, 90, false, false, 392, 32, OWN",
        "auto, H100, 90, true, true, 392, 32, OWN",
        "auto, H100, 90, true, false, 392, 80, WGMMA",
        "auto, H200, 90, true, false, 392, 80, WGMMA",
        "auto, H100, 90, false, false, 1568, 64, OWN",
        "auto, H200, 90, false, false, 1568, 64, CUDNN",
        "auto, GH200, 90, false, false, 1568, 64, CUDNN",
        "auto, H100, 100, false, false, 392, 64, OWN",
        "own, Some_Card, 80, false, false, 392, 64, OWN",
        "tall, H100, 90, false, false, 5, 16, TALL",
        "wgmma, H100, 90, false, true, 5, 16, WGMMA",
        "cudnn, Some_Card, 80, false, false, 5, 16, CUDNN"
    })
    void thePropertyOrTheTableTellsWhoComputes(
            String choice,
            String card,
            int capability,
            boolean backward,
            boolean biased,
            int tokens,
            int headDim,
            AttentionProviders.Provider wanted) {
        Line line = new Line(card, backward, biased, tokens, tokens, headDim);
        assertEquals(wanted, AttentionProviders.wanted(choice, TABLE, line, capability));
    }

    @Test
    void anotherValueOfThePropertyIsRefused() {
        Line line = new Line("Some_Card", false, false, 5, 5, 16);
        assertEquals(
                "property tessera.cuda.attention is 'TALL'; set it to auto, own, tall, wgmma or cudnn",
                assertThrows(IllegalArgumentException.class, () -> AttentionProviders.wanted("TALL", TABLE, line, 80))
                        .getMessage());
    }
}
