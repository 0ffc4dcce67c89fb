package tessera.distill.egosim;

/** A rigid motion: the rows of a rotation, and where it takes the origin. Immutable. */
record Pose(Vec right, Vec ahead, Vec up, Vec origin) {
    static final Pose IDENTITY = new Pose(new Vec(1, 0, 0), new Vec(0, 1, 0), new Vec(0, 0, 1), Vec.ZERO);

    static Pose at(Vec place) {
        return IDENTITY.shifted(place);
    }

    /** Rotation about an axis through the origin: 0 = x, 1 = y, 2 = z. */
    static Pose turn(int axis, double angle) {
        double c = Math.cos(angle);
        double s = Math.sin(angle);
        return switch (axis) {
            case 0 -> new Pose(IDENTITY.right, new Vec(0, c, -s), new Vec(0, s, c), Vec.ZERO);
            case 1 -> new Pose(new Vec(c, 0, s), IDENTITY.ahead, new Vec(-s, 0, c), Vec.ZERO);
            default -> new Pose(new Vec(c, -s, 0), new Vec(s, c, 0), IDENTITY.up, Vec.ZERO);
        };
    }

    /** This motion after the other one. */
    Pose after(Pose o) {
        return new Pose(o.across(right), o.across(ahead), o.across(up), map(o.origin));
    }

    /** A row times the rotation. */
    private Vec across(Vec row) {
        return new Vec(
                row.dot(new Vec(right.x(), ahead.x(), up.x())),
                row.dot(new Vec(right.y(), ahead.y(), up.y())),
                row.dot(new Vec(right.z(), ahead.z(), up.z())));
    }

    Pose shifted(Vec way) {
        return new Pose(right, ahead, up, origin.plus(way));
    }

    /** Where the motion takes a place. */
    Vec map(Vec p) {
        return new Vec(right.dot(p), ahead.dot(p), up.dot(p)).plus(origin);
    }

    /** The place that the motion takes to p. */
    Vec back(Vec p) {
        Vec from = p.minus(origin);
        return right.times(from.x()).plus(ahead.times(from.y())).plus(up.times(from.z()));
    }
}
