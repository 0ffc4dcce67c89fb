package tessera.nn.inference;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import tessera.nn.Architecture;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.ModelConfig;
import tessera.nn.ModelHeads;
import tessera.nn.Pooling;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.Sha256;

/** Files of students: what is in them, and what tells one student's weights from another's. */
final class StudentFile {
    /** What the names of a model's weights begin with in the checkpoint of a training, before their own names. */
    private static final List<String> UNFINISHED = List.of("p.", "p.student.");

    private StudentFile() {}

    /**
     * Writes a student with its heads.
     *
     * @param entries of the student; what they say of heads is replaced
     * @param bytes names of the weights that become bytes
     */
    static void write(
            Path file,
            Map<String, Tensor> parameters,
            Map<String, String> entries,
            List<Head> heads,
            Set<String> bytes) {
        Map<String, String> metadata = new LinkedHashMap<>(entries);
        metadata.keySet().removeIf(ModelHeads::isEntry);
        Map<String, List<String>> labels = new LinkedHashMap<>();
        Map<String, Tensor> weights = new LinkedHashMap<>(parameters);
        try (Scope scope = Scope.open()) {
            for (Head head : heads) {
                labels.put(head.name(), head.labels());
                weights.put(ModelHeads.weight(head.name()), head.weightTensor());
                weights.put(ModelHeads.bias(head.name()), Tensor.of(head.bias()));
                head.stopping().ifPresent(rule -> metadata.put(ModelHeads.ADAPTIVE + head.name(), rule.text()));
                if (!head.pooling().equals(Pooling.MEAN)) {
                    metadata.put(
                            ModelHeads.POOLING + head.name(), head.pooling().toString());
                }
                float[] query = head.pooling().query();
                if (query != null) {
                    weights.put(ModelHeads.query(head.name()), Tensor.of(query));
                }
            }
            metadata.putAll(new ModelHeads(labels).toMetadata());
            Checkpoint.write(file, weights, metadata, bytes);
        }
    }

    /** Says what a file is that is taken for a student, where its weights' names tell. */
    static void requireStudent(Path file, Architecture architecture, Set<String> names) {
        if (names.stream()
                .anyMatch(name -> UNFINISHED.stream()
                        .anyMatch(begin ->
                                name.startsWith(begin) && architecture.keeps(name.substring(begin.length()))))) {
            throw new CheckpointException("this is the checkpoint of a training that has not finished, not a student;"
                    + " run the same command again to finish it");
        }
        architecture.refusal(file, names).ifPresent(refusal -> {
            throw new CheckpointException(refusal);
        });
        if (Head.isAlone(names)) {
            throw new CheckpointException("this is a head, not a student; pass the student that it was learned with");
        }
    }

    /** A head of a file, whose weights are taken out of the others. */
    static Head head(String name, List<String> labels, Map<String, String> metadata, Map<String, Tensor> weights) {
        Tensor weight = weights.remove(ModelHeads.weight(name));
        Tensor bias = weights.remove(ModelHeads.bias(name));
        Tensor query = weights.remove(ModelHeads.query(name));
        if (weight == null || bias == null) {
            throw new CheckpointException("the checkpoint lacks " + ModelHeads.weight(name) + " or "
                    + ModelHeads.bias(name) + ", which its metadata name; use the file as it was written");
        }
        try {
            return Head.of(name, weight, bias, labels, null)
                    .on(Head.pooling(metadata.get(ModelHeads.POOLING + name), query))
                    .stoppingAt(Stopping.of(metadata.get(ModelHeads.ADAPTIVE + name)));
        } catch (IllegalArgumentException e) {
            throw new CheckpointException("its head '" + name + "': " + e.getMessage());
        }
    }

    /** See {@link Student#save(Path, Map, ModelConfig, ModelHeads, Map)}. */
    static void save(
            Path file,
            Map<String, Tensor> weights,
            ModelConfig config,
            ModelHeads heads,
            Map<String, String> metadata) {
        Map<String, String> entries = new LinkedHashMap<>(metadata);
        entries.putAll(config.toMetadata());
        entries.putAll(heads.toMetadata());
        Architecture architecture = Architecture.of(entries);
        List<String> ofHeads = heads.weights();
        if (!weights.keySet().containsAll(ofHeads)) {
            throw new IllegalArgumentException("heads " + heads.labels().keySet() + " need the weights " + ofHeads
                    + " but some are missing; pass them with the model's");
        }
        Map<String, Tensor> kept = new LinkedHashMap<>();
        weights.forEach((name, tensor) -> {
            if (ModelHeads.isHead(name) ? ofHeads.contains(name) : architecture.keeps(name)) {
                kept.put(name, tensor);
            }
        });
        Checkpoint.write(file, kept, entries);
    }

    /** See {@link Student#checksum}. */
    static String checksum(Map<String, Tensor> parameters) {
        MessageDigest digest = Sha256.digest();
        new TreeMap<>(parameters).forEach((name, tensor) -> {
            digest.update((name + tensor.shape() + "\n").getBytes(StandardCharsets.UTF_8));
            float[] values = tensor.toFloats();
            ByteBuffer bytes =
                    ByteBuffer.allocate(Math.multiplyExact(4, values.length)).order(ByteOrder.LITTLE_ENDIAN);
            bytes.asFloatBuffer().put(values);
            digest.update(bytes);
        });
        return Sha256.hex(digest);
    }
}
