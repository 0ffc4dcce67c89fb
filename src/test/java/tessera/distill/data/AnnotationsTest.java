package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.data.annotation.Annotation;
import tessera.distill.data.annotation.Annotation.Place;
import tessera.distill.data.annotation.AnnotationFormat;
import tessera.distill.data.annotation.Annotations;
import tessera.distill.data.annotation.Segment;
import tessera.distill.data.annotation.Segment.Span;

/** Files of annotations as the data sets come with, shortened. */
class AnnotationsTest {
    @TempDir
    private Path folder;

    private final List<String> notes = new ArrayList<>();

    private List<Annotation> read(String name, String text) throws IOException {
        Path file = Files.writeString(folder.resolve(name), text);
        List<Annotation> found = Annotations.read(file, null, notes::add);
        found.forEach(each -> assertTrue(each.origin().startsWith(file + ", "), each::origin));
        return found.stream().map(each -> each.toldBy("")).toList();
    }

    private void refused(String name, String text, @Nullable AnnotationFormat format, String... parts)
            throws IOException {
        Path file = Files.writeString(folder.resolve(name), text);
        String message = requireNonNull(
                assertThrows(IllegalArgumentException.class, () -> Annotations.read(file, format, notes::add))
                        .getMessage());
        assertTrue(message.startsWith(file.toString()), message);
        for (String part : parts) {
            assertTrue(message.contains(part), message);
        }
        assertEquals(1, message.lines().count(), message);
    }

    private static Annotation one(
            String video, Segment segment, String label, Map<String, String> heads, String split) {
        return new Annotation(List.of(new Place(video, segment)), label, heads, split);
    }

    private static Segment both(double start, double end, double first, double last, double rate) {
        return new Segment(new Span(start, end), new Span(first, last), rate, 0);
    }

    @Test
    void tablesOfOnesOwn() throws IOException {
        List<Annotation> found = read(
                "own.csv",
                "\uFEFFlabel,path,end,start,split,scene\r\n\"cut, \"\"slowly\"\"\",a/b.mp4,1:02.5,0:00:59,train,wood\r\n\r\n"
                        + "open,c,,,test,city\r\n");
        assertEquals(
                List.of(
                        one("a/b.mp4", Segment.seconds(59, 62.5), "cut, \"slowly\"", Map.of("scene", "wood"), "train"),
                        one("c", Segment.WHOLE, "open", Map.of("scene", "city"), "test")),
                found);
        assertEquals(
                List.of(one("x", Segment.WHOLE, "", Map.of(), "")), read("least.csv", "path\nx\n"), "labels may lack");
    }

    /** As pandas writes them: with its numbers of rows in front, and the smallest numbers with an exponent. */
    @Test
    void tablesOfPandas() throws IOException {
        for (String first : List.of("", "Unnamed: 0")) {
            assertEquals(
                    List.of(one("a.mp4", Segment.seconds(1e-5, 2), "open", Map.of("scene", "wood"), "")),
                    read("own.csv", first + ",path,start,end,label,scene\n0,a.mp4,1e-05,2.0,open,wood\n"));
        }
        // A comma without quotes would leave a part of a label, or of a time, away.
        for (String row : List.of("a,0,1,cut, slowly", "a,0,5,3,cut")) {
            refused(
                    "own.csv",
                    "path,start,end,label\n" + row + "\n",
                    null,
                    "line 2, has 5 cells but there are 4 columns");
        }
        assertEquals(
                "cut",
                read("own.csv", "path,start,end,label\na,0,1,cut,,\n")
                        .getFirst()
                        .label());
        refused("own.csv", "path,,label\na,1,b\n", null, "has columns without a name");
        refused("own.csv", "path,start,end\na,nan,3\n", null, "line 2", "gives 'nan' as start");
        refused("own.csv", "path,start,end\na,-1e-05,3\n", null, "line 2", "gives '-1e-05' as start");
    }

    /** As spreadsheets save them where commas are decimal points, and columns in other letters. */
    @Test
    void tablesOfSpreadsheets() throws IOException {
        List<Annotation> expected = List.of(
                one("a.mp4", Segment.seconds(1.5, 62.25), "cut, slowly", Map.of("Scene", "wood"), "train"),
                one("b.mp4", Segment.WHOLE, "open", Map.of("Scene", "city"), ""));
        String rows = "a.mp4;1,5;0:01:02,25;cut, slowly;train;wood\r\nb.mp4;;;open;;city\r\n";
        for (String before : List.of("", "\uFEFF", "sep=;\r\n", "\uFEFFSEP=;\n")) {
            assertEquals(expected, read("own.csv", before + "Path;START;end;Label;split;Scene\r\n" + rows), before);
        }
        assertEquals(expected, read("own.csv", ("path;start;end;label;Split;Scene\r\n" + rows).replace(';', '\t')));
        for (String parting : List.of(";", "\t")) {
            assertEquals(
                    List.of(one("a.mp4", Segment.seconds(.5, 2), "", Map.of("where, when", "wood"), "")),
                    read("own.csv", "path;start;end;where, when\na.mp4;0,5;2;wood\n".replace(";", parting)),
                    "what the first line has most of parts, not a comma in a name");
        }
        assertEquals(
                List.of(one("x;y.mp4", Segment.WHOLE, "a", Map.of(), "")),
                read("own.csv", "path,label\nx;y.mp4,a\n"),
                "a comma in the first line parts");
        assertEquals(
                List.of(one("x,y.mp4", Segment.WHOLE, "a", Map.of(), "")),
                read("own.csv", "sep=\t\n\"path\"\tlabel\nx,y.mp4\ta\n"));
        refused("own.csv", "path;start;end\na;1.5.2;3\n", null, "line 2", "gives '1.5.2' as start");
        // Five columns are not yet MECCANO's.
        refused(
                "own.csv",
                "video,start,end,label,split\na,1,2,cut,train\n",
                null,
                "begins with video,start,end,label,split, by which no format is known; name path,start,end,label");
    }

    /** Of EPIC-KITCHENS-100; verbs and nouns have the names of their classes, whatever the narrator said. */
    @Test
    void epicKitchens() throws IOException {
        String rows =
                "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,"
                        + "narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
                        + "P07_3_0,P07,P07_3,00:00:00.560,00:00:02.00,00:01:01.25,120,3672,"
                        + "fetch pan,fetch,0,pan:big,5,\"['pan:big', 'lid']\",\"[5, 8]\"\n";
        Annotation words = one(
                "P07_3", both(2, 61.25, 120, 3672, 0), "fetch pan:big", Map.of("verb", "fetch", "noun", "pan:big"), "");
        assertEquals(List.of(words), read("EPIC_100_train.csv", rows));
        assertTrue(notes.getFirst().contains("the narrators' words"), notes.toString());
        notes.clear();
        Files.writeString(
                folder.resolve("EPIC_100_verb_classes.csv"),
                "id,key,instances,category\n0,take,\"['fetch', 'get']\",get\n");
        Files.writeString(folder.resolve("EPIC_100_noun_classes.csv"), "id,key,instances\n5,pan,['pan']\n");
        Annotation classes =
                one("P07_3", both(2, 61.25, 120, 3672, 0), "take pan", Map.of("verb", "take", "noun", "pan"), "");
        assertEquals(List.of(classes), read("EPIC_100_train.csv", rows));
        assertEquals(List.of(), notes);
        assertEquals(List.of(classes), read("EPIC_100_train.csv", rows.replace("pan:big,5,", "pan:big,5.0,")));
        refused("EPIC_100_train.csv", rows.replace("pan:big,5,", "pan:big,9,"), null, "line 2", "noun_class 9");
        // The older tables call their columns otherwise; the test set has no labels.
        Files.delete(folder.resolve("EPIC_100_verb_classes.csv"));
        Files.writeString(folder.resolve("EPIC_verb_classes.csv"), "verb_id,class_key,verbs\n0,take,['fetch']\n");
        assertEquals(List.of(classes), read("EPIC_100_train.csv", rows));
        // Where both editions lie together, a file's classes are its own edition's.
        Files.writeString(folder.resolve("EPIC_100_verb_classes.csv"), "id,key,instances\n0,move,[]\n");
        Files.writeString(folder.resolve("EPIC_noun_classes.csv"), "noun_id,class_key,nouns\n5,lid,[]\n");
        assertEquals("move pan", read("EPIC_100_train.csv", rows).getFirst().label());
        assertEquals(
                "take lid",
                read("EPIC_train_action_labels.csv", rows).getFirst().label());
        refused(
                "mine.csv",
                rows,
                null,
                "several tables of classes beside it, EPIC_100_verb_classes.csv and EPIC_verb_classes.csv");
        String sounds = "annotation_id,participant_id,video_id,start_timestamp,stop_timestamp,start_sample,stop_sample,"
                + "description,class,class_id\nP01_1_0,P01,P01_1,00:00:02,00:00:03,48000,72000,chop,cut / chop,3\n";
        assertEquals(
                List.of(one("P01_1", Segment.seconds(2, 3), "cut / chop", Map.of(), "")),
                read("EPIC_Sounds_train.csv", sounds));
        assertEquals(
                List.of(one("P01_1", both(2.86, 3.87, 143, 193, 0), "", Map.of(), "")),
                read("EPIC_100_test_timestamps.csv", """
                        narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame
                        P01_1_0,P01,P01_1,00:00:02.851,00:00:02.86,00:00:03.87,143,193
                        """));
    }

    @Test
    void meccano() throws IOException {
        Annotation expected = one("0003", Segment.frames(10, 52, 12), "check_booklet", Map.of(), "");
        assertEquals(List.of(expected), read("train.csv", "0003,0,check_booklet,00010.jpg,00052.jpg\n"));
        assertEquals(
                List.of(expected),
                read("train.csv", "video_id,action_id,action_name,start,end\n0003,0,check_booklet,10,52\n"));
        refused("train.csv", "0003,0,check_booklet,52,10\n", null, "line 1", "ends before it starts");
    }

    /** Clips lie within videos: either may be there. */
    @Test
    void ego4d() throws IOException {
        String text = """
                {"version": "v1", "split": "train", "clips": [
                  {"video_uid": "v-1", "clip_uid": "c-1", "clip_id": 3, "clip_parent_start_sec": 100.5,
                   "action_clip_start_sec": 4.0, "action_clip_end_sec": 12.0, "action_clip_start_frame": 120,
                   "action_clip_end_frame": 360, "verb": "take_(pick,_grab)", "noun": "cup", "verb_label": 4, "noun_label": 7}]}
                """;
        assertEquals(
                List.of(new Annotation(
                        List.of(
                                new Place("c-1", both(4, 12, 120, 360, 0)),
                                new Place("v-1", Segment.seconds(104.5, 112.5))),
                        "take_(pick,_grab) cup",
                        Map.of("verb", "take_(pick,_grab)", "noun", "cup"),
                        "train")),
                read("fho_lta_train.json", text));
        refused(
                "fho_lta_train.json",
                text.replace("action_clip_end_sec", "other"),
                null,
                "gives none as action_clip_end_sec in clip 0");
    }

    /** Actions that were rejected, or have no verb or no object that they change, are left out and told. */
    @Test
    void ego4dActions() throws IOException {
        String text = """
                {"version": "2.0", "videos": [{"video_uid": "v-1", "annotated_intervals": [
                  {"clip_uid": "c-1", "start_sec": 100.0, "narrated_actions": [
                    {"uid": "a", "start_sec": 104.5, "end_sec": 112.5, "start_frame": 3135, "end_frame": 3375,
                     "clip_start_sec": 4.5, "clip_end_sec": 12.5, "clip_start_frame": 135, "clip_end_frame": 375,
                     "is_valid_action": true, "structured_verb": "take_(pick,_grab)", "freeform_verb": null,
                     "frames": [{"frame_type": "pre_frame", "boxes": [
                       {"object_type": "left_hand", "structured_noun": null},
                       {"object_type": "object_of_change", "structured_noun": "cup"}]}]},
                    {"start_sec": 113.0, "end_sec": 114.0, "structured_verb": null, "freeform_verb": "flip", "frames":
                       [{"boxes": [{"object_type": "object_of_change", "structured_noun": "pan"}]}]},
                    {"start_sec": 115.0, "end_sec": 116.0, "structured_verb": "put", "frames": null},
                    {"start_sec": null, "is_valid_action": false}, {"start_sec": null, "is_rejected": true}]},
                  {"clip_uid": "c-2", "narrated_actions": null}]}]}
                """;
        assertEquals(
                List.of(
                        new Annotation(
                                List.of(
                                        new Place("c-1", both(4.5, 12.5, 135, 375, 0)),
                                        new Place("v-1", both(104.5, 112.5, 3135, 3375, 0))),
                                "take_(pick,_grab) cup",
                                Map.of("verb", "take_(pick,_grab)", "noun", "cup"),
                                ""),
                        one("v-1", Segment.seconds(113, 114), "flip pan", Map.of("verb", "flip", "noun", "pan"), "")),
                read("fho_main.json", text));
        assertEquals(
                List.of("3 of 5 actions are rejected, or have no verb or no object that they change, and are left out"),
                notes);
        refused("fho_main.json", text.replace("\"end_sec\": 114.0", "\"end\": 1"), null, "end_sec in action 1 (v-1)");
    }

    @Test
    void ego4dHands() throws IOException {
        String text = """
                {"version": "v1", "split": "val", "clips": [{"clip_id": 3, "clip_uid": "c-1", "video_uid": "v-1", "frames": [
                  {"action_start_sec": 104.5, "action_end_sec": 112.5, "action_start_frame": 3135, "action_end_frame": 3375,
                   "action_clip_start_sec": 4.5, "action_clip_end_sec": 12.5, "action_clip_start_frame": 135,
                   "action_clip_end_frame": 375, "pre_45": {"frame": 3090, "clip_frame": 90, "boxes": []}},
                  {"action_start_sec": 120, "action_end_sec": 121, "contact_frame": {"frame": 3610}}]}]}
                """;
        assertEquals(
                List.of(
                        new Annotation(
                                List.of(
                                        new Place("c-1", both(4.5, 12.5, 135, 375, 0)),
                                        new Place("v-1", both(104.5, 112.5, 3135, 3375, 0))),
                                "",
                                Map.of(),
                                "val"),
                        one("v-1", Segment.seconds(120, 121), "", Map.of(), "val")),
                read("fho_hands_val.json", text));
        refused(
                "h.json",
                text.replace("action_start_sec", "a"),
                null,
                "gives none as action_start_sec in frame of clip 0");
    }

    /** What is seen up to the annotated frame, which the file counts from 0, and what is touched first. */
    @Test
    void ego4dShortTermAnticipation() throws IOException {
        String text = """
                {"info": {"split": "train", "video_metadata": {"v-1": {"fps": 60.0, "frame_width": 1920}}},
                 "noun_categories": [{"id": 0, "name": "cup"}, {"id": 7, "name": "pan"}],
                 "verb_categories": [{"id": 4, "name": "take"}],
                 "annotations": [
                   {"uid": "a", "video_uid": "v-1", "frame": 3089, "clip_uid": "c-1", "clip_frame": 89, "objects": [
                     {"box": [0, 0, 9, 9], "verb_category_id": 4, "noun_category_id": 7, "time_to_contact": 1.5},
                     {"box": [0, 0, 9, 9], "verb_category_id": 4, "noun_category_id": 0, "time_to_contact": 0.5}]},
                   {"uid": "b", "video_id": "v-2", "frame": 9}]}
                """;
        assertEquals(
                List.of(
                        new Annotation(
                                List.of(
                                        new Place("c-1", Segment.frames(59, 90, 30)),
                                        new Place("v-1", Segment.frames(3059, 3090, 60))),
                                "take cup",
                                Map.of("verb", "take", "noun", "cup"),
                                "train"),
                        one("v-2", Segment.frames(1, 10, 30), "", Map.of(), "train")),
                read("fho_sta_train.json", text));
        refused("s.json", text.replace("\"id\": 0", "\"id\": 1"), null, "has the noun_category_id 0 in annotation 0");
    }

    @Test
    void wear() throws IOException {
        List<Annotation> found = read("wear_split_1.json", """
                {"version": "1", "database": {
                  "sbj_0": {"subset": "Validation", "duration": 300.0, "fps": 60, "annotations": [
                    {"label": "jogging", "segment": [1.5, 61.5], "segment (frames)": [90.0, 3690.0], "label_id": 0}]},
                  "sbj_1": {"subset": "Training", "fps": 60, "annotations": []}}, "label_dict": {"jogging": 0}}
                """);
        assertEquals(List.of(one("sbj_0", both(1.5, 61.5, 91, 3691, 60), "jogging", Map.of(), "Validation")), found);
        refused("w.json", "{\"database\": {\"sbj_0\": {\"annotations\": [{\"segment\": [2, 1]}]}}}", null, "sbj_0");
    }

    @Test
    void somethingSomething() throws IOException {
        assertEquals(
                List.of(one("78687", Segment.WHOLE, "Holding something next to something", Map.of(), "validation")),
                read("something-something-v2-validation.json", """
                        [{"id": "78687", "label": "holding a potato next to a bottle",
                          "template": "Holding [something] next to [something]", "placeholders": ["a potato", "a bottle"]}]
                        """));
        assertEquals(
                List.of(one("1420", Segment.WHOLE, "", Map.of(), "test")), read("test.json", "[{\"id\": \"1420\"}]"));
        refused(
                "train.json",
                "[{\"id\": \"1420\", \"label\": \"holding a potato\"}]",
                null,
                "has no template, which names the class, in video 0");
    }

    /** As published, numbers are sometimes text, and not every list has labels. */
    @Test
    void listsOfMmCdfsl() throws IOException {
        String description =
                "\"description\": \"%s Cross-domain Few-shot Learning for Action Recognition Annotations\",";
        assertEquals(
                List.of(one("P01_01", Segment.every(8, 262, 60), "", Map.of(), "train (unlabel)")),
                read("epic-55_unlabel.json", "{\"version\": 1.0, " + description.formatted("EPIC-55") + """
                        "split": "train (unlabel)", "clips": [{"uid": "1", "participant_id": "P01", "video_id": "P01_01",
                          "start_timestamp": "00:00:04.37", "start_frame": "262", "stop_frame": "370"}]}
                        """));
        assertEquals(
                List.of(one("0001", Segment.every(1, 10, 12), "check_booklet", Map.of(), "val")),
                read("meccano_val.json", "{" + description.formatted("MECCANO") + """
                        "split": "val", "num_actions": 40, "clips": [{"video_id": "0001", "action_id": 0,
                          "action_name": "check_booklet", "start_frame": 10, "end_frame": 52, "action_id_internal": 9}]}
                        """));
        assertEquals(
                List.of(one("sbj_0", Segment.every(8, 55, 60), "jogging", Map.of(), "val")),
                read("wear_val.json", "{" + description.formatted("WEAR") + """
                        "split": "val", "clips": [{"video_id": "sbj_0", "label": "jogging", "label_id": 0, "start_frame": 55}]}
                        """));
        assertEquals(
                List.of(new Annotation(
                        List.of(
                                new Place("c-9", Segment.every(4, 2837, 30)),
                                new Place("v-9", Segment.every(4, 9000, 30))),
                        "pack plant",
                        Map.of("verb", "pack", "noun", "plant"),
                        "val")),
                read("ego4d_val.json", "{" + description.formatted("Ego4d") + """
                        "split": "val", "clips": [{"uid": "v-9_0009000", "video_id": "v-9", "frame": 9000, "clip_uid": "c-9",
                          "clip_frame": 2837, "verb": "pack", "noun": "plant", "verb_label": 36, "noun_label": 53}]}
                        """));
    }

    @Test
    void whatIsNoneIsToldWithItsPlace() throws IOException {
        refused("a.csv", "name,when\nx,1\n", null, "begins with name,when", "--format");
        refused("a.csv", "path,start,end\nx,1\n", null, "line 2", "gives '' as end");
        refused("a.csv", "path,start,end\nx,a,2\n", null, "line 2", "gives 'a' as start");
        refused("a.csv", "path,start\nx,1\n", null, "line 1", "only one of start and end");
        refused("a.csv", "path,label\n\n\"x\ny,z\n", null, "line 3", "a quote that is not closed");
        refused("a.csv", "", null, "is empty");
        refused("a.csv", "path,label\n", null, "annotates nothing");
        refused("a.csv", "path,label\nx,y\n", AnnotationFormat.WEAR, "is not of the format wear", "JSON");
        refused("a.json", "", null, "is no JSON");
        refused("a.json", "{\"clips\": [", null, "is no JSON");
        refused("a.json", "{\"rows\": []}", null, "neither clips nor database");
        refused("a.json", "[{\"name\": 1}]", null, "has no id in video 0");
        refused("a.json", "[]", AnnotationFormat.EPIC, "is not of the format epic", "CSV");
        Path missing = folder.resolve("missing.csv");
        String message = requireNonNull(
                assertThrows(IllegalArgumentException.class, () -> Annotations.read(missing, null, notes::add))
                        .getMessage());
        assertTrue(message.startsWith(missing + " does not exist"), message);
    }
}
