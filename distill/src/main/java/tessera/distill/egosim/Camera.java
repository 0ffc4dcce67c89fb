package tessera.distill.egosim;

/** A pinhole camera: pixel x grows to the right, y downwards; pixel (i, j) has its centre at (i + .5, j + .5). */
final class Camera {
    final double x;
    final double y;
    final double z;
    /** Rows: right, up, forward. */
    final double[] axes;

    final double focal;
    final double centre;

    /** Looks from a point along (yaw, pitch below the horizon), rolled; the focal length is in pixels. */
    Camera(double x, double y, double z, double yaw, double pitch, double roll, double focal, double centre) {
        this.x = x;
        this.y = y;
        this.z = z;
        this.focal = focal;
        this.centre = centre;
        double fx = -Math.sin(yaw) * Math.cos(pitch);
        double fy = Math.cos(yaw) * Math.cos(pitch);
        double fz = -Math.sin(pitch);
        double rx = Math.cos(yaw);
        double ry = Math.sin(yaw);
        double ux = ry * fz;
        double uy = -rx * fz;
        double uz = rx * fy - ry * fx;
        double c = Math.cos(roll);
        double s = Math.sin(roll);
        axes = new double[] {
            c * rx + s * ux, c * ry + s * uy, s * uz, c * ux - s * rx, c * uy - s * ry, c * uz, fx, fy, fz
        };
    }

    double depth(double px, double py, double pz) {
        return axes[6] * (px - x) + axes[7] * (py - y) + axes[8] * (pz - z);
    }

    double pixelX(double px, double py, double pz) {
        double right = axes[0] * (px - x) + axes[1] * (py - y) + axes[2] * (pz - z);
        return centre + focal * right / depth(px, py, pz);
    }

    double pixelY(double px, double py, double pz) {
        double up = axes[3] * (px - x) + axes[4] * (py - y) + axes[5] * (pz - z);
        return centre - focal * up / depth(px, py, pz);
    }
}
