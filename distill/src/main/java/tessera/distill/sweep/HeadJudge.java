package tessera.distill.sweep;

import tessera.distill.evaluation.Reliability;
import tessera.distill.evaluation.Share;

/**
 * Accuracy of the students' main head on labelled clips, with its standard error over these.
 *
 * @param clips to look at
 * @param labels of the clips, in the order of the head's classes
 * @param seed determines the masks
 */
public record HeadJudge(SweepClips clips, int[] labels, long seed) implements Judge {
    @Override
    public String measure() {
        return "accuracy";
    }

    @Override
    public Quality judge(Setup setup) {
        double[][] probabilities = Answers.of(setup, clips, seed).probabilities();
        Reliability reliability = Reliability.of(probabilities, labels);
        Share right = new Share(
                reliability.bins().stream().mapToInt(Reliability.Bin::hits).sum(), labels.length);
        return new Quality(right.interval(), reliability.expectedCalibrationError(), null);
    }
}
