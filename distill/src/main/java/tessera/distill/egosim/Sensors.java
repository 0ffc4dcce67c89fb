package tessera.distill.egosim;

import tessera.distill.data.Geometry;

/**
 * What estimators, detectors and the microphone make of the truth. Their errors depend on the domain, on motion, blur and occlusion as the
 * table says; its figures are chosen, of the order of good estimators on first-person video, and are measured on none.
 *
 * <p>In the table, <i>g</i> is the grain of a clip: its image noise over its brightness, about 1 in homes, .4 in kitchens, 3.4 in
 * workshops. <i>z</i> = .6 + .4 g is by how much more than in a home estimators err. <i>v</i> is a thing's speed in widths of the picture a
 * second, of flow <i>s</i> its length in pixels of a picture of 64. <i>b</i> is how far a thing moves while the shutter is open, in widths of the
 * picture: 1/60 to 1/30 s in homes, 1/120 to 1/60 s in kitchens, 1/30 to 1/15 s in workshops. <i>h</i> is the hidden share of a hand's joints (two
 * thirds in usual grips: curled fingers lie behind the palm) or of a thing, <i>o</i> the share of joints outside of the picture, <i>G</i> 1 for
 * gloved hands (15 % of clips in kitchens, 70 % in workshops), else 0. Probabilities are those of a frame.
 *
 * <table>
 * <caption>Errors</caption>
 * <tr><th>sensor</th><th>error</th><th>figure</th></tr>
 * <tr><td>picture</td><td>blur</td><td>along each pixel's own motion, while the shutter is open</td></tr>
 * <tr><td>flow</td><td>large motion</td><td>times 1 + c s / (s + 4), where c is drawn for each clip, normal, -.08 &plusmn; .1; and for each frame
 *     1 &plusmn; .03</td></tr>
 * <tr><td>flow</td><td>noise</td><td>in patches of an eighth of the picture .12 z (1 + s/4), in pixels .04 z (1 + s/4), of pixels of a picture of
 *     64</td></tr>
 * <tr><td>flow</td><td>outliers</td><td>of patches .02 z (1 + s/4), at most .3; of size 1.6 (1 + s/4)</td></tr>
 * <tr><td>flow</td><td>borders, covered and uncovered places</td><td>where motion differs by d &gt; 1 pixel across a pixel, the motion of another one
 *     within d/2, at most 3 pixels, is taken; then all is blurred by 1 2 1</td></tr>
 * <tr><td>pose</td><td>jitter of joints</td><td>q z (1 + v/2) + b/4 of the picture, q from .006 to .02 for each clip, .7 times as much for the whole hand
 *     beside; twice as much for hidden joints</td></tr>
 * <tr><td>pose</td><td>hands missed</td><td>begins with .02 + .06 h + .1 o + b + .05 G, at most .6; ends with .4; always with fewer than 6 joints in the
 *     picture</td></tr>
 * <tr><td>pose</td><td>joints missed</td><td>.02, hidden ones .1</td></tr>
 * <tr><td>pose</td><td>two fingers exchanged</td><td>.01 + .03 h + b + .02 G, at most .5</td></tr>
 * <tr><td>pose</td><td>false hands</td><td>begins with .01 g + .004 for each thing that lies around; ends with .5</td></tr>
 * <tr><td>pose</td><td>confidence</td><td>none is given: what is found has heat 1</td></tr>
 * <tr><td>boxes</td><td>jitter of corners</td><td>q z (1 + v/2) of the box, q from .02 to .06 for each clip</td></tr>
 * <tr><td>boxes</td><td>things missed</td><td>begins with .02 + b, at most .6; ends with .4; beside that .3 h</td></tr>
 * <tr><td>boxes</td><td>false boxes</td><td>.15 + .1 g, with scores below .6</td></tr>
 * <tr><td>boxes</td><td>class, side, contact</td><td>.02 (.06 of gloved hands), .03, .08 are wrong; scores fall with error and h</td></tr>
 * </table>
 *
 * @param poseSigma standard deviation of a joint's Gaussian, in image pixels
 * @param flowErrors whether flow is an estimator's
 * @param poseErrors whether joints are a detector's
 * @param boxErrors whether boxes are a detector's
 * @param soundErrors whether sound is that of a room: under the clip's own sound lie pink noise and mains hum (10 to 25 dB lower in
 *     homes, 5 to 20 in kitchens, 0 to 15 in workshops), 30 % of clips hold a stroke of something else, and the microphone's gain is
 *     from -6 to 6 dB; figures chosen, too
 */
public record Sensors(
        double poseSigma, boolean flowErrors, boolean poseErrors, boolean boxErrors, boolean soundErrors) {
    public Sensors {
        if (!(poseSigma > 0)) {
            throw new IllegalArgumentException(
                    "egosim: poseSigma is " + poseSigma + " but must be positive; pass for instance 10 for size 224");
        }
    }

    /** Estimators of usual quality; sigma is 10 pixels of a picture of 224. */
    public static Sensors realistic(Geometry geometry) {
        return new Sensors(10.0 / 224 * geometry.size(), true, true, true, true);
    }

    /** The truth itself. */
    public static Sensors exact(Geometry geometry) {
        return new Sensors(10.0 / 224 * geometry.size(), false, false, false, false);
    }
}
