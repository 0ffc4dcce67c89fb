package tessera.tensor.io;

import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.TokenStreamFactory;
import tools.jackson.core.TokenStreamLocation;
import tools.jackson.core.json.JsonFactory;

/**
 * The checked JSON header of a safetensors file: tensors in the order of their bytes, and metadata in the order written.
 * The header is streamed; memory grows with the text actually present, never with a number the text claims.
 */
record SafetensorsHeader(List<Span> spans, Map<String, String> metadata) {
    /** One tensor and its byte range within the data section. */
    record Span(ArrayInfo info, long begin, long end) {}

    /** The only objects are the header, the metadata and one per tensor; the only arrays lie within the latter. */
    private static final int NESTING = 3;

    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .disable(TokenStreamFactory.Feature.CANONICALIZE_PROPERTY_NAMES)
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxNestingDepth(NESTING)
                    .maxNumberLength(20)
                    .maxStringLength((int) Safetensors.MAX_HEADER)
                    .build())
            .build();

    /**
     * @param in exactly the header's bytes
     * @param dataBytes size of the data section, which the tensors must fill
     */
    static SafetensorsHeader parse(InputStream in, long dataBytes, String file) {
        Reader text = new InputStreamReader(
                in,
                StandardCharsets.UTF_8
                        .newDecoder()
                        .onMalformedInput(CodingErrorAction.REPORT)
                        .onUnmappableCharacter(CodingErrorAction.REPORT));
        try (JsonParser json = JSON.createParser(ObjectReadContext.empty(), text)) {
            return new HeaderReader(json, file, dataBytes).read();
        } catch (JacksonException invalid) {
            if (invalid.getCause() instanceof CharacterCodingException) {
                throw malformed(file, "its header is not UTF-8 text", invalid);
            }
            String reason = String.valueOf(invalid.getOriginalMessage())
                    .lines()
                    .findFirst()
                    .orElse("");
            TokenStreamLocation place = invalid.getLocation();
            throw malformed(
                    file,
                    "its header is not the JSON it must be (" + TensorFileException.quote(reason)
                            + (place == null ? "" : " near character " + place.getCharOffset()) + ")",
                    invalid);
        }
    }

    private static TensorFileException malformed(String file, String problem, @Nullable Throwable cause) {
        return TensorFileException.malformed(file, "safetensors", problem, cause);
    }

    /** One pass over the header. */
    private record HeaderReader(JsonParser json, String file, long dataBytes) {
        SafetensorsHeader read() {
            expect(json.nextToken(), JsonToken.START_OBJECT, "the header");
            List<Span> spans = new ArrayList<>();
            Map<String, String> metadata = new LinkedHashMap<>();
            while (json.nextToken() != JsonToken.END_OBJECT) {
                String name = unicode(json.currentName());
                if (name.equals(Safetensors.METADATA)) {
                    readMetadata(metadata);
                } else {
                    spans.add(readSpan(name));
                }
            }
            if (json.nextToken() != null) {
                throw invalid("text follows the header's JSON object");
            }
            spans.sort(Comparator.comparingLong(Span::begin).thenComparingLong(Span::end));
            checkContiguous(spans);
            return new SafetensorsHeader(List.copyOf(spans), Collections.unmodifiableMap(metadata));
        }

        private void readMetadata(Map<String, String> metadata) {
            if (json.nextToken() == JsonToken.VALUE_NULL) {
                return; // optional in the reference, which writes null for none
            }
            expect(json.currentToken(), JsonToken.START_OBJECT, Safetensors.METADATA);
            while (json.nextToken() != JsonToken.END_OBJECT) {
                String key = unicode(json.currentName());
                expect(json.nextToken(), JsonToken.VALUE_STRING, "the metadata " + TensorFileException.quote(key));
                metadata.put(key, unicode(json.getString()));
            }
        }

        private Span readSpan(String name) {
            String tensor = "tensor " + TensorFileException.quote(name);
            expect(json.nextToken(), JsonToken.START_OBJECT, tensor);
            StoredType type = null;
            long[] shape = null;
            long[] offsets = null;
            while (json.nextToken() != JsonToken.END_OBJECT) {
                String field = json.currentName();
                switch (field) {
                    case "dtype" -> type = readType(tensor);
                    case "shape" -> shape = readLongs(tensor, "shape", StoredType.MAX_RANK);
                    case "data_offsets" -> offsets = readLongs(tensor, "data_offsets", 2);
                    default -> throw invalid(tensor + " has an unknown field " + TensorFileException.quote(field));
                }
            }
            if (type == null || shape == null || offsets == null || offsets.length != 2) {
                throw invalid(tensor + " needs a dtype, a shape and two data_offsets");
            }
            return span(name, tensor, type, shape, offsets[0], offsets[1]);
        }

        private Span span(String name, String tensor, StoredType type, long[] shape, long begin, long end) {
            if (begin > end || end > dataBytes) {
                throw invalid(tensor + " claims bytes " + begin + " to " + end + " of a data section of " + dataBytes
                        + " bytes" + (begin > end ? "" : " (is the file truncated?)"));
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
            return new Span(new ArrayInfo(name, type, shape), begin, end);
        }

        private StoredType readType(String tensor) {
            expect(json.nextToken(), JsonToken.VALUE_STRING, "the dtype of " + tensor);
            String stored = json.getString();
            StoredType type = StoredType.ofName(stored);
            if (type == null) {
                throw new TensorFileException(
                        file,
                        tensor + " has the unsupported dtype " + TensorFileException.quote(stored) + " (supported: "
                                + Arrays.toString(StoredType.values()) + ")",
                        "convert the file to a supported dtype");
            }
            return type;
        }

        private long[] readLongs(String tensor, String field, int most) {
            expect(json.nextToken(), JsonToken.START_ARRAY, "the " + field + " of " + tensor);
            long[] values = new long[most];
            int count = 0;
            while (json.nextToken() != JsonToken.END_ARRAY) {
                expect(
                        json.currentToken(),
                        JsonToken.VALUE_NUMBER_INT,
                        "each number in the " + field + " of " + tensor);
                if (count == most) {
                    throw invalid("the " + field + " of " + tensor + " has more than " + most + " numbers");
                }
                values[count] = json.getLongValue();
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
                    throw invalid(
                            "tensor " + TensorFileException.quote(span.info().name()) + " begins at byte "
                                    + span.begin() + " of the data, but the tensor before it ends at " + position
                                    + (span.begin() < position ? " (they overlap)" : " (a gap)"));
                }
                position = span.end();
            }
            if (position != dataBytes) {
                throw invalid((dataBytes - position) + " bytes follow the last tensor");
            }
        }

        private void expect(@Nullable JsonToken found, JsonToken needed, String what) {
            if (found != needed) {
                throw invalid(what + " must be " + describe(needed) + ", not "
                        + (found == null ? "the end of the text" : describe(found)));
            }
        }

        private static String describe(JsonToken token) {
            return switch (token) {
                case START_OBJECT -> "a JSON object";
                case START_ARRAY -> "a JSON array";
                case VALUE_STRING -> "a string";
                case VALUE_NUMBER_INT -> "a whole number";
                case VALUE_NUMBER_FLOAT -> "a fraction";
                default -> token.toString().toLowerCase(Locale.ROOT).replace("value_", "");
            };
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
