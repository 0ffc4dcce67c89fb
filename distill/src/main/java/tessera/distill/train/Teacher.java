package tessera.distill.train;

import tessera.distill.data.Modality;

/**
 * A frozen network that the student learns from.
 *
 * @param sees what it looks at
 * @param network whose parameters require no gradient
 */
public record Teacher(Modality sees, Network network) {}
