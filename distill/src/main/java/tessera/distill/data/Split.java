package tessera.distill.data;

/** Sets of clips; no two splits share a class. */
public enum Split {
    /** Labelled classes for pretraining. */
    SOURCE_TRAIN,
    /** Classes of the clips that train without labels in a target domain. */
    TARGET_UNLABELLED,
    /** Novel classes for model selection. */
    VALIDATION,
    /** Novel classes for the final figures. */
    TEST
}
