package tessera.tensor.io;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The tokens of a JSON text (RFC 8259), one after the other: for headers and entries of weight files, which every start reads. It is strict,
 * refuses names that an object has twice, and knows neither fractions' values nor texts that arrive in parts; what has these is read by
 * Jackson, whose parser takes a start longer to load than the whole rest of a small file.
 *
 * <p>For one thread. Memory grows with the longest string of the text and with the names of the objects that are open.
 */
public final class JsonTokens {
    /** What stands at a place. Names and strings have a {@link #text()}, whole numbers a {@link #whole()}. */
    public enum Token {
        START_OBJECT("a JSON object"),
        END_OBJECT("the end of an object"),
        START_ARRAY("a JSON array"),
        END_ARRAY("the end of an array"),
        NAME("a name"),
        STRING("a string"),
        WHOLE("a whole number"),
        FRACTION("a fraction"),
        TRUE("true"),
        FALSE("false"),
        NULL("null"),
        END("the end of the text");

        private final String words;

        Token(String words) {
            this.words = words;
        }

        /** In words, with an article where one belongs. */
        @Override
        public String toString() {
            return words;
        }
    }

    /** The text is no JSON, or nests deeper or has longer numbers than it may. */
    public static final class InvalidException extends IllegalArgumentException {
        private static final long serialVersionUID = 1;

        private InvalidException(String message) {
            super(message);
        }

        private InvalidException(CharacterCodingException cause) {
            super("text that is not UTF-8", cause);
        }
    }

    /** As long as the longest whole number of 64 bits with its sign. */
    private static final int LONGEST_NUMBER = 20;

    /** An open array, or an open object with its names so far. */
    private record Level(boolean array, Set<String> names) {}

    private final byte[] json;
    private final int deepest;
    private final List<Level> open = new ArrayList<>();

    private int at;
    private Token current = Token.END;
    /** Whether an object or array was just opened, so that no comma stands before what comes. */
    private boolean first;

    private String text = "";

    /**
     * @param json UTF-8, not copied
     * @param deepest how many objects and arrays may lie in each other
     */
    public JsonTokens(byte[] json, int deepest) {
        this.json = json;
        this.deepest = deepest;
    }

    /** Of a text in memory; halves of surrogate pairs, which strings of Java may hold, stay what they are. */
    public JsonTokens(String json, int deepest) {
        this(escaped(json).getBytes(StandardCharsets.UTF_8), deepest);
    }

    /**
     * A JSON text whose strings have halves of surrogate pairs as escapes: the same to who reads it, and one that UTF-8 can hold,
     * which knows no such halves.
     */
    public static String escaped(String json) {
        if (Safetensors.isUnicode(json)) {
            return json;
        }
        StringBuilder escaped = new StringBuilder(json.length());
        json.codePoints().forEach(character -> {
            if (Character.getType(character) == Character.SURROGATE) {
                escaped.append("\\u%04x".formatted(character));
            } else {
                escaped.appendCodePoint(character);
            }
        });
        return escaped.toString();
    }

    /**
     * Goes on to the next token. What follows a whole text is read as another.
     *
     * @return {@link Token#END} where nothing but spaces follows
     * @throws InvalidException if that is no JSON
     */
    public Token next() {
        boolean named = current == Token.NAME;
        int c = skipSpaces();
        if (named) {
            require(c == ':', "a colon is missing");
            at++;
            c = skipSpaces();
        } else if (!open.isEmpty()) {
            boolean array = open.getLast().array;
            if (c == (array ? ']' : '}')) {
                at++;
                open.removeLast();
                return found(array ? Token.END_ARRAY : Token.END_OBJECT);
            }
            if (!first) {
                require(c == ',', "a comma or the end of what was opened is missing");
                at++;
                c = skipSpaces();
            }
            if (!array) {
                require(c == '"', "a name in double quotes is missing");
                text = string();
                if (!open.getLast().names.add(text)) {
                    throw invalid("Duplicate name " + TensorFileException.quote(text));
                }
                return found(Token.NAME);
            }
        }
        return found(value(c));
    }

    /** The token that {@link #next} gave last. */
    public Token current() {
        return current;
    }

    /** The name or string that was read last. */
    public String text() {
        return text;
    }

    /**
     * The whole number that was read last.
     *
     * @throws InvalidException if it does not fit into 64 bits
     */
    public long whole() {
        try {
            return Long.parseLong(text);
        } catch (NumberFormatException e) {
            throw invalid("the number " + text + " is out of range");
        }
    }

    private Token found(Token token) {
        first = token == Token.START_OBJECT || token == Token.START_ARRAY;
        current = token;
        return token;
    }

    private Token value(int c) {
        return switch (c) {
            case -1 -> end();
            case '{' -> opened(Token.START_OBJECT, new Level(false, new HashSet<>()));
            case '[' -> opened(Token.START_ARRAY, new Level(true, Set.of()));
            case '"' -> {
                text = string();
                yield Token.STRING;
            }
            case 't' -> word("true", Token.TRUE);
            case 'f' -> word("false", Token.FALSE);
            case 'n' -> word("null", Token.NULL);
            default -> number();
        };
    }

    private Token end() {
        require(open.isEmpty(), "the text ends too early");
        return Token.END;
    }

    private Token opened(Token token, Level level) {
        require(open.size() < deepest, "the nesting depth is more than " + deepest);
        at++;
        open.add(level);
        return token;
    }

    private Token word(String word, Token token) {
        for (int i = 0; i < word.length(); i++) {
            require(byteAt(at + i) == word.charAt(i), "an unknown word");
        }
        at += word.length();
        return token;
    }

    /** The grammar's number: a sign, digits without a leading zero, and perhaps a fraction and an exponent. */
    private Token number() {
        int start = at;
        if (byteAt(at) == '-') {
            at++;
        }
        int whole = digits();
        require(whole > 0, "an unknown character");
        require(whole == 1 || byteAt(at - whole) != '0', "a number begins with zero");
        boolean fraction = false;
        if (byteAt(at) == '.') {
            at++;
            fraction = true;
            require(digits() > 0, "a fraction has no digits");
        }
        if (byteAt(at) == 'e' || byteAt(at) == 'E') {
            at++;
            fraction = true;
            if (byteAt(at) == '+' || byteAt(at) == '-') {
                at++;
            }
            require(digits() > 0, "an exponent has no digits");
        }
        require(at - start <= LONGEST_NUMBER, "a number has more than " + LONGEST_NUMBER + " characters");
        text = new String(json, start, at - start, StandardCharsets.ISO_8859_1);
        return fraction ? Token.FRACTION : Token.WHOLE;
    }

    private int digits() {
        int start = at;
        while (byteAt(at) >= '0' && byteAt(at) <= '9') {
            at++;
        }
        return at - start;
    }

    /** From its opening quote on. */
    private String string() {
        int start = ++at;
        boolean escaped = false;
        boolean ascii = true;
        for (int c = byteAt(at); c != '"'; c = byteAt(at)) {
            require(c >= 0, "a string has no end");
            require(c >= ' ', "a string holds a control character");
            ascii &= c < 128;
            if (c == '\\') {
                escaped = true;
                at++;
            }
            at++;
        }
        int length = at++ - start;
        String raw = ascii ? new String(json, start, length, StandardCharsets.ISO_8859_1) : utf8(start, length);
        return escaped ? unescaped(raw) : raw;
    }

    private String utf8(int start, int length) {
        try {
            // A fresh decoder reports what is malformed.
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(json, start, length))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new InvalidException(e);
        }
    }

    private String unescaped(String raw) {
        StringBuilder plain = new StringBuilder(raw.length());
        for (int i = 0; i < raw.length(); i++) {
            char c = raw.charAt(i);
            if (c != '\\') {
                plain.append(c);
                continue;
            }
            char kind = raw.charAt(++i);
            switch (kind) {
                case '"', '\\', '/' -> plain.append(kind);
                case 'b' -> plain.append('\b');
                case 'f' -> plain.append('\f');
                case 'n' -> plain.append('\n');
                case 'r' -> plain.append('\r');
                case 't' -> plain.append('\t');
                case 'u' -> {
                    plain.append((char) hex(raw, i + 1));
                    i += 4;
                }
                default -> throw invalid("an unknown escape in a string");
            }
        }
        return plain.toString();
    }

    private int hex(String raw, int start) {
        int value = 0;
        for (int i = start; i < start + 4; i++) {
            int digit = i < raw.length() && raw.charAt(i) < 128 ? Character.digit(raw.charAt(i), 16) : -1;
            require(digit >= 0, "an escape in a string has no four digits");
            value = 16 * value + digit;
        }
        return value;
    }

    private int skipSpaces() {
        int c = byteAt(at);
        while (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            c = byteAt(++at);
        }
        return c;
    }

    /** Unsigned, or -1 behind the end. */
    private int byteAt(int place) {
        return place < json.length ? json[place] & 255 : -1;
    }

    private void require(boolean good, String problem) {
        if (!good) {
            throw invalid(problem);
        }
    }

    private InvalidException invalid(String problem) {
        return new InvalidException(problem + ", near byte " + at);
    }
}
