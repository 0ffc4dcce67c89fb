package tessera.jmh.peers;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Contenders that are ready when another one fails in a way that ends the run give back what they hold. */
class LineupTest {
    /** A library that does not know what it is asked for. */
    private record Failing() implements Peer {
        @Override
        public String name() {
            return "failing";
        }

        @Override
        public Map<String, String> versions() {
            return Map.of();
        }

        @Override
        public List<Way> ways(Work work) {
            return List.of(new Way("", Precision.F32));
        }

        @Override
        public Contender open(Task task, Way way) {
            throw new UnsupportedOperationException("no such work");
        }

        @Override
        public void close() {}
    }

    /** A library whose contenders are counted. */
    private static final class Counting implements Peer {
        private int open;

        @Override
        public String name() {
            return "counting";
        }

        @Override
        public Map<String, String> versions() {
            return Map.of();
        }

        @Override
        public List<Way> ways(Work work) {
            return List.of(new Way("", Precision.F32));
        }

        @Override
        public Contender open(Task task, Way way) {
            open++;
            return new Contender() {
                @Override
                public float[] output() {
                    return new float[32 * 32];
                }

                @Override
                protected void call() {
                    // Never timed here.
                }

                @Override
                public void close() {
                    open--;
                }
            };
        }

        @Override
        public void close() {}
    }

    @Test
    void nothingStaysOpen(@TempDir Path folder) {
        Work work = new Work(Kind.MATMUL, 1, 0, 1);
        try (Task task = Task.make(work, Shapes.tiny(), folder);
                OwnPeer own = new OwnPeer(1);
                Counting counting = new Counting()) {
            List<Peer> peers = List.of(own, counting, new Failing());
            assertThrows(UnsupportedOperationException.class, () -> new Lineup(task, peers, (contender, reason) -> {}));
            assertEquals(0, counting.open);
        }
    }
}
