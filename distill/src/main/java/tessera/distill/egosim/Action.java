package tessera.distill.egosim;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import tessera.distill.egosim.Hand.Fingers;
import tessera.distill.egosim.Mesh.Grip;

/**
 * The script of one clip: where hands and object are at a time from 0 to 1. The verb decides the motion; hand, start,
 * pace, extent, direction and place are drawn anew for every clip. World axes: x right, y away from the body, z up;
 * decimetres; the table is z = 0.
 */
final class Action {
    private static final Fingers FLAT = new Fingers(.04, .04, .15, 1);
    private static final Fingers POINTING = new Fingers(.05, .85, .7, .5);
    private static final Fingers PINCH = new Fingers(.48, .5, .95, .4);
    private static final Fingers HANDLE = new Fingers(.8, .85, .8, .3);
    /** A gap that counts as none. */
    static final double TOUCH = .06;

    private static final Fingers RELAXED = new Fingers(.2, .25, .3, .8);

    /** The verbs after which the hand may leave before the clip ends. */
    private static final Set<Verb> LOOSE =
            EnumSet.of(Verb.PUT_DOWN, Verb.PUSH, Verb.PULL, Verb.SLIDE, Verb.TURN, Verb.CLOSE, Verb.OPEN);

    /**
     * A hand at one instant.
     *
     * @param side 1 for the right hand, -1 for the left
     * @param gap how far it is from where it touches the object, 0 where it does; infinite for a hand that never will
     */
    record HandState(int side, Pose wrist, Fingers fingers, double gap) {
        /** Whether the hand, or what it holds to stir with, touches the object. */
        boolean touches() {
            return gap < TOUCH;
        }

        Vec[] joints(double scale) {
            return Hand.joints(wrist, fingers, side, scale);
        }

        /** The hand with another gap. */
        HandState apart(double gap) {
            return new HandState(side, wrist, fingers, gap);
        }
    }

    /** Everything at one instant. The lid moves within the object's own frame. */
    record Moment(Pose object, Pose lid, double squash, List<HandState> hands) {}

    private final Verb verb;
    private final Mesh mesh;
    private final int side;
    private final int direction;
    /** Where the object stands, give or take its motion. */
    final Vec base;

    private final double yaw;
    private final double start;
    private final double end;
    private final double cycles;
    private final double phase;
    private final double extent;
    private final double heading;
    private final double air;
    private final double tilt;
    private final boolean flatPush;
    private final boolean reaches;
    private final boolean leaves;
    private final boolean secondHand;
    private final Vec[] elbows = new Vec[2];
    private final double idleX;
    private final double idleY;
    private final Wave sway;
    private final Wave idle;

    Action(ActionClass action, Draws draws) {
        verb = action.verb();
        mesh = Mesh.of(action.noun());
        side = draws.chance(.72) ? 1 : -1;
        direction = draws.sign();
        base = new Vec(draws.uniform(-.5, .5), draws.uniform(-.35, .45), 0);
        reaches = draws.chance(.3);
        leaves = draws.chance(.4);
        start = reaches ? draws.uniform(.22, .36) : draws.uniform(-.1, .25);
        end = start + draws.uniform(.45, .8);
        cycles = draws.uniform(1.6, 3.4);
        phase = draws.uniform();
        extent = draws.uniform(.7, 1.3);
        heading = draws.uniform(-.4, .4);
        air = draws.uniform(.4, 1.0);
        tilt = draws.uniform(.1, .45);
        flatPush = draws.chance(.4);
        secondHand = draws.chance(.4);
        for (int i = 0; i < 2; i++) {
            elbows[i] = new Vec(
                    (i == 0 ? -1 : 1) * draws.uniform(1.1, 1.9) + .4 * base.x(),
                    draws.uniform(-3.5, -2.9),
                    draws.uniform(.3, .7));
        }
        idleX = draws.uniform(.9, 1.5);
        idleY = draws.uniform(-.9, .4);
        sway = new Wave(draws, .05, 1);
        idle = new Wave(draws, .15, .7);
        boolean atLid = verb == Verb.OPEN || verb == Verb.CLOSE;
        double free = mesh.grip == Grip.HANDLE || atLid ? .2 : .7;
        double turned = draws.uniform(-free, free);
        if (mesh.grip == Grip.HANDLE) {
            yaw = turned + .5 * aim(side, base) + (side < 0 ? Math.PI : 0);
        } else if (mesh.lidKind == Mesh.Lid.HINGED && atLid) {
            yaw = turned + (side > 0 ? Math.PI : 0);
        } else {
            yaw = turned + (draws.chance(.5) ? Math.PI : 0);
        }
    }

    /** How often the fastest part of the motion recurs in a clip; 0 where nothing does. */
    double recurrences() {
        return switch (verb) {
            case SHAKE -> 1.5 * cycles;
            case TAP -> 1.4 * cycles;
            case SWIRL, TOSS, SQUEEZE, WIPE, STIR -> cycles;
            default -> 0;
        };
    }

    /** The elbow of a side, at a place that hardly moves, out of the picture below. */
    Vec elbow(int side) {
        return elbows[side < 0 ? 0 : 1];
    }

    Moment at(double time) {
        double q = ease((time - start) / (end - start));
        double phi = 2 * Math.PI * (cycles * time + phase);
        double squash = verb == Verb.SQUEEZE ? (.5 - .5 * Math.cos(phi)) * .34 * extent : 0;
        Vec grip = grip(mesh.gripZ);
        Pose move = Pose.at(base.plus(shift(q, phi)).plus(grip).plus(new Vec(sway.at(time), 0, 0)))
                .after(turn(q, phi))
                .after(Pose.at(grip.times(-1)));
        Pose object = move.after(Pose.turn(2, yaw));
        Pose lid = lid(verb == Verb.OPEN ? q : verb == Verb.CLOSE ? 1 - q : 0);
        return new Moment(object, lid, squash, hands(time, q, phi, move, object, lid, squash));
    }

    /** How far the object is from its place: q is how much of the action is done, phi the angle of what recurs. */
    private Vec shift(double q, double phi) {
        return switch (verb) {
            case PUSH, PULL -> {
                double along = 1.5 * extent * (q - .5) * (verb == Verb.PUSH ? 1 : -1);
                yield new Vec(-Math.sin(heading) * along, Math.cos(heading) * along, 0);
            }
            case SLIDE -> {
                double along = direction * 1.9 * extent * (q - .5);
                yield new Vec(along * Math.cos(heading), along * Math.sin(heading) * .5, 0);
            }
            case LIFT -> new Vec(0, 0, 1.5 * extent * q);
            case PUT_DOWN -> new Vec(0, 0, 1.5 * extent * (1 - q));
            case POUR -> new Vec(0, 0, air);
            case FLIP -> new Vec(0, 0, .3 + 1.1 * extent * Math.sin(Math.PI * q));
            case SHAKE ->
                new Vec(
                        .32 * extent * Math.sin(heading * 2) * Math.sin(1.5 * phi),
                        0,
                        air + .32 * extent * Math.cos(heading * 2) * Math.sin(1.5 * phi));
            case SWIRL -> new Vec(.38 * extent * Math.cos(phi) * direction, .38 * extent * Math.sin(phi), .5 * air);
            case TOSS -> {
                double u = phi / (2 * Math.PI) % 1;
                yield new Vec(
                        0, 0, .6 * air + 1.5 * extent * 4 * Math.max(0, u - .3) * (1 - u) / .7 / .7 - .15 * dip(u));
            }
            case SQUEEZE -> new Vec(0, 0, secondHand ? air : .02);
            case PASS -> new Vec(side * 2.0 * extent * (.5 - q), 0, .5 * air + .4 * Math.sin(Math.PI * q));
            case TURN, WIPE, STIR, TAP, OPEN, CLOSE -> Vec.ZERO;
        };
    }

    private Pose turn(double q, double phi) {
        return switch (verb) {
            case TURN -> Pose.turn(2, direction * 1.7 * extent * (q - .5));
            case POUR -> Pose.turn(0, heading * q).after(Pose.turn(1, -side * 1.6 * extent * q));
            case FLIP -> Pose.turn(0, direction * Math.PI * q);
            case SHAKE -> Pose.turn(0, .15 * Math.sin(1.5 * phi));
            default -> Pose.IDENTITY;
        };
    }

    private List<HandState> hands(double time, double q, double phi, Pose move, Pose object, Pose lid, double squash) {
        var hands = new ArrayList<HandState>();
        switch (verb) {
            case WIPE -> {
                double along = .55 * extent * Math.sin(phi);
                hands.add(touch(FLAT, over(Math.cos(heading) * along, Math.sin(heading) * along, 0), .12, .9, .1));
            }
            case STIR -> {
                double radius = .33 * extent;
                Vec at = over(radius * Math.cos(phi) * direction, radius * Math.sin(phi), .15);
                hands.add(touch(PINCH, at, .8, 1.35, .5));
                if (secondHand) {
                    hands.add(hold(-side, object));
                }
            }
            case TAP -> {
                double lift = .6 * extent * Math.max(0, Math.sin(1.4 * phi));
                hands.add(touch(POINTING, over(0, 0, lift), .55, 1.75, .1).apart(lift));
            }
            case OPEN, CLOSE -> {
                Vec edge = new Vec(mesh.lidKind == Mesh.Lid.HINGED ? -.5 : 0, 0, mesh.height);
                hands.add(touch(PINCH, object.after(lid).map(edge), .45, 1.15, .38));
                hands.add(hold(-side, object));
            }
            case PASS -> {
                double held = ease((.62 - q) / .2);
                double taken = ease((q - .38) / .2);
                hands.add(away(grasp(side, move, 0), 1 - held, .9));
                hands.add(away(grasp(-side, move, 0), 1 - taken, .9));
            }
            case SQUEEZE -> {
                hands.add(grasp(side, move, squash));
                if (secondHand) {
                    hands.add(grasp(-side, move, squash));
                }
            }
            case TOSS -> {
                double palm = .6 * air - .15 * dip(phi / (2 * Math.PI) % 1);
                hands.add(palmUp(palm - .02).apart(shift(q, phi).z() - palm));
            }
            default -> hands.add(verb == Verb.PUSH && flatPush ? pushing(object) : grasp(side, move, 0));
        }
        double absent = reaches ? ease((start - .02 - time) / .22) : 0;
        if (leaves && LOOSE.contains(verb)) {
            absent = Math.max(absent, ease((time - end - .03) / .22));
        }
        if ((verb != Verb.PASS && verb != Verb.PUT_DOWN) || time > end) {
            hands.set(0, away(hands.getFirst(), absent, 1.2));
        }
        if (hands.size() == 1 && secondHand) {
            Vec at = new Vec(-side * idleX + base.x() + idle.at(time), idleY + base.y() + idle.at(time + .37), .2);
            hands.add(new HandState(
                    -side,
                    frame(-side, Grip.TOP, aim(-side, at), .15, at, .05, .8),
                    RELAXED,
                    Double.POSITIVE_INFINITY));
        }
        return hands;
    }

    /** Where the object is held while it stands at its place, from there, at a height. */
    private Vec grip(double z) {
        return new Vec(mesh.gripX * Math.cos(yaw), mesh.gripX * Math.sin(yaw), z);
    }

    /** A place above the object's, from its top. */
    private Vec over(double dx, double dy, double dz) {
        return new Vec(base.x() + dx, base.y() + dy, mesh.height + dz);
    }

    /** A hand that holds the object at its grip and moves with it. */
    private HandState grasp(int s, Pose move, double squash) {
        Vec grip = grip(mesh.grip == Grip.TOP ? mesh.height : mesh.gripZ);
        double psi = mesh.grip == Grip.HANDLE ? yaw - (s < 0 ? Math.PI : 0) : aim(s, base.plus(grip));
        Pose wrist = frame(s, mesh.grip, psi, tilt, grip, mesh.gripRadius * (1 - squash), .8);
        Fingers fingers = switch (mesh.grip) {
            case SIDE -> around(mesh.gripRadius * (1 - squash));
            case TOP -> new Fingers(.42 + .8 * squash, .42 + .8 * squash, .55 + squash, 1);
            case HANDLE -> HANDLE;
        };
        return new HandState(s, move.after(wrist), fingers, 0);
    }

    /** A hand that steadies the object's body gently from the side. */
    private HandState hold(int s, Pose object) {
        double radius = Math.max(.4, mesh.gripRadius);
        Vec at = object.origin().plus(new Vec(0, 0, Math.min(.45, .6 * mesh.height)));
        return new HandState(s, frame(s, Grip.SIDE, aim(s, at), .3, at, radius, .7), around(radius), 0);
    }

    /** A hand whose finger tips, reach ahead of the wrist and drop below it, are at a place. */
    private HandState touch(Fingers fingers, Vec at, double pitch, double reach, double drop) {
        return new HandState(side, framed(aim(side, at), pitch, at, 0, reach, drop), fingers, 0);
    }

    private HandState pushing(Pose object) {
        Vec at = new Vec(
                object.origin().x() + Math.sin(heading) * (mesh.reach * .8 + .1),
                object.origin().y() - Math.cos(heading) * (Math.min(mesh.reach, .8) + .12),
                Math.max(.35, .5 * mesh.height));
        return new HandState(side, framed(heading, -.7, at, 0, .95, .0), FLAT, 0);
    }

    private HandState palmUp(double z) {
        Pose rotation = turned(aim(side, base), .1, Math.PI);
        Vec palm = rotation.map(new Vec(0, .85, 0));
        Pose wrist = rotation.shifted(new Vec(base.x() - palm.x(), base.y() - palm.y(), z - .18));
        return new HandState(side, wrist, new Fingers(.22, .22, .3, 1), 0);
    }

    private Pose lid(double opened) {
        if (mesh.lidKind == Mesh.Lid.HINGED) {
            return Pose.at(mesh.hinge)
                    .after(Pose.turn(1, 1.9 * Math.min(1, extent) * opened))
                    .after(Pose.at(mesh.hinge.times(-1)));
        }
        Vec lifted = new Vec(side * .75 * extent * opened, -.25 * opened, .6 * extent * Math.sqrt(opened));
        return Pose.at(Pose.turn(2, -yaw).map(lifted));
    }

    /** Draws a hand back towards its elbow and opens it. */
    private HandState away(HandState hand, double share, double distance) {
        if (share <= 0) {
            return hand;
        }
        Vec way = elbow(hand.side()).minus(hand.wrist().origin());
        double n = share * distance / Math.hypot(way.x(), way.y());
        Pose wrist = hand.wrist().shifted(new Vec(way.x() * n, way.y() * n, .35 * share));
        return new HandState(hand.side(), wrist, hand.fingers().towards(RELAXED, share), hand.gap() + share * distance);
    }

    private double aim(int s, Vec at) {
        return Math.atan2(elbow(s).x() - at.x(), at.y() - elbow(s).y());
    }

    /** The wrist frame of a grip around a point. */
    private static Pose frame(int s, Grip grip, double psi, double pitch, Vec at, double radius, double reach) {
        return switch (grip) {
            case SIDE -> framed(psi, .5 * pitch, at, s * Math.PI / 2, reach - .08, radius + .15);
            case TOP -> framed(psi, pitch + .1, at, 0, reach + .15, .3);
            case HANDLE -> framed(psi, .6 * pitch, at, 0, reach, .24);
        };
    }

    /** A wrist turned by psi, pitched down and rolled, so that the point lies reach ahead of it and drop under its palm. */
    private static Pose framed(double psi, double pitch, Vec at, double roll, double reach, double drop) {
        Pose rotation = turned(psi, pitch, roll);
        return rotation.shifted(at.minus(rotation.map(new Vec(0, reach, -drop))));
    }

    private static Pose turned(double psi, double pitch, double roll) {
        return Pose.turn(2, psi).after(Pose.turn(0, -pitch)).after(Pose.turn(1, roll));
    }

    private static Fingers around(double radius) {
        double curl = Math.clamp(1.0 - 1.05 * radius, .25, .9);
        return new Fingers(curl, curl, .35 + .4 * curl, .6);
    }

    private static double dip(double u) {
        return u < .3 ? Math.sin(Math.PI * u / .3) : 0;
    }

    private static double ease(double t) {
        double c = Math.clamp(t, 0, 1);
        return c * c * (3 - 2 * c);
    }
}
