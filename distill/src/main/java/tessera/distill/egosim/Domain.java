package tessera.distill.egosim;

/** Where clips are filmed: textures, palettes, light, lens, sleeves, objects' colours and head motion all differ. */
public enum Domain {
    /** Homes and offices: wood and cloth, warm light, bare hands, calm head. */
    SOURCE(0),
    /** Bright kitchens: tiles and stone, cold light, white and vivid objects, a wide lens and a restless head. */
    KITCHEN(1),
    /** Dim workshops: metal and sawdust, gloves and long sleeves, a narrow lens, sensor noise and a shaking head. */
    WORKSHOP(2);

    /** Stands for the domain where random numbers are drawn for it; never changes. */
    final int key;

    Domain(int key) {
        this.key = key;
    }
}
