package example;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import tessera.nn.Head;
import tessera.nn.Student;

/** An application outside the project, with the one dependency tessera-nn: STUDENT HEAD FRAMES. */
public final class Recognise {
    private Recognise() {}

    // example
    public static void main(String[] words) throws IOException {
        byte[] frames = Files.readAllBytes(Path.of(words[2])); // u8 [16, height, width, 3]
        try (Student student = Student.load(Path.of(words[0]));
                Head head = Head.load(Path.of(words[1]));
                Student.Session session = student.withHead(head).session(1, 0.75, 2)) {
            MemorySegment.copy(frames, 0, session.input(), ValueLayout.JAVA_BYTE, 0, frames.length);
            float[] probabilities = session.predict(42);
            for (int i = 0; i < probabilities.length; i++) {
                System.out.printf("%s %.1f %%%n", head.labels().get(i), 100 * probabilities[i]);
            }
        }
    }
    // end
}
