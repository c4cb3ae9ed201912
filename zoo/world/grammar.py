"""Tells whether a text is made of sentences that the story templates can produce."""

import re

from zoo.world.story import ENDINGS, NAMINGS, NAMES, OPENINGS, PLOTS
from zoo.world.vocabulary import COLOURS, PLACE_WORDS, SHAPES, SIZES

LABEL = f"(?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)})"
NOUN_PHRASE = f"an? (?:(?:{'|'.join(SIZES)}) )?{LABEL}"
PATTERNS = {
    "hero": LABEL,
    "friend": LABEL,
    "a_hero": NOUN_PHRASE,
    "a_friend": NOUN_PHRASE,
    "A_friend": "A" + NOUN_PHRASE[1:],
    "place": f"(?:{'|'.join(words[0] for words in PLACE_WORDS.values())})",
    "name": f"(?:{'|'.join(NAMES)})",
}


def pattern_of(template: str) -> str:
    """The regular expression of all sentences that a template makes."""
    parts = re.split(r"\{(\w+)\}", template)
    return "".join(PATTERNS[part] if index % 2 else re.escape(part) for index, part in enumerate(parts))


TEMPLATES = [
    template for slot in (OPENINGS, NAMINGS, ENDINGS, *(slot for plot in PLOTS.values() for slot in plot)) for template in slot
]
SENTENCE = re.compile("|".join(sorted((pattern_of(template) for template in TEMPLATES), key=len, reverse=True)))


def covered_share(text: str) -> float:
    """The share of the text's characters, spaces apart, that lies in well-formed sentences."""
    length = len(re.sub(r"\s", "", text))
    covered = sum(len(re.sub(r"\s", "", match.group())) for match in SENTENCE.finditer(text))
    return covered / length if length else 0.0
