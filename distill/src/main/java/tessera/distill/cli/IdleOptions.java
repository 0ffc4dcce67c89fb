package tessera.distill.cli;

import java.util.Collection;
import java.util.List;
import picocli.CommandLine.ParseResult;

/** Options that would do nothing beside what else is given: who gives one expects something of it, so it is refused. */
final class IdleOptions {
    private IdleOptions() {}

    /**
     * Refuses the first of some options that is given.
     *
     * @param why it would do nothing and what to do, behind the option's name and a blank
     */
    static void refuse(ParseResult given, Collection<String> options, String why) {
        for (String option : options) {
            if (given.hasMatchedOption(option)) {
                throw new IllegalArgumentException(option + " " + why);
            }
        }
    }

    /** The same of one option. */
    static void refuse(ParseResult given, String option, String why) {
        refuse(given, List.of(option), why);
    }
}
