package tessera.distill.egosim;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Draws one frame: meshes and capsules into a depth buffer of 2 x 2 samples per pixel, then colour and true motion of
 * what each pixel shows. Each surface is shaded once per pixel; motion is that of the surface that fills most of the
 * pixel, at the pixel's centre. Reused from frame to frame by one thread.
 */
final class Raster {
    private static final int SUB = 2;
    private static final double NEAR = .25;
    private static final double FAR = 60;

    /** What is less than this nearer than a joint's skin, in decimetres, is the same limb. */
    private static final double SLACK = .2;

    /** Floats per vertex: pixel (x, y), inverse depth, world next (x, y, z), world normal, texture position (x, y, z). */
    private static final int VERTEX = 12;

    private sealed interface Surface {}

    /**
     * A stretch of a limb.
     *
     * @param c both ends (x, y, inverse depth, radius) now and next in pixels
     */
    private record Capsule(double[] c, double length, Look.Paint paint) implements Surface {}

    /** A triangle between three of an object's vertices, given by where their numbers begin. */
    private record Face(float[] vertices, int a, int b, int c, Look.Paint paint, int material) implements Surface {}

    /** A dark spot on the table. */
    private record Shadow(double x, double y, double perSquare, double dark) {}

    private final int size;
    private final int wide;
    private final float[] nearness;
    private final int[] id;
    /** What may be seen, from 1 on in {@link #id}; 0 is the background. */
    private final List<Surface> surfaces = new ArrayList<>();

    /** The thing that each surface belongs to; empty unless outlines are wanted. */
    private final List<Outline> outlines = new ArrayList<>();

    private final boolean outlined;
    /** The thing that was last drawn over each sample, as its place in the order of things. */
    private final int[] drawnBy;

    private Outline outline = new Outline();
    private int things;

    private final List<Shadow> shadows = new ArrayList<>();
    private final Look look;
    private Camera now;
    private Camera next;
    private double wallY;

    // What shading one surface at one point leaves behind.
    private float red;
    private float green;
    private float blue;
    private double motionX;
    private double motionY;

    /** @param outlined whether to keep account of the outlines of things */
    Raster(int size, Look look, Camera camera, boolean outlined) {
        this.size = size;
        this.look = look;
        this.outlined = outlined;
        now = camera;
        next = camera;
        wide = SUB * size;
        nearness = new float[wide * wide];
        id = new int[wide * wide];
        drawnBy = new int[outlined ? wide * wide : 0];
    }

    void begin(Camera now, Camera next, double wallY) {
        this.now = now;
        this.next = next;
        this.wallY = wallY;
        Arrays.fill(nearness, 0);
        Arrays.fill(id, 0);
        surfaces.clear();
        outlines.clear();
        shadows.clear();
        Arrays.fill(drawnBy, 0);
        things = 0;
    }

    /** What is drawn from here on is one more thing. */
    Outline thing() {
        outline = new Outline();
        things++;
        return outline;
    }

    /** Counts what can be seen of each thing, once all are drawn. */
    void look() {
        for (int surface : id) {
            if (surface > 0) {
                outlines.get(surface - 1).visible++;
            }
        }
    }

    /** Whether something in the picture covers a joint of a limb, and not the limb itself. */
    boolean hides(Vec joint, double radius) {
        double depth = now.depth(joint);
        if (depth < NEAR) {
            return false;
        }
        int x = (int) Math.floor(SUB * now.pixelX(joint));
        int y = (int) Math.floor(SUB * now.pixelY(joint));
        boolean inside = x >= 0 && y >= 0 && x < wide && y < wide;
        return inside && nearness[y * wide + x] > 1 / (depth - Math.min(radius + SLACK, .5 * depth));
    }

    private void add(Surface surface) {
        surfaces.add(surface);
        if (outlined) {
            outlines.add(outline);
        }
    }

    /** A dark spot on the table, cast by something around a place. */
    void shadow(Vec by, double radius) {
        double height = Math.max(by.z(), 0);
        double t = height / look.light.z();
        double soft = radius + .35 * height;
        shadows.add(new Shadow(
                by.x() - t * look.light.x(),
                by.y() - t * look.light.y(),
                1 / (soft * soft),
                .55 * radius * radius / (soft * soft)));
    }

    /** A limb from a to b, now and next, with its two radii. */
    void capsule(Vec a, Vec b, Vec a1, Vec b1, double ra, double rb, Look.Paint paint) {
        double da = now.depth(a);
        double db = now.depth(b);
        if (da < NEAR && db < NEAR) {
            return;
        }
        double from = da < NEAR ? (NEAR - da) / (db - da) : 0;
        double to = db < NEAR ? (NEAR - da) / (db - da) : 1;
        var ends = new double[16];
        end(ends, 0, now, a.towards(b, from), ra + from * (rb - ra));
        end(ends, 4, now, a.towards(b, to), ra + to * (rb - ra));
        end(ends, 8, next, a1.towards(b1, from), ra + from * (rb - ra));
        end(ends, 12, next, a1.towards(b1, to), ra + to * (rb - ra));
        add(new Capsule(ends, b.minus(a).length(), paint));
        outline.include(ends[0], ends[1], ends[3]);
        outline.include(ends[4], ends[5], ends[7]);
        fillCapsule(ends);
    }

    private static void end(double[] ends, int i, Camera camera, Vec at, double radius) {
        double inverse = 1 / Math.max(camera.depth(at), .6 * NEAR);
        Vec from = at.minus(camera.place);
        ends[i] = camera.centre + camera.focal * camera.right.dot(from) * inverse;
        ends[i + 1] = camera.centre - camera.focal * camera.up.dot(from) * inverse;
        ends[i + 2] = inverse;
        ends[i + 3] = radius * camera.focal * inverse;
    }

    private void fillCapsule(double[] ends) {
        float ax = (float) ends[0];
        float ay = (float) ends[1];
        float az = (float) ends[2];
        float ar = (float) ends[3];
        float dx = (float) ends[4] - ax;
        float dy = (float) ends[5] - ay;
        float dz = (float) ends[6] - az;
        float dr = (float) ends[7] - ar;
        int x0 = sampleFrom(Math.min(ax - ar, ax + dx - ar - dr));
        int x1 = sampleTo(Math.max(ax + ar, ax + dx + ar + dr));
        int y0 = sampleFrom(Math.min(ay - ar, ay + dy - ar - dr));
        int y1 = sampleTo(Math.max(ay + ar, ay + dy + ar + dr));
        float perLength = 1 / Math.max(dx * dx + dy * dy, 1e-9f);
        float perFocal = (float) (1 / now.focal);
        // A row meets only a stretch of a slanting limb: the points nearer to its axis than the larger radius.
        float slope = Math.abs(dy) > 1e-3f ? dx / dy : 0;
        float half = Math.abs(dy) > 1e-3f
                ? (float) (Math.max(ar, ar + dr) * Math.sqrt(dx * dx + dy * dy) / Math.abs(dy))
                : 4 * size;
        for (int y = y0; y < y1; y++) {
            float py = (y + .5f) / SUB - ay;
            int from = Math.max(x0, sampleFrom(ax + py * slope - half));
            int to = Math.min(x1, sampleTo(ax + py * slope + half));
            for (int x = from; x < to; x++) {
                float px = (x + .5f) / SUB - ax;
                float u = Math.max(0f, Math.min(1f, (px * dx + py * dy) * perLength));
                float ox = px - u * dx;
                float oy = py - u * dy;
                float r = ar + u * dr;
                float rest = r * r - ox * ox - oy * oy;
                if (rest > 0) {
                    float z = az + u * dz;
                    float near = z / (1 - Math.min(.5f, (float) Math.sqrt(rest) * perFocal));
                    cover(y * wide + x, near);
                }
            }
        }
    }

    /** The surface that was added last covers a sample, if nothing nearer does. */
    private void cover(int sample, float near) {
        if (outlined && drawnBy[sample] != things) {
            drawnBy[sample] = things;
            outline.covered++;
        }
        if (near > nearness[sample]) {
            nearness[sample] = near;
            id[sample] = surfaces.size();
        }
    }

    /** An object: world places of its vertices now and next, and world normals. */
    void mesh(Mesh mesh, Vec[] world, Vec[] worldNext, Vec[] normals, Look.Paint paint) {
        var vertices = new float[VERTEX * world.length];
        for (int v = 0; v < world.length; v++) {
            int o = VERTEX * v;
            vertices[o] = (float) now.pixelX(world[v]);
            vertices[o + 1] = (float) now.pixelY(world[v]);
            vertices[o + 2] = (float) (1 / now.depth(world[v]));
            put(vertices, o + 3, worldNext[v]);
            put(vertices, o + 6, normals[v]);
            put(vertices, o + 9, mesh.vertices.get(v));
        }
        for (Mesh.Triangle t : mesh.triangles) {
            add(new Face(vertices, VERTEX * t.a(), VERTEX * t.b(), VERTEX * t.c(), paint, t.material()));
            fillTriangle(vertices, VERTEX * t.a(), VERTEX * t.b(), VERTEX * t.c());
        }
    }

    private static void put(float[] vertices, int offset, Vec v) {
        vertices[offset] = (float) v.x();
        vertices[offset + 1] = (float) v.y();
        vertices[offset + 2] = (float) v.z();
    }

    private void fillTriangle(float[] vertices, int a, int b, int c) {
        float az = vertices[a + 2];
        float bz = vertices[b + 2];
        float cz = vertices[c + 2];
        if (!(Math.min(az, Math.min(bz, cz)) > 0 && Math.max(az, Math.max(bz, cz)) < 1 / NEAR)) {
            return;
        }
        float ax = vertices[a];
        float ay = vertices[a + 1];
        if (outlined) {
            for (int v : new int[] {a, b, c}) {
                outline.include(vertices[v], vertices[v + 1], 0);
            }
        }
        float bx = vertices[b] - ax;
        float by = vertices[b + 1] - ay;
        float cx = vertices[c] - ax;
        float cy = vertices[c + 1] - ay;
        float area = bx * cy - by * cx;
        if (Math.abs(area) < 1e-6f) {
            return;
        }
        int x0 = sampleFrom(ax + Math.min(0, Math.min(bx, cx)));
        int x1 = sampleTo(ax + Math.max(0, Math.max(bx, cx)));
        int y0 = sampleFrom(ay + Math.min(0, Math.min(by, cy)));
        int y1 = sampleTo(ay + Math.max(0, Math.max(by, cy)));
        if (x0 >= x1 || y0 >= y1) {
            return;
        }
        float inverse = 1 / area;
        float stepB = cy * inverse / SUB;
        float stepC = -by * inverse / SUB;
        for (int y = y0; y < y1; y++) {
            float py = (y + .5f) / SUB - ay;
            float px = (x0 + .5f) / SUB - ax;
            float wb = (px * cy - py * cx) * inverse;
            float wc = (bx * py - by * px) * inverse;
            for (int x = x0; x < x1; x++) {
                if (wb >= 0 && wc >= 0 && wb + wc <= 1) {
                    float near = az + wb * (bz - az) + wc * (cz - az);
                    cover(y * wide + x, near);
                }
                wb += stepB;
                wc += stepC;
            }
        }
    }

    /** The first sample at or after a place; {@link #sampleTo} is one past the last sample at or before it. */
    private int sampleFrom(float pixel) {
        return Math.max(0, Math.min(wide, (int) Math.ceil(pixel * SUB - .5f)));
    }

    private int sampleTo(float pixel) {
        return Math.max(0, Math.min(wide, (int) Math.floor(pixel * SUB + .5f)));
    }

    /** Writes the frame's linear colours, [size * size * 3], and motion, [size * size * 2] from an offset; either may be empty. */
    void resolve(float[] colours, float[] flow, int flowOffset) {
        boolean wantsColour = colours.length > 0;
        boolean wantsFlow = flow.length > 0;
        var seen = new int[SUB * SUB];
        var count = new int[SUB * SUB];
        for (int y = 0; y < size; y++) {
            for (int x = 0; x < size; x++) {
                int kinds = 0;
                int winner = 0;
                float winnerNear = -1;
                for (int s = 0; s < SUB * SUB; s++) {
                    int at = (SUB * y + s / SUB) * wide + SUB * x + s % SUB;
                    int k = 0;
                    while (k < kinds && seen[k] != id[at]) {
                        k++;
                    }
                    if (k == kinds) {
                        seen[kinds] = id[at];
                        count[kinds++] = 0;
                    }
                    count[k]++;
                    if (count[k] > count[winner] || (count[k] == count[winner] && nearness[at] > winnerNear)) {
                        winner = k;
                        winnerNear = nearness[at];
                    }
                }
                float r = 0;
                float g = 0;
                float b = 0;
                for (int k = 0; k < kinds; k++) {
                    if (!wantsColour && k != winner) {
                        continue;
                    }
                    boolean motion = wantsFlow && k == winner;
                    shade(seen[k], x + .5, y + .5, wantsColour, motion);
                    r += count[k] * red;
                    g += count[k] * green;
                    b += count[k] * blue;
                    if (motion) {
                        int o = flowOffset + 2 * (y * size + x);
                        flow[o] = (float) motionX;
                        flow[o + 1] = (float) motionY;
                    }
                }
                if (wantsColour) {
                    int o = 3 * (y * size + x);
                    float share = 1f / (SUB * SUB);
                    colours[o] = r * share;
                    colours[o + 1] = g * share;
                    colours[o + 2] = b * share;
                }
            }
        }
    }

    private void shade(int what, double px, double py, boolean colour, boolean motion) {
        if (what == 0) {
            shadeBackground(px, py, colour, motion);
            return;
        }
        switch (surfaces.get(what - 1)) {
            case Capsule capsule -> shadeCapsule(capsule, px, py, colour, motion);
            case Face face -> shadeFace(face, px, py, colour, motion);
        }
    }

    private void shadeBackground(double px, double py, boolean colour, boolean motion) {
        double right = (px - now.centre) / now.focal;
        double up = (now.centre - py) / now.focal;
        Vec way = now.right.times(right).plus(now.up.times(up)).plus(now.forward);
        double onTable = way.z() < -1e-3 ? -now.place.z() / way.z() : FAR;
        double onWall = way.y() > 1e-3 ? (wallY - now.place.y()) / way.y() : FAR;
        boolean table = onTable <= onWall;
        double t = Math.min(FAR, Math.min(onTable, onWall));
        Vec at = now.place.plus(way.times(t));
        if (motion) {
            motionX = next.pixelX(at) - px;
            motionY = next.pixelY(at) - py;
        }
        if (colour) {
            Look.Surface s = table ? look.table : look.wall;
            double v = table ? at.y() : at.z() + 7;
            double u = (s.cos() * at.x() - s.sin() * v) * s.scale() + s.shift();
            double w = (s.sin() * at.x() + s.cos() * v) * s.scale();
            float value = s.texture().at(u, w, Texture.texels(s.scale()) * t / now.focal * (table ? 1.3 : 1));
            double light =
                    look.ambient + (1 - look.ambient) * (table ? look.light.z() : .4 + .4 * Math.abs(look.light.y()));
            if (table) {
                light *= shadowAt(at.x(), at.y());
            }
            float[] c0 = s.dark();
            float[] c1 = s.bright();
            red = (float) light * (c0[0] + value * (c1[0] - c0[0]));
            green = (float) light * (c0[1] + value * (c1[1] - c0[1]));
            blue = (float) light * (c0[2] + value * (c1[2] - c0[2]));
        }
    }

    private double shadowAt(double x, double y) {
        double light = 1;
        for (Shadow shadow : shadows) {
            double dx = x - shadow.x;
            double dy = y - shadow.y;
            double d = (dx * dx + dy * dy) * shadow.perSquare;
            if (d < 1) {
                light *= 1 - shadow.dark * (1 - d) * (1 - d) * 1.4;
            }
        }
        return light;
    }

    private void shadeCapsule(Capsule capsule, double px, double py, boolean colour, boolean motion) {
        double[] c = capsule.c;
        double dx = c[4] - c[0];
        double dy = c[5] - c[1];
        double length = Math.sqrt(dx * dx + dy * dy);
        double ex = length > 1e-6 ? dx / length : 1;
        double ey = length > 1e-6 ? dy / length : 0;
        double u = Math.clamp(((px - c[0]) * ex + (py - c[1]) * ey) / Math.max(length, 1e-6), 0, 1);
        double r = c[3] + u * (c[7] - c[3]);
        double ox = (px - c[0] - u * dx) / r;
        double oy = (py - c[1] - u * dy) / r;
        double d = Math.sqrt(ox * ox + oy * oy);
        if (d > 1) {
            ox /= d;
            oy /= d;
            d = 1;
        }
        // Perspective: equal steps on the picture are not equal steps along the limb.
        double share = u * c[6] / ((1 - u) * c[2] + u * c[6]);
        double along = ox * ex + oy * ey;
        double across = oy * ex - ox * ey;
        if (motion) {
            double nx = c[12] - c[8];
            double ny = c[13] - c[9];
            double nextLength = Math.sqrt(nx * nx + ny * ny);
            double fx = nextLength > 1e-6 ? nx / nextLength : ex;
            double fy = nextLength > 1e-6 ? ny / nextLength : ey;
            double v = share * c[10] / ((1 - share) * c[14] + share * c[10]);
            double nextR = c[11] + v * (c[15] - c[11]);
            double toX = c[8] + v * nx + nextR * (along * fx - across * fy);
            double toY = c[9] + v * ny + nextR * (along * fy + across * fx);
            motionX = toX - (c[0] + u * dx + r * ox);
            motionY = toY - (c[1] + u * dy + r * oy);
        }
        if (colour) {
            double h = Math.sqrt(Math.max(0, 1 - d * d));
            Vec normal = now.right.times(ox).minus(now.up.times(oy)).minus(now.forward.times(h));
            Look.Paint paint = capsule.paint;
            double cover = paint.texture().at(.5 * share * capsule.length, .3 * across, 2);
            double tone = 1 + paint.strength() * (cover - .5);
            light(normal, paint.colours()[0], tone * (.62 + .38 * h));
        }
    }

    private void shadeFace(Face face, double px, double py, boolean colour, boolean motion) {
        float[] v = face.vertices;
        int a = face.a;
        int b = face.b;
        int c = face.c;
        double bx = v[b] - v[a];
        double by = v[b + 1] - v[a + 1];
        double cx = v[c] - v[a];
        double cy = v[c + 1] - v[a + 1];
        double inverse = 1 / (bx * cy - by * cx);
        double x = px - v[a];
        double y = py - v[a + 1];
        double wb = Math.max(0, (x * cy - y * cx) * inverse);
        double wc = Math.max(0, (bx * y - by * x) * inverse);
        double wa = Math.max(0, 1 - wb - wc);
        Vec weights = new Vec(wa, wb, wc).over(wa + wb + wc);
        Vec from = blend(face, weights, 0);
        weights = new Vec(weights.x() * v[a + 2], weights.y() * v[b + 2], weights.z() * v[c + 2]).over(from.z());
        if (motion) {
            Vec to = blend(face, weights, 3);
            motionX = next.pixelX(to) - from.x();
            motionY = next.pixelY(to) - from.y();
        }
        if (colour) {
            Vec normal = blend(face, weights, 6);
            Vec on = blend(face, weights, 9);
            Look.Paint paint = face.paint;
            double cover = paint.texture().at(.35 * (on.x() + on.z()), .35 * (on.y() + on.z()), 1.5);
            double tone = 1 + paint.strength() * (cover - .5);
            light(normal.times(normal.dot(now.forward) > 0 ? -1 : 1), paint.colours()[face.material], tone);
        }
    }

    /** The mean of three numbers of a face's vertices, from k on. */
    private static Vec blend(Face face, Vec weights, int k) {
        float[] v = face.vertices;
        int a = face.a + k;
        int b = face.b + k;
        int c = face.c + k;
        return new Vec(
                weights.x() * v[a] + weights.y() * v[b] + weights.z() * v[c],
                weights.x() * v[a + 1] + weights.y() * v[b + 1] + weights.z() * v[c + 1],
                weights.x() * v[a + 2] + weights.y() * v[b + 2] + weights.z() * v[c + 2]);
    }

    /** Lambert's law with ambient light, and a highlight towards the camera. */
    private void light(Vec normal, float[] colour, double tone) {
        double facing = Math.max(0, normal.dot(look.light));
        double sky = .8 + .2 * normal.z();
        double value = tone * (look.ambient * sky + (1 - look.ambient) * facing);
        Vec between = look.light.minus(now.forward);
        double glint = Math.max(0, normal.dot(between) / Math.sqrt(between.dot(between)));
        glint *= glint;
        glint *= glint;
        glint *= glint;
        double shine = look.shine * glint * glint;
        red = (float) (value * colour[0] + shine);
        green = (float) (value * colour[1] + shine);
        blue = (float) (value * colour[2] + shine);
    }
}
