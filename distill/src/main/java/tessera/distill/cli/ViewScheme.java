package tessera.distill.cli;

import picocli.CommandLine.TypeConversionException;

/**
 * How many views of a clip are averaged: {@code 2x3} is 2 moments in 3 crops each.
 *
 * @param clips moments, 1 or more
 * @param crops 1 or 3
 */
record ViewScheme(int clips, int crops) {
    private static final int MOST = 64;

    /** Reads an option's word. */
    static ViewScheme parse(String word) {
        String[] parts = word.split("x", -1);
        try {
            int clips = Integer.parseInt(parts[0]);
            int crops = parts.length == 2 ? Integer.parseInt(parts[1]) : 0;
            if (clips >= 1 && clips <= MOST && (crops == 1 || crops == 3)) {
                return new ViewScheme(clips, crops);
            }
        } catch (NumberFormatException e) {
            // The same words say what is needed.
        }
        throw new TypeConversionException(
                "pass moments and crops as 1x1 or 2x3; crops are 1 or 3, moments 1 to " + MOST);
    }

    int views() {
        return clips * crops;
    }

    @Override
    public String toString() {
        return clips + "x" + crops;
    }
}
