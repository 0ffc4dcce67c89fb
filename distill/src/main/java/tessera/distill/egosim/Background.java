package tessera.distill.egosim;

/**
 * The room that a microphone hears beside the clip's own sound. The figures are our choice:
 *
 * <ul>
 *   <li>The microphone's gain is drawn for each clip, from -{@value #GAIN} to {@value #GAIN} dB.
 *   <li>Pink noise (Kellet's filter) and mains hum of 50, 100 and 150 Hz, of which the hum has a tenth to a half of the power. All of
 *       it lies below the clip's sound, or below {@value #QUIET} of full scale where the clip is quieter, by a ratio that is drawn
 *       for each clip: 10 to 25 dB in homes, 5 to 20 in kitchens, 0 to 15 in workshops.
 *   <li>{@value #STRAY} of clips have a stroke of some other thing at any time, up to as loud as the clip's own.
 * </ul>
 */
final class Background {
    static final double GAIN = 6;
    static final double QUIET = .003;
    static final double STRAY = .3;

    private Background() {}

    /** Adds the room to a waveform, in place. */
    static void add(float[] waveform, Stock stock, Draws draws) {
        double gain = decibels(draws.uniform(-GAIN, GAIN));
        int place = Domain.ALL.indexOf(stock.domain());
        double level = Math.max(QUIET, loudness(waveform)) * decibels(-draws.uniform(10 - 5 * place, 25 - 5 * place));
        float[] noise = pink(waveform.length, draws);
        double pinkLevel = loudness(noise);
        double hum = draws.uniform(.1, .5);
        var amplitudes = new double[3];
        var phases = new double[3];
        double power = 0;
        for (int k = 0; k < 3; k++) {
            amplitudes[k] = draws.uniform(.2, 1) / (k + 1);
            phases[k] = draws.uniform(0, 2 * Math.PI);
            power += .5 * amplitudes[k] * amplitudes[k];
        }
        if (draws.chance(STRAY)) {
            Timbre other = Timbre.of(draws.pick(Noun.values()), stock, stock.pick(draws));
            Sound.stroke(waveform, other, draws.below(waveform.length), draws.uniform(.02, .12), draws);
        }
        for (int i = 0; i < waveform.length; i++) {
            double mains = 0;
            for (int k = 0; k < 3; k++) {
                mains += amplitudes[k] * Math.sin(2 * Math.PI * 50 * (k + 1) * i / EgoSim.SOUND_RATE + phases[k]);
            }
            double room = Math.sqrt(1 - hum) * noise[i] / pinkLevel + Math.sqrt(hum / power) * mains;
            waveform[i] = (float) Math.clamp(gain * (waveform[i] + level * room), -1, 1);
        }
    }

    private static double decibels(double value) {
        return Math.pow(10, value / 20);
    }

    /** Root of the mean square. */
    static double loudness(float[] waveform) {
        double sum = 0;
        for (float v : waveform) {
            sum += v * v;
        }
        return Math.sqrt(sum / waveform.length);
    }

    private static float[] pink(int length, Draws draws) {
        var noise = new float[length];
        double slow = 0;
        double middle = 0;
        double fast = 0;
        for (int i = 0; i < length; i++) {
            double white = draws.normal();
            slow = .99765 * slow + white * .0990460;
            middle = .96300 * middle + white * .2965164;
            fast = .57000 * fast + white * 1.0526913;
            noise[i] = (float) (slow + middle + fast + white * .1848);
        }
        return noise;
    }
}
