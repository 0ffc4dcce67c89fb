package tessera.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.kernels.DType;

class PrintingTest {
    private static void prints(Tensor tensor, String... lines) {
        assertEquals(String.join("\n", lines), tensor.toString());
        tensor.close();
    }

    @Test
    void typeShapeAndDeviceComeFirst() {
        prints(
                Tensor.of(new float[] {1.5f, -2.25f, 3, 4}, 2, 2),
                "f32[2, 2] cpu",
                "[[ 1.5000 -2.2500]",
                " [ 3.0000  4.0000]]");
        prints(Tensor.of(new double[] {.5}).requiresGrad(true), "f64[1] cpu grad", "[0.5000]");
        assertEquals(
                "f32[8, 1568, 384]", Tensor.ones(1, 1, 1).expand(8, 1568, 384).describe());
    }

    @Test
    void wholeNumbersHaveNoFraction() {
        prints(Tensor.of(new float[] {1, -20, 300}), "f32[3] cpu", "[  1. -20. 300.]");
        prints(Tensor.of(new int[] {7, -11}), "i32[2] cpu", "[  7 -11]");
        prints(Tensor.of(new byte[] {0, -1}), "u8[2] cpu", "[  0 255]");
        prints(Tensor.of(new float[] {2.5f}).to(DType.BF16), "bf16[1] cpu", "[2.5000]");
    }

    @Test
    void specialValuesAreNamed() {
        float inf = Float.POSITIVE_INFINITY;
        prints(Tensor.of(new float[] {Float.NaN, inf, -inf, 1}), "f32[4] cpu", "[ nan  inf -inf   1.]");
    }

    @Test
    void smallAndLargeValuesUseExponents() {
        prints(Tensor.of(new double[] {1e-5, 1}), "f64[2] cpu", "[1.0000e-05 1.0000e+00]");
        prints(Tensor.of(new double[] {2.5e9}), "f64[1] cpu", "[2.5000e+09]");
    }

    @Test
    void scalarsAndNothing() {
        prints(Tensor.of(new float[] {3}).reshape(), "f32[] cpu", "3.");
        prints(Tensor.zeros(0, 3), "f32[0, 3] cpu", "[]");
    }

    @Test
    void blocksAreSeparatedByAnEmptyLine() {
        Tensor x = Tensor.of(IntStream.range(0, 8).toArray(), 2, 2, 2);
        prints(x, "i32[2, 2, 2] cpu", "[[[0 1]", "  [2 3]]", "", " [[4 5]", "  [6 7]]]");
    }

    @Test
    void viewsPrintWhatTheySee() {
        Tensor x = Tensor.of(IntStream.range(0, 6).toArray(), 2, 3);
        prints(x.transpose(0, 1).slice(0, 1, 3), "i32[2, 2] cpu", "[[1 4]", " [2 5]]");
    }

    @Test
    void longAxesAreShortened() {
        prints(Tensor.of(IntStream.range(0, 2000).toArray()), "i32[2000] cpu", "[   0    1    2 ... 1997 1998 1999]");
        prints(
                Tensor.of(IntStream.range(0, 1050).toArray(), 150, 7),
                "i32[150, 7] cpu",
                "[[   0    1    2 ...    4    5    6]",
                " [   7    8    9 ...   11   12   13]",
                " [  14   15   16 ...   18   19   20]",
                " ...",
                " [1029 1030 1031 ... 1033 1034 1035]",
                " [1036 1037 1038 ... 1040 1041 1042]",
                " [1043 1044 1045 ... 1047 1048 1049]]");
    }

    @Test
    void longRowsWrap() {
        String[] lines = Tensor.zeros(40).toString().split("\n", 0);
        assertTrue(lines.length > 2);
        for (String line : lines) {
            assertTrue(line.length() <= 76, line);
        }
        assertEquals(" 0. 0.", lines[2].substring(0, 6));
    }
}
