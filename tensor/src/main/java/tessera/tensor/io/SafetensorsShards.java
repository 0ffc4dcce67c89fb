package tessera.tensor.io;

import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.SequencedSet;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.json.JsonFactory;

/**
 * The safetensors files of one checkpoint, open at once: a single file, or the shards that a hub's folder holds beside an index
 * {@code model.safetensors.index.json}, whose {@code weight_map} says which shard has which tensor. Memory and threads are as {@link
 * SafetensorsFile} says.
 */
public final class SafetensorsShards implements AutoCloseable {
    private static final String SUFFIX = ".safetensors";
    private static final String INDEX = SUFFIX + ".index.json";
    private static final Pattern SHARD = Pattern.compile("(.+)-(\\d{5,6})-of-(\\d{5,6})\\.safetensors");
    private static final Pattern PICKLE = Pattern.compile(".+\\.(?:bin|pt|pth|ckpt|pkl)");
    private static final JsonFactory JSON = JsonFactory.builder()
            .streamReadConstraints(
                    StreamReadConstraints.builder().maxNestingDepth(10).build())
            .build();

    private final Map<String, SafetensorsFile> shardOf;
    private final List<SafetensorsFile> shards;

    private SafetensorsShards(Map<String, SafetensorsFile> shardOf, List<SafetensorsFile> shards) {
        this.shardOf = shardOf;
        this.shards = shards;
    }

    /** Files to open, and which of them has each tensor where an index says so. */
    private record Listing(List<Path> files, @Nullable Map<String, Path> shardOf, Path named) {
        static Listing of(Path file) {
            return new Listing(List.of(file), null, file);
        }
    }

    /**
     * Opens a checkpoint.
     *
     * @param path a file, the index of shards, one of the shards, or the folder of either
     * @throws TensorFileException if the folder holds no checkpoint or several, a shard is missing or malformed, or the index and
     *     the shards do not agree
     */
    public static SafetensorsShards open(Path path) {
        Listing listing = listing(path);
        List<SafetensorsFile> shards = new ArrayList<>();
        try {
            Map<Path, SafetensorsFile> opened = new LinkedHashMap<>();
            for (Path file : listing.files) {
                SafetensorsFile shard = Safetensors.open(file);
                shards.add(shard);
                opened.put(file, shard);
            }
            Map<String, SafetensorsFile> shardOf = new LinkedHashMap<>();
            for (Map.Entry<Path, SafetensorsFile> shard : opened.entrySet()) {
                for (String name : shard.getValue().names()) {
                    Path meant = listing.shardOf == null ? shard.getKey() : listing.shardOf.get(name);
                    if (shard.getKey().equals(meant) && shardOf.put(name, shard.getValue()) != null) {
                        throw TensorFileException.malformed(
                                shard.getKey().toString(),
                                "safetensors",
                                "its tensor " + TensorFileException.quote(name) + " is in another shard too");
                    }
                }
            }
            requireAll(listing, shardOf, shards);
            return new SafetensorsShards(shardOf, shards);
        } catch (RuntimeException | Error failure) {
            shards.forEach(SafetensorsFile::close);
            throw failure;
        }
    }

    private static void requireAll(
            Listing listing, Map<String, SafetensorsFile> shardOf, List<SafetensorsFile> shards) {
        if (listing.shardOf != null) {
            Set<String> unreadable = new HashSet<>();
            shards.forEach(shard -> unreadable.addAll(shard.unreadable().keySet()));
            listing.shardOf.forEach((name, shard) -> {
                if (!shardOf.containsKey(name) && !unreadable.contains(name)) {
                    throw new TensorFileException(
                            listing.named.toString(),
                            "says that " + shard.getFileName() + " holds the tensor " + TensorFileException.quote(name)
                                    + ", which it does not",
                            "fetch the index and all shards of one checkpoint again");
                }
            });
        }
    }

    /**
     * The files that {@link #open} reads, without opening them.
     *
     * @throws TensorFileException if the folder holds no checkpoint or several, or the index cannot be read or names a missing shard
     */
    public static List<Path> files(Path path) {
        return listing(path).files;
    }

    private static Listing listing(Path path) {
        if (Files.isDirectory(path)) {
            return ofFolder(path);
        }
        String name = name(path);
        if (name.endsWith(".json")) {
            return ofIndex(path);
        }
        Matcher shard = SHARD.matcher(name);
        if (shard.matches()) {
            return ofShard(path, shard);
        }
        Listing named = ofIndexBeside(path, name);
        return named == null ? Listing.of(path) : named;
    }

    /** What the index beside a file says that names it as a shard, or null: shards may be called anything. */
    private static @Nullable Listing ofIndexBeside(Path file, String name) {
        Path folder = file.toAbsolutePath().getParent();
        if (folder == null) {
            return null;
        }
        try (DirectoryStream<Path> beside =
                Files.newDirectoryStream(folder, each -> name(each).endsWith(INDEX))) {
            for (Path index : beside) {
                Map<String, String> map = mapOrNone(index);
                if (map.containsValue(name)) {
                    return ofIndex(file.resolveSibling(name(index)), map);
                }
            }
            return null;
        } catch (IOException | DirectoryIteratorException unlisted) {
            return null; // the file itself may be readable
        }
    }

    /** Nothing of an index that is none: it may be another checkpoint's, which nobody asked for. */
    private static Map<String, String> mapOrNone(Path index) {
        try {
            return readMap(index);
        } catch (TensorFileException another) {
            return Map.of();
        }
    }

    private static Listing ofFolder(Path folder) {
        List<Path> found = new ArrayList<>();
        List<Path> indices = new ArrayList<>();
        String pickle = "";
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
            for (Path file : files) {
                if (name(file).endsWith(INDEX)) {
                    indices.add(file);
                } else if (name(file).endsWith(SUFFIX)) {
                    found.add(file);
                } else if (PICKLE.matcher(name(file)).matches()) {
                    pickle = name(file);
                }
            }
        } catch (IOException failure) {
            throw TensorFileException.unreadable(folder, failure);
        }
        for (Path usual : List.of(folder.resolve("model" + INDEX), folder.resolve("model" + SUFFIX))) {
            if (indices.contains(usual) || found.contains(usual)) {
                return listing(usual);
            }
        }
        List<Path> choice = indices.isEmpty() ? found.stream().sorted().toList() : indices;
        if (choice.isEmpty()) {
            throw new TensorFileException(
                    folder.toString(),
                    "is a folder without a safetensors file",
                    pickle.isEmpty()
                            ? "name the checkpoint's file or folder"
                            : "convert " + TensorFileException.quote(pickle)
                                    + ", a pickle, which is never read, to safetensors");
        }
        Listing first = listing(choice.getFirst());
        if (choice.size() > 1 && !first.files.containsAll(choice)) {
            throw new TensorFileException(
                    folder.toString(),
                    "is a folder of " + choice.size() + " checkpoints, such as " + name(choice.getFirst()),
                    "name the file of one");
        }
        return first;
    }

    /** All shards of a set, as the index beside them says, or else by their numbers. */
    private static Listing ofShard(Path path, Matcher shard) {
        Path index = path.resolveSibling(shard.group(1) + INDEX);
        if (Files.exists(index)) {
            return ofIndex(index);
        }
        int count = Integer.parseInt(shard.group(3));
        List<Path> files = IntStream.rangeClosed(1, count)
                .mapToObj(i -> path.resolveSibling(
                        shard.group(1) + "-" + padded(i, shard.group(2).length()) + "-of-" + shard.group(3) + SUFFIX))
                .toList();
        requireThere(path, files);
        return new Listing(files.isEmpty() ? List.of(path) : files, null, path);
    }

    private static String padded(int number, int width) {
        String digits = Integer.toString(number);
        return "0".repeat(Math.max(0, width - digits.length())) + digits;
    }

    private static Listing ofIndex(Path index) {
        return ofIndex(index, readMap(index));
    }

    private static Listing ofIndex(Path index, Map<String, String> map) {
        Map<String, Path> shardOf = new LinkedHashMap<>();
        Map<String, Path> shards = new TreeMap<>();
        map.forEach((tensor, file) -> {
            Path shard = beside(index, file);
            if (shard == null || file.isEmpty() || !file.equals(name(shard)) || file.equals("..") || file.equals(".")) {
                throw new TensorFileException(
                        index.toString(),
                        "names the shard " + TensorFileException.quote(file) + ", which is no file beside it",
                        "write plain file names into its weight_map");
            }
            shardOf.put(tensor, shard);
            shards.put(file, shard);
        });
        if (shards.isEmpty()) {
            throw new TensorFileException(index.toString(), "is an index of shards that names none", "fetch it again");
        }
        List<Path> files = List.copyOf(shards.values());
        requireThere(index, files);
        return new Listing(files, shardOf, index);
    }

    /** Null where it is no name that a file can have. */
    private static @Nullable Path beside(Path index, String file) {
        try {
            return index.resolveSibling(file);
        } catch (InvalidPathException noName) {
            return null;
        }
    }

    private static void requireThere(Path named, List<Path> files) {
        List<Path> missing =
                files.stream().filter(file -> !Files.isRegularFile(file)).toList();
        if (!missing.isEmpty()) {
            throw new TensorFileException(
                    named.toString(),
                    "is of " + files.size() + " shards, of which " + missing.size() + " are not beside it: "
                            + missing.stream()
                                    .limit(3)
                                    .map(SafetensorsShards::name)
                                    .map(TensorFileException::quote)
                                    .collect(Collectors.joining(", ")),
                    "fetch all shards into one folder");
        }
    }

    private static Map<String, String> readMap(Path index) {
        try (var in = Files.newInputStream(index);
                JsonParser json = JSON.createParser(ObjectReadContext.empty(), in)) {
            Map<String, String> map = null;
            boolean object = json.nextToken() == JsonToken.START_OBJECT;
            while (object && json.nextToken() == JsonToken.PROPERTY_NAME) {
                boolean wanted = json.currentName().equals("weight_map");
                if (json.nextToken() == JsonToken.START_OBJECT && wanted) {
                    map = new LinkedHashMap<>();
                    while (json.nextToken() == JsonToken.PROPERTY_NAME) {
                        String tensor = json.currentName();
                        if (json.nextToken() != JsonToken.VALUE_STRING) {
                            throw noIndex(index, "its weight_map does not give a file for each tensor", null);
                        }
                        map.put(tensor, json.getString());
                    }
                } else {
                    json.skipChildren();
                }
            }
            if (map == null) {
                throw noIndex(index, "it is JSON without a weight_map", null);
            }
            return map;
        } catch (IOException failure) {
            throw TensorFileException.unreadable(index, failure);
        } catch (JacksonException invalid) {
            throw noIndex(index, "it is no JSON", invalid);
        }
    }

    private static TensorFileException noIndex(Path index, String problem, @Nullable Throwable cause) {
        return new TensorFileException(
                index.toString(),
                "is no index of safetensors shards: " + problem,
                "name the safetensors file, its index, or the folder",
                cause);
    }

    private static String name(Path path) {
        Path name = path.getFileName();
        return name == null ? "" : name.toString();
    }

    /** Names of the tensors that can be read, shard by shard, each in the order of its bytes. */
    public SequencedSet<String> names() {
        return Collections.unmodifiableSequencedSet(new LinkedHashSet<>(shardOf.keySet()));
    }

    /**
     * The tensor called {@code name}; see {@link SafetensorsFile#entry}.
     *
     * @throws TensorFileException if there is none, or it cannot be read
     */
    public ArrayData entry(String name) {
        SafetensorsFile unreadable = shards.stream()
                .filter(shard -> shard.unreadable().containsKey(name))
                .findFirst()
                .orElse(shards.getFirst());
        return shardOf.getOrDefault(name, unreadable).entry(name);
    }

    /** Names of the tensors whose types are unknown here, with the reason. */
    public Map<String, String> unreadable() {
        Map<String, String> all = new LinkedHashMap<>();
        shards.forEach(shard -> shard.unreadable().forEach(all::putIfAbsent));
        return Collections.unmodifiableMap(all);
    }

    /** Text about the checkpoint: that of all shards, of equal keys the first. */
    public Map<String, String> metadata() {
        Map<String, String> all = new LinkedHashMap<>();
        shards.forEach(shard -> shard.metadata().forEach(all::putIfAbsent));
        return Collections.unmodifiableMap(all);
    }

    /** Ends the memory of every tensor. Closing twice is allowed. */
    @Override
    public void close() {
        shards.forEach(SafetensorsFile::close);
    }
}
