package tessera.distill.train;

import tessera.distill.data.Modality;

/**
 * A frozen network that the student learns from. It is compared by identity: one teacher looks at a batch once, however many
 * objectives ask.
 */
public final class Teacher {
    private final Modality sees;
    private final Network network;

    /**
     * Names a teacher.
     *
     * @param sees what it looks at
     * @param network whose parameters require no gradient
     */
    public Teacher(Modality sees, Network network) {
        this.sees = sees;
        this.network = network;
    }

    public Modality sees() {
        return sees;
    }

    public Network network() {
        return network;
    }
}
