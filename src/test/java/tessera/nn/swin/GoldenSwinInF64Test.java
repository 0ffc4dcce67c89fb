package tessera.nn.swin;

import tessera.kernels.DType;

/** The models of {@link GoldenSwinTest} in f64, where only the reference values are rounded. */
class GoldenSwinInF64Test extends GoldenSwinTest {
    @Override
    DType dtype() {
        return DType.F64;
    }
}
