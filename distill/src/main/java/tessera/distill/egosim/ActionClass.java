package tessera.distill.egosim;

import static tessera.distill.egosim.Noun.*;
import static tessera.distill.egosim.Verb.*;

import java.util.List;
import tessera.distill.data.Split;

/** A class of the benchmark: a verb and the object it is done to. */
public record ActionClass(Verb verb, Noun noun) {
    private static final List<ActionClass> SOURCE_TRAIN = List.of(
            of(PUSH, CUP),
            of(LIFT, CUP),
            of(POUR, CUP),
            of(SWIRL, CUP),
            of(LIFT, BOTTLE),
            of(SHAKE, BOTTLE),
            of(TURN, BOTTLE),
            of(OPEN, BOTTLE),
            of(PUSH, BOX),
            of(OPEN, BOX),
            of(TAP, BOX),
            of(TURN, BOX),
            of(SLIDE, BALL),
            of(PASS, BALL),
            of(SHAKE, BALL),
            of(SLIDE, BOOK),
            of(OPEN, BOOK),
            of(WIPE, BOOK),
            of(FLIP, BOOK),
            of(TAP, PHONE),
            of(PASS, PHONE),
            of(PUT_DOWN, PHONE),
            of(WIPE, PHONE),
            of(PUT_DOWN, KNIFE),
            of(WIPE, KNIFE),
            of(FLIP, KNIFE),
            of(SWIRL, PAN),
            of(POUR, PAN),
            of(PUT_DOWN, PAN),
            of(SLIDE, PAN));

    private static final List<ActionClass> TARGET_UNLABELLED = List.of(
            of(SHAKE, CAN),
            of(PUSH, CAN),
            of(POUR, BOWL),
            of(STIR, BOWL),
            of(TURN, JAR),
            of(CLOSE, JAR),
            of(SQUEEZE, SPONGE),
            of(SLIDE, SPONGE),
            of(TOSS, BALL),
            of(PULL, BOX),
            of(LIFT, HAMMER),
            of(PASS, LOAF),
            of(TAP, CUP),
            of(FLIP, PAN));

    private static final List<ActionClass> VALIDATION = List.of(
            of(LIFT, JAR),
            of(SHAKE, JAR),
            of(PULL, CUP),
            of(STIR, CUP),
            of(PULL, LOAF),
            of(TURN, LOAF),
            of(TAP, CAN),
            of(LIFT, CAN),
            of(SLIDE, HAMMER),
            of(CLOSE, BOOK));

    private static final List<ActionClass> TEST = List.of(
            of(PULL, BOTTLE),
            of(POUR, BOTTLE),
            of(SQUEEZE, BOTTLE),
            of(STIR, PAN),
            of(LIFT, PAN),
            of(CLOSE, BOX),
            of(SHAKE, BOX),
            of(LIFT, BOX),
            of(PULL, BOWL),
            of(SWIRL, BOWL),
            of(PUSH, BOWL),
            of(TOSS, SPONGE),
            of(FLIP, SPONGE),
            of(PUSH, SPONGE),
            of(TURN, HAMMER),
            of(SHAKE, HAMMER));

    private static ActionClass of(Verb verb, Noun noun) {
        return new ActionClass(verb, noun);
    }

    /** The class in plain words, such as "pour cup". */
    public String name() {
        return verb.word() + " " + noun.word();
    }

    static List<ActionClass> of(Split split) {
        return switch (split) {
            case SOURCE_TRAIN -> SOURCE_TRAIN;
            case TARGET_UNLABELLED -> TARGET_UNLABELLED;
            case VALIDATION -> VALIDATION;
            case TEST -> TEST;
        };
    }
}
