package tessera.kernels.cuda;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * The machine code that nvcc made of the kernels has the instructions they are written for, on each target: {@code
 * cuda/instructions.txt}. That no tensor core, matrix load or bulk copy was lost to a preprocessor's branch shows neither in the
 * emulation nor in results.
 */
class CudaInstructionsTest {
    private static final List<String> TARGETS = List.of("80", "86", "89", "90a", "100", "120");
    private static final Path TABLE = Path.of("cuda/instructions.txt");
    /** Of every target here: 128 bits, whose first 12 are operation and kinds of operands. */
    private static final int INSTRUCTION_BYTES = 16;

    private static final int OPERATION_BITS = 0xfff;

    /** Instructions by NVIDIA's names, with the codes that nvcc 13 gave probes which hold one each, the same on all targets. */
    private enum Instruction {
        /** {@code mma.sync} of bf16. */
        HMMA(0x23c),
        /** {@code wgmma}, its first operand from shared memory or from registers. */
        HGMMA(0x9f0, 0xdf0),
        /** {@code wgmma} of bytes, both operands from shared memory. */
        IGMMA(0x9f1),
        /** {@code wgmma} of e4m3, both operands from shared memory. */
        QGMMA(0x9f3),
        /** {@code cvt} of s32 to f32. */
        I2FP(0x245),
        /** {@code ldmatrix}. */
        LDSM(0x83b),
        /** {@code stmatrix}. */
        STSM(0x844),
        /** {@code cp.async}. */
        LDGSTS(0xfae),
        /** {@code cp.async.bulk.tensor} to shared memory. */
        UTMALDG(0x5b4),
        /** {@code griddepcontrol.launch_dependents}. */
        PREEXIT(0x82d),
        /** {@code griddepcontrol.wait}. */
        ACQBULK(0x82e),
        /** Exponentials, reciprocals and other functions. */
        MUFU(0x308),
        /** {@code fma} of f32 in registers. */
        FFMA(0x223);

        private final int code;
        private final int other;

        Instruction(int code) {
            this(code, code);
        }

        Instruction(int code, int other) {
            this.code = code;
            this.other = other;
        }

        static @Nullable Instruction of(long word) {
            int code = (int) (word & OPERATION_BITS);
            for (Instruction instruction : values()) {
                if (code == instruction.code || code == instruction.other) {
                    return instruction;
                }
            }
            return null;
        }
    }

    private record Count(Instruction instruction, boolean exact, int value) {
        @Nullable
        String complaint(Map<Instruction, Integer> found) {
            int there = found.getOrDefault(instruction, 0);
            return there == value || (!exact && there > value)
                    ? null
                    : there + " " + instruction + " and not " + (exact ? "" : "at least ") + value;
        }
    }

    private record Line(String text, Pattern kernels, List<String> targets, List<Count> counts) {
        private static final Pattern COUNT = Pattern.compile("([A-Z][A-Z0-9]*)(>?)=(\\d+)");

        static Line of(String text) {
            String[] words = text.strip().split("\\s+", -1);
            if (words.length < 3) {
                throw new IllegalArgumentException(
                        "'" + text + "' was given but a line is KERNELS TARGETS COUNT..., see " + TABLE);
            }
            List<String> targets = words[1].equals("all") ? TARGETS : List.of(words[1].split(",", -1));
            if (!TARGETS.containsAll(targets)) {
                throw new IllegalArgumentException("'" + text + "' names targets that are not among " + TARGETS);
            }
            List<Count> counts = new ArrayList<>();
            for (String word : List.of(words).subList(2, words.length)) {
                Matcher matcher = COUNT.matcher(word);
                if (!matcher.matches()) {
                    throw new IllegalArgumentException(
                            "'" + text + "' has '" + word + "' where a count such as HMMA>=4 or HMMA=0 is needed");
                }
                counts.add(new Count(
                        Instruction.valueOf(matcher.group(1)),
                        matcher.group(2).isEmpty(),
                        Integer.parseInt(matcher.group(3))));
            }
            return new Line(text.strip(), Pattern.compile(words[0]), targets, counts);
        }
    }

    @Test
    void kernelsHaveTheInstructionsTheyAreWrittenFor() throws IOException {
        List<Line> lines = table();
        List<String> targets = TARGETS.stream()
                .filter(target -> cubin("attention", target) != null)
                .toList();
        assumeTrue(
                !targets.isEmpty(), () -> lines.size() + " lines of " + TABLE + " not checked: no cubin is packaged");
        List<String> complaints = new ArrayList<>();
        for (String target : targets) {
            Map<String, Map<Instruction, Integer>> kernels = new TreeMap<>();
            for (String source : CudaCode.SOURCES) {
                kernels.putAll(kernels(
                        requireNonNull(cubin(source, target), () -> source + ".cu has no cubin for sm_" + target)));
            }
            complaints.addAll(complaints(lines, target, kernels));
        }
        assertEquals(List.of(), complaints);
    }

    @Test
    void whatIsMissingAndWhatIsTooMuchIsSaid() {
        byte[] cubin = elf("mine", 0x23c, 0x7123c, 0xfae, 0x83b);
        Map<String, Map<Instruction, Integer>> kernels = kernels(cubin);
        assertEquals(Map.of("mine", Map.of(Instruction.HMMA, 2, Instruction.LDGSTS, 1, Instruction.LDSM, 1)), kernels);
        List<Line> good = List.of(Line.of("mine all HMMA=2 LDSM>=1 HGMMA=0"), Line.of("other 90a HGMMA>=1"));
        assertEquals(List.of(), complaints(good, "80", kernels));
        List<Line> bad = List.of(Line.of("m.* 80 HMMA>=3 LDGSTS=0"), Line.of("min 80,90a HMMA>=1"));
        assertEquals(
                List.of(
                        "mine for sm_80 has 2 HMMA and not at least 3",
                        "mine for sm_80 has 1 LDGSTS and not 0",
                        "no kernel for sm_80 is what 'min 80,90a HMMA>=1' names"),
                complaints(bad, "80", kernels));
    }

    @Test
    void linesThatSayNothingAreRefused() {
        assertEquals(
                "'mine all' was given but a line is KERNELS TARGETS COUNT..., see cuda/instructions.txt",
                assertThrows(IllegalArgumentException.class, () -> Line.of("mine all"))
                        .getMessage());
        assertEquals(
                "'mine 70 HMMA=0' names targets that are not among [80, 86, 89, 90a, 100, 120]",
                assertThrows(IllegalArgumentException.class, () -> Line.of("mine 70 HMMA=0"))
                        .getMessage());
        assertEquals(
                "'mine all HMMA<2' has 'HMMA<2' where a count such as HMMA>=4 or HMMA=0 is needed",
                assertThrows(IllegalArgumentException.class, () -> Line.of("mine all HMMA<2"))
                        .getMessage());
    }

    private static List<Line> table() throws IOException {
        return Files.readAllLines(TABLE).stream()
                .filter(line -> !line.isBlank() && !line.startsWith("#"))
                .map(Line::of)
                .toList();
    }

    private static List<String> complaints(
            List<Line> lines, String target, Map<String, Map<Instruction, Integer>> kernels) {
        List<String> complaints = new ArrayList<>();
        for (Line line : lines) {
            if (!line.targets.contains(target)) {
                continue;
            }
            boolean named = false;
            for (Map.Entry<String, Map<Instruction, Integer>> kernel : kernels.entrySet()) {
                if (line.kernels.matcher(kernel.getKey()).matches()) {
                    named = true;
                    for (Count count : line.counts) {
                        String complaint = count.complaint(kernel.getValue());
                        if (complaint != null) {
                            complaints.add(kernel.getKey() + " for sm_" + target + " has " + complaint);
                        }
                    }
                }
            }
            if (!named) {
                complaints.add("no kernel for sm_" + target + " is what '" + line.text + "' names");
            }
        }
        return complaints;
    }

    private static byte @Nullable [] cubin(String source, String target) {
        try (InputStream in = CudaCode.class.getResourceAsStream(source + ".sm_" + target + ".cubin")) {
            return in == null ? null : in.readAllBytes();
        } catch (IOException e) {
            throw new AssertionError("cannot read the cubin of " + source, e);
        }
    }

    /** Counts the instructions of each kernel in a cubin, a 64-bit ELF file with a section of code per kernel. */
    private static Map<String, Map<Instruction, Integer>> kernels(byte[] cubin) {
        ByteBuffer file = ByteBuffer.wrap(cubin).order(ByteOrder.LITTLE_ENDIAN);
        int headers = (int) file.getLong(40);
        int size = file.getShort(58);
        int names = (int) file.getLong(headers + file.getShort(62) * size + 24);
        Map<String, Map<Instruction, Integer>> kernels = new TreeMap<>();
        for (int i = 0; i < file.getShort(60); i++) {
            int header = headers + i * size;
            String section = name(cubin, names + file.getInt(header));
            if (section.startsWith(".text.")) {
                int start = (int) file.getLong(header + 24);
                int bytes = (int) file.getLong(header + 32);
                Map<Instruction, Integer> found = new EnumMap<>(Instruction.class);
                for (int at = start; at < start + bytes; at += INSTRUCTION_BYTES) {
                    Instruction instruction = Instruction.of(file.getLong(at));
                    if (instruction != null) {
                        found.merge(instruction, 1, Integer::sum);
                    }
                }
                kernels.put(section.substring(".text.".length()), found);
            }
        }
        return kernels;
    }

    private static String name(byte[] file, int start) {
        int end = start;
        while (file[end] != 0) {
            end++;
        }
        return new String(file, start, end - start, StandardCharsets.UTF_8);
    }

    /** An ELF file of one kernel, as far as it is read here. */
    private static byte[] elf(String kernel, long... instructions) {
        byte[] names = ("\0.text." + kernel + "\0").getBytes(StandardCharsets.UTF_8);
        int code = 64;
        int strings = code + instructions.length * INSTRUCTION_BYTES;
        int headers = strings + names.length;
        ByteBuffer file = ByteBuffer.allocate(headers + 3 * 64).order(ByteOrder.LITTLE_ENDIAN);
        file.putLong(40, headers)
                .putShort(58, (short) 64)
                .putShort(60, (short) 3)
                .putShort(62, (short) 2);
        for (int i = 0; i < instructions.length; i++) {
            file.putLong(code + i * INSTRUCTION_BYTES, instructions[i]);
        }
        file.put(strings, names);
        file.putInt(headers + 64, 1).putLong(headers + 88, code).putLong(headers + 96, strings - code);
        file.putLong(headers + 152, strings).putLong(headers + 160, names.length);
        return file.array();
    }
}
