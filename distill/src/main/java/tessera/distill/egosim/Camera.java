package tessera.distill.egosim;

/** A pinhole camera: pixel x grows to the right, y downwards; pixel (i, j) has its centre at (i + .5, j + .5). */
final class Camera {
    final Vec place;
    final Vec right;
    final Vec up;
    final Vec forward;
    final double focal;
    final double centre;

    /** Looks from a place along (yaw, pitch below the horizon), rolled; the focal length is in pixels. */
    Camera(Vec place, double yaw, double pitch, double roll, double focal, double centre) {
        this.place = place;
        this.focal = focal;
        this.centre = centre;
        forward = new Vec(-Math.sin(yaw) * Math.cos(pitch), Math.cos(yaw) * Math.cos(pitch), -Math.sin(pitch));
        Vec level = new Vec(Math.cos(yaw), Math.sin(yaw), 0);
        Vec above = level.cross(forward);
        double c = Math.cos(roll);
        double s = Math.sin(roll);
        right = level.times(c).plus(above.times(s));
        up = above.times(c).minus(level.times(s));
    }

    double depth(Vec p) {
        return forward.dot(p.minus(place));
    }

    double pixelX(Vec p) {
        Vec from = p.minus(place);
        return centre + focal * right.dot(from) / forward.dot(from);
    }

    double pixelY(Vec p) {
        Vec from = p.minus(place);
        return centre - focal * up.dot(from) / forward.dot(from);
    }
}
