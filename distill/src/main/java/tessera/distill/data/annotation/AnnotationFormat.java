package tessera.distill.data.annotation;

/** The files that {@link Annotations} reads. */
public enum AnnotationFormat {
    /**
     * EPIC-KITCHENS-55 and -100 (Damen et al.): CSV with {@code video_id}, {@code start_timestamp}, {@code stop_timestamp}, {@code
     * start_frame}, {@code stop_frame}, and, but for the test set, {@code verb}, {@code verb_class}, {@code noun}, {@code noun_class}.
     * Classes have the names of the tables {@code *_verb_classes.csv} and {@code *_noun_classes.csv} in the same folder.
     */
    EPIC,
    /**
     * Ego4D's actions (Grauman et al.), {@code fho_lta_*.json}: {@code clips} with {@code clip_uid}, {@code action_clip_start_sec}, {@code
     * action_clip_end_sec}, {@code verb} and {@code noun}, and where the clip lies in {@code video_uid}.
     */
    EGO4D,
    /** MECCANO (Ragusa et al.): CSV of video, number and name of the action, first and last frame, at 12 frames a second. */
    MECCANO,
    /** WEAR (Bock et al.): JSON with {@code database}, and for each participant {@code subset}, {@code fps} and {@code annotations}. */
    WEAR,
    /** Something-Something v2 (Goyal et al.): JSON, a list with {@code id} and {@code template} for each video. */
    SSV2,
    /**
     * MM-CDFSL's lists (Hatano et al., ECCV 2024): JSON with {@code clips} that begin at a frame and take every 4th (Ego4D), 8th
     * (EPIC-KITCHENS-55, WEAR) or each (MECCANO), as {@code description} names the data set.
     */
    MM_CDFSL,
    /**
     * One's own: CSV whose first line names {@code path}, and as wanted {@code start} and {@code end} (seconds, or hours:minutes:seconds),
     * {@code label}, {@code split}; all other columns are heads.
     */
    CSV
}
