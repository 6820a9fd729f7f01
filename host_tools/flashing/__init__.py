"""From an image to a chip: what has to be written, writing it, and money that stays where it is."""
