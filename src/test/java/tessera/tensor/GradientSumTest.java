package tessera.tensor;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import tessera.kernels.Buffer;
import tessera.kernels.Communicator;
import tessera.kernels.Stream;

/** Gradients are summed in buckets beside the backward pass, in one order. */
class GradientSumTest {
    private final Tensor early = Tensor.ones(3, 5).requiresGrad(true);
    private final Tensor frozen = Tensor.ones(4);
    private final Tensor unused = Tensor.ones(2).requiresGrad(true);
    private final Tensor late = Tensor.ones(100).requiresGrad(true);
    private final List<Tensor> parameters = List.of(early, frozen, unused, late);

    /** Stands for two devices with the same gradients; notes which of them were there at each sum. */
    private final class Doubling implements Communicator {
        private final List<String> sums = new ArrayList<>();

        @Override
        public int rank() {
            return 0;
        }

        @Override
        public int size() {
            return 2;
        }

        @Override
        public void sum(Buffer values, Stream stream) {
            sums.add(values.length() + ":" + (early.grad() == null ? "" : " early")
                    + (late.grad() == null ? "" : " late"));
            for (long i = 0; i < values.length(); i++) {
                float value = values.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
                values.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, 2 * value);
            }
        }

        @Override
        public void abort() {}

        @Override
        public void close() {}
    }

    /** The gradient of {@code late} is 3, that of {@code early} 3 + 100 = 103, in two parts. */
    private void backward() {
        try (Scope scope = Scope.open()) {
            Tensor first = early.sum();
            first.mul(3)
                    .add(early.sum().mul(late.mul(late).sum()))
                    .add(late.sum())
                    .backward();
        }
    }

    private static float[] filled(int length, float value) {
        float[] all = new float[length];
        Arrays.fill(all, value);
        return all;
    }

    private static float[] gradient(Tensor parameter) {
        return requireNonNull(parameter.grad()).toFloats();
    }

    @Test
    void bucketsAreSummedAsSoonAsTheyAreFull() {
        Doubling communicator = new Doubling();
        try (GradientSum sum = new GradientSum(parameters, communicator, 4)) {
            assertEquals(3, sum.buckets());
            for (int pass = 0; pass < 3; pass++) {
                communicator.sums.clear();
                sum.during(this::backward);
                assertArrayEquals(filled(15, 2 * 103), gradient(early));
                assertArrayEquals(filled(100, 2 * 31), gradient(late));
                assertNull(unused.grad());
                assertNull(frozen.grad());
                assertEquals(
                        pass == 0
                                ? List.of("128: early late", "64: early late", "64: early late")
                                : List.of("128: late", "64: late", "64: early late"),
                        communicator.sums);
                parameters.forEach(Tensor::zeroGrad);
            }
        }
    }

    @Test
    void gradientsFromBeforeBelongToTheSum() {
        Doubling communicator = new Doubling();
        try (GradientSum sum = new GradientSum(parameters, communicator)) {
            assertEquals(1, sum.buckets());
            backward();
            sum.during(this::backward);
            assertArrayEquals(filled(100, 4 * 31), gradient(late));
        }
        assertNull(late.grad());
        backward();
        assertArrayEquals(filled(100, 31), gradient(late));
    }

    @Test
    void anotherPassIsRefused() {
        try (GradientSum sum = new GradientSum(parameters, new Doubling(), 4)) {
            sum.during(() -> late.sum().backward());
            Exception e = assertThrows(
                    IllegalStateException.class,
                    () -> sum.during(() -> late.sum().add(late.sum()).backward()));
            assertTrue(
                    String.valueOf(e.getMessage())
                            .startsWith(
                                    "a parameter f32[100] gets 2 gradients in a backward pass but got 1 in the first"),
                    e.getMessage());
        }
        Exception none =
                assertThrows(IllegalArgumentException.class, () -> new GradientSum(List.of(frozen), new Doubling()));
        assertTrue(String.valueOf(none.getMessage()).contains("of 1 given, 0 require one"), none.getMessage());
    }
}
