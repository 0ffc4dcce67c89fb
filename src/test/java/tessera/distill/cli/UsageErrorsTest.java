package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Wrong usage is told in the project's own words: what was given, what was needed, and the nearest right word. */
class UsageErrorsTest {
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '"',
            value = {
                "predcit                                | unknown command 'predcit'; did you mean 'predict'?",
                "bundel                                 | unknown command 'bundel'; did you mean 'bundle'?",
                "nonsense                               | unknown command 'nonsense'; the commands are demo, pretrain,",
                "--verbos                               | unknown option '--verbos'; did you mean '--verbose'?",
                "fewshot --student s --quite            | unknown option '--quite'; did you mean '--quiet'?",
                "fewshot --student s --mask=.5          | unknown option '--mask'; did you mean '--mask-ratio'?",
                "fewshot --studnet s                    | unknown option '--studnet'; did you mean '--student'?",
                "fewshot --student s --xyzzy            | unknown option '--xyzzy'",
                "quantize                               | 'quantize' needs --student FILE",
                "fewshot --student                      | --student needs a value; pass --student FILE",
                "fewshot --student --quiet              | --student needs a value; pass --student FILE",
                "fewshot --student s --student t        | --student is given twice; give it once",
                "fewshot --student s --ways many        | --ways is 'many'; pass a whole number",
                "fewshot --student s --ways 99999999999 | --ways is '99999999999'; pass a number nearer to 0",
                "fewshot --student s --mask-ratio half  | --mask-ratio is 'half'; pass a number such as 0.5",
                "fewshot --student s --quiet=5          | --quiet is '5'; it takes no value",
                "fewshot --student s --split train      | --split is 'train'; pass one of validation, test",
                "pretrain --modality sound --out o      | --modality is 'sound'; pass one of rgb, flow, pose",
                "demo --system videomae                 | --system is 'videomae'; pass one of cdfsl, mmd",
                "distill --teachers rgb --out o         | --teachers is 'rgb'; pass pairs with '=' between them",
                "pretrain --modality rgb --out=         | --out is ''; name a file or folder, or leave the option away",
                "pretrain --modality rgb --out o --start= | --start is ''; name a file or folder",
                "train --modality rgb --out o --batch=\u0663  | --batch is '\u0663'; pass a whole number",
                "train --modality rgb --out o --batch=1e3 | --batch is '1e3'; pass a whole number",
                "train --modality rgb --out o --lr=1d    | --lr is '1d'; pass a number such as 0.5",
                "evaluate --student s --threads=0x2     | --threads is '0x2'; pass a whole number",
                "inspect                                | 'inspect' needs FILE",
                "inspect a b                            | 'inspect' has no place for 'b'",
            })
    void saysWhatWasGivenAndWhatWasNeeded(String line, String expected) {
        Shell.Outcome outcome = Shell.run((Object[]) line.split(" +"));
        assertEquals(2, outcome.code(), outcome.err());
        assertEquals("", outcome.out());
        List<String> lines = outcome.err().lines().toList();
        assertEquals(1, lines.size(), outcome.err());
        assertTrue(lines.getFirst().startsWith("tessera: error: " + expected), outcome.err());
        assertTrue(lines.getFirst().matches(".* \\(see 'tessera( [a-z]+)? --help'\\)"), outcome.err());
    }

    /** A word that begins with @ is no file of further words: recordings may be called so. */
    @Test
    void noWordIsAFileOfWords(@TempDir Path folder) throws IOException {
        Path words = Files.writeString(folder.resolve("words"), "--version");
        Shell.refuse(List.of("@" + words + ": "), "inspect", "@" + words);
    }

    @Test
    void ofTwoValuesForOneNameNoneIsTaken() {
        Shell.refuse(
                List.of("--weights gives one name two values, in [rgb=1, flow=2, rgb=3]; give each name once"),
                "distill",
                "--teachers=rgb=a,flow=b",
                "--target=c",
                "--out=o",
                "--weights=rgb=1,flow=2,rgb=3");
        Shell.refuse(
                List.of("--head-weights gives one name two values"),
                "train",
                "--modality=rgb",
                "--clips=c",
                "--out=o",
                "--head-weights=verb=1",
                "--head-weights=verb=2");
    }

    @Test
    void enumsAreLowerCaseInTheHelp() {
        String help = Shell.succeed("fewshot", "--help") + Shell.succeed("pretrain", "--help");
        assertTrue(help.replaceAll("\\s+", " ").contains("or test. Default: test"), help);
        assertFalse(help.matches("(?s).*[^A-Za-z](TEST|VALIDATION|KITCHEN|WORKSHOP|RGB|FLOW|POSE)[^A-Za-z].*"), help);
    }

    @Test
    void enumsAreAcceptedInAnyCase() {
        for (String word : List.of("test", "Test", "TEST")) {
            Shell.refuse(List.of("either --clips DIR, or --egosim"), "fewshot", "--student=s", "--split=" + word);
        }
    }

    @Test
    void commandsOfTheLauncherSayWhereTheyRun() {
        Shell.refuse(List.of("./tessera bundle --out x"), "bundle", "--out", "x");
        Shell.refuse(List.of("./tessera bench Encoder"), "bench", "Encoder");
    }

    @Test
    void outputsAreTriedWithoutATrace(@TempDir Path folder) throws IOException {
        Path file = Files.writeString(folder.resolve("there.txt"), "kept");
        Outputs.requireWritable(file);
        Outputs.requireWritable(folder);
        Outputs.requireWritable(folder.resolve("new"));
        Outputs.requireWritable(folder.resolve("deep").resolve("er"));
        assertEquals("kept", Files.readString(file));
        try (var entries = Files.list(folder)) {
            assertEquals(List.of(file), entries.toList());
        }
        refuses(file.resolve("below"), file + " is a file");
        refuses(file.resolve("far").resolve("below"), file + " is a file");
        Path nowhere = Path.of("/proc/tessera");
        if (Files.isDirectory(requireNonNull(nowhere.getParent()))) {
            refuses(nowhere, "lies in /proc, where you may not write");
        }
    }

    private static void refuses(Path path, String why) {
        String message = String.valueOf(
                Assertions.assertThrows(IllegalArgumentException.class, () -> Outputs.requireWritable(path))
                        .getMessage());
        assertTrue(message.startsWith("--out " + path + " ") && message.contains(why), message);
    }
}
