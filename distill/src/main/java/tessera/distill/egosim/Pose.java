package tessera.distill.egosim;

/** A rigid motion: rotation, row-major 3 x 3, then translation. Immutable. */
record Pose(double[] r, double x, double y, double z) {
    static final Pose IDENTITY = new Pose(new double[] {1, 0, 0, 0, 1, 0, 0, 0, 1}, 0, 0, 0);

    static Pose at(double x, double y, double z) {
        return new Pose(IDENTITY.r, x, y, z);
    }

    /** Rotation about an axis through the origin: 0 = x, 1 = y, 2 = z. */
    static Pose turn(int axis, double angle) {
        double c = Math.cos(angle);
        double s = Math.sin(angle);
        double[] r = switch (axis) {
            case 0 -> new double[] {1, 0, 0, 0, c, -s, 0, s, c};
            case 1 -> new double[] {c, 0, s, 0, 1, 0, -s, 0, c};
            default -> new double[] {c, -s, 0, s, c, 0, 0, 0, 1};
        };
        return new Pose(r, 0, 0, 0);
    }

    /** This motion after the other one. */
    Pose after(Pose o) {
        var m = new double[9];
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 3; j++) {
                m[3 * i + j] = r[3 * i] * o.r[j] + r[3 * i + 1] * o.r[3 + j] + r[3 * i + 2] * o.r[6 + j];
            }
        }
        return new Pose(m, mapX(o.x, o.y, o.z), mapY(o.x, o.y, o.z), mapZ(o.x, o.y, o.z));
    }

    Pose shifted(double dx, double dy, double dz) {
        return new Pose(r, x + dx, y + dy, z + dz);
    }

    double mapX(double px, double py, double pz) {
        return r[0] * px + r[1] * py + r[2] * pz + x;
    }

    double mapY(double px, double py, double pz) {
        return r[3] * px + r[4] * py + r[5] * pz + y;
    }

    double mapZ(double px, double py, double pz) {
        return r[6] * px + r[7] * py + r[8] * pz + z;
    }
}
