package tessera.jmh.gpu;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tessera.kernels.DType;
import tessera.kernels.Device;

/**
 * What kernels should write for a small batch, by the plain kernels in f64 on the CPU: at {@value #SAMPLES} places of each output,
 * spread over it, since all of it would be large. Computed beforehand and shipped with the bundle, because it takes long; a case
 * that the file does not hold is computed when it is asked for.
 */
final class References {
    private static final int SAMPLES = 2048;

    private final Map<String, List<Expected>> shipped = new LinkedHashMap<>();

    /**
     * One output of a small batch.
     *
     * @param length of the whole output
     * @param values at {@link References#places}
     */
    record Expected(int length, double[] values) {}

    private References() {}

    /** Without any; each is computed when it is asked for. */
    static References none() {
        return new References();
    }

    /** Those of a file that {@link #main} wrote. */
    static References of(Path file) throws IOException {
        References references = new References();
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file)))) {
            for (int cases = in.readInt(); cases > 0; cases--) {
                String key = in.readUTF();
                List<Expected> outputs = new ArrayList<>();
                for (int count = in.readInt(); count > 0; count--) {
                    int length = in.readInt();
                    double[] values = new double[places(length).length];
                    for (int i = 0; i < values.length; i++) {
                        values[i] = in.readFloat();
                    }
                    outputs.add(new Expected(length, values));
                }
                references.shipped.put(key, outputs);
            }
        }
        return references;
    }

    /** Computes all and writes them: {@code FILE [--tiny]}. */
    public static void main(String[] args) throws IOException {
        Sizes sizes = args.length > 1 && args[1].equals("--tiny") ? Sizes.tiny() : Sizes.paper();
        List<KernelCase> cases = new ArrayList<>(KernelCases.of(sizes));
        cases.addAll(KernelCases.attention(sizes));
        Map<String, List<Expected>> all = new LinkedHashMap<>();
        for (KernelCase one : cases) {
            for (DType type : one.bf16() ? List.of(DType.BF16, DType.F32) : List.of(DType.F32)) {
                all.computeIfAbsent(key(one, type), key -> compute(one, type));
            }
        }
        Path file = Path.of(args[0]);
        Path fresh = file.resolveSibling(file.getFileName() + ".part");
        try (DataOutputStream out = new DataOutputStream(new BufferedOutputStream(Files.newOutputStream(fresh)))) {
            out.writeInt(all.size());
            for (Map.Entry<String, List<Expected>> entry : all.entrySet()) {
                out.writeUTF(entry.getKey());
                out.writeInt(entry.getValue().size());
                for (Expected output : entry.getValue()) {
                    out.writeInt(output.length);
                    for (double value : output.values) {
                        out.writeFloat((float) value);
                    }
                }
            }
        }
        Files.move(fresh, file, StandardCopyOption.REPLACE_EXISTING);
    }

    /** What the outputs of a case should be for its small batch. */
    List<Expected> of(KernelCase one, DType type) {
        List<Expected> outputs = shipped.get(key(one, type));
        return outputs == null ? compute(one, type) : outputs;
    }

    private static String key(KernelCase one, DType type) {
        return one.primitive() + "|" + one.name() + "|" + one.shape() + "|" + type;
    }

    private static List<Expected> compute(KernelCase one, DType type) {
        try (Inputs in = Inputs.reference(type)) {
            one.setup().prepare(Device.cpu().kernels(), in, one.checkBatch()).run();
            return in.results().stream()
                    .map(all -> new Expected(all.length, at(all)))
                    .toList();
        }
    }

    /** The elements of an output that are compared. */
    static double[] at(double[] all) {
        int[] places = places(all.length);
        double[] values = new double[places.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = all[places[i]];
        }
        return values;
    }

    /** All places of a short output; of a longer one, one of each stretch of equal length, the last included. */
    private static int[] places(int length) {
        int count = Math.min(length, SAMPLES);
        int[] places = new int[count];
        for (int i = 0; i < count; i++) {
            long begin = (long) i * length / count;
            long end = (long) (i + 1) * length / count;
            places[i] = (int) (i == count - 1 ? length - 1 : begin + ((i * 2654435761L) >>> 7) % (end - begin));
        }
        return places;
    }
}
