package tessera.kernels.cuda;

import static java.util.Objects.requireNonNull;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The structs of the kernels' parameters as the sources declare them, and whether what Java writes for a launch is laid out as one of
 * them: an argument for each field, of its kind and in its place. Thread-safe.
 */
final class KernelStructs {
    private static final String MATRIX = "TensorMap";
    private static final int MATRIX_BYTES = 128;
    private static final int ZEROS_BYTES = 8;

    private static final Pattern COMMENT = Pattern.compile("//[^\n]*|/\\*.*?\\*/", Pattern.DOTALL);
    private static final Pattern INCLUDE = Pattern.compile("#include \"([a-z0-9_]+\\.cuh)\"");
    private static final Pattern CONSTANT = Pattern.compile("constexpr int ([A-Z_]+) = (\\d+);");
    private static final Pattern STRUCT =
            Pattern.compile("struct ([A-Za-z0-9]+)(?: : ([A-Za-z0-9]+))? \\{(.*?)\\n\\};", Pattern.DOTALL);
    private static final Pattern FIELD =
            Pattern.compile("(?:const )?([A-Za-z0-9]+(?: char)?)( ?\\*)? ([a-z_0-9A-Z]+)(?:\\[([A-Z_]+|\\d+)])?");

    private final UnaryOperator<String> sources;
    private final Map<String, String> texts = new ConcurrentHashMap<>();

    /**
     * One argument.
     *
     * @param kind as {@link CudaLaunch.Watch} has it
     */
    record Field(String name, char kind, int offset) {
        @Override
        public String toString() {
            return kind + "" + offset + " " + name;
        }
    }

    /** @param bytes with what lies behind the last field */
    record Struct(List<Field> fields, int bytes) {
        /** Whether arguments lie where the fields are; zeros are whatever is there. */
        boolean fits(String layout) {
            int next = 0;
            for (String word : layout.split(" ", 0)) {
                char kind = word.charAt(0);
                int at = Integer.parseInt(word.substring(1));
                int end = kind == 'z' ? at + ZEROS_BYTES : at + 1;
                if (next == fields.size()
                        || fields.get(next).offset != at
                        || (kind != 'z' && fields.get(next).kind != kind)) {
                    return false;
                }
                while (next < fields.size() && fields.get(next).offset < end) {
                    next++;
                }
            }
            return next == fields.size();
        }
    }

    /** @param sources text of a source by its name */
    KernelStructs(UnaryOperator<String> sources) {
        this.sources = sources;
    }

    /** Those of the packaged sources. */
    static KernelStructs packaged() {
        return new KernelStructs(KernelStructs::resource);
    }

    static String resource(String name) {
        try (InputStream stream = requireNonNull(CudaModule.class.getResourceAsStream(name), name)) {
            return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A struct that a source, such as {@code norms.cu}, or what it includes declares. */
    Struct struct(String source, String name) {
        String text = texts.computeIfAbsent(source, this::text);
        Map<String, Declared> declared = new LinkedHashMap<>();
        for (Matcher matcher = STRUCT.matcher(text); matcher.find(); ) {
            declared.put(matcher.group(1), new Declared(matcher.group(2), matcher.group(3)));
        }
        Layout layout = new Layout(text, declared);
        int alignment = layout.add(name, "");
        return new Struct(List.copyOf(layout.fields), layout.align(alignment));
    }

    /** A source behind what it includes, without comments. */
    private String text(String name) {
        String own = sources.apply(name);
        StringBuilder all = new StringBuilder();
        for (Matcher include = INCLUDE.matcher(own); include.find(); ) {
            all.append(text(include.group(1)));
        }
        return all.append(COMMENT.matcher(own).replaceAll("")).append('\n').toString();
    }

    private record Declared(@Nullable String base, String body) {}

    /** The fields of a struct one behind the other, each at its natural alignment. */
    private static final class Layout {
        private final String text;
        private final Map<String, Declared> structs;
        private final List<Field> fields = new ArrayList<>();
        private int used;

        Layout(String text, Map<String, Declared> structs) {
            this.text = text;
            this.structs = structs;
        }

        /** Adds the fields of a struct and returns its alignment. */
        int add(String struct, String prefix) {
            Declared found = structs.get(struct);
            if (found == null) {
                throw new IllegalStateException("no struct " + struct + " is known here");
            }
            int alignment = found.base == null ? 1 : add(found.base, prefix);
            used = align(alignment);
            for (String statement : found.body.split(";", -1)) {
                String line = statement.strip().replaceAll("\\s+", " ");
                if (line.isEmpty() || line.startsWith("using ") || line.startsWith("static constexpr ")) {
                    continue;
                }
                Matcher field = FIELD.matcher(line);
                if (!field.matches()) {
                    throw new IllegalStateException(
                            "'" + line + "' in struct " + struct + " is no field that is known here");
                }
                int count = field.group(4) == null ? 1 : count(field.group(4));
                for (int i = 0; i < count; i++) {
                    String name = prefix + field.group(3) + (field.group(4) == null ? "" : "[" + i + "]");
                    alignment = Math.max(alignment, add(field.group(1), field.group(2) != null, name));
                }
            }
            return alignment;
        }

        private int count(String length) {
            if (Character.isDigit(length.charAt(0))) {
                return Integer.parseInt(length);
            }
            for (Matcher constant = CONSTANT.matcher(text); constant.find(); ) {
                if (constant.group(1).equals(length)) {
                    return Integer.parseInt(constant.group(2));
                }
            }
            throw new IllegalStateException("no constant " + length + " is known here");
        }

        private int add(String type, boolean pointer, String name) {
            if (pointer) {
                return add(name, 'p', Long.BYTES);
            }
            return switch (type) {
                case "i64", "u64" -> add(name, 'l', Long.BYTES);
                case "double" -> add(name, 'd', Double.BYTES);
                case "int", "u32" -> add(name, 'i', Integer.BYTES);
                case "float" -> add(name, 'f', Float.BYTES);
                case MATRIX -> add(name, 'm', MATRIX_BYTES);
                default -> {
                    used = align(new Layout(text, structs).add(type, ""));
                    int alignment = add(type, name + ".");
                    used = align(alignment);
                    yield alignment;
                }
            };
        }

        private int add(String name, char kind, int bytes) {
            int at = align(bytes);
            fields.add(new Field(name, kind, at));
            used = at + bytes;
            return bytes;
        }

        private int align(int bytes) {
            return (used + bytes - 1) / bytes * bytes;
        }
    }
}
