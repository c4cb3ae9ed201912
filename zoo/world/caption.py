"""Captions of scenes and their paraphrases. Every caption of a scene says all that the scene shows."""

from random import Random

from zoo.world.scene import Scene, Thing
from zoo.world.vocabulary import (
    COLOUR_WORDS,
    GROUND_WORDS,
    PLACE_WORDS,
    SHAPE_WORDS,
    SIZE_WORDS,
    sentence_case,
    with_article,
)

SINGLE_FRAMES = (
    "{a} {place_a} {ground}",
    "there is {a} {place_a} {ground}.",
    "{place_a} there is {a} {ground}.",
    "the picture shows {a} {place_a} {ground}.",
    "I see {a} {place_a} {ground}.",
    "{place_a}, {ground}, lies {a}.",
    "someone drew {a} {place_a} {ground}.",
    "{ground} you can see {a} {place_a}.",
)
DOUBLE_FRAMES = (
    "{a} {place_a} and {b} {place_b} {ground}",
    "there is {a} {place_a} and {b} {place_b} {ground}.",
    "{place_a} there is {a}, {place_b} there is {b}, {ground}.",
    "{ground} you can see {a} {place_a} and {b} {place_b}.",
    "the picture shows {a} {place_a}, and {place_b} {b}, {ground}.",
    "I see {a} {place_a}, {b} {place_b}, {ground}.",
)
# For scenes that say nothing about places and ground.
BARE_SINGLE_FRAMES = ("{a}", "there is {a}.", "the picture shows {a}.", "I see {a}.", "someone drew {a}.", "you can see {a}.")
BARE_DOUBLE_FRAMES = ("{a} and {b}", "there is {a} and {b}.", "the picture shows {a} and {b}.", "I see {a} next to {b}.")
# The words of a search: no verb, no article.
QUERY_FRAMES = {
    (1, True): ("{a} {place_a} {ground}",),
    (2, True): ("{a} {place_a}, {b} {place_b}, {ground}",),
    (1, False): ("{a}",),
    (2, False): ("{a}, {b}", "{a} and {b}"),
}
CAPTION_FRAMES = {
    (1, True): SINGLE_FRAMES,
    (2, True): DOUBLE_FRAMES,
    (1, False): BARE_SINGLE_FRAMES,
    (2, False): BARE_DOUBLE_FRAMES,
}


def caption(scene: Scene) -> str:
    """The plainest caption, as in `a small red circle on the left on a plain ground`."""
    return fill(CAPTION_FRAMES[kind(scene)][0], scene.things, scene.ground, first_word)


def paraphrase(scene: Scene, random: Random) -> str:
    """One of many captions: other words, another frame, another order of the things."""
    frame = random.choice(CAPTION_FRAMES[kind(scene)])
    text = fill(frame, shuffled(scene.things, random), scene.ground, random.choice)
    return sentence_case(text) if text.endswith(".") else text


def query(scene: Scene, random: Random) -> str:
    """What someone would type to find the scene, as in `tiny crimson disc at the top on a plain ground`."""
    frame = random.choice(QUERY_FRAMES[kind(scene)])
    return fill(frame, shuffled(scene.things, random), scene.ground, random.choice, article=False)


def kind(scene: Scene) -> tuple[int, bool]:
    """How many things there are, and whether places and ground are said."""
    return len(scene.things), bool(scene.ground)


def shuffled(things: tuple[Thing, ...], random: Random) -> tuple[Thing, ...]:
    """The things in any order."""
    return tuple(random.sample(things, len(things)))


def first_word(words: tuple[str, ...]) -> str:
    """The plain word of a tuple of the vocabulary."""
    return words[0]


def fill(frame: str, things: tuple[Thing, ...], ground: str, choose, article: bool = True) -> str:
    """The frame with the words that `choose` picks for each thing."""
    values = {"ground": choose(GROUND_WORDS[ground]) if ground else ""}
    for letter, thing in zip("ab", things, strict=False):
        noun = " ".join(
            (choose(SIZE_WORDS[thing.size]), choose(COLOUR_WORDS[thing.colour]), choose(SHAPE_WORDS[thing.shape]))
        )
        values[letter] = with_article(noun) if article else noun
        values[f"place_{letter}"] = choose(PLACE_WORDS[thing.place]) if thing.place else ""
    return frame.format(**values)
