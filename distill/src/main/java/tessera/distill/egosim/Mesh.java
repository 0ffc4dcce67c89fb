package tessera.distill.egosim;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;

/**
 * An object as triangles, in decimetres, standing on z = 0 at the origin. Immutable once built.
 */
final class Mesh {
    private static final int SEGMENTS = 14;

    /** Objects are a little larger than life: pictures are small. */
    private static final double SCALE = 1.2;

    private static final Map<Noun, Mesh> OF_NOUN =
            Noun.ALL.stream().collect(Collectors.toMap(noun -> noun, Mesh::build));

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

    /** Three vertices, and which of an object's colours lies between them. */
    record Triangle(int a, int b, int c, int material) {}

    final List<Vec> vertices = new ArrayList<>();
    final List<Triangle> triangles = new ArrayList<>();
    /** The vertices of the part that opens. */
    final BitSet lid = new BitSet();

    Vec[] normals = {};
    Grip grip = Grip.SIDE;
    Lid lidKind = Lid.LIFTS;
    Vec hinge = Vec.ZERO;
    double gripX;
    double gripZ;
    double gripRadius;
    double height;
    double reach;

    static Mesh of(Noun noun) {
        return Objects.requireNonNull(OF_NOUN.get(noun));
    }

    private static Mesh build(Noun noun) {
        var m = new Mesh();
        switch (noun) {
            case CUP -> {
                m.lathe(.34, 0, .42, .5, 1);
                m.lathe(.42, .5, .44, .95, 0);
                m.lathe(.37, .95, .33, .15, 1, 0, .15, 1);
                m.bar(1, -.42, 0, .75, -.72, 0, .72, .07);
                m.bar(1, -.72, 0, .72, -.70, 0, .32, .07);
                m.bar(1, -.70, 0, .32, -.38, 0, .25, .07);
                m.grip(Grip.SIDE, 0, .5, .42, .95);
            }
            case BOTTLE -> {
                m.lathe(.33, 0, .35, .45, 0, .35, 1.0, 1, .35, 1.3, 0, .15, 1.6, 0, .14, 1.75, 0);
                m.lid(() -> m.lathe(.18, 1.72, .18, 1.95, 2, 0, 1.95, 2));
                m.grip(Grip.SIDE, 0, .75, .35, 1.95);
            }
            case BOX -> {
                m.box(0, -.55, -.45, 0, .55, .45, .62);
                m.lid(() -> m.box(1, -.58, -.48, .62, .58, .48, .8));
                m.hinge(.58, .62);
                m.grip(Grip.TOP, 0, .45, .5, .8);
            }
            case BALL -> {
                m.ball(.48, .48, .48);
                m.grip(Grip.TOP, 0, .5, .48, .96);
            }
            case PAN -> {
                m.lathe(.6, 0, .78, .3, 2);
                m.lathe(.72, .28, .58, .04, 0, 0, .04, 0);
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
                m.lathe(.3, 0, .55, .18, 0, .72, .42, 1, .76, .55, 0);
                m.lathe(.7, .53, .5, .2, 2, .2, .08, 2, 0, .07, 2);
                m.grip(Grip.SIDE, 0, .35, .62, .55);
            }
            case CAN -> {
                m.lathe(.3, 0, .34, .06, 2, .34, .85, 1, .34, 1.1, 0, .3, 1.16, 2, 0, 1.13, 2);
                m.grip(Grip.SIDE, 0, .6, .34, 1.16);
            }
            case JAR -> {
                m.lathe(.45, 0, .5, .1, 0, .5, .3, 0, .5, .65, 1, .5, .85, 0, .38, 1.0, 0);
                m.lid(() -> m.lathe(.44, .98, .44, 1.2, 2, 0, 1.2, 2));
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
                m.ball(1.0, .46, .36);
                m.bar(1, -.5, -.28, .62, -.3, .28, .62, .05);
                m.bar(1, -.05, -.3, .7, .15, .3, .7, .05);
                m.bar(1, .4, -.28, .62, .6, .28, .62, .05);
                m.grip(Grip.TOP, 0, .4, .46, .72);
            }
        }
        m.finish();
        return m;
    }

    private void grip(Grip kind, double x, double z, double radius, double top) {
        grip = kind;
        gripX = x * SCALE;
        gripZ = z * SCALE;
        gripRadius = radius * SCALE;
        height = top * SCALE;
    }

    private void hinge(double x, double z) {
        lidKind = Lid.HINGED;
        hinge = new Vec(x, 0, z).times(SCALE);
    }

    private void lid(Runnable parts) {
        int first = vertices.size();
        parts.run();
        lid.set(first, vertices.size());
    }

    /** A surface of revolution about the vertical axis: radius, height, then (radius, height, material) per ring. */
    private void lathe(double r0, double z0, double... rings) {
        double radius = r0;
        double top = z0;
        for (int i = 0; i < rings.length; i += 3) {
            int lower = ring(top, radius, radius);
            radius = rings[i];
            top = rings[i + 1];
            band(lower, ring(top, radius, radius), (int) rings[i + 2]);
        }
    }

    /** A body of three radii that stands on the table, with a band of another colour. */
    private void ball(double rx, double ry, double rz) {
        int lower = -1;
        int steps = 8;
        for (int i = 0; i <= steps; i++) {
            double a = Math.PI * (i / (double) steps - .5);
            int next = ring(rz + rz * Math.sin(a), rx * Math.cos(a), ry * Math.cos(a));
            if (lower >= 0) {
                band(lower, next, i == steps / 2 ? 1 : 0);
            }
            lower = next;
        }
    }

    private int ring(double z, double rx, double ry) {
        int first = vertices.size();
        for (int i = 0; i < SEGMENTS; i++) {
            double a = 2 * Math.PI * i / SEGMENTS;
            vertex(new Vec(rx * Math.cos(a), ry * Math.sin(a), z));
        }
        return first;
    }

    private void band(int a, int b, int kind) {
        for (int i = 0; i < SEGMENTS; i++) {
            int j = (i + 1) % SEGMENTS;
            quad(a + i, a + j, b + j, b + i, kind);
        }
    }

    private void box(int kind, double x0, double y0, double z0, double x1, double y1, double z1) {
        // Corners go around below, then above.
        double[] x = {x0, x1, x1, x0};
        double[] y = {y0, y0, y1, y1};
        int[][] faces = {{0, 3, 2, 1}, {4, 5, 6, 7}, {0, 1, 5, 4}, {1, 2, 6, 5}, {2, 3, 7, 6}, {3, 0, 4, 7}};
        for (int[] corners : faces) {
            int v = vertices.size();
            for (int i : corners) {
                vertex(new Vec(x[i % 4], y[i % 4], i < 4 ? z0 : z1));
            }
            quad(v, v + 1, v + 2, v + 3, kind);
        }
    }

    /** A six-sided rod between two points. */
    private void bar(int kind, double x0, double y0, double z0, double x1, double y1, double z1, double radius) {
        Vec from = new Vec(x0, y0, z0);
        Vec to = new Vec(x1, y1, z1);
        Vec along = to.minus(from);
        double length = Math.sqrt(along.dot(along));
        double flat = Math.hypot(along.x(), along.y());
        Vec side =
                Math.abs(along.z()) < .9 * length ? new Vec(along.y() / flat, -along.x() / flat, 0) : new Vec(0, 1, 0);
        Vec up = along.cross(side).over(length);
        int first = vertices.size();
        for (int i = 0; i < 6; i++) {
            Vec out = side.times(radius * Math.cos(Math.PI * i / 3)).plus(up.times(radius * Math.sin(Math.PI * i / 3)));
            vertex(from.plus(out));
            vertex(to.plus(out));
        }
        for (int i = 0; i < 6; i++) {
            int a = first + 2 * i;
            int b = first + 2 * ((i + 1) % 6);
            quad(a, b, b + 1, a + 1, kind);
        }
        for (int i = 1; i < 5; i++) {
            triangles.add(new Triangle(first, first + 2 * i, first + 2 * i + 2, kind));
            triangles.add(new Triangle(first + 1, first + 2 * i + 1, first + 2 * i + 3, kind));
        }
    }

    private void vertex(Vec place) {
        vertices.add(place.times(SCALE));
    }

    private void quad(int a, int b, int c, int d, int kind) {
        triangles.add(new Triangle(a, b, c, kind));
        triangles.add(new Triangle(a, c, d, kind));
    }

    /** Averages the normals of the triangles around each vertex, weighted by area. */
    private void finish() {
        normals = new Vec[vertices.size()];
        Arrays.fill(normals, Vec.ZERO);
        for (Triangle t : triangles) {
            Vec a = vertices.get(t.a);
            Vec normal = vertices.get(t.b).minus(a).cross(vertices.get(t.c).minus(a));
            for (int v : new int[] {t.a, t.b, t.c}) {
                normals[v] = normals[v].plus(normal);
            }
        }
        for (int v = 0; v < normals.length; v++) {
            normals[v] = normals[v].over(Math.max(normals[v].length(), 1e-9));
            reach = Math.max(
                    reach, Math.hypot(vertices.get(v).x(), vertices.get(v).y()));
        }
    }
}
