package tessera.tensor.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.tensor.io.JsonTokens.Token;

class JsonTokensTest {
    private static List<String> read(String text) {
        return read(new JsonTokens(text, 3));
    }

    private static List<String> read(JsonTokens json) {
        List<String> read = new ArrayList<>();
        for (Token token = json.next(); token != Token.END; token = json.next()) {
            assertEquals(token, json.current());
            read.add(
                    switch (token) {
                        case NAME, STRING -> token.name() + " " + json.text();
                        case WHOLE -> token.name() + " " + json.whole();
                        default -> token.name();
                    });
        }
        return read;
    }

    @Test
    void givesWhatStandsThere() {
        assertEquals(
                List.of(
                        "START_OBJECT",
                        "NAME a b",
                        "START_ARRAY",
                        "WHOLE -9223372036854775808",
                        "FRACTION",
                        "FRACTION",
                        "WHOLE 0",
                        "START_OBJECT",
                        "END_OBJECT",
                        "END_ARRAY",
                        "NAME ",
                        "TRUE",
                        "NAME c",
                        "FALSE",
                        "NAME d",
                        "NULL",
                        "END_OBJECT"),
                read("\t{ \"a b\" : [-9223372036854775808,0.5 , 1E+7,0, {}] ,\r\n\"\":true,\"c\":false,\"d\":null}\n"));
        assertEquals(List.of("START_ARRAY", "END_ARRAY", "WHOLE 7"), read("[] 7"));
    }

    @Test
    void stringsAreUnescapedAndDecoded() {
        assertEquals(
                List.of("STRING \"\\/\b\f\n\r\t\u00e9\u30ab\ud83d\ude00 é\ud83d\ude00"),
                read("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u30AB\\ud83d\\uDE00 é\ud83d\ude00\""));
        byte[] notUtf8 = "\"a?\"".getBytes(StandardCharsets.US_ASCII);
        notUtf8[2] = (byte) 0xC3;
        JsonTokens.InvalidException refusal =
                assertThrows(JsonTokens.InvalidException.class, () -> read(new JsonTokens(notUtf8, 1)));
        assertEquals("text that is not UTF-8", refusal.getMessage());
    }

    /** Which strings of Java and escapes of JSON may hold, but UTF-8 may not. */
    @Test
    void halvesOfSurrogatePairsStay() {
        String text = "[\"\ud800a\", \"b\udfff\", \"é\ud83d\ude00\"]";
        List<String> expected =
                List.of("START_ARRAY", "STRING \ud800a", "STRING b\udfff", "STRING é\ud83d\ude00", "END_ARRAY");
        assertEquals(expected, read(text));
        String escaped = JsonTokens.escaped(text);
        assertEquals("[\"\\ud800a\", \"b\\udfff\", \"é\ud83d\ude00\"]", escaped);
        assertEquals(expected, read(new JsonTokens(escaped.getBytes(StandardCharsets.UTF_8), 1)));
        assertThrows(JsonTokens.InvalidException.class, () -> read("[\ud800]"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '~',
            value = {
                "{\"a\":1,\"a\":2}|Duplicate name 'a'",
                "{\"a\":1,\"\\u0061\":2}|Duplicate name 'a'",
                "[[[[]]]]|the nesting depth is more than 3",
                "123456789012345678901|a number has more than 20 characters",
                "9223372036854775808|the number 9223372036854775808 is out of range",
                "01|a number begins with zero",
                "{\"a\" 1}|a colon is missing",
                "{1:1}|a name in double quotes is missing",
                "[1 2]|a comma or the end of what was opened is missing",
                "\"\\x\"|an unknown escape",
                "\"\\u12g4\"|has no four digits",
                "\"\\u12\"|has no four digits",
                "\"a|a string has no end",
                "\"a\\|a string has no end",
                "nul|an unknown word",
                "1.|a fraction has no digits",
                "1e|an exponent has no digits",
            })
    void saysWhatIsWrong(String text, String problem) {
        String message = assertThrows(JsonTokens.InvalidException.class, () -> read(text))
                .getMessage();
        assertTrue(String.valueOf(message).contains(problem), message);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{",
                "[",
                "]",
                "}",
                "{\"a\"",
                "{\"a\":",
                "{\"a\":1,}",
                "[1,]",
                "[,1]",
                "{,}",
                "[1",
                "{\"a\":1",
                "-",
                ".5",
                "+1",
                "NaN",
                "'a'",
                "/**/1",
                "\"\n\"",
                "tru",
                "[1}",
                "{\"a\":1]",
                "\uFEFF1",
                "[1,,2]",
                "{\"a\",1}",
                "truefalse]"
            })
    void refusesWhatIsNoJson(String text) {
        assertThrows(JsonTokens.InvalidException.class, () -> read(text));
    }
}
