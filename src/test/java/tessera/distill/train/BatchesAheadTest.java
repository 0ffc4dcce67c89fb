package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import tessera.distill.data.Modality;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

class BatchesAheadTest {
    private final Device host = Device.cpu(1);
    private final List<Long> made = Collections.synchronizedList(new ArrayList<>());
    private final Set<String> threads = Collections.synchronizedSet(new TreeSet<>());

    private Batch numbered(Device device, long step) {
        made.add(step);
        threads.add(Thread.currentThread().getName());
        if (step == 3) {
            throw new IllegalStateException("clip 3 is damaged");
        }
        return new Batch(Map.of(Modality.RGB, Tensor.full(device, DType.F32, Shape.of(2), (double) step)));
    }

    private long sum(long step) {
        long sum = 0;
        for (Batch batch : List.of(numbered(host, step), numbered(host, step))) {
            for (Tensor tensor : batch.tensors()) {
                sum += (long) tensor.toFloats()[0];
                tensor.close();
            }
        }
        return sum;
    }

    private static long taken(BatchesAhead<Long> batches, long step) {
        return batches.take(step);
    }

    private BatchesAhead<Long> ahead(long steps) {
        return new BatchesAhead<>(this::sum, steps);
    }

    @Test
    void everyStepGetsItsOwnBatchesOfAllPartsMadeOnceAndElsewhere() {
        try (BatchesAhead<Long> batches = ahead(3)) {
            for (long step = 0; step < 3; step++) {
                assertEquals(2 * step, taken(batches, step));
            }
        }
        assertEquals(List.of(0L, 0L, 1L, 1L, 2L, 2L), made);
        assertEquals(Set.of("tessera-batches"), threads);
        assertEquals(0, host.memory().live());
    }

    @Test
    void aRunThatBeginsElsewhereGetsTheBatchesOfThatStep() {
        try (BatchesAhead<Long> batches = ahead(100)) {
            assertEquals(0, taken(batches, 0));
            assertEquals(2 * 50, taken(batches, 50));
        }
        assertEquals(0, host.memory().live());
    }

    @Test
    void aBatchThatCannotBeMadeFailsTheStepThatNeedsIt() {
        try (BatchesAhead<Long> batches = ahead(10)) {
            assertEquals(2 * 2, taken(batches, 2));
            IllegalStateException thrown = assertThrows(IllegalStateException.class, () -> batches.take(3));
            assertEquals("clip 3 is damaged", thrown.getMessage());
            assertEquals(2 * 4, taken(batches, 4));
        }
        assertEquals(0, host.memory().live());
    }
}
