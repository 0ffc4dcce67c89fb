package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Map;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.distill.data.Modality;
import tessera.nn.Schedule;

/** The settings that stages have where nobody says otherwise, and what their schedules make of them. */
class RecipeTest {

    /** MM-CDFSL's optimisers, masks and weights of the classes. */
    @Test
    void defaultsAreThoseOfThePaperWhereItHasThem() {
        Pretraining rgb = Pretraining.defaults(Modality.RGB);
        assertEquals(
                new Optimiser(.9, .95, 1e-8, .05, Optimiser.Decays.MATRICES, 0),
                rgb.recipe().optimiser());
        Close.within(rgb.recipe().maskRatio(), .9, 0, "mask ratio of the first stage");
        Close.within(rgb.lambda(), .05, 0, "lambda of rgb");
        Close.within(Pretraining.defaults(Modality.FLOW).lambda(), .01, 0, "lambda of flow");
        Distillation second = Distillation.defaults();
        assertEquals(
                new Optimiser(.9, .999, 1e-8, .05, Optimiser.Decays.ALL, 0),
                second.recipe().optimiser());
        Close.within(second.recipe().maskRatio(), .75, 0, "mask ratio of the second stage");
        assertEquals(Map.of(Modality.RGB, 1.0, Modality.FLOW, 1.0, Modality.POSE, 1.0), second.weights());
    }

    @Test
    void theStandardDecayFollowsStepsAndHighestRate() {
        Recipe recipe = Recipe.defaults().over(50, .2);
        assertEquals(50, recipe.steps());
        Schedule schedule = recipe.rate().schedule();
        Close.within(schedule.at(0), .0002, 1e-15, "a thousandth");
        Close.within(schedule.at(5), .2, 1e-15, "after a tenth of the steps");
        Close.within(schedule.at(55), .002, 1e-15, "a hundredth after the period");
    }

    @Test
    void aLinearDecayEndsAtZero() {
        LearningRate rate = new LearningRate(LearningRate.Shape.LINEAR, 1e-4, 0, 0, 3, 27);
        Schedule schedule = Recipe.defaults().withRate(30, rate).rate().schedule();
        Close.within(schedule.at(0), 0, 0, "from 0");
        Close.within(schedule.at(3), 1e-4, 1e-18, "highest");
        Close.within(schedule.at(30), 0, 0, "to 0");
    }

    @Test
    void noStepIsNoRecipe() {
        assertThrows(IllegalArgumentException.class, () -> Recipe.defaults().withBatch(0));
        assertThrows(IllegalArgumentException.class, () -> Recipe.defaults().withBatch(Recipe.MOST_BATCH + 1));
        assertThrows(IllegalArgumentException.class, () -> Recipe.defaults().over(0, 1e-3));
    }
}
