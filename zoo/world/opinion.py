"""What people think of things: sentences of praise, of blame and of neither.

One pair of a frame and a word for an opinion in ten is in no training sentence. Decided by the pair, not by the seed.
"""

import hashlib
from random import Random

from zoo.world.fact import SENTENCES
from zoo.world.names import Names
from zoo.world.scene import random_thing
from zoo.world.telling import filled, random_people
from zoo.world.vocabulary import COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS, sentence_case, with_article

NEGATIVE, NEUTRAL, POSITIVE = "negative", "neutral", "positive"
OPPOSITE = {NEGATIVE: POSITIVE, POSITIVE: NEGATIVE}

ADJECTIVES = {
    POSITIVE: tuple("lovely beautiful wonderful great nice pretty charming perfect splendid good brilliant delightful".split()),
    NEGATIVE: tuple("ugly awful terrible horrible bad boring dull poor dreadful nasty disappointing worthless".split()),
}
VERBS = {
    POSITIVE: ("love", "like", "adore", "enjoy", "admire"),
    NEGATIVE: ("hate", "dislike", "detest", "cannot stand", "despise"),
}
EVENTS = {
    POSITIVE: ("makes me happy", "made everyone smile", "won a prize", "is worth every penny", "works like a charm", "is a joy"),
    NEGATIVE: ("makes me sad", "made everyone cry", "fell apart at once", "is a waste of money", "never works", "sank at once"),
}
ADJECTIVE_FRAMES = (
    "what {a_word} {noun}",
    "the {noun} is {word}",
    "I find the {noun} {word}",
    "such {a_word} {noun}",
    "{name} thinks the {noun} is {word}",
    "the {noun} of {name} is really {word}",
    "this is {a_word} {noun}",
    "the {noun} looks {word}",
    "everyone says that the {noun} is {word}",
)
VERB_FRAMES = ("I {word} the {noun}", "{name} and I {word} the {noun}", "we all {word} this {noun}", "people {word} the {noun}")
EVENT_FRAMES = ("the {noun} {word}", "this {noun} {word}", "the {noun} of {name} {word}")
# Each turns the meaning of its word around.
TURNING_FRAMES = (
    "the {noun} is not {word}",
    "I do not find the {noun} {word}",
    "{name} says that the {noun} is not {word} at all",
    "the {noun} was never {word}",
)
UNLOVING_FRAMES = ("I do not {word} the {noun}", "{name} does not {word} the {noun}", "nobody can {word} this {noun}")
# What is said last counts.
TURNS = ("{first}, but {last}", "although {first}, {last}", "{first}; still, {last}")
# Things that lie outside of the world of shapes.
THINGS = tuple("boat house song story picture book town film game garden day meal journey idea".split())
NEUTRAL_FRAMES = (
    "the {noun} is {word}",
    "this is {a_word} {noun}",
    "{name} has {a_word} {noun}",
    "there is {a_word} {noun}",
    "I see the {noun}",
    "the {noun} of {name} is {word}",
)
NEUTRAL_WORDS = ("new", "old", "round", "flat", "wet", "dry")


def is_held_out(frame: str, word: str) -> bool:
    """Whether no training sentence has this word in this frame."""
    return hashlib.sha256(f"{frame} | {word}".encode()).digest()[0] % 10 == 0


def random_opinion(random: Random, mood: str, held_out: bool = False) -> str:
    """A sentence of the mood on one side of the split; some have two halves, of which the last counts."""
    if mood == NEUTRAL:
        return sentence(neutral(random, held_out), random, (".",))
    if random.random() < 0.25:
        first, last = clause(random, OPPOSITE[mood], held_out), clause(random, mood, held_out)
        return sentence(random.choice(TURNS).format(first=first, last=last), random, (".",))
    return sentence(clause(random, mood, held_out), random, (".", ".", "!"))


def clause(random: Random, mood: str, held_out: bool) -> str:
    """Half a sentence of praise or blame."""
    while True:
        kind = random.random()
        if kind < 0.45:
            frame, word = random.choice(ADJECTIVE_FRAMES), random.choice(ADJECTIVES[mood])
        elif kind < 0.6:
            frame, word = random.choice(VERB_FRAMES), random.choice(VERBS[mood])
        elif kind < 0.75:
            frame, word = random.choice(EVENT_FRAMES), random.choice(EVENTS[mood])
        elif kind < 0.9 or mood == POSITIVE:
            frame, word = random.choice(TURNING_FRAMES), random.choice(ADJECTIVES[OPPOSITE[mood]])
        else:
            frame, word = random.choice(UNLOVING_FRAMES), random.choice(VERBS[POSITIVE])
        if is_held_out(frame, word) == held_out:
            return spoken(frame, word, random, held_out)


def neutral(random: Random, held_out: bool) -> str:
    """A sentence without an opinion: a fact, or something said of a thing."""
    if random.random() < 0.5:
        (person,) = random_people(random, 1, held_out)
        return filled(random.choice(SENTENCES[random.choice(list(SENTENCES))]), person.values)[0]
    while True:
        frame, word = random.choice(NEUTRAL_FRAMES), random.choice(NEUTRAL_WORDS)
        if is_held_out(frame, word) == held_out:
            return spoken(frame, word, random, held_out)


def spoken(frame: str, word: str, random: Random, held_out: bool) -> str:
    """The frame about some thing."""
    values = {"noun": noun(random), "word": word, "a_word": with_article(word), "name": Names(held_out).person(random)}
    return frame.format(**values)


def noun(random: Random) -> str:
    """A thing of the world or of outside, at times with its colour and size."""
    if random.random() < 0.4:
        return random.choice(THINGS)
    thing = random_thing(random)
    words = [random.choice(SHAPE_WORDS[thing.shape][:2])]
    if random.random() < 0.6:
        words.insert(0, random.choice(COLOUR_WORDS[thing.colour]))
    if random.random() < 0.3:
        words.insert(0, random.choice(SIZE_WORDS[thing.size]))
    return " ".join(words)


def sentence(text: str, random: Random, ends: tuple[str, ...]) -> str:
    """The text as a sentence; in one of five, without its capital letter, as people type."""
    text = text if random.random() < 0.2 else sentence_case(text)
    return text if text.endswith((".", "!")) else text + random.choice(ends)
