package tessera.distill.egosim;

import java.util.Arrays;
import tessera.distill.egosim.Timbre.Contents;
import tessera.distill.egosim.Touches.Kind;
import tessera.distill.egosim.Touches.Meeting;

/**
 * The sound of a clip, made from its {@link Touches}: what meets rings with its partial tones, what rubs hisses, contents rattle or
 * splash. Where nothing touches there is silence, once all has rung out. Used by one thread.
 */
final class Sound {
    private static final int RATE = EgoSim.SOUND_RATE;
    private static final int LENGTH = (int) Math.round(EgoSim.SECONDS * RATE);
    private static final int PER_STEP = LENGTH / Touches.STEPS;

    /** Frequencies over which a hand and a hard thing do not strike, in Hz. */
    private static final double SOFT = 1800;

    private static final double HARD = 9000;

    private static final double HIGHEST = .45 * RATE;
    private static final double INAUDIBLE = 1e-5;

    private final float[] waveform = new float[LENGTH];
    private final Draws draws;

    private Sound(Draws draws) {
        this.draws = draws;
    }

    /** The waveform, full scale in [-1, 1], {@link EgoSim#SECONDS} long. */
    static float[] of(Scene scene, Noun noun, Draws draws) {
        Timbre object = Timbre.of(noun, scene.stock(), scene.whichObject());
        Timbre table = Timbre.table(scene.stock().domain(), draws);
        var touches = new Touches(scene.action(), Mesh.of(noun), object);
        var sound = new Sound(draws);
        sound.meet(touches, object, table);
        double ground = Math.sqrt(object.rough() * table.rough());
        sound.hiss(touches.scrape, .03, ground, 1.2);
        sound.hiss(touches.rub, .012, object.rough(), 1.5);
        sound.hiss(touches.carry, .003, 350, .8);
        sound.grains(touches.lid, 60, .06, object.rough(), 3);
        sound.grains(touches.press, 120, .05, .7 * object.rough(), 2);
        sound.contain(touches, object);
        for (int i = 0; i < LENGTH; i++) {
            sound.waveform[i] = Math.clamp(sound.waveform[i], -1, 1);
        }
        return sound.waveform;
    }

    /** A stroke of another thing, from somewhere else, added at a sample. */
    static void stroke(float[] waveform, Timbre timbre, int at, double loudness, Draws draws) {
        var sound = new Sound(draws);
        sound.strike(timbre, at, loudness, HARD);
        for (int i = 0; i < LENGTH; i++) {
            waveform[i] += sound.waveform[i];
        }
    }

    private void meet(Touches touches, Timbre object, Timbre table) {
        for (Meeting meeting : touches.meetings) {
            int at = meeting.step() * PER_STEP;
            double loudness = .12 * Math.clamp(meeting.speed() / 3, .05, 2);
            strike(object, at, loudness, meeting.kind() == Kind.HAND ? SOFT : HARD);
            if (meeting.kind() == Kind.TABLE) {
                strike(table, at, .8 * loudness, HARD);
            }
        }
    }

    /** Partial tones that decay, those over a bound all but silent, and a short click. */
    private void strike(Timbre timbre, int at, double loudness, double bound) {
        double strength = loudness;
        for (double partial : timbre.partials()) {
            double frequency = timbre.pitch() * partial;
            double amplitude = strength * draws.uniform(.7, 1.3) * Math.exp(-frequency * frequency / (bound * bound));
            if (frequency < HIGHEST) {
                ring(at, frequency, timbre.ring() / (.5 + .5 * partial), amplitude);
            }
            strength *= timbre.bright();
        }
        int click = (int) (.012 * RATE);
        var band = new Band(Math.min(timbre.rough(), bound), 1);
        for (int i = 0; i < click && at + i < LENGTH; i++) {
            waveform[at + i] += (float) (.25 * loudness * (1 - i / (double) click) * band.next(draws.normal()));
        }
    }

    private void ring(int at, double frequency, double seconds, double amplitude) {
        double fall = Math.exp(-1 / (seconds * RATE));
        double turn = 2 * Math.PI * frequency / RATE;
        // A sinusoid that decays: each sample follows from the two before it.
        double before = 0;
        double now = amplitude * fall * Math.sin(turn);
        double first = 2 * fall * Math.cos(turn);
        double second = -fall * fall;
        double level = amplitude;
        for (int i = at + 1; i < LENGTH && level > INAUDIBLE; i++) {
            waveform[i] += (float) now;
            double next = first * now + second * before;
            before = now;
            now = next;
            level *= fall;
        }
    }

    /** Noise around a frequency, as loud as the speed. */
    private void hiss(double[] speed, double loudness, double frequency, double narrow) {
        if (isStill(speed)) {
            return;
        }
        var band = new Band(frequency, narrow);
        for (int i = 0; i < LENGTH; i++) {
            double amplitude = loudness * at(speed, i);
            double value = band.next(draws.normal());
            waveform[i] += (float) (amplitude * value);
        }
    }

    /** Short noises at random times, the more the faster, so many each second at speed 1. */
    private void grains(double[] speed, double often, double loudness, double frequency, double narrow) {
        if (isStill(speed)) {
            return;
        }
        var band = new Band(frequency, narrow);
        double level = 0;
        double fall = Math.exp(-1 / (.006 * RATE));
        for (int i = 0; i < LENGTH; i++) {
            double now = at(speed, i);
            if (draws.chance(often * now / RATE)) {
                level += loudness * draws.uniform(.3, 1.2);
            }
            level = now > 0 || level > INAUDIBLE ? level * fall : 0;
            waveform[i] += (float) (level * band.next(draws.normal()));
        }
    }

    private void contain(Touches touches, Timbre object) {
        Contents contents = object.contents();
        if (contents == Contents.PIECES) {
            grains(touches.jolt, 6, .06, 1.6 * object.rough(), 2);
        } else if (contents != Contents.NONE) {
            hiss(touches.jolt, .0012, 700, 1);
            bubbles(touches.jolt, 1.5, .02, 500);
        }
        if (contents == Contents.OPEN_LIQUID) {
            hiss(touches.flow, .05, 1200, .7);
            bubbles(touches.flow, 90, .04, 900);
        }
    }

    /** Bubbles ring with short tones that rise (van den Doel, "Physically based models for liquid sounds", 2005). */
    private void bubbles(double[] rate, double often, double loudness, double frequency) {
        if (isStill(rate)) {
            return;
        }
        for (int i = 0; i < LENGTH; i++) {
            if (draws.chance(often * at(rate, i) / RATE)) {
                double start = 2 * Math.PI * frequency * Math.pow(2, draws.uniform(-.8, .8)) / RATE;
                double amplitude = loudness * draws.uniform(.2, 1);
                double fall = Math.exp(-1 / (.01 * RATE));
                double phase = 0;
                for (int k = i; k < LENGTH && amplitude > INAUDIBLE; k++) {
                    waveform[k] += (float) (amplitude * Math.sin(phase));
                    phase += start * (1 + 8.0 * (k - i) / RATE);
                    amplitude *= fall;
                }
            }
        }
    }

    private static boolean isStill(double[] speed) {
        return Arrays.stream(speed).allMatch(v -> v == 0);
    }

    /** The value of a step's signal at a sample, between steps on a straight line. */
    private static double at(double[] signal, int sample) {
        int step = sample / PER_STEP;
        double next = step + 1 < signal.length ? signal[step + 1] : signal[step];
        return signal[step] + (sample % PER_STEP) / (double) PER_STEP * (next - signal[step]);
    }

    /** A resonator of two poles, so scaled that white noise keeps its loudness (Bristow-Johnson's constant peak). */
    private static final class Band {
        private final double gain;
        private final double first;
        private final double second;
        private double x1;
        private double x2;
        private double y1;
        private double y2;

        Band(double frequency, double narrow) {
            double turn = 2 * Math.PI * Math.min(frequency, HIGHEST) / RATE;
            double alpha = Math.sin(turn) / (2 * narrow);
            gain = alpha / (1 + alpha) / Math.sqrt(alpha / (1 + alpha));
            first = 2 * Math.cos(turn) / (1 + alpha);
            second = (alpha - 1) / (1 + alpha);
        }

        double next(double x) {
            double y = gain * (x - x2) + first * y1 + second * y2;
            x2 = x1;
            x1 = x;
            y2 = y1;
            y1 = y;
            return y;
        }
    }
}
