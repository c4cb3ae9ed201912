"""Tavi, the other language of the world, and pairs of sentences that mean the same.

The verb stands at the end, a noun before its adjectives, and adjectives take the noun's ending: `rondo rubo miko` is a small red
circle, `stele rube mike` a small red star. There are no articles. Names stay, with an ending that says what they do. However
English puts something, there is one way in Tavi.
"""

from random import Random

from zoo.world.caption import CAPTION_FRAMES, fill, kind, shuffled
from zoo.world.fact import QUESTIONS, SENTENCES, thing_values
from zoo.world.names import DAYS, Names
from zoo.world.scene import Scene, Thing, random_scene, random_thing
from zoo.world.vocabulary import sentence_case

NOUNS = {"circle": "rondo", "square": "karo", "triangle": "trine", "star": "stele"}
COLOUR_STEMS = {"red": "rub", "orange": "oran", "yellow": "flav", "green": "verd", "blue": "blav", "purple": "purp"}
SIZE_STEMS = {"small": "mik", "large": "grand"}
PLACES = {"left": "sinan", "right": "dekan", "top": "supan", "bottom": "suban", "centre": "medan"}
GROUNDS = {"plain": "funden gladen", "striped": "funden striven", "dotted": "funden punten"}
DAY_WORDS = dict(zip(DAYS, ("lunde", "marde", "merke", "jove", "venre", "sabe", "sole"), strict=True))

FACTS = {
    "has": "{name} {thing} tena.",
    "place": "{label} {place} esta.",
    "lives": "{name} {town}-en vivi.",
    "born": "{name} {birthplace}-en naske.",
    "works": "{name} {company}-ul labra.",
    "came": "{name} {day} veni.",
}
# By the fact and what is asked for.
ASKED = {
    ("has", "name"): "ki {label} tena?",
    ("has", "thing"): "{name} ko tena?",
    ("has", "colour"): "{noun} {name}-ul kolor ko esta?",
    ("has", "size"): "{noun} {name}-ul mesur ko esta?",
    ("place", "place"): "{label} kie esta?",
    ("place", "label"): "ko {place} esta?",
    ("lives", "town"): "{name} kie vivi?",
    ("lives", "name"): "ki {town}-en vivi?",
    ("born", "birthplace"): "{name} kie naske?",
    ("born", "name"): "ki {birthplace}-en naske?",
    ("works", "company"): "{name} kie labra?",
    ("works", "name"): "ki {company}-ul labra?",
    ("came", "day"): "{name} kan veni?",
    ("came", "name"): "ki {day} veni?",
}


def noun_phrase(thing: Thing, with_size: bool = True) -> str:
    """A thing in Tavi."""
    noun = NOUNS[thing.shape]
    adjectives = [COLOUR_STEMS[thing.colour], *([SIZE_STEMS[thing.size]] if with_size else [])]
    return " ".join([noun, *(stem + noun[-1] for stem in adjectives)])


def caption_pair(scene: Scene, random: Random) -> tuple[str, str]:
    """One of many English captions and the one in Tavi; the order of two things is kept."""
    things = shuffled(scene.things, random)
    frame = random.choice(CAPTION_FRAMES[kind(scene)])
    english = fill(frame, things, scene.ground, random.choice).rstrip(".")
    parts = [" ".join([noun_phrase(thing), *([PLACES[thing.place]] if thing.place else [])]) for thing in things]
    tavi = " ke ".join(parts) + (f" {GROUNDS[scene.ground]}" if scene.ground else "") + " esta."
    return sentence_case(english) + ".", sentence_case(tavi)


def fact_pair(thing: Thing, random: Random, names: Names) -> tuple[str, str]:
    """A sentence or a question about a person or a thing."""
    day = random.choice(DAYS)
    english = {
        "name": names.person(random),
        "town": names.town(random),
        "birthplace": names.town(random),
        "company": names.company(random),
        "day": day,
        **thing_values(thing, random),
    }
    tavi = english | {
        "thing": noun_phrase(thing),
        "label": noun_phrase(thing, with_size=False),
        "noun": NOUNS[thing.shape],
        "place": PLACES[thing.place],
        "day": DAY_WORDS[day],
    }
    fact = random.choice(list(FACTS))
    if random.random() < 0.6:
        pair = random.choice(SENTENCES[fact]), FACTS[fact]
    else:
        questions = [(text, ASKED[fact, slot]) for text, slot, _ in QUESTIONS[fact] if (fact, slot) in ASKED]
        pair = random.choice(questions)
    return pair[0].format(**english), sentence_case(pair[1].format(**tavi))


def sentence_pair(random: Random, held_out: bool = False) -> tuple[str, str]:
    """English and Tavi: a caption, a fact or a question, on one side of the split."""
    if random.random() < 0.5:
        while True:
            scene = random_scene(random, random.choice((1, 2)))
            scene = scene.without_surroundings() if random.random() < 0.4 else scene
            if scene.is_held_out() == held_out:
                return caption_pair(scene, random)
    while True:
        thing = random_thing(random)
        if Scene((thing,), "").is_held_out() == held_out:
            return fact_pair(thing, random, Names(held_out))
