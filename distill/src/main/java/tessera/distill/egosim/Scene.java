package tessera.distill.egosim;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import tessera.distill.data.Geometry;
import tessera.distill.egosim.Action.HandState;
import tessera.distill.egosim.Action.Moment;

/** One clip's world: the action, the things that lie around, the head that looks on. Used by one thread. */
final class Scene {
    /** A thing that lies still. */
    private record Still(Mesh mesh, Pose pose, Vec[] world, Vec[] normals, Look.Paint paint) {}

    /**
     * What a detector may find in a frame.
     *
     * @param place the same for the same thing in every frame, unlike any other's: the right hand 0, the left one 1, the object
     *     acted on 2, then what lies around
     * @param side 1 for a right hand, -1 for a left one, 0 for an object
     * @param touching whether it is a hand that touches the object
     */
    record Thing(int place, int side, boolean touching, Outline outline) {}

    /** Places of the object acted on, and of the first thing that lies around. */
    private static final int OBJECT = 2;

    private static final int FIRST_STILL = 3;

    private final Geometry geometry;
    private final Stock stock;
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
    private final List<Thing> things = new ArrayList<>();

    /** @param outlined whether {@link #things} will be asked for */
    Scene(Geometry geometry, Stock stock, ActionClass what, Draws motion, Draws appearance, boolean outlined) {
        this.geometry = geometry;
        this.stock = stock;
        look = new Look(stock, appearance);
        action = new Action(what, motion);
        mesh = Mesh.of(what.noun());
        paint = look.paint(what.noun());
        Texture fine = Texture.of(Texture.Pattern.SAWDUST);
        skin = new Look.Paint(new float[][] {look.skin}, fine, .25, 0);
        sleeve = new Look.Paint(new float[][] {look.sleeve}, look.sleeveTexture, appearance.uniform(.3, 1.2), 0);
        wallY = appearance.uniform(2.0, 5.0);
        for (int i = 0; i < look.clutter; i++) {
            Noun noun = appearance.pick(Noun.values());
            double angle = appearance.uniform(0, 2 * Math.PI);
            double far = appearance.uniform(1.5, 2.9);
            double x = action.base.x() + far * Math.cos(angle);
            double y = action.base.y() + .9 * far * Math.sin(angle);
            double yaw = appearance.uniform(0, 2 * Math.PI);
            Look.Paint itsPaint = look.paint(noun);
            boolean hides = y < action.base.y() - .5 && Math.abs(x - action.base.x()) < 1.1;
            if (y < wallY - .8 && !hides) {
                clutter.add(still(Mesh.of(noun), Pose.at(new Vec(x, y, 0)).after(Pose.turn(2, yaw)), itsPaint));
            }
        }
        int frames = geometry.frames();
        cameras = head(motion, frames + 1);
        moments = new Moment[frames + 1];
        for (int t = 0; t <= frames; t++) {
            moments[t] = action.at(t / (double) frames);
        }
        raster = new Raster(geometry.size(), look, cameras[0], outlined);
    }

    private static Still still(Mesh mesh, Pose pose, Look.Paint paint) {
        Vec[] world = place(mesh, pose, Pose.IDENTITY, 0);
        return new Still(mesh, pose, world, normals(mesh, pose, Pose.IDENTITY), paint);
    }

    private Camera[] head(Draws draws, int count) {
        double focal = geometry.size() / 2.0 / Math.tan(Math.toRadians(look.fieldOfView) / 2);
        double yaw = draws.uniform(-.3, .3);
        Vec target = action.base
                .times(.6)
                .plus(new Vec(draws.uniform(-.3, .3), draws.uniform(-.2, .4), draws.uniform(.3, .8)));
        double flat = look.distance * Math.cos(look.pitch);
        Vec place =
                target.plus(new Vec(flat * Math.sin(yaw), -flat * Math.cos(yaw), look.distance * Math.sin(look.pitch)));
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
                    place.plus(new Vec(waves[0].at(s), waves[1].at(s), waves[2].at(s))),
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
        fill(t);
        raster.resolve(colours, flow, flowOffset);
    }

    /** The things of the frame that was drawn or filled last; those out of sight have empty outlines. */
    List<Thing> things() {
        raster.look();
        return List.copyOf(things);
    }

    /** Finds what frame t shows where, without its colours. */
    void fill(int t) {
        Moment now = moments[t];
        Moment next = moments[t + 1];
        raster.begin(cameras[t], cameras[t + 1], wallY);
        things.clear();
        for (int i = 0; i < clutter.size(); i++) {
            Still still = clutter.get(i);
            things.add(new Thing(FIRST_STILL + i, 0, false, raster.thing()));
            raster.mesh(still.mesh, still.world, still.world, still.normals, still.paint);
            shadow(still.mesh, still.pose);
        }
        Pose pose = now.object();
        things.add(new Thing(OBJECT, 0, false, raster.thing()));
        raster.mesh(
                mesh,
                place(mesh, pose, now.lid(), now.squash()),
                place(mesh, next.object(), next.lid(), next.squash()),
                normals(mesh, pose, now.lid()),
                paint);
        shadow(mesh, pose);
        for (int h = 0; h < now.hands().size(); h++) {
            limb(now.hands().get(h), next.hands().get(h));
        }
    }

    private void shadow(Mesh mesh, Pose pose) {
        raster.shadow(pose.origin().plus(new Vec(0, 0, .3 * mesh.height)), 1.15 * mesh.reach);
    }

    private void limb(HandState now, HandState next) {
        double scale = look.handScale;
        Vec[] a = now.joints(scale);
        Vec[] b = next.joints(scale);
        things.add(new Thing(now.side() > 0 ? 0 : 1, now.side(), now.touches(), raster.thing()));
        for (int j = 1; j < Hand.JOINTS; j++) {
            bone(a, b, Hand.PARENT[j], j, scale);
        }
        bone(a, b, 5, 17, scale);
        bone(a, b, 1, 5, scale);
        raster.thing(); // The arm belongs to no hand.
        Vec elbow = action.elbow(now.side());
        double thick = .42 * scale;
        double thin = .27 * scale;
        double bare = Math.min(1, look.bare);
        Vec cuff = a[0].towards(elbow, bare);
        Vec cuffNext = b[0].towards(elbow, bare);
        double mid = thin + bare * (thick - thin);
        if (bare > 0) {
            raster.capsule(a[0], cuff, b[0], cuffNext, thin, mid, skin);
        }
        if (bare < 1) {
            raster.capsule(cuff, elbow, cuffNext, elbow, mid + .07, thick + .12, sleeve);
        }
        raster.shadow(a[9], .55);
        raster.shadow(cuff, .5);
    }

    private void bone(Vec[] a, Vec[] b, int from, int to, double scale) {
        double thick = Hand.RADIUS[from] * scale * (from == 0 ? .9 : 1);
        raster.capsule(a[from], a[to], b[from], b[to], thick, Hand.RADIUS[to] * scale, skin);
    }

    /** World positions of an object's vertices; squash narrows it across and lets it bulge along. */
    private static Vec[] place(Mesh mesh, Pose pose, Pose lid, double squash) {
        Pose opened = pose.after(lid);
        var world = new Vec[mesh.vertices.size()];
        Arrays.setAll(world, v -> {
            Vec p = mesh.vertices.get(v);
            Pose part = mesh.lid.get(v) ? opened : pose;
            return part.map(new Vec(p.x() * (1 + .3 * squash), p.y() * (1 - squash), p.z() * (1 - .4 * squash)));
        });
        return world;
    }

    private static Vec[] normals(Mesh mesh, Pose pose, Pose lid) {
        Pose opened = pose.after(lid);
        var world = new Vec[mesh.normals.length];
        Arrays.setAll(world, v -> {
            Pose part = mesh.lid.get(v) ? opened : pose;
            return part.map(mesh.normals[v]).minus(part.origin());
        });
        return world;
    }

    /** The hands' joints in frame t as (x, y) in pixels, one array of 42 per hand; joints behind the lens are NaN. */
    List<double[]> joints(int t) {
        var hands = new ArrayList<double[]>();
        Camera camera = cameras[t];
        for (HandState hand : moments[t].hands()) {
            Vec[] joints = hand.joints(look.handScale);
            var pixels = new double[2 * Hand.JOINTS];
            for (int j = 0; j < Hand.JOINTS; j++) {
                boolean ahead = camera.depth(joints[j]) > .2;
                pixels[2 * j] = ahead ? camera.pixelX(joints[j]) : Double.NaN;
                pixels[2 * j + 1] = ahead ? camera.pixelY(joints[j]) : Double.NaN;
            }
            hands.add(pixels);
        }
        return hands;
    }

    /** Of the hands of frame t, which was drawn or filled last, the joints that something covers. */
    List<boolean[]> hiddenJoints(int t) {
        var hands = new ArrayList<boolean[]>();
        for (HandState hand : moments[t].hands()) {
            Vec[] joints = hand.joints(look.handScale);
            var hidden = new boolean[Hand.JOINTS];
            for (int j = 0; j < Hand.JOINTS; j++) {
                hidden[j] = raster.hides(joints[j], Hand.RADIUS[j] * look.handScale);
            }
            hands.add(hidden);
        }
        return hands;
    }

    Action action() {
        return action;
    }

    Stock stock() {
        return stock;
    }

    Conditions conditions() {
        return look.conditions;
    }

    /** Which of the stock's objects of its kind is acted on. */
    int whichObject() {
        return paint.object();
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
