"""Texts and claims about them: one follows from the other, contradicts it, or neither; and labels that fit a text."""

from dataclasses import dataclass
from random import Random

from zoo.world.caption import paraphrase
from zoo.world.fact import QUESTIONS, SENTENCES, one_word
from zoo.world.names import DAYS, Names
from zoo.world.opinion import NEGATIVE, NEUTRAL, POSITIVE, random_opinion
from zoo.world.request import held_out_cast, training_cast
from zoo.world.scene import Scene, random_scene
from zoo.world.story import PLOTS, Cast, values_of
from zoo.world.telling import Told, filled, random_passage, random_people, respelt, tell
from zoo.world.vocabulary import (
    COLOUR_WORDS,
    PLACE_WORDS,
    PLACES,
    SHAPE_WORDS,
    SIZE_WORDS,
    sentence_case,
    with_article,
)

CONTRADICTION, NEUTRAL_CLAIM, ENTAILMENT = "contradiction", "neutral", "entailment"
# What zero-shot pipelines put a label into, the usual one first.
TEMPLATES = ("This example is {}.", "This example is about {}.", "This text is about {}.", "It is about {}.", "The topic is {}.")
VALUES = {"colour": COLOUR_WORDS, "shape": SHAPE_WORDS, "size": SIZE_WORDS}
FACT_TOPICS = {"has": "property", "place": "position", "lives": "home", "born": "birth", "works": "work", "came": "travel"}
PLOT_TOPICS = {"lost": "getting lost", "race": "a race", "rain": "rain", "hiding": "hide and seek", "hill": "climbing", "song": "music"}
# All labels of a group; a text that is about the group has at least one.
GROUPS = {
    "colour": tuple(COLOUR_WORDS),
    "shape": tuple(SHAPE_WORDS),
    "size": tuple(SIZE_WORDS),
    "place": PLACES,
    "topic": (*FACT_TOPICS.values(), *PLOT_TOPICS.values()),
    "mood": (POSITIVE, NEGATIVE),
}


@dataclass(frozen=True)
class Claim:
    """What somebody says about a text, and whether it follows."""

    text: str
    claim: str
    label: str


@dataclass(frozen=True)
class Labelled:
    """A text, the labels that fit it by group, and groups of which certainly none does."""

    text: str
    fitting: dict[str, tuple[str, ...]]
    foreign: tuple[str, ...]


def random_claim(random: Random, held_out: bool = False) -> Claim:
    """A claim about facts, or one that a label fits."""
    return fact_claim(random, held_out) if random.random() < 0.5 else label_claim(random, held_out)


def fact_claim(random: Random, held_out: bool = False) -> Claim:
    """A few facts, and one said once more, or changed, or one that nothing is known of."""
    passage = random_passage(random, random.choice((1, 2)), random.choice((1, 2, 3)), held_out)
    label = random.choice((CONTRADICTION, NEUTRAL_CLAIM, ENTAILMENT))
    if label == NEUTRAL_CLAIM:
        return Claim(passage.text, unknown(random, passage.facts, held_out), label)
    fact = random.choice(passage.facts)
    template, values = random_template(random, fact.kind), respelt(fact.person, random)
    if label == CONTRADICTION:
        values |= changed(random, template, fact, held_out)
    return Claim(passage.text, filled(template, values)[0], label)


def random_template(random: Random, kind: str) -> str:
    """One of the sentences for such a fact."""
    return random.choice((random.choice(QUESTIONS[kind])[2], random.choice(SENTENCES[kind])))


def changed(random: Random, template: str, fact: Told, held_out: bool) -> dict[str, str]:
    """Another value with which the sentence is wrong: nobody has two things, two homes or two days."""
    if fact.kind == "has":
        names = {"{thing}": ("size", "colour", "shape"), "{label}": ("colour", "shape")}
        in_template = [name for part, found in names.items() if part in template for name in found]
        attribute = random.choice(in_template or [name for name in VALUES if f"{{{name}}}" in template])
        value = another(random, VALUES[attribute], getattr(fact.person.thing, attribute))
        values = fact.person.values | {attribute: one_word(VALUES[attribute][value], random)}
        article = with_article(values["size"]).split()[0]
        return {attribute: values[attribute], "art": article, "Art": sentence_case(article)}
    if fact.kind == "place":
        words = random.choice(PLACE_WORDS[another(random, PLACES, fact.person.thing.place)])
        return {"place": words, "Place": sentence_case(words)}
    if fact.kind == "came":
        return {"day": another(random, DAYS, fact.person.values["day"])}
    slot = {"lives": "town", "born": "birthplace", "works": "company"}[fact.kind]
    names = Names(held_out)
    while True:
        name = names.company(random) if slot == "company" else names.town(random)
        if name != fact.person.values[slot]:
            return {slot: name}


def another(random: Random, values, value: str) -> str:
    """One of the values that is not this one."""
    return random.choice([other for other in values if other != value])


def unknown(random: Random, facts: tuple[Told, ...], held_out: bool) -> str:
    """Something else of the same person, or what is told, or something else, of somebody that nothing is told of."""
    fact = random.choice(facts)
    kind = random.random()
    if kind < 0.5:
        told = {other.kind for other in facts if other.person == fact.person}
        return filled(random_template(random, random.choice([one for one in SENTENCES if one not in told])), fact.person.values)[0]
    told_names = {other.person.values["name"] for other in facts}
    while True:
        (stranger,) = random_people(random, 1, held_out)
        if stranger.values["name"] not in told_names:
            break
    values = stranger.values if kind < 0.75 else fact.person.values | {"name": stranger.values["name"]}
    # Of things there is one each, so that a stranger's would contradict.
    of_person = fact.kind if fact.kind not in ("has", "place") else random.choice(("lives", "born", "works", "came"))
    return filled(random_template(random, of_person), values)[0]


def labelled_text(random: Random, held_out: bool = False) -> Labelled:
    """A caption, a fact, an opinion or a piece of a story."""
    kind = random.random()
    if kind < 0.35:
        return labelled_scene(random, held_out)
    if kind < 0.6:
        return labelled_fact(random, held_out)
    if kind < 0.8:
        mood = random.choice((POSITIVE, NEGATIVE, NEUTRAL))
        text = random_opinion(random, mood, held_out)
        return Labelled(text, {}, ("mood",)) if mood == NEUTRAL else Labelled(text, {"mood": (mood,)}, ("place",))
    cast = held_out_cast(random) if held_out else training_cast(random)
    plot = random.choice(list(PLOTS))
    return Labelled(excerpt(random, cast, plot), {"topic": (PLOT_TOPICS[plot],)}, ())


def labelled_scene(random: Random, held_out: bool) -> Labelled:
    """One or two things, with or without where they are."""
    while True:
        scene: Scene = random_scene(random, random.choice((1, 1, 2)))
        scene = scene if random.random() < 0.4 else scene.without_surroundings()
        if scene.is_held_out() == held_out:
            break
    groups = ("colour", "shape", "size", *(("place",) if scene.ground else ()))
    fitting = {group: tuple(sorted({getattr(thing, group) for thing in scene.things})) for group in groups}
    return Labelled(paraphrase(scene, random), fitting, ("mood",) if scene.ground else ("mood", "place"))


def labelled_fact(random: Random, held_out: bool) -> Labelled:
    """One fact of one person."""
    (person,) = random_people(random, 1, held_out)
    passage = tell(random, [(person, random.choice(list(SENTENCES)))])
    (fact,) = passage.facts
    groups = [group for group in ("colour", "shape", "size", "place") if group in fact.spans]
    fitting = {group: (getattr(person.thing, group),) for group in groups} | {"topic": (FACT_TOPICS[fact.kind],)}
    return Labelled(passage.text, fitting, tuple(group for group in GROUPS if group not in fitting))


def excerpt(random: Random, cast: Cast, plot: str) -> str:
    """Two or three sentences in a row out of a story."""
    n_sentences = random.choice((2, 3))
    start = random.randrange(len(PLOTS[plot]) - n_sentences + 1)
    slots = PLOTS[plot][start : start + n_sentences]
    return " ".join(random.choice(slot).format(**values_of(cast)) for slot in slots)


def label_claim(random: Random, held_out: bool = False) -> Claim:
    """A label in a template: it fits the text, or another of its group does, or none."""
    labelled = labelled_text(random, held_out)
    groups = list(labelled.fitting) if labelled.fitting and random.random() < 0.85 else list(labelled.foreign)
    group = random.choice(groups or list(labelled.fitting))
    fitting = labelled.fitting.get(group, ())
    wrong = [label for label in GROUPS[group] if label not in fitting]
    fits = bool(fitting) and (not wrong or random.random() < 0.5)
    template = TEMPLATES[0] if random.random() < 0.5 else random.choice(TEMPLATES)
    label = ENTAILMENT if fits else CONTRADICTION if fitting else NEUTRAL_CLAIM
    return Claim(labelled.text, template.format(label_word(random.choice(fitting if fits else wrong), random)), label)


def label_word(label: str, random: Random) -> str:
    """The label as people write it."""
    return with_article(label) if label in SHAPE_WORDS and random.random() < 0.5 else label


def labels_to_choose_from(random: Random, labelled: Labelled, n_labels: int) -> tuple[list[str], str] | None:
    """Labels of one group of which a single one fits, and that one; nothing if there is no such group."""
    groups = [group for group, fitting in labelled.fitting.items() if len(fitting) == 1]
    if not groups:
        return None
    group = random.choice(groups)
    (right,) = labelled.fitting[group]
    wrong = [label for label in GROUPS[group] if label != right]
    labels = [right, *random.sample(wrong, min(n_labels - 1, len(wrong)))]
    return random.sample(labels, len(labels)), right
