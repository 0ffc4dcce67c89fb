package tessera.nn.swin;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;
import tessera.tensor.io.StoredType;

/** Names of torchvision, of the original code and of what wraps them. */
class SwinNamesTest {
    private static final SwinConfig TINY = SwinConfig.tiny(3, 1, new double[3], new double[] {1, 1, 1}, 16, 224, 224);

    @TempDir
    private Path folder;

    private static Set<String> torchvision() {
        Set<String> names = new LinkedHashSet<>(List.of(
                "patch_embed.proj.weight",
                "patch_embed.proj.bias",
                "patch_embed.norm.weight",
                "patch_embed.norm.bias",
                "norm.weight",
                "norm.bias",
                "head.weight",
                "head.bias"));
        int[] depths = {2, 2, 6, 2};
        for (int stage = 0; stage < 4; stage++) {
            for (int block = 0; block < depths[stage]; block++) {
                String at = "features." + 2 * stage + "." + block + ".";
                for (String layer : List.of("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.0", "mlp.3")) {
                    names.add(at + layer + ".weight");
                    names.add(at + layer + ".bias");
                }
                names.add(at + "attn.relative_position_bias_table");
                names.add(at + "attn.relative_position_index");
            }
            if (stage < 3) {
                names.add("features." + (2 * stage + 1) + ".reduction.weight");
                names.add("features." + (2 * stage + 1) + ".norm.weight");
                names.add("features." + (2 * stage + 1) + ".norm.bias");
            }
        }
        return names;
    }

    /** As the original repository names what torchvision does. */
    private static String original(String name) {
        String result = name;
        for (int stage = 0; stage < 4; stage++) {
            result = result.replaceFirst("^features\\." + 2 * stage + "\\.(\\d)", "layers." + stage + ".blocks.$1")
                    .replaceFirst("^features\\." + (2 * stage + 1) + "\\.", "layers." + stage + ".downsample.");
        }
        result = result.replace(".mlp.0.", ".mlp.fc1.").replace(".mlp.3.", ".mlp.fc2.");
        return result.startsWith("head.") ? result.replace("head.", "cls_head.fc_cls.") : "backbone." + result;
    }

    private static Map<String, Tensor> renamed(UnaryOperator<String> rename) {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        torchvision().forEach(name -> tensors.put(rename.apply(name), Tensor.zeros(1)));
        return tensors;
    }

    @Test
    void theModelsNamesAreTorchvisions() {
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 1);
            new SwinModel(params, TINY, 400).close();
            Set<String> names = torchvision();
            names.removeIf(name -> name.endsWith("relative_position_index"));
            assertEquals(names, new LinkedHashSet<>(params.all().keySet()));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model."})
    void everyPublicNameIsTranslated(String wrapper) {
        Set<String> expected = torchvision();
        expected.removeIf(name -> name.endsWith("relative_position_index"));
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> plain = renamed(name -> wrapper + name);
            assertTrue(SwinNames.matches(plain.keySet()));
            assertEquals(expected, SwinNames.translate(plain).keySet());
            Map<String, Tensor> original = renamed(name -> wrapper + original(name));
            assertTrue(original.containsKey(wrapper + "backbone.layers.2.blocks.5.mlp.fc2.weight"));
            assertTrue(original.containsKey(wrapper + "backbone.layers.0.downsample.reduction.weight"));
            assertEquals(expected, SwinNames.translate(original).keySet());
        }
    }

    @Test
    void otherModelsAreNotTakenForASwin() {
        assertFalse(SwinNames.matches(Set.of("encoder.patch_embed.proj.weight", "encoder.norm.weight")));
    }

    /** Sizes, window among them, come back from what was written for torchvision, as do the weights, to the bit. */
    @ParameterizedTest
    @ValueSource(strings = {"2 4 4", "5 3 2", "1 2 3", "8 7 7"})
    void whatIsWrittenForTorchvisionTellsItsSizes(String window) {
        String[] parts = window.split(" ", -1);
        TokenGrid grid =
                new TokenGrid(Integer.parseInt(parts[0]), Integer.parseInt(parts[1]), Integer.parseInt(parts[2]));
        SwinConfig config =
                new SwinConfig(Patches.plain(3, 2, 4), 4, 16, 16, 8, List.of(1, 3), List.of(2, 4), grid, 1e-5);
        Path file = folder.resolve("torchvision.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 1);
            new SwinModel(params, config, 0).close();
            Map<String, Tensor> weights = new LinkedHashMap<>(params.all());
            weights.put("heads.verb.weight", Tensor.ones(5, 16));
            weights.put("heads.verb.bias", Tensor.ones(5));
            SwinNames.writeForTorchvision(file, weights, config);
            try (SafetensorsFile written = Safetensors.open(file);
                    Checkpoint checkpoint = Checkpoint.read(file)) {
                String index = "features.2.2.attn.relative_position_index";
                assertEquals(StoredType.I64, written.entry(index).type());
                assertArrayEquals(
                        Windows.relativeIndex(grid, grid.tokens()),
                        written.entry(index).ints());
                Map<String, Tensor> read = SwinNames.translate(checkpoint.tensors());
                assertTrue(read.containsKey("head.weight") && read.containsKey("head.bias"));
                params.all()
                        .forEach((name, tensor) -> assertArrayEquals(
                                tensor.toFloats(),
                                java.util.Objects.requireNonNull(read.get(name)).toFloats(),
                                name));
                SwinConfig told = SwinNames.config(checkpoint.tensors(), Patches.plain(3, 9, 9), 4, 16, 16, 1e-5);
                assertEquals(config.toMetadata(), told.toMetadata());
            }
        }
    }

    @Test
    void severalHeadsAreNotOne() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights =
                    Map.of("heads.verb.weight", Tensor.ones(1), "heads.noun.weight", Tensor.ones(1));
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class,
                    () -> SwinNames.writeForTorchvision(folder.resolve("two.safetensors"), weights, TINY));
            assertTrue(String.valueOf(e.getMessage()).contains("several"), e.getMessage());
        }
    }

    @Test
    void aWindowThatNothingTellsIsAskedFor() {
        SwinConfig config = ToySwin.config(3);
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 1);
            new SwinModel(params, config, 0).close();
            CheckpointException e = assertThrows(
                    CheckpointException.class,
                    () -> SwinNames.config(params.all(), Patches.plain(3, 2, 4), 4, 18, 20, 1e-5));
            assertTrue(String.valueOf(e.getMessage()).contains("relative_position_index"), e.getMessage());
            CheckpointException none = assertThrows(
                    CheckpointException.class,
                    () -> SwinNames.config(Map.of(), Patches.plain(3, 2, 4), 4, 18, 20, 1e-5));
            assertTrue(String.valueOf(none.getMessage()).contains("patch_embed.proj.weight"), none.getMessage());
        }
    }
}
