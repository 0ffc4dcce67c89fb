package tessera.distill.cli;

import picocli.CommandLine.Option;
import tessera.kernels.DType;

/** Where a command computes and in what: {@link DeviceOptions} and {@code --precision}. */
final class ComputeOptions extends DeviceOptions {

    @Option(
            names = "--precision",
            paramLabel = "f32|bf16",
            description =
                    "What to compute in; bf16 needs a GPU, or a CPU with AVX512_BF16 or AMX. Default: ${DEFAULT-VALUE}")
    private String precision = "f32";

    /**
     * What to compute in.
     *
     * @throws IllegalArgumentException if it is unknown, or the device does not compute in it
     */
    @Override
    DType precision() {
        DType type = switch (precision) {
            case "f32" -> DType.F32;
            case "bf16" -> DType.BF16;
            default -> throw new IllegalArgumentException("unknown --precision '" + precision + "'; pass f32 or bf16");
        };
        requireComputes(type, "--precision");
        return type;
    }
}
