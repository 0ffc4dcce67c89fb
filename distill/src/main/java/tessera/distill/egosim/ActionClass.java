package tessera.distill.egosim;

import static tessera.distill.egosim.Noun.*;
import static tessera.distill.egosim.Verb.*;

import java.util.List;
import java.util.stream.Stream;
import tessera.distill.data.Split;

/** A class of the benchmark: a verb and the object it is done to. */
public record ActionClass(Verb verb, Noun noun) {
    private static final List<ActionClass> SOURCE_TRAIN = classes(
            of(CUP, PUSH, LIFT, POUR, SWIRL),
            of(BOTTLE, LIFT, SHAKE, TURN, OPEN),
            of(BOX, PUSH, OPEN, TAP, TURN),
            of(BALL, SLIDE, PASS, SHAKE),
            of(BOOK, SLIDE, OPEN, WIPE, FLIP),
            of(PHONE, TAP, PASS, PUT_DOWN, WIPE),
            of(KNIFE, PUT_DOWN, WIPE, FLIP),
            of(PAN, SWIRL, POUR, PUT_DOWN, SLIDE));

    private static final List<ActionClass> TARGET_UNLABELLED = classes(
            of(CAN, SHAKE, PUSH),
            of(BOWL, POUR, STIR),
            of(JAR, TURN, CLOSE),
            of(SPONGE, WIPE, SLIDE),
            of(BALL, TOSS),
            of(BOX, PULL),
            of(KNIFE, LIFT),
            of(LOAF, PASS),
            of(CUP, TAP),
            of(PAN, FLIP));

    private static final List<ActionClass> VALIDATION = classes(
            of(JAR, LIFT, SHAKE),
            of(CUP, PULL, STIR),
            of(LOAF, PULL, TURN),
            of(CAN, TAP, LIFT),
            of(HAMMER, SLIDE),
            of(BOOK, CLOSE));

    private static final List<ActionClass> TEST = classes(
            of(BOTTLE, PULL, POUR, SQUEEZE),
            of(PAN, STIR, LIFT),
            of(BOX, CLOSE, SHAKE, LIFT),
            of(BOWL, PULL, SWIRL, PUSH),
            of(SPONGE, TOSS, FLIP, PUSH),
            of(HAMMER, TURN, SHAKE));

    private static ActionClass[] of(Noun noun, Verb... verbs) {
        return Stream.of(verbs).map(verb -> new ActionClass(verb, noun)).toArray(ActionClass[]::new);
    }

    private static List<ActionClass> classes(ActionClass[]... groups) {
        return Stream.of(groups).flatMap(Stream::of).toList();
    }

    /** The class in plain words, such as "pour cup". */
    public String name() {
        return verb.word() + " " + noun.word();
    }

    /**
     * Whether classes of the splits show both the verb and the noun, so that this class recombines what is known from them. Of the {@link
     * Split#TEST} classes 4 of 16 recombine those that are labelled ({@link Split#SOURCE_TRAIN}), 13 those that training sees at all.
     */
    public boolean isComposedOf(Split... seen) {
        return Stream.of(seen).flatMap(split -> of(split).stream()).anyMatch(c -> c.verb == verb)
                && Stream.of(seen).flatMap(split -> of(split).stream()).anyMatch(c -> c.noun == noun);
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
