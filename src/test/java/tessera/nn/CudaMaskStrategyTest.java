package tessera.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.FakeCuda;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TestDevices;

/** Masks for a GPU, of clips on a GPU, are those for a CPU. */
@Tag(FakeCuda.TAG)
class CudaMaskStrategyTest {
    @ParameterizedTest
    @ValueSource(strings = {"tube", "pairs", "partition", "per-slot", "running", "running:3", "motion", "saliency"})
    void masksAreTheSameOnEveryDevice(String word) {
        Assumptions.assumeFalse(
                TestDevices.cuda().isEmpty(), TestDevices.absent().toString());
        Device gpu = TestDevices.cuda().getFirst();
        TokenGrid grid = new TokenGrid(2, 5, 7);
        byte[] pixels = new byte[3 * 4 * 10 * 14 * 3];
        new Random(1).nextBytes(pixels);
        float[][] saliency = new float[3][grid.tokens()];
        for (float[] clip : saliency) {
            for (int i = 0; i < clip.length; i++) {
                clip[i] = i % grid.plane() % 3 == 0 ? i : Float.NaN;
            }
        }
        MaskStrategy strategy = MaskStrategy.of(word);
        try (Scope scope = Scope.open()) {
            Tensor clips = Tensor.of(pixels, 3, 4, 10, 14, 3);
            for (int member = 0; member < 3; member++) {
                MaskContext here = new MaskContext(Device.cpu(), 3, grid, .75, 9, 0, member, clips, saliency);
                MaskContext there = new MaskContext(gpu, 3, grid, .75, 9, 0, member, clips.to(gpu), saliency);
                assertArrayEquals(
                        strategy.draw(here).visible().toInts(),
                        strategy.draw(there).visible().toInts(),
                        word + ", mask " + member);
            }
        }
    }
}
