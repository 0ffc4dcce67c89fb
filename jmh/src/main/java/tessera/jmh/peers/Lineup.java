package tessera.jmh.peers;

import java.util.ArrayList;
import java.util.List;

/** All that carry out one task, each ready, with what it computed compared with our f32. Not thread-safe; closing frees what they hold. */
final class Lineup implements AutoCloseable {
    private final List<Entry> entries = new ArrayList<>();

    /** A contender that is ready, and how far its result is from our f32. */
    record Entry(Peer peer, Peer.Way way, Contender contender, double difference) {
        /** Ourselves in the way that an embedder meets. */
        boolean isOurs() {
            return peer instanceof OwnPeer && way.mode().isEmpty();
        }

        boolean isReference() {
            return isOurs() && way.precision() == Precision.F32;
        }

        boolean agrees() {
            return isReference() || difference <= way.precision().tolerance();
        }

        String name() {
            return Row.contender(peer.name(), way.mode(), way.precision().text());
        }
    }

    /** Hears of a contender that is not to be had. */
    interface Absences {
        void absent(String contender, RuntimeException reason);
    }

    /**
     * Opens every way of every peer. Where this processor has none of a precision for us, theirs would be timed beside nothing of ours,
     * which takes most of a run as they have no instructions for it either; so it is named as absent and not opened.
     *
     * @param peers ourselves first
     */
    Lineup(Task task, List<Peer> peers, Absences absences) {
        try {
            open(task, peers, absences);
        } catch (RuntimeException | Error e) {
            close();
            throw e;
        }
    }

    private void open(Task task, List<Peer> peers, Absences absences) {
        float[] reference = {};
        for (Peer peer : peers) {
            for (Peer.Way way : peer.ways(task.work())) {
                try {
                    if (!(peer instanceof OwnPeer) && !isOurs(way.precision())) {
                        throw new Peer.AbsentException("not measured, as ours has no "
                                + way.precision().text() + " here to stand beside it");
                    }
                    Contender contender = peer.open(task, way);
                    try {
                        float[] output = contender.output();
                        reference = reference.length == 0 ? output : reference;
                        entries.add(new Entry(peer, way, contender, Spread.difference(output, reference)));
                    } catch (RuntimeException | Error e) {
                        contender.close();
                        throw e;
                    }
                } catch (Peer.AbsentException | IllegalStateException e) {
                    absences.absent(
                            Row.contender(
                                    peer.name(), way.mode(), way.precision().text()),
                            e);
                }
            }
        }
    }

    private boolean isOurs(Precision precision) {
        return entries.stream().anyMatch(entry -> entry.isOurs() && entry.way().precision() == precision);
    }

    List<Entry> entries() {
        return entries;
    }

    /** Times all in turn: for each the seconds of one call in every round. */
    List<double[]> time(Rounds rounds) {
        return rounds.time(entries.stream().map(Entry::contender).toList());
    }

    @Override
    public void close() {
        entries.forEach(entry -> entry.contender().close());
    }
}
