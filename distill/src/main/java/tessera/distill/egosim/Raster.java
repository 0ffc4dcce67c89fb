package tessera.distill.egosim;

import java.util.Arrays;

/**
 * Draws one frame: meshes and capsules into a depth buffer of 2 x 2 samples per pixel, then colour and true motion of
 * what each pixel shows. Each surface is shaded once per pixel; motion is that of the surface that fills most of the
 * pixel, at the pixel's centre. Reused from frame to frame by one thread.
 */
final class Raster {
    private static final int SUB = 2;
    private static final double NEAR = .25;
    private static final double FAR = 60;

    /** Floats per capsule: both ends (x, y, inverse depth, radius) now and next in pixels, then its surface. */
    private static final int CAPSULE = 16;

    /** Floats per vertex: pixel (x, y), inverse depth, world next (x, y, z), world normal, texture position (x, y, z). */
    private static final int VERTEX = 12;

    private final int size;
    private final int wide;
    private final float[] nearness;
    private final int[] id;
    private double[] capsules = new double[CAPSULE * 64];
    private int capsuleCount;
    private Look.Paint[] capsulePaint = new Look.Paint[64];
    private double[] capsuleLength = new double[64];
    private float[] vertices = new float[VERTEX * 1024];
    private int vertexCount;
    private int[] triangles = new int[4 * 2048];
    private int triangleCount;
    private Look.Paint[] paints = new Look.Paint[16];
    private int paintCount;
    private double[] shadows = new double[4 * 16];
    private int shadowCount;

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

    Raster(int size, Look look, Camera camera) {
        this.size = size;
        this.look = look;
        now = camera;
        next = camera;
        wide = SUB * size;
        nearness = new float[wide * wide];
        id = new int[wide * wide];
    }

    void begin(Camera now, Camera next, double wallY) {
        this.now = now;
        this.next = next;
        this.wallY = wallY;
        Arrays.fill(nearness, 0);
        Arrays.fill(id, 0);
        capsuleCount = 0;
        vertexCount = 0;
        triangleCount = 0;
        paintCount = 0;
        shadowCount = 0;
    }

    /** A dark spot on the table, cast by something around (x, y, z). */
    void shadow(double x, double y, double z, double radius) {
        double height = Math.max(z, 0);
        double t = height / look.lightZ;
        int i = 4 * shadowCount++;
        if (i == shadows.length) {
            shadows = Arrays.copyOf(shadows, 2 * shadows.length);
        }
        double soft = radius + .35 * height;
        shadows[i] = x - t * look.lightX;
        shadows[i + 1] = y - t * look.lightY;
        shadows[i + 2] = 1 / (soft * soft);
        shadows[i + 3] = .55 * radius * radius / (soft * soft);
    }

    /** A limb from a to b, now and next (world x, y, z), with its two radii. */
    void capsule(double[] a, double[] b, double[] a1, double[] b1, double ra, double rb, Look.Paint paint) {
        double da = now.depth(a[0], a[1], a[2]);
        double db = now.depth(b[0], b[1], b[2]);
        if (da < NEAR && db < NEAR) {
            return;
        }
        double from = da < NEAR ? (NEAR - da) / (db - da) : 0;
        double to = db < NEAR ? (NEAR - da) / (db - da) : 1;
        int index = capsuleCount++;
        if (index == capsulePaint.length) {
            capsules = Arrays.copyOf(capsules, 2 * capsules.length);
            capsulePaint = Arrays.copyOf(capsulePaint, 2 * index);
            capsuleLength = Arrays.copyOf(capsuleLength, 2 * index);
        }
        capsulePaint[index] = paint;
        capsuleLength[index] = Math.hypot(Math.hypot(b[0] - a[0], b[1] - a[1]), b[2] - a[2]);
        int i = CAPSULE * index;
        end(i, now, a, b, from, ra, rb);
        end(i + 4, now, a, b, to, ra, rb);
        end(i + 8, next, a1, b1, from, ra, rb);
        end(i + 12, next, a1, b1, to, ra, rb);
        fillCapsule(index);
    }

    private void end(int i, Camera camera, double[] a, double[] b, double share, double ra, double rb) {
        double x = a[0] + share * (b[0] - a[0]);
        double y = a[1] + share * (b[1] - a[1]);
        double z = a[2] + share * (b[2] - a[2]);
        double inverse = 1 / Math.max(camera.depth(x, y, z), .6 * NEAR);
        double right =
                camera.axes[0] * (x - camera.x) + camera.axes[1] * (y - camera.y) + camera.axes[2] * (z - camera.z);
        double up = camera.axes[3] * (x - camera.x) + camera.axes[4] * (y - camera.y) + camera.axes[5] * (z - camera.z);
        capsules[i] = camera.centre + camera.focal * right * inverse;
        capsules[i + 1] = camera.centre - camera.focal * up * inverse;
        capsules[i + 2] = inverse;
        capsules[i + 3] = (ra + share * (rb - ra)) * camera.focal * inverse;
    }

    private void fillCapsule(int index) {
        int i = CAPSULE * index;
        float ax = (float) capsules[i];
        float ay = (float) capsules[i + 1];
        float az = (float) capsules[i + 2];
        float ar = (float) capsules[i + 3];
        float dx = (float) capsules[i + 4] - ax;
        float dy = (float) capsules[i + 5] - ay;
        float dz = (float) capsules[i + 6] - az;
        float dr = (float) capsules[i + 7] - ar;
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
        int mine = index + 1;
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
                    int s = y * wide + x;
                    if (near > nearness[s]) {
                        nearness[s] = near;
                        id[s] = mine;
                    }
                }
            }
        }
    }

    /** An object: world vertices now and next, and world normals, three doubles per vertex. */
    void mesh(Mesh mesh, double[] world, double[] worldNext, double[] normals, Look.Paint paint) {
        int first = vertexCount;
        int n = mesh.size();
        if ((first + n) * VERTEX > vertices.length) {
            vertices = Arrays.copyOf(vertices, 2 * (first + n) * VERTEX);
        }
        for (int v = 0; v < n; v++) {
            double x = world[3 * v];
            double y = world[3 * v + 1];
            double z = world[3 * v + 2];
            int o = VERTEX * (first + v);
            vertices[o] = (float) now.pixelX(x, y, z);
            vertices[o + 1] = (float) now.pixelY(x, y, z);
            vertices[o + 2] = (float) (1 / now.depth(x, y, z));
            for (int k = 0; k < 3; k++) {
                vertices[o + 3 + k] = (float) worldNext[3 * v + k];
                vertices[o + 6 + k] = (float) normals[3 * v + k];
                vertices[o + 9 + k] = (float) mesh.vertices[3 * v + k];
            }
        }
        vertexCount += n;
        if (paintCount == paints.length) {
            paints = Arrays.copyOf(paints, 2 * paintCount);
        }
        paints[paintCount] = paint;
        int count = mesh.material.length;
        if (4 * (triangleCount + count) > triangles.length) {
            triangles = Arrays.copyOf(triangles, 8 * (triangleCount + count));
        }
        for (int t = 0; t < count; t++) {
            int o = 4 * triangleCount;
            triangles[o] = VERTEX * (first + mesh.triangles[3 * t]);
            triangles[o + 1] = VERTEX * (first + mesh.triangles[3 * t + 1]);
            triangles[o + 2] = VERTEX * (first + mesh.triangles[3 * t + 2]);
            triangles[o + 3] = 3 * paintCount + mesh.material[t];
            fillTriangle(triangleCount++);
        }
        paintCount++;
    }

    private void fillTriangle(int index) {
        int a = triangles[4 * index];
        int b = triangles[4 * index + 1];
        int c = triangles[4 * index + 2];
        float az = vertices[a + 2];
        float bz = vertices[b + 2];
        float cz = vertices[c + 2];
        if (!(Math.min(az, Math.min(bz, cz)) > 0 && Math.max(az, Math.max(bz, cz)) < 1 / NEAR)) {
            return;
        }
        float ax = vertices[a];
        float ay = vertices[a + 1];
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
        int mine = -1 - index;
        for (int y = y0; y < y1; y++) {
            float py = (y + .5f) / SUB - ay;
            float px = (x0 + .5f) / SUB - ax;
            float wb = (px * cy - py * cx) * inverse;
            float wc = (bx * py - by * px) * inverse;
            for (int x = x0; x < x1; x++) {
                if (wb >= 0 && wc >= 0 && wb + wc <= 1) {
                    float near = az + wb * (bz - az) + wc * (cz - az);
                    int s = y * wide + x;
                    if (near > nearness[s]) {
                        nearness[s] = near;
                        id[s] = mine;
                    }
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
                    if (count[k] > count[winner] || count[k] == count[winner] && nearness[at] > winnerNear) {
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
        } else if (what > 0) {
            shadeCapsule(what - 1, px, py, colour, motion);
        } else {
            shadeTriangle(-1 - what, px, py, colour, motion);
        }
    }

    private void shadeBackground(double px, double py, boolean colour, boolean motion) {
        double right = (px - now.centre) / now.focal;
        double up = (now.centre - py) / now.focal;
        double[] m = now.axes;
        double dx = right * m[0] + up * m[3] + m[6];
        double dy = right * m[1] + up * m[4] + m[7];
        double dz = right * m[2] + up * m[5] + m[8];
        double onTable = dz < -1e-3 ? -now.z / dz : FAR;
        double onWall = dy > 1e-3 ? (wallY - now.y) / dy : FAR;
        boolean table = onTable <= onWall;
        double t = Math.min(FAR, Math.min(onTable, onWall));
        double x = now.x + t * dx;
        double y = now.y + t * dy;
        double z = now.z + t * dz;
        if (motion) {
            motionX = next.pixelX(x, y, z) - px;
            motionY = next.pixelY(x, y, z) - py;
        }
        if (colour) {
            Look.Surface s = table ? look.table : look.wall;
            double v = table ? y : z + 7;
            double u = (s.cos() * x - s.sin() * v) * s.scale() + s.shift();
            double w = (s.sin() * x + s.cos() * v) * s.scale();
            float value = s.texture().at(u, w, Texture.texels(s.scale()) * t / now.focal * (table ? 1.3 : 1));
            double light = look.ambient + (1 - look.ambient) * (table ? look.lightZ : .4 + .4 * Math.abs(look.lightY));
            if (table) {
                light *= shadowAt(x, y);
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
        for (int i = 0; i < 4 * shadowCount; i += 4) {
            double dx = x - shadows[i];
            double dy = y - shadows[i + 1];
            double d = (dx * dx + dy * dy) * shadows[i + 2];
            if (d < 1) {
                light *= 1 - shadows[i + 3] * (1 - d) * (1 - d) * 1.4;
            }
        }
        return light;
    }

    private void shadeCapsule(int index, double px, double py, boolean colour, boolean motion) {
        int i = CAPSULE * index;
        double[] c = capsules;
        double dx = c[i + 4] - c[i];
        double dy = c[i + 5] - c[i + 1];
        double length = Math.sqrt(dx * dx + dy * dy);
        double ex = length > 1e-6 ? dx / length : 1;
        double ey = length > 1e-6 ? dy / length : 0;
        double u = Math.clamp(((px - c[i]) * ex + (py - c[i + 1]) * ey) / Math.max(length, 1e-6), 0, 1);
        double r = c[i + 3] + u * (c[i + 7] - c[i + 3]);
        double ox = (px - c[i] - u * dx) / r;
        double oy = (py - c[i + 1] - u * dy) / r;
        double d = Math.sqrt(ox * ox + oy * oy);
        if (d > 1) {
            ox /= d;
            oy /= d;
            d = 1;
        }
        // Perspective: equal steps on the picture are not equal steps along the limb.
        double share = u * c[i + 6] / ((1 - u) * c[i + 2] + u * c[i + 6]);
        double along = ox * ex + oy * ey;
        double across = oy * ex - ox * ey;
        if (motion) {
            double nx = c[i + 12] - c[i + 8];
            double ny = c[i + 13] - c[i + 9];
            double nextLength = Math.sqrt(nx * nx + ny * ny);
            double fx = nextLength > 1e-6 ? nx / nextLength : ex;
            double fy = nextLength > 1e-6 ? ny / nextLength : ey;
            double v = share * c[i + 10] / ((1 - share) * c[i + 14] + share * c[i + 10]);
            double nextR = c[i + 11] + v * (c[i + 15] - c[i + 11]);
            double toX = c[i + 8] + v * nx + nextR * (along * fx - across * fy);
            double toY = c[i + 9] + v * ny + nextR * (along * fy + across * fx);
            motionX = toX - (c[i] + u * dx + r * ox);
            motionY = toY - (c[i + 1] + u * dy + r * oy);
        }
        if (colour) {
            double h = Math.sqrt(Math.max(0, 1 - d * d));
            double[] m = now.axes;
            double nx = ox * m[0] - oy * m[3] - h * m[6];
            double ny = ox * m[1] - oy * m[4] - h * m[7];
            double nz = ox * m[2] - oy * m[5] - h * m[8];
            Look.Paint paint = capsulePaint[index];
            double cover = paint.texture().at(.5 * share * capsuleLength[index], .3 * across, 2);
            double tone = 1 + paint.strength() * (cover - .5);
            light(nx, ny, nz, paint.colours()[0], tone * (.62 + .38 * h));
        }
    }

    private void shadeTriangle(int index, double px, double py, boolean colour, boolean motion) {
        int a = triangles[4 * index];
        int b = triangles[4 * index + 1];
        int c = triangles[4 * index + 2];
        float[] v = vertices;
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
        double sum = wa + wb + wc;
        wa /= sum;
        wb /= sum;
        wc /= sum;
        double fromX = wa * v[a] + wb * v[b] + wc * v[c];
        double fromY = wa * v[a + 1] + wb * v[b + 1] + wc * v[c + 1];
        wa *= v[a + 2];
        wb *= v[b + 2];
        wc *= v[c + 2];
        double total = wa + wb + wc;
        wa /= total;
        wb /= total;
        wc /= total;
        if (motion) {
            double nx = wa * v[a + 3] + wb * v[b + 3] + wc * v[c + 3];
            double ny = wa * v[a + 4] + wb * v[b + 4] + wc * v[c + 4];
            double nz = wa * v[a + 5] + wb * v[b + 5] + wc * v[c + 5];
            motionX = next.pixelX(nx, ny, nz) - fromX;
            motionY = next.pixelY(nx, ny, nz) - fromY;
        }
        if (colour) {
            double nx = wa * v[a + 6] + wb * v[b + 6] + wc * v[c + 6];
            double ny = wa * v[a + 7] + wb * v[b + 7] + wc * v[c + 7];
            double nz = wa * v[a + 8] + wb * v[b + 8] + wc * v[c + 8];
            double towards = nx * now.axes[6] + ny * now.axes[7] + nz * now.axes[8];
            double flip = towards > 0 ? -1 : 1;
            double tx = wa * v[a + 9] + wb * v[b + 9] + wc * v[c + 9];
            double ty = wa * v[a + 10] + wb * v[b + 10] + wc * v[c + 10];
            double tz = wa * v[a + 11] + wb * v[b + 11] + wc * v[c + 11];
            int paintAndMaterial = triangles[4 * index + 3];
            Look.Paint paint = paints[paintAndMaterial / 3];
            double cover = paint.texture().at(.35 * (tx + tz), .35 * (ty + tz), 1.5);
            double tone = 1 + paint.strength() * (cover - .5);
            light(flip * nx, flip * ny, flip * nz, paint.colours()[paintAndMaterial % 3], tone);
        }
    }

    /** Lambert's law with ambient light, and a highlight towards the camera. */
    private void light(double nx, double ny, double nz, float[] colour, double tone) {
        double facing = Math.max(0, nx * look.lightX + ny * look.lightY + nz * look.lightZ);
        double sky = .8 + .2 * nz;
        double value = tone * (look.ambient * sky + (1 - look.ambient) * facing);
        double hx = look.lightX - now.axes[6];
        double hy = look.lightY - now.axes[7];
        double hz = look.lightZ - now.axes[8];
        double half = (nx * hx + ny * hy + nz * hz) / Math.sqrt(hx * hx + hy * hy + hz * hz);
        double glint = Math.max(0, half);
        glint *= glint;
        glint *= glint;
        glint *= glint;
        double shine = look.shine * glint * glint;
        red = (float) (value * colour[0] + shine);
        green = (float) (value * colour[1] + shine);
        blue = (float) (value * colour[2] + shine);
    }
}
