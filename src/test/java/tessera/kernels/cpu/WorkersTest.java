package tessera.kernels.cpu;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.ChildJava;
import tessera.kernels.Device;

class WorkersTest {
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 7})
    void everyElementIsVisitedOnce(int threads) {
        try (Workers workers = new Workers(threads)) {
            for (int count : new int[] {0, 1, 2, 6, 7, 100, 1001}) {
                for (int grain : new int[] {0, 1, 10, 5000}) {
                    AtomicIntegerArray visits = new AtomicIntegerArray(count);
                    workers.parallelFor(count, grain, (worker, from, to) -> {
                        assertTrue(worker >= 0 && worker < threads);
                        for (long i = from; i < to; i++) {
                            visits.incrementAndGet((int) i);
                        }
                    });
                    for (int i = 0; i < count; i++) {
                        assertEquals(1, visits.get(i), "element " + i + " of " + count);
                    }
                }
            }
        }
    }

    /** So no thread of ours keeps an application's class loader, and its next loop has helpers again. */
    @Test
    void threadsWithoutWorkEndAndAreStartedAgain() throws InterruptedException {
        Thread caller = Thread.currentThread();
        try (Workers workers = new Workers(3, 1)) {
            for (int round = 0; round < 3; round++) {
                Set<Thread> helpers = ConcurrentHashMap.newKeySet();
                while (helpers.isEmpty()) {
                    AtomicLong sum = new AtomicLong();
                    workers.parallelFor(3000, 1, (worker, from, to) -> {
                        if (!Thread.currentThread().equals(caller)) {
                            helpers.add(Thread.currentThread());
                        }
                        for (long i = from; i < to; i++) {
                            sum.addAndGet(i);
                        }
                    });
                    assertEquals(3000 * 2999 / 2, sum.get());
                }
                for (Thread helper : helpers) {
                    helper.join();
                }
            }
        }
    }

    @Test
    void theCutsDependOnTheLoopAlone() {
        try (Workers workers = new Workers(4)) {
            List<String> first = cuts(workers);
            assertEquals(List.of("0-26", "26-52", "52-78", "78-103"), first);
            for (int i = 0; i < 200; i++) {
                assertEquals(first, cuts(workers));
            }
        }
    }

    private static List<String> cuts(Workers workers) {
        AtomicReferenceArray<String> cuts = new AtomicReferenceArray<>(4);
        workers.parallelFor(103, 1, (worker, from, to) -> cuts.set(worker, from + "-" + to));
        return List.of(cuts.get(0), cuts.get(1), cuts.get(2), cuts.get(3));
    }

    @Test
    void aRangeHasAtLeastGrainElements() {
        try (Workers workers = new Workers(8)) {
            AtomicInteger ranges = new AtomicInteger();
            workers.parallelFor(100, 30, (worker, from, to) -> {
                assertTrue(to - from >= 30);
                ranges.incrementAndGet();
            });
            assertEquals(3, ranges.get());
        }
    }

    @Test
    void rangesRunAtTheSameTime() {
        try (Workers workers = new Workers(3)) {
            CountDownLatch all = new CountDownLatch(3);
            workers.parallelFor(3, 1, (worker, from, to) -> {
                all.countDown();
                await(all);
            });
            assertEquals(0, all.getCount());
        }
    }

    @Test
    void manyLoopsOneAfterTheOther() {
        try (Workers workers = new Workers(3)) {
            AtomicLong sum = new AtomicLong();
            for (int loop = 0; loop < 20_000; loop++) {
                workers.parallelFor(2 + loop % 5, 1, (worker, from, to) -> sum.addAndGet(to - from));
            }
            assertEquals(4 * 20_000, sum.get());
        }
    }

    @Test
    void theFirstRangesExceptionIsThrownAfterAllHaveEnded() {
        try (Workers workers = new Workers(3)) {
            RuntimeException first = new IllegalStateException("first");
            AtomicInteger ended = new AtomicInteger();
            for (int i = 0; i < 100; i++) {
                ended.set(0);
                assertSame(
                        first,
                        assertThrows(
                                IllegalStateException.class,
                                () -> workers.parallelFor(3, 1, (worker, from, to) -> {
                                    ended.incrementAndGet();
                                    throw worker == 0 ? first : new IllegalStateException("other");
                                })));
                assertEquals(3, ended.get());
            }
            AtomicInteger after = new AtomicInteger();
            workers.parallelFor(3, 1, (worker, from, to) -> after.incrementAndGet());
            assertEquals(3, after.get());
            assertThrows(
                    AssertionError.class,
                    () -> workers.parallelFor(3, 1, (worker, from, to) -> {
                        throw new AssertionError("an error stays one");
                    }));
        }
    }

    @Test
    void nestedLoopsRunInTheThreadThatCallsThem() {
        try (Workers workers = new Workers(4)) {
            AtomicLong sum = new AtomicLong();
            workers.parallelFor(4, 1, (outer, from, to) -> {
                Thread caller = Thread.currentThread();
                workers.parallelFor(100, 1, (inner, first, last) -> {
                    assertSame(caller, Thread.currentThread());
                    sum.addAndGet(last - first);
                });
            });
            assertEquals(400, sum.get());
        }
    }

    @Test
    void callersDoNotDisturbOneAnother() throws Exception {
        try (Workers workers = new Workers(3);
                ExecutorService users = Executors.newFixedThreadPool(5)) {
            List<Callable<long[]>> calls = new ArrayList<>();
            for (int user = 0; user < 10; user++) {
                calls.add(() -> {
                    long[] squares = new long[500];
                    for (int round = 0; round < 300; round++) {
                        int offset = round;
                        workers.parallelFor(500, 1, (worker, from, to) -> {
                            for (int i = (int) from; i < to; i++) {
                                squares[i] = (long) (i + offset) * (i + offset);
                            }
                        });
                    }
                    return squares;
                });
            }
            long[] expected = new long[500];
            for (int i = 0; i < 500; i++) {
                expected[i] = (i + 299L) * (i + 299L);
            }
            for (Future<long[]> squares : users.invokeAll(calls)) {
                assertArrayEquals(expected, squares.get());
            }
        }
    }

    @Test
    void callersAtTheSameTimeShareTheTeam() throws Exception {
        try (Workers workers = new Workers(5);
                ExecutorService user = Executors.newSingleThreadExecutor()) {
            CountDownLatch first = new CountDownLatch(2);
            CountDownLatch end = new CountDownLatch(1);
            Future<?> other = user.submit(() -> workers.parallelFor(2, 1, (worker, from, to) -> {
                first.countDown();
                await(end);
            }));
            first.await();
            // Two callers and five threads: three for this one, which wait for one another.
            CountDownLatch own = new CountDownLatch(3);
            Set<Thread> seen = ConcurrentHashMap.newKeySet();
            workers.parallelFor(5, 1, (worker, from, to) -> {
                seen.add(Thread.currentThread());
                own.countDown();
                await(own);
            });
            assertEquals(3, seen.size());
            end.countDown();
            other.get();
        }
    }

    @Test
    void anInterruptedCallerStillWaitsAndStaysInterrupted() {
        try (Workers workers = new Workers(2)) {
            Thread.currentThread().interrupt();
            AtomicInteger done = new AtomicInteger();
            workers.parallelFor(2, 1, (worker, from, to) -> done.incrementAndGet());
            assertTrue(Thread.interrupted());
            assertEquals(2, done.get());
        }
    }

    @Test
    void threadsAreDaemonsAndEndOnClose() throws InterruptedException {
        Workers workers = new Workers(2);
        AtomicReferenceArray<Thread> threads = new AtomicReferenceArray<>(2);
        CountDownLatch both = new CountDownLatch(2);
        workers.parallelFor(2, 1, (worker, from, to) -> {
            threads.set(worker, Thread.currentThread());
            both.countDown();
            await(both);
        });
        Thread member = Thread.currentThread().equals(threads.get(0)) ? threads.get(1) : threads.get(0);
        assertTrue(member.isDaemon());
        workers.close();
        member.join();
        assertThrows(IllegalStateException.class, () -> workers.parallelFor(2, 1, (worker, from, to) -> {}));
    }

    @ParameterizedTest
    @ValueSource(ints = {0, -3})
    void aThreadCountBelowOneIsRefused(int threads) {
        String message = requireNonNull(assertThrows(IllegalArgumentException.class, () -> new Workers(threads))
                .getMessage());
        assertTrue(message.startsWith("thread count is " + threads + " but must be at least 1"), message);
    }

    @Test
    void aThreadCountBeyondAllProcessorsIsRefused() {
        String message = requireNonNull(assertThrows(IllegalArgumentException.class, () -> new Workers(999_999_999))
                .getMessage());
        assertTrue(message.startsWith("thread count is 999999999 but must be at most 1024"), message);
    }

    /** The process's own device, made by the property: in a process of its own, which the property decides for. */
    static final class NoThread {
        private NoThread() {}

        public static void main(String[] args) {
            for (int i = 0; i < 2; i++) {
                System.out.println(assertThrows(IllegalArgumentException.class, Device::cpu)
                        .getMessage());
            }
        }
    }

    @Test
    void aPropertyOfNoThreadIsRefusedInOneLineEachTime(@TempDir Path temp) throws Exception {
        String refusal = "-Dtessera.threads=0 leaves no thread to compute; pass 1 or more, or leave it away\n";
        assertEquals(refusal + refusal, ChildJava.run(temp, "-Dtessera.threads=0", NoThread.class));
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void whatWasNotedRepeatsTheLoopsAndNothingElse() {
        List<String> done = new ArrayList<>();
        Workers.Held held = new Workers.Held() {
            @Override
            public void acquire() {
                done.add("acquire");
            }

            @Override
            public void release() {
                done.add("release");
            }
        };
        try (Workers workers = new Workers(1)) {
            Runnable repeat = Workers.noted(() -> {
                done.add("call");
                workers.repeatableFor(
                        3,
                        1,
                        (worker, from, to) -> {
                            done.add("first");
                            workers.parallelFor(1, 1, (w, f, t) -> done.add("within"));
                        },
                        held);
                workers.repeatableFor(2, 1, (worker, from, to) -> done.add("second"));
            });
            List<String> loops = List.of("acquire", "first", "within", "release", "second");
            assertEquals("call", done.removeFirst());
            assertEquals(loops, done);
            for (int i = 0; i < 2; i++) {
                done.clear();
                Objects.requireNonNull(repeat).run();
                assertEquals(loops, done);
            }
        }
    }

    @Test
    void aCallWithAnotherLoopOrWithoutAnyIsNotRepeated() {
        try (Workers workers = new Workers(2)) {
            assertNull(Workers.noted(() -> {}));
            assertNull(Workers.noted(() -> {
                workers.repeatableFor(3, 1, (worker, from, to) -> {});
                workers.parallelFor(3, 1, (worker, from, to) -> {});
            }));
            assertThrows(
                    IllegalStateException.class,
                    () -> Workers.noted(() -> {
                        throw new IllegalStateException("no");
                    }));
            // Nothing of it is left: a loop of its own is noted alone.
            assertNotNull(Workers.noted(() -> workers.repeatableFor(3, 1, (worker, from, to) -> {})));
        }
    }
}
