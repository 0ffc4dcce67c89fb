package tessera.distill.egosim;

import java.util.ArrayList;
import java.util.List;
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
    private static final Fingers RELAXED = new Fingers(.2, .25, .3, .8);

    /** A hand at one instant; side is 1 for the right hand, -1 for the left. */
    record HandState(int side, Pose wrist, Fingers fingers) {}

    /** Everything at one instant. The lid moves within the object's own frame. */
    record Moment(Pose object, Pose lid, double squash, List<HandState> hands) {}

    private final Verb verb;
    private final Mesh mesh;
    private final int side;
    private final int direction;
    private final double baseX;
    private final double baseY;
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
    private final double[] elbowX = new double[2];
    private final double[] elbowY = new double[2];
    private final double[] elbowZ = new double[2];
    private final double idleX;
    private final double idleY;
    private final Wave sway;
    private final Wave idle;

    Action(ActionClass action, Draws draws) {
        verb = action.verb();
        mesh = Mesh.of(action.noun());
        side = draws.chance(.72) ? 1 : -1;
        direction = draws.sign();
        baseX = draws.uniform(-.5, .5);
        baseY = draws.uniform(-.35, .45);
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
            elbowX[i] = (i == 0 ? -1 : 1) * draws.uniform(1.1, 1.9) + .4 * baseX;
            elbowY[i] = draws.uniform(-3.5, -2.9);
            elbowZ[i] = draws.uniform(.3, .7);
        }
        idleX = draws.uniform(.9, 1.5);
        idleY = draws.uniform(-.9, .4);
        sway = new Wave(draws, .05, 1);
        idle = new Wave(draws, .15, .7);
        double free = mesh.grip == Grip.HANDLE || verb == Verb.OPEN || verb == Verb.CLOSE ? .2 : .7;
        double turned = draws.uniform(-free, free);
        boolean hinged = mesh.lidKind == Mesh.Lid.HINGED && (verb == Verb.OPEN || verb == Verb.CLOSE);
        if (mesh.grip == Grip.HANDLE) {
            yaw = turned + .5 * aim(side, baseX, baseY) + (side < 0 ? Math.PI : 0);
        } else if (hinged) {
            yaw = turned + (side > 0 ? Math.PI : 0);
        } else {
            yaw = turned + (draws.chance(.5) ? Math.PI : 0);
        }
    }

    double baseX() {
        return baseX;
    }

    double baseY() {
        return baseY;
    }

    /** The elbow of a side, at a place that hardly moves, out of the picture below. */
    double[] elbow(int side) {
        int i = side < 0 ? 0 : 1;
        return new double[] {elbowX[i], elbowY[i], elbowZ[i]};
    }

    Moment at(double time) {
        double q = ease((time - start) / (end - start));
        double phi = 2 * Math.PI * (cycles * time + phase);
        double dx = 0;
        double dy = 0;
        double dz = 0;
        double squash = 0;
        Pose turn = Pose.IDENTITY;
        switch (verb) {
            case PUSH, PULL -> {
                double along = 1.5 * extent * (q - .5) * (verb == Verb.PUSH ? 1 : -1);
                dx = -Math.sin(heading) * along;
                dy = Math.cos(heading) * along;
            }
            case SLIDE -> {
                dx = direction * 1.9 * extent * (q - .5) * Math.cos(heading);
                dy = direction * 1.9 * extent * (q - .5) * Math.sin(heading) * .5;
            }
            case LIFT -> dz = 1.5 * extent * q;
            case PUT_DOWN -> dz = 1.5 * extent * (1 - q);
            case TURN -> turn = Pose.turn(2, direction * 1.7 * extent * (q - .5));
            case POUR -> {
                dz = air;
                turn = Pose.turn(0, heading * q).after(Pose.turn(1, -side * 1.6 * extent * q));
            }
            case FLIP -> {
                dz = .3 + 1.1 * extent * Math.sin(Math.PI * q);
                turn = Pose.turn(0, direction * Math.PI * q);
            }
            case SHAKE -> {
                dz = air + .32 * extent * Math.cos(heading * 2) * Math.sin(1.5 * phi);
                dx = .32 * extent * Math.sin(heading * 2) * Math.sin(1.5 * phi);
                turn = Pose.turn(0, .15 * Math.sin(1.5 * phi));
            }
            case SWIRL -> {
                dz = .5 * air;
                dx = .38 * extent * Math.cos(phi) * direction;
                dy = .38 * extent * Math.sin(phi);
            }
            case TOSS -> {
                double u = phi / (2 * Math.PI) % 1;
                dz = .6 * air + 1.5 * extent * 4 * Math.max(0, u - .3) * (1 - u) / .7 / .7 - .15 * dip(u);
            }
            case SQUEEZE -> {
                dz = secondHand ? air : .02;
                squash = (.5 - .5 * Math.cos(phi)) * .34 * extent;
            }
            case PASS -> {
                dz = .5 * air + .4 * Math.sin(Math.PI * q);
                dx = side * 2.0 * extent * (.5 - q);
            }
            case WIPE, STIR, TAP, OPEN, CLOSE -> {}
        }
        double gx = mesh.gripX * Math.cos(yaw);
        double gy = mesh.gripX * Math.sin(yaw);
        double gz = mesh.gripZ;
        Pose move = Pose.at(baseX + dx + gx + sway.at(time), baseY + dy + gy, dz + gz)
                .after(turn)
                .after(Pose.at(-gx, -gy, -gz));
        Pose object = move.after(Pose.turn(2, yaw));
        double opened = verb == Verb.OPEN ? q : verb == Verb.CLOSE ? 1 - q : 0;
        Pose lid = lid(opened);
        return new Moment(object, lid, squash, hands(time, q, phi, move, object, lid, squash));
    }

    private List<HandState> hands(double time, double q, double phi, Pose move, Pose object, Pose lid, double squash) {
        var hands = new ArrayList<HandState>();
        boolean otherHandBusy = true;
        switch (verb) {
            case WIPE -> {
                double along = .55 * extent * Math.sin(phi);
                hands.add(touch(
                        FLAT, .12, baseX + Math.cos(heading) * along, baseY + Math.sin(heading) * along, mesh.height));
                otherHandBusy = false;
            }
            case STIR -> {
                double radius = .33 * extent;
                hands.add(touch(
                        PINCH,
                        .8,
                        baseX + radius * Math.cos(phi) * direction,
                        baseY + radius * Math.sin(phi),
                        mesh.height + .15));
                otherHandBusy = secondHand;
                if (secondHand) {
                    hands.add(hold(-side, object, gentle(mesh.gripRadius)));
                }
            }
            case TAP -> {
                double lift = .6 * extent * Math.max(0, Math.sin(1.4 * phi));
                hands.add(touch(POINTING, .55, baseX, baseY, mesh.height + lift));
                otherHandBusy = false;
            }
            case OPEN, CLOSE -> {
                hands.add(lidHand(object, lid));
                hands.add(hold(-side, object, gentle(mesh.gripRadius)));
            }
            case PASS -> {
                double held = ease((.62 - q) / .2);
                double taken = ease((q - .38) / .2);
                hands.add(away(grasp(side, move, 0), 1 - held, .9));
                hands.add(away(grasp(-side, move, 0), 1 - taken, .9));
            }
            case SQUEEZE -> {
                hands.add(grasp(side, move, squash));
                otherHandBusy = secondHand;
                if (secondHand) {
                    hands.add(grasp(-side, move, squash));
                }
            }
            case TOSS -> {
                double u = phi / (2 * Math.PI) % 1;
                hands.add(palmUp(.6 * air - .15 * dip(u) - .02));
                otherHandBusy = false;
            }
            case PUSH -> {
                hands.add(flatPush ? pushing(object) : grasp(side, move, 0));
                otherHandBusy = false;
            }
            default -> {
                hands.add(grasp(side, move, 0));
                otherHandBusy = false;
            }
        }
        double absent = reaches ? ease((start - .02 - time) / .22) : 0;
        boolean free = verb == Verb.PUT_DOWN
                || verb == Verb.PUSH
                || verb == Verb.PULL
                || verb == Verb.SLIDE
                || verb == Verb.TURN
                || verb == Verb.CLOSE
                || verb == Verb.OPEN;
        if (leaves && free) {
            absent = Math.max(absent, ease((time - end - .03) / .22));
        }
        if (absent > 0 && verb != Verb.PASS && verb != Verb.PUT_DOWN || absent > 0 && time > end) {
            hands.set(0, away(hands.getFirst(), absent, 1.2));
        }
        if (!otherHandBusy && secondHand) {
            double x = -side * idleX + baseX + idle.at(time);
            double y = idleY + baseY + idle.at(time + .37);
            Pose wrist = frame(-side, Grip.TOP, aim(-side, x, y), .15, x, y, .2, .05, .8);
            hands.add(new HandState(-side, wrist, RELAXED));
        }
        return hands;
    }

    /** A hand that holds the object at its grip and moves with it. */
    private HandState grasp(int s, Pose move, double squash) {
        double gx = mesh.gripX * Math.cos(yaw);
        double gy = mesh.gripX * Math.sin(yaw);
        double psi = mesh.grip == Grip.HANDLE ? yaw - (s < 0 ? Math.PI : 0) : aim(s, baseX + gx, baseY + gy);
        double gz = mesh.grip == Grip.TOP ? mesh.height : mesh.gripZ;
        Pose wrist = frame(s, mesh.grip, psi, tilt, gx, gy, gz, mesh.gripRadius * (1 - squash), .8);
        Fingers fingers = switch (mesh.grip) {
            case SIDE -> around(mesh.gripRadius * (1 - squash));
            case TOP -> new Fingers(.42 + .8 * squash, .42 + .8 * squash, .55 + squash, 1);
            case HANDLE -> HANDLE;
        };
        return new HandState(s, move.after(wrist), fingers);
    }

    /** A hand that steadies the object's body from the side. */
    private HandState hold(int s, Pose object, double radius) {
        double z = Math.min(.45, .6 * mesh.height);
        Pose wrist = frame(
                s, Grip.SIDE, aim(s, object.x(), object.y()), .3, object.x(), object.y(), object.z() + z, radius, .7);
        return new HandState(s, wrist, around(radius));
    }

    private HandState touch(Fingers fingers, double pitch, double x, double y, double z) {
        double reach = fingers == POINTING ? 1.75 : fingers == PINCH ? 1.35 : .9;
        double drop = fingers == PINCH ? .5 : .1;
        Pose wrist = framed(side, aim(side, x, y), pitch, x, y, z, 0, reach, drop);
        return new HandState(side, wrist, fingers);
    }

    private HandState pushing(Pose object) {
        double x = object.x() + Math.sin(heading) * (mesh.reach * .8 + .1);
        double y = object.y() - Math.cos(heading) * (Math.min(mesh.reach, .8) + .12);
        Pose wrist = framed(side, heading, -.7, x, y, Math.max(.35, .5 * mesh.height), 0, .95, .0);
        return new HandState(side, wrist, FLAT);
    }

    private HandState palmUp(double z) {
        double psi = aim(side, baseX, baseY);
        Pose rotation = Pose.turn(2, psi).after(Pose.turn(0, -.1)).after(Pose.turn(1, Math.PI));
        double dx = rotation.mapX(0, .85, 0);
        double dy = rotation.mapY(0, .85, 0);
        Pose wrist = rotation.shifted(baseX - dx, baseY - dy, z - .18);
        return new HandState(side, wrist, new Fingers(.22, .22, .3, 1));
    }

    private HandState lidHand(Pose object, Pose lid) {
        boolean hinged = mesh.lidKind == Mesh.Lid.HINGED;
        double lx = hinged ? -.5 : 0;
        double lz = mesh.height;
        Pose whole = object.after(lid);
        double x = whole.mapX(lx, 0, lz);
        double y = whole.mapY(lx, 0, lz);
        double z = whole.mapZ(lx, 0, lz);
        Pose wrist = framed(side, aim(side, x, y), .45, x, y, z, 0, 1.15, .38);
        return new HandState(side, wrist, PINCH);
    }

    private Pose lid(double opened) {
        if (mesh.lidKind == Mesh.Lid.HINGED) {
            return Pose.at(mesh.hingeX, 0, mesh.hingeZ)
                    .after(Pose.turn(1, 1.9 * Math.min(1, extent) * opened))
                    .after(Pose.at(-mesh.hingeX, 0, -mesh.hingeZ));
        }
        double c = Math.cos(-yaw);
        double s = Math.sin(-yaw);
        double x = side * .75 * extent * opened;
        double y = -.25 * opened;
        return Pose.at(c * x - s * y, s * x + c * y, .6 * extent * Math.sqrt(opened));
    }

    /** Draws a hand back towards its elbow and opens it. */
    private HandState away(HandState hand, double share, double distance) {
        if (share <= 0) {
            return hand;
        }
        double[] e = elbow(hand.side());
        double dx = e[0] - hand.wrist().x();
        double dy = e[1] - hand.wrist().y();
        double n = share * distance / Math.hypot(dx, dy);
        Pose wrist = hand.wrist().shifted(dx * n, dy * n, .35 * share);
        return new HandState(hand.side(), wrist, hand.fingers().towards(RELAXED, share));
    }

    private double aim(int s, double x, double y) {
        double[] e = elbow(s);
        return Math.atan2(e[0] - x, y - e[1]);
    }

    /** The wrist frame of a grip around a point. */
    private static Pose frame(
            int s, Grip grip, double psi, double pitch, double x, double y, double z, double radius, double reach) {
        return switch (grip) {
            case SIDE -> framed(s, psi, .5 * pitch, x, y, z, s * Math.PI / 2, reach - .08, radius + .15);
            case TOP -> framed(s, psi, pitch + .1, x, y, z, 0, reach + .15, .3);
            case HANDLE -> framed(s, psi, .6 * pitch, x, y, z, 0, reach, .24);
        };
    }

    /** A wrist turned by psi, pitched down and rolled, so that the point lies reach ahead of it and drop under its palm. */
    private static Pose framed(
            int s, double psi, double pitch, double x, double y, double z, double roll, double reach, double drop) {
        Pose rotation = Pose.turn(2, psi).after(Pose.turn(0, -pitch)).after(Pose.turn(1, roll));
        return rotation.shifted(
                x - rotation.mapX(0, reach, -drop),
                y - rotation.mapY(0, reach, -drop),
                z - rotation.mapZ(0, reach, -drop));
    }

    private static Fingers around(double radius) {
        double curl = Math.clamp(1.0 - 1.05 * radius, .25, .9);
        return new Fingers(curl, curl, .35 + .4 * curl, .6);
    }

    private static double gentle(double radius) {
        return Math.max(.4, radius);
    }

    private static double dip(double u) {
        return u < .3 ? Math.sin(Math.PI * u / .3) : 0;
    }

    private static double ease(double t) {
        double c = Math.clamp(t, 0, 1);
        return c * c * (3 - 2 * c);
    }
}
