package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.refuse;
import static tessera.distill.cli.Shell.succeed;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.Params;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.StoredType;

/** Clips of levels 0 to 255 give the same features, bit for bit, in whatever type they are stored. */
class FloatClipsTest {
    private static final long[] SHAPE = {2, 4, 32, 32, 3};
    private static final int COUNT = 2 * 4 * 32 * 32 * 3;

    @TempDir
    private Path folder;

    private byte[] features(Path student, Path clips) throws IOException {
        Path out = folder.resolve("features.npy");
        succeed("features", "--student", student, "--clips", clips, "--quiet", "--out", out);
        return Files.readAllBytes(out);
    }

    private Object[] words(Path student, Path clips) {
        return new Object[] {
            "features", "--student", student, "--clips", clips, "--quiet", "--out", folder.resolve("said.npy")
        };
    }

    private String said(Path student, Path clips) {
        return succeed(words(student, clips));
    }

    @Test
    void whatAStudentOfBrokenWeightsGivesIsNotWritten() throws IOException {
        Path student = TinyStudent.write(folder.resolve("student.safetensors"));
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(student)) {
            Map<String, Tensor> weights = new LinkedHashMap<>(checkpoint.tensors());
            weights.computeIfPresent("encoder.norm.weight", (name, weight) -> weight.mul(Float.NaN));
            Checkpoint.write(student, weights, checkpoint.metadata());
        }
        Path clips = folder.resolve("clips.npy");
        Npy.write(clips, ArrayData.of("clips", new byte[COUNT], SHAPE));
        refuse(List.of("gives clip 0", "NaN; check the student's weights"), words(student, clips));
        assertFalse(Files.exists(folder.resolve("said.npy")), "nothing is written");
    }

    /** Pixels of motion are no levels, whatever they are. */
    @Test
    void flowIsNotTakenForPictures() {
        VideoMaeConfig config =
                new VideoMaeConfig(Patches.plain(2, 2, 8), 4, 16, 16, 64, 1, 1, 32, 1, 1, 1e-6, 1e-6, true, false);
        Path student = folder.resolve("flow.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 1);
            new VideoMaeClassifier(params, config, 0).close();
            Student.save(student, params.all(), config, Map.of());
        }
        Path clips = folder.resolve("clips.npy");
        float[] pixels = new float[4 * 16 * 16 * 2];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = i % 41 / 4f - 5;
        }
        Npy.write(clips, ArrayData.of("clips", pixels, 1, 4, 16, 16, 2));
        String told = said(student, clips);
        assertFalse(told.contains("note"), told);
    }

    private static ArrayData halves(StoredType type, int[] levels) {
        byte[] bytes = new byte[2 * COUNT];
        MemorySegment segment = MemorySegment.ofArray(bytes);
        for (int i = 0; i < COUNT; i++) {
            short value = type == StoredType.F16
                    ? Float.floatToFloat16(levels[i])
                    : (short) (Float.floatToRawIntBits(levels[i]) >>> 16);
            segment.setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN), i, value);
        }
        return new ArrayData("clips", type, SHAPE, segment);
    }

    private String flow(String name, ArrayData array) throws IOException {
        for (String label : List.of("cut", "open")) {
            Path clips =
                    Files.createDirectories(folder.resolve(name).resolve("flow").resolve(label));
            Npy.write(clips.resolve("a.npy"), array);
        }
        ModalityFolders folders = ModalityFolders.open(folder.resolve(name), Set.of(Modality.FLOW), null);
        try (ClipSet set = folders.load(done -> {}, note -> {})) {
            return set.checksum();
        }
    }

    @Test
    void flowIsReadFromEveryTypeOfFloats() throws IOException {
        long[] shape = {4, 16, 16, 2};
        int count = 4 * 16 * 16 * 2;
        float[] floats = new float[count];
        double[] doubles = new double[count];
        byte[] halves = new byte[2 * count];
        for (int i = 0; i < count; i++) {
            floats[i] = i % 41 / 4f - 5;
            doubles[i] = floats[i];
            MemorySegment.ofArray(halves)
                    .setAtIndex(
                            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN),
                            i,
                            Float.floatToFloat16(floats[i]));
        }
        String expected = flow("f32", ArrayData.of("x", floats, shape));
        assertEquals(expected, flow("f64", ArrayData.of("x", doubles, shape)));
        ArrayData half = new ArrayData("x", StoredType.F16, shape, MemorySegment.ofArray(halves));
        assertEquals(expected, flow("f16", half));
    }

    @Test
    void everyTypeOfFloatsIsTaken() throws IOException {
        Path student = TinyStudent.write(folder.resolve("student.safetensors"));
        int[] levels = new int[COUNT];
        float[] floats = new float[COUNT];
        double[] doubles = new double[COUNT];
        for (int i = 0; i < COUNT; i++) {
            levels[i] = i * 37 % 256;
            floats[i] = levels[i];
            doubles[i] = levels[i];
        }
        Path clips = folder.resolve("clips.npy");
        Npy.write(clips, ArrayData.of("clips", floats, SHAPE));
        byte[] expected = features(student, clips);
        Npy.write(clips, ArrayData.of("clips", doubles, SHAPE));
        assertArrayEquals(expected, features(student, clips));
        Npy.write(clips, halves(StoredType.F16, levels));
        assertArrayEquals(expected, features(student, clips));
        Path other = folder.resolve("clips.safetensors");
        Safetensors.write(other, List.of(halves(StoredType.BF16, levels)), Map.of());
        assertArrayEquals(expected, features(student, other));

        for (int i = 0; i < COUNT; i++) {
            floats[i] = levels[i] / 255f;
        }
        Npy.write(clips, ArrayData.of("clips", floats, SHAPE));
        assertTrue(said(student, clips).contains("floats from 0.0 to 1.0"), "white as 1 is told");
        for (int i = 0; i < COUNT; i++) {
            floats[i] = levels[i] / 64f - 2;
        }
        Npy.write(clips, ArrayData.of("clips", floats, SHAPE));
        assertTrue(said(student, clips).contains("normalised already"), "negative pixels are told");
        Npy.write(clips, ArrayData.of("clips", floats, 2, 4, 3, 32, 32));
        refuse(List.of("= [clips, 4, 32, 32, 3]; bring the axes into this order"), words(student, clips));

        ArrayData infinite = halves(StoredType.F16, levels);
        infinite.data().setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, COUNT - 1, (short) 0x7c00);
        Npy.write(clips, infinite);
        Path out = folder.resolve("no.npy");
        refuse(
                List.of(clips + " holds Infinity in clip 1"),
                "features",
                "--student",
                student,
                "--clips",
                clips,
                "--mask-ratio=0",
                "--quiet",
                "--out",
                out);
        Npy.write(clips, ArrayData.of("clips", new byte[0], 0, 8, 84, 84, 3));
        refuse(
                List.of("u8[0, 8, 84, 84, 3], which holds no clips"),
                "features",
                "--student",
                student,
                "--clips",
                clips,
                "--quiet",
                "--out",
                out);
        Npy.write(clips, ArrayData.of("clips", new byte[8 * 9 * 9 * 3], 8, 9, 9, 3));
        refuse(
                List.of("u8[8, 9, 9, 3], one clip, but the student takes clips of [4, 32, 32, 3] [frames, height"),
                words(student, clips));
    }

    /** As extract writes them. */
    @Test
    void aClipAloneIsABatchOfOne() throws IOException {
        Path student = TinyStudent.write(folder.resolve("student.safetensors"));
        Path clips = folder.resolve("clips.npy");
        byte[] pixels = new byte[4 * 32 * 32 * 3];
        new Random(1).nextBytes(pixels);
        Npy.write(clips, ArrayData.of("clips", pixels, 1, 4, 32, 32, 3));
        byte[] batch = features(student, clips);
        Npy.write(clips, ArrayData.of("clips", pixels, 4, 32, 32, 3));
        assertArrayEquals(batch, features(student, clips));
    }
}
