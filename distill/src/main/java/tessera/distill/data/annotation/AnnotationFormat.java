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
     * Ego4D's hands and objects (Grauman et al.), JSON, told apart by what is in it: {@code fho_main.json}, actions with {@code
     * structured_verb} and the noun of the object of change, in {@code videos}; {@code fho_lta_*.json}, {@code clips} with {@code
     * clip_uid}, {@code action_clip_start_sec}, {@code action_clip_end_sec}, {@code verb} and {@code noun}; {@code fho_hands_*.json}, the same
     * without labels, in {@code frames} of {@code clips}; {@code fho_sta_*.json}, the 32 frames up to {@code frame} of each of {@code
     * annotations}, with verb and noun of the object that is touched next. Where a file gives both, a part is that of the clip
     * {@code clip_uid} or of the whole video {@code video_uid}, whichever is there.
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
