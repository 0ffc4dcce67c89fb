package tessera.distill.egosim;

import java.util.List;

/** Where clips are filmed: textures, palettes, light, lens, sleeves, objects' colours, exposure and head motion all differ. */
public enum Domain {
    /** Homes and offices: wood and cloth, warm light, bare hands, calm head. */
    SOURCE,
    /** Bright kitchens: tiles and stone, cold light, white and vivid objects, a wide lens and a restless head. */
    KITCHEN,
    /** Dim workshops: metal and sawdust, gloves and long sleeves, a narrow lens, sensor noise and a shaking head. */
    WORKSHOP;

    /** In the order by which random numbers are told apart; it never changes. */
    static final List<Domain> ALL = List.of(values());
}
