package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import tessera.distill.data.Modality;

/** What a run's file says of its settings, and what is refused. */
class SettingsTest {
    private static final Settings STANDARD = Distillation.defaults().settings();

    private static List<String> differences(Settings before, Settings now) {
        return before.differences(now, STANDARD);
    }

    @Test
    void whatIsWrittenComesBack() {
        Settings settings = Pretraining.defaults(Modality.FLOW).settings();
        Settings back = Settings.parse(settings.json());
        assertEquals(List.of(), back.differences(settings, Settings.NONE));
        assertEquals(settings.json(), back.json());
        assertEquals("flow", back.values().get("modality"));
    }

    @Test
    void theOneSettingThatDiffersIsNamed() {
        Distillation standard = Distillation.defaults();
        assertEquals(
                List.of("clipNorm was 0.0, is 5.0"),
                differences(
                        STANDARD,
                        standard.withRecipe(standard.recipe().withClipNorm(5)).settings()));
        assertEquals(
                List.of("weights.flow was 1.0, is 0.5"),
                differences(
                        STANDARD,
                        standard.withWeights(Map.of(Modality.RGB, 1.0, Modality.FLOW, .5, Modality.POSE, 1.0))
                                .settings()));
        assertEquals(
                List.of("weights.pose was 1.0, is none"),
                STANDARD.differences(
                        standard.withWeights(Map.of(Modality.RGB, 1.0, Modality.FLOW, 1.0))
                                .settings(),
                        Settings.NONE));
    }

    /** A run that began before an option existed did what is now the option's default. */
    @Test
    void anOptionThatAnOlderRunDidNotHaveCountsAsItsDefault() {
        Settings older = Settings.parse(STANDARD.json().replace("\"dropPath\":0.0,", ""));
        assertEquals(List.of(), differences(older, STANDARD));
        Distillation standard = Distillation.defaults();
        assertEquals(
                List.of("dropPath was 0.0, is 0.1"),
                differences(
                        older,
                        standard.withRecipe(standard.recipe().withDropPath(.1)).settings()));
    }

    @Test
    void anOptionOfANewerVersionIsNamed() {
        assertEquals(List.of("mixup was 0.2, is none"), differences(STANDARD.with("mixup", .2), STANDARD));
    }

    @Test
    void whatIsNoJsonIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> Settings.parse("pretrain Settings[batch=16]"));
        assertThrows(IllegalArgumentException.class, () -> Settings.parse("{\"batch\":"));
    }
}
