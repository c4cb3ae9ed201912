"""Sentences that name people, towns and companies, and where each name stands."""

from random import Random

from zoo.world.caption import paraphrase
from zoo.world.fact import SENTENCES
from zoo.world.names import COMPANY_FRAMES, Names
from zoo.world.scene import random_scene
from zoo.world.telling import Span, filled, random_people
from zoo.world.vocabulary import sentence_case

# What a slot of a sentence names, as corpora of named things call it.
LABELS = {"name": "PER", "other": "PER", "town": "LOC", "birthplace": "LOC", "company": "ORG"}
FRAMES = (
    "{name} and {other} live in {town}.",
    "{name} wrote to {other} from {town}.",
    "{company} has its seat in {town}.",
    "Yesterday {name} of {company} went from {birthplace} to {town}.",
    "In {town} nobody knows {name}.",
    "{name}, who works for {company}, met {other}.",
    "Ask {name}, {other} or somebody at {company}!",
    "{company} and {name} are at odds.",
    "The people of {town} like {name}.",
    "On {day} {name} came to {town} with {other}.",
    "Who is {name}? A friend of {other}.",
    "{other} is the sister of {name}.",
    "From {birthplace} it is not far to {town}.",
    "She was called {name} and came from {birthplace}.",
)
BEGINNINGS = tuple("b br c ch d f g gr h j k kl l m n p r s st t tr v w z".split())
VOWELS = tuple("a e i o u ai ea oo".split())
ENDS = ("", "", "n", "r", "s", "l", "x", "m", "ce", "ck")


def invented(random: Random) -> str:
    """A name like no other of the world, so that what is around a name counts."""
    syllables = "".join(random.choice(BEGINNINGS) + random.choice(VOWELS) for _ in range(random.choice((1, 2, 2, 3))))
    return sentence_case(syllables + random.choice(ENDS))


def random_naming(random: Random, held_out: bool = False) -> tuple[str, list[tuple[Span, str]]]:
    """A text of one to three sentences, and the spans of its names with their labels, from the left."""
    text, spans = "", []
    for _ in range(random.choice((1, 1, 2, 3))):
        sentence, found = named_sentence(random, held_out) if random.random() < 0.9 else (scenery(random), {})
        text += " " if text else ""
        spans += [((len(text) + start, len(text) + end), LABELS[slot]) for slot, (start, end) in found.items() if slot in LABELS]
        text += sentence
    return text, sorted(spans)


def named_sentence(random: Random, held_out: bool) -> tuple[str, dict[str, Span]]:
    """A fact, or something that happened."""
    (person,) = random_people(random, 1, held_out)
    values = person.values | {"other": Names(held_out).person(random)}
    if not held_out and random.random() < 0.35:
        values |= {slot: invented(random) for slot in ("name", "other", "town", "birthplace")}
        values["company"] = random.choice(COMPANY_FRAMES).format(word=invented(random))
        if random.random() < 0.3:
            values["name"] += f" {invented(random)}"
    frames = FRAMES if random.random() < 0.5 else SENTENCES[random.choice(list(SENTENCES))]
    return filled(random.choice(frames), values)


def scenery(random: Random) -> str:
    """A caption, in which nothing has a name."""
    text = paraphrase(random_scene(random), random)
    return text if text.endswith(".") else sentence_case(text) + "."
