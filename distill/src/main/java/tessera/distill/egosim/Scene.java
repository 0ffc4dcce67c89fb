package tessera.distill.egosim;

import java.util.ArrayList;
import java.util.List;
import tessera.distill.data.Geometry;
import tessera.distill.egosim.Action.HandState;
import tessera.distill.egosim.Action.Moment;

/** One clip's world: the action, the things that lie around, the head that looks on. Used by one thread. */
final class Scene {
    /** A thing that lies still. */
    private record Still(Mesh mesh, Pose pose, double[] world, double[] normals, Look.Paint paint) {}

    private final Geometry geometry;
    private final Look look;
    private final Action action;
    private final Mesh mesh;
    private final Look.Paint paint;
    private final Look.Paint skin;
    private final Look.Paint sleeve;
    private final List<Still> clutter = new ArrayList<>();
    private final double wallY;
    private final Camera[] cameras;
    private final Moment[] moments;
    private final Raster raster;

    Scene(Geometry geometry, Domain domain, ActionClass what, Draws motion, Draws appearance) {
        this.geometry = geometry;
        look = new Look(domain, appearance);
        action = new Action(what, motion);
        mesh = Mesh.of(what.noun());
        paint = look.paint(what.noun());
        Texture fine = Texture.of(Texture.Pattern.SAWDUST);
        skin = new Look.Paint(new float[][] {look.skin}, fine, .25);
        sleeve = new Look.Paint(new float[][] {look.sleeve}, look.sleeveTexture, appearance.uniform(.3, 1.2));
        wallY = appearance.uniform(2.0, 5.0);
        for (int i = 0; i < look.clutter; i++) {
            Noun noun = Noun.values()[appearance.below(Noun.values().length)];
            double angle = appearance.uniform(0, 2 * Math.PI);
            double far = appearance.uniform(1.5, 2.9);
            double x = action.baseX() + far * Math.cos(angle);
            double y = action.baseY() + .9 * far * Math.sin(angle);
            double yaw = appearance.uniform(0, 2 * Math.PI);
            Look.Paint itsPaint = look.paint(noun);
            boolean hides = y < action.baseY() - .5 && Math.abs(x - action.baseX()) < 1.1;
            if (y < wallY - .8 && !hides) {
                clutter.add(still(Mesh.of(noun), Pose.at(x, y, 0).after(Pose.turn(2, yaw)), itsPaint));
            }
        }
        int frames = geometry.frames();
        cameras = head(motion, frames + 1);
        moments = new Moment[frames + 1];
        for (int t = 0; t <= frames; t++) {
            moments[t] = action.at(t / (double) frames);
        }
        raster = new Raster(geometry.size(), look, cameras[0]);
    }

    private static Still still(Mesh mesh, Pose pose, Look.Paint paint) {
        double[] world = place(mesh, pose, Pose.IDENTITY, 0);
        return new Still(mesh, pose, world, normals(mesh, pose, Pose.IDENTITY), paint);
    }

    private Camera[] head(Draws draws, int count) {
        double focal = geometry.size() / 2.0 / Math.tan(Math.toRadians(look.fieldOfView) / 2);
        double yaw = draws.uniform(-.3, .3);
        double targetX = .6 * action.baseX() + draws.uniform(-.3, .3);
        double targetY = .6 * action.baseY() + draws.uniform(-.2, .4);
        double targetZ = draws.uniform(.3, .8);
        double flat = look.distance * Math.cos(look.pitch);
        double x = targetX + flat * Math.sin(yaw);
        double y = targetY - flat * Math.cos(yaw);
        double z = targetZ + look.distance * Math.sin(look.pitch);
        double roll = draws.uniform(-.12, .12);
        var waves = new Wave[7];
        for (int i = 0; i < waves.length; i++) {
            double scale = i < 3 ? look.headShift : i < 6 ? look.headTurn : .05;
            waves[i] = new Wave(draws, scale, look.headPace);
        }
        var cameras = new Camera[count];
        for (int t = 0; t < count; t++) {
            double s = t / (count - 1.0);
            cameras[t] = new Camera(
                    x + waves[0].at(s),
                    y + waves[1].at(s),
                    z + waves[2].at(s),
                    yaw + waves[3].at(s) + look.shiver * draws.normal(),
                    look.pitch + waves[4].at(s) + look.shiver * draws.normal(),
                    roll + waves[5].at(s) + .5 * look.shiver * draws.normal(),
                    focal * (1 + waves[6].at(s)),
                    geometry.size() / 2.0);
        }
        return cameras;
    }

    /** Draws frame t: linear colours [size * size * 3] and true motion; either array may be empty. */
    void draw(int t, float[] colours, float[] flow, int flowOffset) {
        Moment now = moments[t];
        Moment next = moments[t + 1];
        raster.begin(cameras[t], cameras[t + 1], wallY);
        for (Still still : clutter) {
            raster.mesh(still.mesh, still.world, still.world, still.normals, still.paint);
            raster.shadow(still.pose.x(), still.pose.y(), .3 * still.mesh.height, 1.15 * still.mesh.reach);
        }
        Pose pose = now.object();
        raster.mesh(
                mesh,
                place(mesh, pose, now.lid(), now.squash()),
                place(mesh, next.object(), next.lid(), next.squash()),
                normals(mesh, pose, now.lid()),
                paint);
        raster.shadow(pose.x(), pose.y(), pose.z() + .3 * mesh.height, 1.15 * mesh.reach);
        for (int h = 0; h < now.hands().size(); h++) {
            limb(now.hands().get(h), next.hands().get(h));
        }
        raster.resolve(colours, flow, flowOffset);
    }

    private void limb(HandState now, HandState next) {
        double scale = look.handScale;
        double[] a = Hand.joints(now.wrist(), now.fingers(), now.side(), scale);
        double[] b = Hand.joints(next.wrist(), next.fingers(), next.side(), scale);
        for (int j = 1; j < Hand.JOINTS; j++) {
            int p = Hand.PARENT[j];
            bone(a, b, p, j, scale);
        }
        bone(a, b, 5, 17, scale);
        bone(a, b, 1, 5, scale);
        double[] elbow = action.elbow(now.side());
        double[] wrist = joint(a, 0);
        double[] wristNext = joint(b, 0);
        double thick = .42 * scale;
        double thin = .27 * scale;
        double bare = Math.min(1, look.bare);
        double[] cuff = between(wrist, elbow, bare);
        double[] cuffNext = between(wristNext, elbow, bare);
        double mid = thin + bare * (thick - thin);
        if (bare > 0) {
            raster.capsule(wrist, cuff, wristNext, cuffNext, thin, mid, skin);
        }
        if (bare < 1) {
            raster.capsule(cuff, elbow, cuffNext, elbow, mid + .07, thick + .12, sleeve);
        }
        raster.shadow(a[27], a[28], a[29], .55);
        raster.shadow(cuff[0], cuff[1], cuff[2], .5);
    }

    private void bone(double[] a, double[] b, int from, int to, double scale) {
        raster.capsule(
                joint(a, from),
                joint(a, to),
                joint(b, from),
                joint(b, to),
                Hand.RADIUS[from] * scale * (from == 0 ? .9 : 1),
                Hand.RADIUS[to] * scale,
                skin);
    }

    private static double[] joint(double[] joints, int j) {
        return new double[] {joints[3 * j], joints[3 * j + 1], joints[3 * j + 2]};
    }

    private static double[] between(double[] a, double[] b, double share) {
        return new double[] {a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]), a[2] + share * (b[2] - a[2])};
    }

    /** World positions of an object's vertices; squash narrows it across and lets it bulge along. */
    private static double[] place(Mesh mesh, Pose pose, Pose lid, double squash) {
        Pose opened = pose.after(lid);
        var world = new double[3 * mesh.size()];
        for (int v = 0; v < mesh.size(); v++) {
            double x = mesh.vertices[3 * v] * (1 + .3 * squash);
            double y = mesh.vertices[3 * v + 1] * (1 - squash);
            double z = mesh.vertices[3 * v + 2] * (1 - .4 * squash);
            Pose part = mesh.lid[v] == 1 ? opened : pose;
            world[3 * v] = part.mapX(x, y, z);
            world[3 * v + 1] = part.mapY(x, y, z);
            world[3 * v + 2] = part.mapZ(x, y, z);
        }
        return world;
    }

    private static double[] normals(Mesh mesh, Pose pose, Pose lid) {
        Pose opened = pose.after(lid);
        var world = new double[3 * mesh.size()];
        for (int v = 0; v < mesh.size(); v++) {
            double x = mesh.normals[3 * v];
            double y = mesh.normals[3 * v + 1];
            double z = mesh.normals[3 * v + 2];
            Pose part = mesh.lid[v] == 1 ? opened : pose;
            world[3 * v] = part.mapX(x, y, z) - part.x();
            world[3 * v + 1] = part.mapY(x, y, z) - part.y();
            world[3 * v + 2] = part.mapZ(x, y, z) - part.z();
        }
        return world;
    }

    /** The hands' joints in frame t as (x, y) in pixels, one array of 42 per hand; joints behind the lens are NaN. */
    List<double[]> joints(int t) {
        var hands = new ArrayList<double[]>();
        Camera camera = cameras[t];
        for (HandState hand : moments[t].hands()) {
            double[] world = Hand.joints(hand.wrist(), hand.fingers(), hand.side(), look.handScale);
            var pixels = new double[2 * Hand.JOINTS];
            for (int j = 0; j < Hand.JOINTS; j++) {
                double x = world[3 * j];
                double y = world[3 * j + 1];
                double z = world[3 * j + 2];
                boolean ahead = camera.depth(x, y, z) > .2;
                pixels[2 * j] = ahead ? camera.pixelX(x, y, z) : Double.NaN;
                pixels[2 * j + 1] = ahead ? camera.pixelY(x, y, z) : Double.NaN;
            }
            hands.add(pixels);
        }
        return hands;
    }

    /** What the sensor makes of linear colours: exposure, cast, contrast, vignette and noise. */
    void develop(int t, float[] colours, byte[] rgb, int offset, Draws draws) {
        int size = geometry.size();
        float exposure = (float) (1 + look.flicker.at(t / (double) geometry.frames()));
        float perHalf = 2f / size;
        for (int y = 0; y < size; y++) {
            float dy = (y + .5f) * perHalf - 1;
            for (int x = 0; x < size; x++) {
                float dx = (x + .5f) * perHalf - 1;
                int i = 3 * (y * size + x);
                float shade = exposure * (1 - look.vignette * .5f * (dx * dx + dy * dy));
                float r = colours[i] * look.gain[0] * shade;
                float g = colours[i + 1] * look.gain[1] * shade;
                float b = colours[i + 2] * look.gain[2] * shade;
                float grey = .3f * r + .59f * g + .11f * b;
                long bits = draws.bits();
                rgb[offset + i] = tone(grey, r, Draws.tableNormal(bits));
                rgb[offset + i + 1] = tone(grey, g, Draws.tableNormal(bits >>> 12));
                rgb[offset + i + 2] = tone(grey, b, Draws.tableNormal(bits >>> 24));
            }
        }
    }

    private byte tone(float grey, float channel, float normal) {
        float value = grey + look.saturation * (channel - grey);
        float level = 255 * (.45f + look.contrast * (value - .45f)) + look.noise * normal;
        return (byte) Math.clamp((int) (level + .5f), 0, 255);
    }
}
