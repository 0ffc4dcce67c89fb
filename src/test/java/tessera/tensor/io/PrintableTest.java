package tessera.tensor.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class PrintableTest {
    @Test
    void whatDrivesATerminalIsEscaped() {
        assertEquals("first\\nsecond\\u001b[31mred", Printable.line("first\nsecond\u001b[31mred"));
        assertEquals(
                "\\r\\t\\u0000\\u007f\\u009b\\u2028\\u202e\\u2066",
                Printable.line("\r\t\0\u007f\u009b\u2028\u202e\u2066"));
        assertEquals("half \\ud800", Printable.line("half \ud800"));
    }

    @Test
    void allElseStaysAsItIs() {
        String text = "Tür öffnen, カップ, 👩\u200d🍳 \\n";
        assertSame(text, Printable.line(text));
    }

    @Test
    void namesOfArraysAreOneLine() {
        ArrayData array = new ArrayData("a\nb", StoredType.U8, new long[] {0}, MemorySegment.ofArray(new byte[0]));
        assertEquals("a\\nb: u8[0]", array.toString());
        assertEquals("a\\nb: u8[0]", array.info().toString());
    }
}
