package tessera.tensor.io;

import java.nio.charset.CharacterCodingException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.tensor.io.JsonTokens.Token;

/**
 * The checked JSON header of a safetensors file: tensors in the order of their bytes, and metadata in the order written.
 * Memory grows with the text actually present, never with a number the text claims.
 */
record SafetensorsHeader(List<Span> spans, Map<String, String> metadata) {
    /**
     * One tensor and its byte range within the data section.
     *
     * @param info null where its type is none that is known here
     * @param dtype as the file has it
     */
    record Span(String name, @Nullable ArrayInfo info, String dtype, long begin, long end) {}

    /** The only objects are the header, the metadata and one per tensor; the only arrays lie within the latter. */
    private static final int NESTING = 3;

    /**
     * @param text exactly the header's bytes
     * @param dataBytes size of the data section, which the tensors must fill
     */
    static SafetensorsHeader parse(byte[] text, long dataBytes, String file) {
        try {
            return new HeaderReader(new JsonTokens(text, NESTING), file, dataBytes).read();
        } catch (JsonTokens.InvalidException invalid) {
            throw malformed(
                    file,
                    invalid.getCause() instanceof CharacterCodingException
                            ? "its header is not UTF-8 text"
                            : "its header is not the JSON it must be ("
                                    + TensorFileException.quote(String.valueOf(invalid.getMessage())) + ")",
                    invalid);
        }
    }

    private static TensorFileException malformed(String file, String problem, @Nullable Throwable cause) {
        return TensorFileException.malformed(file, "safetensors", problem, cause);
    }

    /** One pass over the header. */
    private record HeaderReader(JsonTokens json, String file, long dataBytes) {
        SafetensorsHeader read() {
            expect(json.next(), Token.START_OBJECT, "the header");
            List<Span> spans = new ArrayList<>();
            Map<String, String> metadata = new LinkedHashMap<>();
            while (json.next() != Token.END_OBJECT) {
                String name = unicode(json.text());
                if (name.equals(Safetensors.METADATA)) {
                    readMetadata(metadata);
                } else {
                    spans.add(readSpan(name));
                }
            }
            if (json.next() != Token.END) {
                throw invalid("text follows the header's JSON object");
            }
            spans.sort(Comparator.comparingLong(Span::begin).thenComparingLong(Span::end));
            checkContiguous(spans);
            return new SafetensorsHeader(List.copyOf(spans), Collections.unmodifiableMap(metadata));
        }

        private void readMetadata(Map<String, String> metadata) {
            if (json.next() == Token.NULL) {
                return; // optional in the reference, which writes null for none
            }
            expect(json.current(), Token.START_OBJECT, Safetensors.METADATA);
            while (json.next() != Token.END_OBJECT) {
                String key = unicode(json.text());
                expect(json.next(), Token.STRING, "the metadata " + TensorFileException.quote(key));
                metadata.put(key, unicode(json.text()));
            }
        }

        private Span readSpan(String name) {
            String tensor = "tensor " + TensorFileException.quote(name);
            expect(json.next(), Token.START_OBJECT, tensor);
            String dtype = null;
            long[] shape = null;
            long[] offsets = null;
            while (json.next() != Token.END_OBJECT) {
                String field = json.text();
                switch (field) {
                    case "dtype" -> {
                        expect(json.next(), Token.STRING, "the dtype of " + tensor);
                        dtype = json.text();
                    }
                    case "shape" -> shape = readLongs(tensor, "shape", StoredType.MAX_RANK);
                    case "data_offsets" -> offsets = readLongs(tensor, "data_offsets", 2);
                    default -> throw invalid(tensor + " has an unknown field " + TensorFileException.quote(field));
                }
            }
            if (dtype == null || shape == null || offsets == null || offsets.length != 2) {
                throw invalid(tensor + " needs a dtype, a shape and two data_offsets");
            }
            return span(name, tensor, dtype, shape, offsets[0], offsets[1]);
        }

        private Span span(String name, String tensor, String dtype, long[] shape, long begin, long end) {
            if (begin > end || end > dataBytes) {
                throw invalid(tensor + " claims bytes " + begin + " to " + end + " of a data section of " + dataBytes
                        + " bytes" + (begin > end ? "" : " (is the file truncated?)"));
            }
            StoredType type = StoredType.ofName(dtype);
            if (type == null) {
                return new Span(name, null, dtype, begin, end);
            }
            long needed;
            try {
                needed = type.byteSize(shape);
            } catch (IllegalArgumentException tooLarge) {
                throw malformed(file, tensor + ": " + tooLarge.getMessage(), tooLarge);
            }
            if (needed != end - begin) {
                throw invalid(tensor + " is " + type + Arrays.toString(shape) + ", which takes " + needed
                        + " bytes, but has " + (end - begin));
            }
            return new Span(name, new ArrayInfo(name, type, shape), dtype, begin, end);
        }

        private long[] readLongs(String tensor, String field, int most) {
            expect(json.next(), Token.START_ARRAY, "the " + field + " of " + tensor);
            long[] values = new long[most];
            int count = 0;
            while (json.next() != Token.END_ARRAY) {
                expect(json.current(), Token.WHOLE, "each number in the " + field + " of " + tensor);
                if (count == most) {
                    throw invalid("the " + field + " of " + tensor + " has more than " + most + " numbers");
                }
                values[count] = json.whole();
                if (values[count] < 0) {
                    throw invalid("the " + field + " of " + tensor + " holds the negative number " + values[count]);
                }
                count++;
            }
            return Arrays.copyOf(values, count);
        }

        private void checkContiguous(List<Span> spans) {
            long position = 0;
            for (Span span : spans) {
                if (span.begin() != position) {
                    throw invalid("tensor " + TensorFileException.quote(span.name()) + " begins at byte "
                            + span.begin() + " of the data, but the tensor before it ends at " + position
                            + (span.begin() < position ? " (they overlap)" : " (a gap)"));
                }
                position = span.end();
            }
            if (position != dataBytes) {
                throw invalid((dataBytes - position) + " bytes follow the last tensor");
            }
        }

        private void expect(Token found, Token needed, String what) {
            if (found != needed) {
                throw invalid(what + " must be " + needed + ", not " + found);
            }
        }

        private String unicode(String text) {
            if (!Safetensors.isUnicode(text)) {
                throw invalid("the text " + TensorFileException.quote(text) + " has half of a surrogate pair");
            }
            return text;
        }

        private TensorFileException invalid(String problem) {
            return malformed(file, problem, null);
        }
    }
}
