package tessera.distill.egosim;

/** A place or a direction. Immutable. */
record Vec(double x, double y, double z) {
    static final Vec ZERO = new Vec(0, 0, 0);

    Vec plus(Vec o) {
        return new Vec(x + o.x, y + o.y, z + o.z);
    }

    Vec minus(Vec o) {
        return new Vec(x - o.x, y - o.y, z - o.z);
    }

    Vec times(double factor) {
        return new Vec(x * factor, y * factor, z * factor);
    }

    Vec over(double divisor) {
        return new Vec(x / divisor, y / divisor, z / divisor);
    }

    double dot(Vec o) {
        return x * o.x + y * o.y + z * o.z;
    }

    Vec cross(Vec o) {
        return new Vec(y * o.z - z * o.y, z * o.x - x * o.z, x * o.y - y * o.x);
    }

    double length() {
        return Math.hypot(Math.hypot(x, y), z);
    }

    /** The place that lies a share of the way to another one. */
    Vec towards(Vec o, double share) {
        return new Vec(x + share * (o.x - x), y + share * (o.y - y), z + share * (o.z - z));
    }
}
