package tessera;

import java.util.LinkedHashMap;
import java.util.Map;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Tensor;

/** Reference values as tensors, and tensors compared with reference values. */
public final class GoldenTensors {
    /** Norm below which a gradient is zero but for rounding, so that its relative error says nothing. */
    private static final double ROUNDING = 1e-6;

    private GoldenTensors() {}

    /** One array of a file; integers and flags become i32. */
    public static Tensor tensor(Golden golden, String key, DType floating) {
        Tensor flat = golden.dtype(key).startsWith("F")
                ? Tensor.of(golden.doubles(key)).to(floating)
                : Tensor.of(golden.ints(key));
        return flat.reshape(golden.shape(key));
    }

    /** The same on a device. */
    public static Tensor tensor(Golden golden, String key, DType floating, Device device) {
        return tensor(golden, key, floating).to(device);
    }

    /** All arrays below a prefix, without it. */
    public static Map<String, Tensor> below(Golden golden, String prefix, DType floating) {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        for (String key : golden.keys()) {
            if (key.startsWith(prefix)) {
                tensors.put(key.substring(prefix.length()), tensor(golden, key, floating));
            }
        }
        return tensors;
    }

    /** Compares values of one shape by the 2-norm. */
    public static void close(Tensor actual, double[] expected, double tol, String what) {
        double norm = 0;
        for (double e : expected) {
            norm += e * e;
        }
        if (Math.sqrt(norm) > ROUNDING) {
            Close.relative(actual.toDoubles(), expected, tol, what);
        } else {
            for (double a : actual.toDoubles()) {
                Close.within(a, 0, 10 * ROUNDING, what);
            }
        }
    }
}
