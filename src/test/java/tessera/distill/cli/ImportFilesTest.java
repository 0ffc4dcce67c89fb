package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.refuse;
import static tessera.distill.cli.Shell.succeed;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.StoredType;

/** One encoder in the files that people have of it: whatever holds it, the same student comes out, byte for byte. */
class ImportFilesTest {
    private static final int WIDTH = 16;
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 8, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            4,
            16,
            16,
            WIDTH,
            2,
            2,
            8,
            1,
            1,
            1e-5,
            1e-5,
            true,
            false);
    private static final String INDEX = "model.safetensors.index.json";

    @TempDir
    private Path folder;

    /** The encoder under the names of the original code. */
    private final Map<String, ArrayData> original = new LinkedHashMap<>();

    private byte[] expected = {};

    @BeforeEach
    void makeTheEncoder() throws IOException {
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 1);
            new VideoMaeClassifier(params, CONFIG, 0).close();
            params.all().forEach((name, tensor) -> {
                if (name.startsWith("encoder.")) {
                    original.put(
                            name,
                            ArrayData.of(name, tensor.toFloats(), tensor.shape().toArray()));
                }
            });
        }
        expected = imported(write("plain.safetensors", original));
    }

    private Path write(String name, Map<String, ArrayData> arrays) {
        return write(name, arrays, List.of());
    }

    private Path write(String name, Map<String, ArrayData> arrays, List<ArrayData> more) {
        List<ArrayData> all = new ArrayList<>();
        arrays.forEach((key, array) -> all.add(new ArrayData(key, array.type(), array.shape(), array.data())));
        all.addAll(more);
        Path file = folder.resolve(name);
        Safetensors.write(file, all, Map.of("format", "pt"));
        return file;
    }

    /** One channel is a spectrogram's here, which is told; whoever has a model of grey pictures would wonder later. */
    @Test
    void aModelOfOneChannelIsToldToBeOfAudio() {
        String embedding = "encoder.patch_embed.proj.weight";
        Map<String, ArrayData> grey = new LinkedHashMap<>(original);
        grey.put(embedding, ArrayData.of(embedding, new float[WIDTH * 2 * 8 * 8], WIDTH, 1, 2, 8, 8));
        Path checkpoint = write("grey.safetensors", grey);
        Path out = folder.resolve("grey-student.safetensors");
        String said = succeed(words(checkpoint, out));
        String note = "note: it is taken for a model of audio by its 1 channel alone, not for one of grey pictures";
        assertTrue(said.contains(note), said);
        refuse(
                List.of(out + " is a model of audio but videos hold pictures of 3 channels, and it takes 1"),
                "adapt",
                "--start",
                out,
                "--clips",
                folder,
                "--out",
                folder.resolve("run"));
        List<Object> told = new ArrayList<>(List.of(words(checkpoint, out)));
        told.add("--modality=audio");
        assertTrue(!succeed(told.toArray()).contains("note: "), "whoever says so knows it");
        assertTrue(
                !succeed(words(folder.resolve("plain.safetensors"), out)).contains("note: "),
                "of rgb there is no doubt");
    }

    private Object[] words(Path checkpoint, Path out) {
        return new Object[] {
            "import",
            "--checkpoint",
            checkpoint,
            "--dim=" + WIDTH,
            "--depth=2",
            "--heads=2",
            "--frames=4",
            "--pixels=16",
            "--out",
            out
        };
    }

    private byte[] imported(Path checkpoint) throws IOException {
        Path out = folder.resolve("out.safetensors");
        succeed(words(checkpoint, out));
        byte[] bytes = Files.readAllBytes(out);
        Files.delete(out);
        return bytes;
    }

    /** The encoder under Hugging Face's names, with biases as its fourth or its fifth version names them. */
    private Map<String, ArrayData> huggingFace(String prefix, boolean fifth) {
        Map<String, ArrayData> named = new LinkedHashMap<>();
        original.forEach((name, array) -> {
            if (name.endsWith("attn.qkv.weight")) {
                float[] rows = array.floats();
                List<String> parts = List.of("query", "key", "value");
                for (int i = 0; i < 3; i++) {
                    float[] part = Arrays.copyOfRange(rows, i * WIDTH * WIDTH, (i + 1) * WIDTH * WIDTH);
                    named.put(
                            prefix + hfName(name, fifth).replace("qkv", parts.get(i)),
                            ArrayData.of("", part, WIDTH, WIDTH));
                }
            } else {
                named.put(prefix + hfName(name, fifth), array);
            }
        });
        return named;
    }

    private static String hfName(String name, boolean fifth) {
        return name.replace("encoder.patch_embed.proj", "embeddings.patch_embeddings.projection")
                .replace("encoder.norm.", "layernorm.")
                .replace(".blocks.", ".layer.")
                .replace("attn.proj.", "attention.output.dense.")
                .replace("attn.q_bias", "attention.attention." + (fifth ? "query.bias" : "q_bias"))
                .replace("attn.v_bias", "attention.attention." + (fifth ? "value.bias" : "v_bias"))
                .replace("attn.qkv", "attention.attention.qkv")
                .replace("norm1", "layernorm_before")
                .replace("norm2", "layernorm_after")
                .replace("mlp.fc1", "intermediate.dense")
                .replace("mlp.fc2", "output.dense");
    }

    private static Map<String, ArrayData> prefixed(String prefix, Map<String, ArrayData> arrays) {
        return arrays.entrySet().stream().collect(Collectors.toMap(e -> prefix + e.getKey(), Map.Entry::getValue));
    }

    @Test
    void everyNamingGivesTheSameBytes() throws IOException {
        byte[] transformers =
                imported(write("first.safetensors", huggingFace("videomae.", false))); // of another epsilon
        for (String prefix : List.of("", "module.", "model._orig_mod.")) {
            assertArrayEquals(expected, imported(write("a.safetensors", prefixed(prefix, original))), prefix);
            for (String model : List.of("", "videomae.")) {
                for (boolean fifth : new boolean[] {false, true}) {
                    Path file = write("b.safetensors", huggingFace(prefix + model, fifth));
                    byte[] found = imported(file);
                    assertArrayEquals(transformers, found, prefix + model + fifth);
                    assertArrayEquals(weights(expected), weights(found), prefix + model + fifth);
                }
            }
        }
        Map<String, ArrayData> tuned = new LinkedHashMap<>();
        original.forEach((name, array) -> tuned.put(name.substring("encoder.".length()), array));
        tuned.put("head_verb.weight", ArrayData.of("", new float[3 * WIDTH], 3, WIDTH));
        assertArrayEquals(weights(expected), weights(imported(write("c.safetensors", tuned))));
    }

    @Test
    void aHeadAloneIsToldWhatItIs() {
        Path head = folder.resolve("head.safetensors");
        Head.of(new double[][] {{1, 2}, {3, 4}}, new double[2], List.of("a", "b"))
                .save(head);
        refuse(
                List.of(head + ": it is a head alone", "predict takes it by --head as it is, so import the model"),
                words(head, folder.resolve("out.safetensors")));
    }

    /** Counters that fit no tensor, flags and floats of eight bits: nobody asks for them. */
    @Test
    void onlyWhatIsAskedForIsConverted() throws IOException {
        List<ArrayData> beside = List.of(
                of("train_metric.total", StoredType.I64, 8),
                of("embeddings.position_ids", StoredType.U64, 24),
                of("head.bn.num_batches_tracked", StoredType.F8_E4M3, 5),
                of("flags", StoredType.BOOL, 3),
                of("spectrum", StoredType.C64, 16));
        assertArrayEquals(expected, imported(write("a.safetensors", original, beside)));
        byte[] found = imported(write("b.safetensors", huggingFace("videomae.", false), beside));
        assertArrayEquals(weights(expected), weights(found));

        Map<String, ArrayData> wrong = new LinkedHashMap<>(original);
        ArrayData norm = requireNonNull(wrong.remove("encoder.norm.bias"));
        List<ArrayData> eight = List.of(of("encoder.norm.bias", StoredType.F8_E4M3, (int) norm.count()));
        refuse(
                List.of("1 missing (encoder.norm.bias [16])", "not read: array 'encoder.norm.bias': F8_E4M3"),
                words(write("c.safetensors", wrong, eight), folder.resolve("no.safetensors")));
        Path unknown = write("e.safetensors", wrong, eight);
        String text = Files.readString(unknown, StandardCharsets.ISO_8859_1).replace("F8_E4M3", "F9_E4M4");
        Files.writeString(unknown, text, StandardCharsets.ISO_8859_1);
        refuse(
                List.of("1 missing (encoder.norm.bias [16])", "not read: ", "has the unsupported dtype 'F9_E4M4'"),
                words(unknown, folder.resolve("no.safetensors")));
        List<ArrayData> integers = List.of(of("encoder.norm.bias", StoredType.I32, 4 * (int) norm.count()));
        refuse(
                List.of("encoder.norm.bias is of integers, needs floats"),
                words(write("d.safetensors", wrong, integers), folder.resolve("no.safetensors")));
    }

    /** What is a model only with something else: adapters, alone or beside weights, and weights that another program has packed. */
    @Test
    void whatIsNoWholeModelIsToldWhatItIs() throws IOException {
        String query = "base_model.model.videomae.encoder.layer.0.attention.attention.query.";
        List<ArrayData> adapters = List.of(
                of(query + "lora_A.default.weight", StoredType.F32, 16),
                of(query + "lora_B.weight", StoredType.F32, 16));
        Path out = folder.resolve("no.safetensors");
        refuse(
                List.of("it holds adapters (LoRA)", "without the model that they change; merge them"),
                words(write("adapter.safetensors", Map.of(), adapters), out));
        refuse(
                List.of("it holds adapters (LoRA)", "not part of its weights yet; merge them"),
                words(write("beside.safetensors", original, adapters), out));
        for (String name : List.of("absmax", "quant_state.bitsandbytes__nf4", "SCB", "qweight")) {
            refuse(
                    List.of("its weights are packed into fewer bits by another program (fc." + name
                            + "); save the model in f32"),
                    words(write("packed.safetensors", original, List.of(of("fc." + name, StoredType.U8, 4))), out));
        }
        Path pickles = Files.createDirectory(folder.resolve("pickles"));
        Files.write(pickles.resolve("pytorch_model.bin"), new byte[] {'P', 'K', 3, 4});
        refuse(
                List.of(pickles + ": is a folder without a safetensors file; convert 'pytorch_model.bin', a pickle"),
                words(pickles, out));
    }

    /** What follows the header of a safetensors file. */
    private static byte[] weights(byte[] file) {
        long header = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong();
        return Arrays.copyOfRange(file, Math.toIntExact(Long.BYTES + header), file.length);
    }

    private static ArrayData of(String name, StoredType type, int bytes) {
        byte[] all = new byte[bytes];
        Arrays.fill(all, (byte) 0x7f);
        return new ArrayData(name, type, new long[] {bytes / type.bytes()}, MemorySegment.ofArray(all));
    }

    private static String shard(int number) {
        return "model-0000" + number + "-of-00002.safetensors";
    }

    /** Two shards; the second has a tensor that the index does not name. */
    private void writeShards() throws IOException {
        List<Map<String, ArrayData>> halves = List.of(new TreeMap<>(), new TreeMap<>());
        StringBuilder map = new StringBuilder();
        original.forEach((name, array) -> {
            int half = halves.get(0).size() > halves.get(1).size() ? 1 : 0;
            halves.get(half).put(name, array);
            map.append(map.isEmpty() ? "" : ",").append("\"%s\": \"%s\"".formatted(name, shard(half + 1)));
        });
        write(shard(1), halves.get(0));
        write(shard(2), halves.get(1));
        Files.writeString(
                folder.resolve(INDEX), "{\"metadata\": {\"total_size\": 7}, \"weight_map\": {%s}}".formatted(map));
    }

    @Test
    void shardsAreFoundByTheirIndexTheirFolderAndEachOther() throws IOException {
        writeShards();
        assertArrayEquals(expected, imported(folder.resolve(INDEX)));
        assertArrayEquals(expected, imported(folder.resolve(shard(1))));
        assertArrayEquals(expected, imported(folder));
        String listed = succeed("inspect", folder.resolve(INDEX));
        assertTrue(listed.contains("safetensors, " + original.size() + " arrays"), listed);
        assertTrue(succeed("inspect", folder.resolve(shard(1))).contains(shard(1) + ": safetensors"), listed);
        Path second = folder.resolve(shard(2));
        refuse(List.of("--out " + second + " is the input of --checkpoint"), words(folder.resolve(INDEX), second));
        Files.delete(folder.resolve(INDEX));
        assertArrayEquals(expected, imported(folder.resolve(shard(2))));
        Files.delete(second);
        refuse(
                List.of("is of 2 shards, of which 1 are not beside it: '" + shard(2) + "'; fetch all shards"),
                words(folder.resolve(shard(1)), folder.resolve("no.safetensors")));
    }

    /** Hubs have numbers of six digits too, and indices may name files of any name. */
    @Test
    void shardsMayBeCalledOtherwise() throws IOException {
        writeShards();
        for (int i = 1; i <= 2; i++) {
            Files.move(folder.resolve(shard(i)), folder.resolve("model-0000" + i + "-of-000002.safetensors"));
        }
        String index = Files.readString(folder.resolve(INDEX));
        Files.delete(folder.resolve(INDEX));
        assertArrayEquals(expected, imported(folder.resolve("model-00002-of-000002.safetensors")));
        for (int i = 1; i <= 2; i++) {
            Files.move(
                    folder.resolve("model-0000" + i + "-of-000002.safetensors"),
                    folder.resolve("weights.part" + i + ".safetensors"));
            index = index.replace(shard(i), "weights.part" + i + ".safetensors");
        }
        Files.writeString(folder.resolve(INDEX), index);
        assertArrayEquals(expected, imported(folder));
        assertArrayEquals(expected, imported(folder.resolve("weights.part2.safetensors")));
    }

    @Test
    void badIndicesAreTold() throws IOException {
        writeShards();
        Path out = folder.resolve("no.safetensors");
        Path index = folder.resolve(INDEX);
        Map<String, String> bad = new LinkedHashMap<>();
        bad.put("{", "is no JSON");
        bad.put("{\"a\": 1}", "is JSON without a weight_map");
        bad.put("{\"weight_map\": {\"a\": 1}}", "does not give a file for each tensor");
        bad.put("{\"weight_map\": {}}", "names none");
        bad.put("{\"weight_map\": {\"a\": \"../x.safetensors\"}}", "which is no file beside it");
        bad.put("{\"weight_map\": {\"a\": \"x\\u0000y\"}}", "which is no file beside it");
        bad.put("{\"weight_map\": {\"a\": \"x.safetensors\"}}", "'x.safetensors'; fetch all shards");
        bad.put("{\"weight_map\": {\"a\": \"" + shard(1) + "\"}}", "holds the tensor 'a', which it does not");
        for (Map.Entry<String, String> one : bad.entrySet()) {
            Files.writeString(index, one.getKey());
            refuse(List.of(index.toString(), one.getValue()), words(index, out));
        }
        Path empty = Files.createDirectory(folder.resolve("empty"));
        refuse(List.of(empty + ": is a folder without a safetensors file"), words(empty, out));
        try (Stream<Path> left = Files.list(empty)) {
            assertEquals(List.of(), left.toList());
        }
    }
}
