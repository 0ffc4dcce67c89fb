package tessera.distill.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.StringWriter;
import java.util.AbstractList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class JsonTest {
    /** Items that are made when they are asked for, of which one fails. */
    private static List<Integer> items(int failing) {
        return new AbstractList<>() {
            @Override
            public Integer get(int index) {
                if (index == failing) {
                    throw new IllegalArgumentException("item " + index);
                }
                return index;
            }

            @Override
            public int size() {
                return 4000;
            }
        };
    }

    /** Who reads the beginning of a result must not take it for a whole one. */
    @Test
    void whatFailsMidwayIsNoJson() {
        for (int failing : new int[] {0, 1, 3999}) {
            StringWriter written = new StringWriter();
            assertThrows(IllegalArgumentException.class, () -> Json.write(Map.of("items", items(failing)), written));
            String text = written.toString();
            assertFalse(text.contains("]") || text.contains("}") || text.contains("\n"), text);
            assertThrows(IllegalArgumentException.class, () -> Json.value(text));
        }
        StringWriter whole = new StringWriter();
        Json.write(Map.of("items", items(-1)), whole);
        assertTrue(Json.object(whole.toString()).get("items") instanceof List<?> list && list.size() == 4000);
        assertEquals("[]", Json.text(List.of()));
    }
}
