package tessera.natives;

/**
 * What came of the search for one native library.
 *
 * @param library name people know the library by, for example {@code oneDNN}
 * @param usable whether it was found and can be called
 * @param detail where it was found and its version, or why it was refused and what to do
 */
public record NativeFinding(String library, boolean usable, String detail) {
    /** One line for a report. */
    @Override
    public String toString() {
        return library + ": " + (usable ? "" : "not used: ") + detail;
    }
}
