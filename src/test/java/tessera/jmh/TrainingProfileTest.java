package tessera.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What the profile of a training step makes of stacks; looking at a step takes a minute and is for people. */
class TrainingProfileTest {
    /** Class and method of each frame, innermost first. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "Java between kernels                | tessera.tensor.Op.apply tessera.jmh.TrainingBenchmark.step",
                "linear layers, forward              | tessera.kernels.cpu.OneDnnGemm.gemm tessera.kernels.cpu.GemmMatmul.matmul tessera.tensor.Op.apply",
                "linear layers, backward             | tessera.kernels.cpu.GemmMatmul.linearBackward tessera.tensor.MlpOp.backward tessera.tensor.Autograd.backward",
                "linear layers, backward             | tessera.kernels.cpu.vector.VectorElementwise.sum tessera.kernels.cpu.GemmMatmul.linearBackward tessera.tensor.Autograd.backward",
                "attention, forward                  | tessera.kernels.cpu.Workers.repeatableFor tessera.kernels.cpu.vector.VectorAttention.forward",
                "attention, backward                 | tessera.kernels.cpu.scalar.ScalarAttention.backward tessera.tensor.Autograd.backward",
                "layer norm, forward                 | tessera.kernels.cpu.vector.VectorNorms.layerNorm",
                "GELU, backward                      | tessera.kernels.cpu.vector.VectorElementwise.unaryBackward tessera.tensor.MlpOp.backward tessera.tensor.Autograd.backward",
                "GELU, forward                       | tessera.kernels.cpu.vector.VectorElementwise.unary tessera.tensor.ElementwiseOps$Unary.forward tessera.tensor.Op.apply",
                "other sums and copies, forward      | tessera.kernels.cpu.vector.VectorElementwise.add tessera.tensor.Op.apply",
                "AdamW                               | tessera.kernels.cpu.vector.VectorOptimiser.adamw tessera.nn.AdamW.step",
                "batch, masks and loss               | tessera.kernels.cpu.vector.VectorLosses.crossEntropy tessera.tensor.Autograd.backward",
                "other kernels, forward              | tessera.kernels.cpu.Slots.take"
            })
    void theOutermostKernelCounts(String part, String frames) {
        List<StackTraceElement> stack = Stream.of(frames.split(" "))
                .map(frame -> new StackTraceElement(
                        frame.substring(0, frame.lastIndexOf('.')),
                        frame.substring(frame.lastIndexOf('.') + 1),
                        null,
                        1))
                .toList();
        assertEquals(part, TrainingProfile.part(stack));
    }

    @Test
    void theLargestPartComesFirst() {
        Map<String, Integer> parts = new LinkedHashMap<>(Map.of("small", 1));
        parts.put("large", 7);
        assertEquals(
                "3 steps of 12 ms, looked at 8 times\n\n| part | share |\n|---|---|\n| large | 87.5 % |\n| small | 12.5 % |\n",
                TrainingProfile.table(parts, 3, 12.4));
    }

    @Test
    void secondsAreAllThatIsSaid() {
        assertEquals(60, TrainingProfile.seconds());
        assertEquals(5, TrainingProfile.seconds("5"));
        for (String[] words : new String[][] {{"soon"}, {"0"}, {"5", "6"}}) {
            assertEquals(
                    "'" + String.join(" ", words)
                            + "' is no number of seconds; give one from 1 to 9999, or nothing for 60",
                    assertThrows(IllegalArgumentException.class, () -> TrainingProfile.seconds(words))
                            .getMessage());
        }
    }
}
