"""What exists in the world: colours, shapes, sizes, places and grounds, and the words people use for them.

The first word of each tuple is the plain one; captions and paraphrases may use any of them.
"""

COLOUR_WORDS = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden", "lemon"),
    "green": ("green", "emerald"),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
}
SHAPE_WORDS = {
    "circle": ("circle", "disc", "round shape"),
    "square": ("square", "box", "shape with four equal sides"),
    "triangle": ("triangle", "three-cornered shape", "shape with three sides"),
    "star": ("star", "five-pointed shape", "star shape"),
}
SIZE_WORDS = {
    "small": ("small", "little", "tiny"),
    "large": ("large", "big", "huge"),
}
PLACE_WORDS = {
    "left": ("on the left", "on the left side", "at the left edge"),
    "right": ("on the right", "on the right side", "at the right edge"),
    "top": ("at the top", "in the upper part", "up high"),
    "bottom": ("at the bottom", "in the lower part", "down low"),
    "centre": ("in the centre", "in the middle", "in the center"),
}
GROUND_WORDS = {
    "plain": ("on a plain ground", "on an even background"),
    "striped": ("on a striped ground", "in front of stripes"),
    "dotted": ("on a dotted ground", "in front of dots"),
}

COLOURS = tuple(COLOUR_WORDS)
SHAPES = tuple(SHAPE_WORDS)
SIZES = tuple(SIZE_WORDS)
PLACES = tuple(PLACE_WORDS)
GROUNDS = tuple(GROUND_WORDS)


def with_article(noun_phrase: str) -> str:
    """`red circle` to `a red circle`, `orange star` to `an orange star`."""
    return f"{'an' if noun_phrase[0].lower() in 'aeiou' else 'a'} {noun_phrase}"


def sentence_case(text: str) -> str:
    """The text with a capital first letter and the rest untouched."""
    return text[:1].upper() + text[1:]
