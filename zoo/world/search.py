"""What somebody looks for, the passage that tells it, and passages that are about the same but do not."""

from dataclasses import dataclass
from random import Random

from zoo.world.caption import paraphrase
from zoo.world.fact import SENTENCES
from zoo.world.opinion import NEGATIVE, NEUTRAL, POSITIVE, random_opinion
from zoo.world.scene import random_scene
from zoo.world.telling import Person, filled, random_people, random_question, respelt, tell

# The words of a search without a question.
KEYWORDS = {
    "has": ("owner of the {label}", "the thing of {name}", "{name} {shape}"),
    "place": ("place of the {label}", "{label} place", "where the {label} is"),
    "lives": ("home of {name}", "{name} town", "people of {town}"),
    "born": ("birthplace of {name}", "birth of {name}", "born in {birthplace}"),
    "works": ("work of {name}", "{name} company", "people of {company}"),
    "came": ("arrival of {name}", "{name} day", "who came on {day}"),
}


@dataclass(frozen=True)
class Search:
    """A query, passages, and which of them answers it."""

    query: str
    passages: list[str]
    best: int


def random_search(random: Random, n_passages: int, held_out: bool = False) -> Search:
    """A search among passages about three people, and a few others; the order is any."""
    people = random_people(random, 3, held_out)
    person, kind = people[0], random.choice(list(SENTENCES))
    answer, query = answering(random, person, kind)
    others = [lambda: same_person(random, person, kind), lambda: same_kind(random, random.choice(people[1:]), kind)]
    passages = {answer}
    while len(passages) < n_passages:
        draw = random.choice(others) if random.random() < 0.85 else lambda: outside(random, held_out)
        passages.add(draw())
    order = random.sample(sorted(passages), n_passages)
    return Search(query, order, order.index(answer))


def answering(random: Random, person: Person, kind: str) -> tuple[str, str]:
    """A passage that tells the fact, perhaps with another, and a query for it."""
    facts = [(person, kind)]
    if kind == "place" and random.random() < 0.5:
        facts.insert(0, (person, "has"))
    elif random.random() < 0.5:
        other = (person, random.choice([one for one in SENTENCES if one not in (kind, "place")]))
        facts.insert(random.randrange(2), other)
    passage = tell(random, facts)
    fact = next(fact for fact in passage.facts if fact.kind == kind)
    # Where `it` lies somewhere, the thing can be asked for all the same.
    if "label" not in fact.spans and kind == "place":
        query = filled(random.choice(("Where is the {label}?", "Where does the {label} lie?")), respelt(person, random))[0]
    elif random.random() < 0.2:
        query = filled(random.choice(KEYWORDS[kind]), respelt(person, random))[0]
    else:
        query, _ = random_question(random, fact)
    return passage.text, query


def same_person(random: Random, person: Person, kind: str) -> str:
    """Other facts of the person that is asked for."""
    kinds = [one for one in SENTENCES if one != kind]
    return tell(random, [(person, one) for one in random.sample(kinds, random.choice((1, 2)))]).text


def same_kind(random: Random, person: Person, kind: str) -> str:
    """The fact that is asked for, of somebody else."""
    facts = [(person, kind)]
    if random.random() < 0.5:
        facts.append((person, random.choice([one for one in SENTENCES if one != kind])))
    return tell(random, random.sample(facts, len(facts))).text


def outside(random: Random, held_out: bool) -> str:
    """A caption or an opinion."""
    if random.random() < 0.5:
        return random_opinion(random, random.choice((POSITIVE, NEGATIVE, NEUTRAL)), held_out)
    while True:
        scene = random_scene(random).without_surroundings()
        if scene.is_held_out() == held_out:
            return paraphrase(scene, random)
