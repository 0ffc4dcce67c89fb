package tessera.distill.egosim;

/** A smooth random function of time: three sinusoids, the faster the weaker. Time runs from 0 to 1 over a clip. */
final class Wave {
    private static final int TERMS = 3;
    private final double[] amplitude = new double[TERMS];
    private final double[] frequency = new double[TERMS];
    private final double[] phase = new double[TERMS];

    Wave(Draws draws, double scale, double cycles) {
        for (int i = 0; i < TERMS; i++) {
            frequency[i] = 2 * Math.PI * cycles * (.4 + i * .8 + .5 * draws.uniform());
            amplitude[i] = scale * draws.normal() * .6 / (i + 1);
            phase[i] = 2 * Math.PI * draws.uniform();
        }
    }

    double at(double time) {
        double sum = 0;
        for (int i = 0; i < TERMS; i++) {
            sum += amplitude[i] * Math.sin(frequency[i] * time + phase[i]);
        }
        return sum;
    }
}
