package tessera.distill.egosim;

import java.util.Arrays;

/**
 * An object as triangles, in decimetres, standing on z = 0 at the origin. Vertices with lid = 1 belong to the part that
 * opens. Immutable once built.
 */
final class Mesh {
    private static final int SEGMENTS = 14;

    /** Objects are a little larger than life: pictures are small. */
    private static final double SCALE = 1.2;

    private static final Mesh[] OF_NOUN =
            Arrays.stream(Noun.values()).map(Mesh::build).toArray(Mesh[]::new);

    /** How a hand takes the object. */
    enum Grip {
        SIDE,
        TOP,
        HANDLE
    }

    /** How the lid opens. */
    enum Lid {
        LIFTS,
        HINGED
    }

    double[] vertices = new double[0];
    double[] normals = new double[0];
    byte[] lid = new byte[0];
    int[] triangles = new int[0];
    byte[] material = new byte[0];
    Grip grip = Grip.SIDE;
    Lid lidKind = Lid.LIFTS;
    double gripX;
    double gripZ;
    double gripRadius;
    double height;
    double reach;
    double hingeX;
    double hingeZ;

    private int vertexCount;
    private int triangleCount;
    private byte buildingLid;

    static Mesh of(Noun noun) {
        return OF_NOUN[noun.ordinal()];
    }

    private static Mesh build(Noun noun) {
        var m = new Mesh();
        switch (noun) {
            case CUP -> {
                m.lathe(0, 0, false, 0, .34, 0, .42, .5, 1);
                m.lathe(0, 0, false, 0, .42, .5, .44, .95, 0);
                m.lathe(0, 0, false, 0, .37, .95, .33, .15, 1, 0, .15, 1);
                m.bar(1, -.42, 0, .75, -.72, 0, .72, .07);
                m.bar(1, -.72, 0, .72, -.70, 0, .32, .07);
                m.bar(1, -.70, 0, .32, -.38, 0, .25, .07);
                m.grip(Grip.SIDE, 0, .5, .42, .95);
            }
            case BOTTLE -> {
                m.lathe(0, 0, false, 0, .33, 0, .35, .45, 0, .35, 1.0, 1, .35, 1.3, 0, .15, 1.6, 0, .14, 1.75, 0);
                m.lid(() -> m.lathe(0, 0, false, 0, .18, 1.72, .18, 1.95, 2, 0, 1.95, 2));
                m.grip(Grip.SIDE, 0, .75, .35, 1.95);
            }
            case BOX -> {
                m.box(0, -.55, -.45, 0, .55, .45, .62);
                m.lid(() -> m.box(1, -.58, -.48, .62, .58, .48, .8));
                m.hinge(.58, .62);
                m.grip(Grip.TOP, 0, .45, .5, .8);
            }
            case BALL -> {
                m.ball(0, 0, 0, .48, .48, .48, .48, 1);
                m.grip(Grip.TOP, 0, .5, .48, .96);
            }
            case PAN -> {
                m.lathe(0, 0, false, 0, .6, 0, .78, .3, 2);
                m.lathe(0, 0, false, 0, .72, .28, .58, .04, 0, 0, .04, 0);
                m.bar(1, .74, 0, .24, 1.2, 0, .34, .09);
                m.bar(1, 1.2, 0, .34, 1.9, 0, .38, .12);
                m.grip(Grip.HANDLE, 1.45, .36, .12, .35);
            }
            case BOOK -> {
                m.box(0, -.62, -.8, 0, .62, .8, .05);
                m.box(2, -.57, -.76, .05, .6, .76, .2);
                m.lid(() -> m.box(0, -.62, -.8, .2, .62, .8, .25));
                m.lid(() -> m.box(1, -.4, -.45, .25, .4, .1, .26));
                m.hinge(.62, .2);
                m.grip(Grip.TOP, 0, .12, .4, .25);
            }
            case PHONE -> {
                m.box(0, -.36, -.75, 0, .36, .75, .09);
                m.box(1, -.31, -.64, .09, .31, .64, .1);
                m.grip(Grip.TOP, 0, .05, .34, .1);
            }
            case KNIFE -> {
                m.box(0, -1.5, -.02, .02, -.05, .04, .07);
                m.box(2, -1.5, -.16, .03, -.05, .02, .05);
                m.box(1, -.1, -.1, 0, .95, .1, .16);
                m.grip(Grip.HANDLE, .4, .08, .1, .16);
            }
            case BOWL -> {
                m.lathe(0, 0, false, 0, .3, 0, .55, .18, 0, .72, .42, 1, .76, .55, 0);
                m.lathe(0, 0, false, 0, .7, .53, .5, .2, 2, .2, .08, 2, 0, .07, 2);
                m.grip(Grip.SIDE, 0, .35, .62, .55);
            }
            case CAN -> {
                m.lathe(0, 0, false, 0, .3, 0, .34, .06, 2, .34, .85, 1, .34, 1.1, 0, .3, 1.16, 2, 0, 1.13, 2);
                m.grip(Grip.SIDE, 0, .6, .34, 1.16);
            }
            case JAR -> {
                m.lathe(0, 0, false, 0, .45, 0, .5, .1, 0, .5, .3, 0, .5, .65, 1, .5, .85, 0, .38, 1.0, 0);
                m.lid(() -> m.lathe(0, 0, false, 0, .44, .98, .44, 1.2, 2, 0, 1.2, 2));
                m.grip(Grip.SIDE, 0, .5, .5, 1.2);
            }
            case HAMMER -> {
                m.bar(1, -.2, 0, .14, 1.3, 0, .14, .09);
                m.box(2, -.4, -.5, .02, -.12, .42, .3);
                m.grip(Grip.HANDLE, .8, .14, .09, .3);
            }
            case SPONGE -> {
                m.box(0, -.55, -.36, 0, .55, .36, .26);
                m.box(1, -.55, -.36, .26, .55, .36, .36);
                m.grip(Grip.TOP, 0, .2, .36, .36);
            }
            case LOAF -> {
                m.ball(0, 0, 0, .36, 1.0, .46, .36, 1);
                m.bar(1, -.5, -.28, .62, -.3, .28, .62, .05);
                m.bar(1, -.05, -.3, .7, .15, .3, .7, .05);
                m.bar(1, .4, -.28, .62, .6, .28, .62, .05);
                m.grip(Grip.TOP, 0, .4, .46, .72);
            }
        }
        m.finish();
        return m;
    }

    int size() {
        return vertexCount;
    }

    private void grip(Grip kind, double x, double z, double radius, double top) {
        grip = kind;
        gripX = x;
        gripZ = z;
        gripRadius = radius;
        height = top;
    }

    private void hinge(double x, double z) {
        lidKind = Lid.HINGED;
        hingeX = x;
        hingeZ = z;
    }

    private void lid(Runnable parts) {
        buildingLid = 1;
        parts.run();
        buildingLid = 0;
    }

    /** A surface of revolution about a vertical axis: radius, height, then (radius, height, material) per ring. */
    private void lathe(double x, double y, boolean smooth, double z, double r0, double z0, double... rings) {
        double radius = r0;
        double top = z0;
        int lower = -1;
        for (int i = 0; i < rings.length; i += 3) {
            int a = smooth && lower >= 0 ? lower : ring(x, y, z + top, radius, radius);
            int b = ring(x, y, z + rings[i + 1], rings[i], rings[i]);
            band(a, b, (byte) rings[i + 2]);
            lower = b;
            radius = rings[i];
            top = rings[i + 1];
        }
    }

    private void ball(int kind, double x, double y, double z, double rx, double ry, double rz, int bandKind) {
        int lower = -1;
        int steps = 8;
        for (int i = 0; i <= steps; i++) {
            double a = Math.PI * (i / (double) steps - .5);
            int next = ring(x, y, z + rz * Math.sin(a), rx * Math.cos(a), ry * Math.cos(a));
            if (lower >= 0) {
                band(lower, next, (byte) (i == steps / 2 ? bandKind : kind));
            }
            lower = next;
        }
    }

    private int ring(double x, double y, double z, double rx, double ry) {
        int first = vertexCount;
        for (int i = 0; i < SEGMENTS; i++) {
            double a = 2 * Math.PI * i / SEGMENTS;
            vertex(x + rx * Math.cos(a), y + ry * Math.sin(a), z);
        }
        return first;
    }

    private void band(int a, int b, byte kind) {
        for (int i = 0; i < SEGMENTS; i++) {
            int j = (i + 1) % SEGMENTS;
            triangle(a + i, a + j, b + j, kind);
            triangle(a + i, b + j, b + i, kind);
        }
    }

    private void box(int kind, double x0, double y0, double z0, double x1, double y1, double z1) {
        double[][] c = {
            {x0, y0, z0},
            {x1, y0, z0},
            {x1, y1, z0},
            {x0, y1, z0},
            {x0, y0, z1},
            {x1, y0, z1},
            {x1, y1, z1},
            {x0, y1, z1}
        };
        int[][] faces = {{0, 3, 2, 1}, {4, 5, 6, 7}, {0, 1, 5, 4}, {1, 2, 6, 5}, {2, 3, 7, 6}, {3, 0, 4, 7}};
        for (int[] f : faces) {
            int v = vertexCount;
            for (int i : f) {
                vertex(c[i][0], c[i][1], c[i][2]);
            }
            triangle(v, v + 1, v + 2, (byte) kind);
            triangle(v, v + 2, v + 3, (byte) kind);
        }
    }

    /** A six-sided rod between two points. */
    private void bar(int kind, double x0, double y0, double z0, double x1, double y1, double z1, double radius) {
        double dx = x1 - x0;
        double dy = y1 - y0;
        double dz = z1 - z0;
        double length = Math.sqrt(dx * dx + dy * dy + dz * dz);
        double[] side = Math.abs(dz) < .9 * length
                ? new double[] {dy / Math.hypot(dx, dy), -dx / Math.hypot(dx, dy), 0}
                : new double[] {0, 1, 0};
        double ux = (dy * side[2] - dz * side[1]) / length;
        double uy = (dz * side[0] - dx * side[2]) / length;
        double uz = (dx * side[1] - dy * side[0]) / length;
        int first = vertexCount;
        for (int i = 0; i < 6; i++) {
            double c = radius * Math.cos(Math.PI * i / 3);
            double s = radius * Math.sin(Math.PI * i / 3);
            double ox = c * side[0] + s * ux;
            double oy = c * side[1] + s * uy;
            double oz = c * side[2] + s * uz;
            vertex(x0 + ox, y0 + oy, z0 + oz);
            vertex(x1 + ox, y1 + oy, z1 + oz);
        }
        for (int i = 0; i < 6; i++) {
            int a = first + 2 * i;
            int b = first + 2 * ((i + 1) % 6);
            triangle(a, b, b + 1, (byte) kind);
            triangle(a, b + 1, a + 1, (byte) kind);
        }
        for (int i = 1; i < 5; i++) {
            triangle(first, first + 2 * i, first + 2 * i + 2, (byte) kind);
            triangle(first + 1, first + 2 * i + 1, first + 2 * i + 3, (byte) kind);
        }
    }

    private void vertex(double x, double y, double z) {
        if (3 * vertexCount == vertices.length) {
            vertices = Arrays.copyOf(vertices, vertices.length + 3 * 256);
            lid = Arrays.copyOf(lid, lid.length + 256);
        }
        vertices[3 * vertexCount] = x;
        vertices[3 * vertexCount + 1] = y;
        vertices[3 * vertexCount + 2] = z;
        lid[vertexCount++] = buildingLid;
    }

    private void triangle(int a, int b, int c, byte kind) {
        if (3 * triangleCount == triangles.length) {
            triangles = Arrays.copyOf(triangles, triangles.length + 3 * 256);
            material = Arrays.copyOf(material, material.length + 256);
        }
        triangles[3 * triangleCount] = a;
        triangles[3 * triangleCount + 1] = b;
        triangles[3 * triangleCount + 2] = c;
        material[triangleCount++] = kind;
    }

    /** Scales to full size, trims the arrays, and averages the normals of the triangles around each vertex, weighted by area. */
    private void finish() {
        gripX *= SCALE;
        gripZ *= SCALE;
        gripRadius *= SCALE;
        height *= SCALE;
        hingeX *= SCALE;
        hingeZ *= SCALE;
        vertices = Arrays.copyOf(vertices, 3 * vertexCount);
        for (int i = 0; i < vertices.length; i++) {
            vertices[i] *= SCALE;
        }
        lid = Arrays.copyOf(lid, vertexCount);
        triangles = Arrays.copyOf(triangles, 3 * triangleCount);
        material = Arrays.copyOf(material, triangleCount);
        normals = new double[3 * vertexCount];
        for (int t = 0; t < triangleCount; t++) {
            double[] n = faceNormal(3 * triangles[3 * t], 3 * triangles[3 * t + 1], 3 * triangles[3 * t + 2]);
            for (int k = 0; k < 3; k++) {
                for (int i = 0; i < 3; i++) {
                    normals[3 * triangles[3 * t + k] + i] += n[i];
                }
            }
        }
        for (int v = 0; v < vertexCount; v++) {
            double n = Math.hypot(Math.hypot(normals[3 * v], normals[3 * v + 1]), normals[3 * v + 2]);
            for (int i = 0; i < 3; i++) {
                normals[3 * v + i] /= Math.max(n, 1e-9);
            }
            reach = Math.max(reach, Math.hypot(vertices[3 * v], vertices[3 * v + 1]));
        }
    }

    private double[] faceNormal(int a, int b, int c) {
        double[] v = vertices;
        double ux = v[b] - v[a];
        double uy = v[b + 1] - v[a + 1];
        double uz = v[b + 2] - v[a + 2];
        double wx = v[c] - v[a];
        double wy = v[c + 1] - v[a + 1];
        double wz = v[c + 2] - v[a + 2];
        return new double[] {uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx};
    }
}
