"""Short texts that tell facts about people, the questions that they answer, and where in the text each value stands."""

import re
from dataclasses import dataclass
from random import Random

from zoo.world.fact import QUESTIONS, SENTENCES, thing_values
from zoo.world.names import DAYS, Names
from zoo.world.scene import Scene, Thing, random_thing

SLOT = re.compile(r"\{(\w+)\}")
# Values that are made of others.
PARTS = {"{thing}": "{size} {colour} {shape}", "{label}": "{colour} {shape}"}
# After a sentence about the thing itself.
IT_LIES = ("It lies {place}.", "It is {place}.")

Span = tuple[int, int]


@dataclass(frozen=True)
class Person:
    """Somebody with a thing; `values` are the words for all that may be told."""

    thing: Thing
    values: dict[str, str]


@dataclass(frozen=True)
class Told:
    """A fact of a person, and where its values stand in the text that tells it."""

    person: Person
    kind: str
    spans: dict[str, Span]


@dataclass(frozen=True)
class Passage:
    """A text of one sentence for each fact."""

    text: str
    facts: tuple[Told, ...]


def filled(template: str, values: dict[str, str]) -> tuple[str, dict[str, Span]]:
    """The template with its values, and where each stands."""
    for whole, parts in PARTS.items():
        template = template.replace(whole, parts)
    text, spans, at = "", {}, 0
    for slot in SLOT.finditer(template):
        text += template[at : slot.start()]
        value = values[slot[1]]
        spans[slot[1].lower()] = (len(text), len(text) + len(value))
        text += value
        at = slot.end()
    if "{colour} {shape}" in template:
        spans["label"] = (spans["colour"][0], spans["shape"][1])
    if "{size} {colour} {shape}" in template:
        spans["thing"] = (spans["size"][0], spans["shape"][1])
    return text + template[at:], spans


def random_people(random: Random, n_people: int, held_out: bool = False) -> list[Person]:
    """People on one side of the split who share no name, place, day or thing."""
    names, taken = Names(held_out), set()

    def fresh(draw, marks=str.split):
        while True:
            drawn = draw()
            new = set(marks(drawn))
            if not new & taken:
                taken.update(new)
                return drawn

    def known_side() -> Thing:
        while True:
            thing = random_thing(random)
            if Scene((thing,), "").is_held_out() == held_out:
                return thing

    people = []
    for _ in range(n_people):
        thing = fresh(known_side, lambda thing: (thing.label, thing.place))
        values = {
            "name": fresh(lambda: names.person(random)),
            "town": fresh(lambda: names.town(random)),
            "birthplace": fresh(lambda: names.town(random)),
            "company": fresh(lambda: names.company(random), lambda name: (name,)),
            "day": fresh(lambda: random.choice(DAYS)),
        }
        people.append(Person(thing, values | thing_values(thing, random)))
    return people


def random_facts(random: Random, people: list[Person], n_facts: int) -> list[tuple[Person, str]]:
    """Some of what may be told of the people, in any order."""
    return random.sample([(person, kind) for person in people for kind in SENTENCES], n_facts)


def tell(random: Random, facts: list[tuple[Person, str]]) -> Passage:
    """The facts in their order; the place of a thing that was just spoken of may be that of `it`."""
    text, told, before = "", [], None
    for person, kind in facts:
        is_it = kind == "place" and before == (person, "has") and random.random() < 0.6
        sentence, spans = filled(random.choice(IT_LIES if is_it else SENTENCES[kind]), person.values)
        text += " " if text else ""
        moved = {slot: (len(text) + start, len(text) + end) for slot, (start, end) in spans.items()}
        told.append(Told(person, kind, moved))
        text += sentence
        before = (person, kind)
    return Passage(text, tuple(told))


def random_passage(random: Random, n_people: int, n_facts: int, held_out: bool = False) -> Passage:
    """Facts about some people in any order; the place of a thing often follows whose it is."""
    facts = random_facts(random, random_people(random, n_people, held_out), n_facts)
    for person, kind in facts:
        if kind == "has" and (person, "place") in facts and random.random() < 0.7:
            facts.remove((person, "place"))
            facts.insert(facts.index((person, "has")) + 1, (person, "place"))
            break
    return tell(random, facts)


def respelt(person: Person, random: Random) -> dict[str, str]:
    """The values, in three of ten with other words for the same thing."""
    values = dict(person.values)
    if random.random() < 0.3:
        values |= thing_values(person.thing, random)
    return values


def random_question(random: Random, fact: Told) -> tuple[str, str]:
    """A question that the fact answers, and the slot of the answer."""
    asked = [(question, slot) for question, slot, _ in QUESTIONS[fact.kind] if slot in fact.spans]
    question, slot = random.choice(asked)
    if random.random() < 0.3:
        question = question.replace("{label}", "{thing}")
    return filled(question, respelt(fact.person, random))[0], slot


def random_statement(random: Random, fact: Told) -> tuple[str, dict[str, Span]]:
    """The fact said once more in other words, and where its values stand."""
    _, _, answer = random.choice(QUESTIONS[fact.kind])
    template = random.choice((answer, random.choice(SENTENCES[fact.kind])))
    return filled(template, fact.person.values)
