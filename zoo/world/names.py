"""Names of people, towns and companies: a few that everybody knows, and endless ones made of syllables.

One name in ten is in no training text. Decided by the name, not by the seed that met it.
"""

import hashlib
from dataclasses import dataclass
from random import Random

from zoo.world.story import NAMES
from zoo.world.vocabulary import sentence_case

KNOWN_PEOPLE = (*NAMES, "Ada", "Alan", "Grace", "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Jonas", "Maria", "Otto")
KNOWN_TOWNS = ("London", "Paris", "Berlin", "Rome", "Vienna", "Madrid", "Oslo", "Prague", "Athens", "Dublin", "Lisbon", "Boston")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

PERSON_BEGINNINGS = tuple("al be ca do el fi ga ha il jo ka le mi no or pe ri sa ti va wi za bru dre fre gla kri sto".split())
PERSON_ENDINGS = tuple("da ra na bo lo mi nik bert lin mond ne rik sa so ta vin wen gard mar lla".split())
FAMILY_ENDINGS = tuple("son mann ski ley er ton wood field lace ing".split())
TOWN_BEGINNINGS = tuple("ash bar cal dun ed fal gran hol kir lang mel nor os pem rad sel tar ul wes yor brad clif stan".split())
TOWN_ENDINGS = tuple("ham ford by ville ton burg stadt mouth field port dale wick haven".split())
COMPANY_FRAMES = ("{word} Works", "{word} and Sons", "{word} Bakery", "{word} Press", "{word} Motors", "{word} Bank", "{word} Circus")


@dataclass(frozen=True)
class Names:
    """Draws names that training may use, or only those that it may not."""

    held_out: bool = False

    def person(self, random: Random) -> str:
        """A first name; one in five with a family name."""
        first = self.drawn(lambda: first_name(random))
        if random.random() < 0.8:
            return first
        return f"{first} {self.drawn(lambda: sentence_case(random.choice(PERSON_BEGINNINGS) + random.choice(FAMILY_ENDINGS)))}"

    def town(self, random: Random) -> str:
        """A town."""
        return self.drawn(lambda: town_name(random))

    def company(self, random: Random) -> str:
        """A company, called by a town, a family or a word of the world."""
        frame = random.choice(COMPANY_FRAMES)
        return self.drawn(lambda: frame.format(word=company_word(random)))

    def drawn(self, draw) -> str:
        """The first name on the right side of the split."""
        while True:
            name = draw()
            if is_held_out(name) == self.held_out:
                return name


def is_held_out(name: str) -> bool:
    """Whether no training text has this name."""
    return hashlib.sha256(name.encode()).digest()[0] % 10 == 0


def first_name(random: Random) -> str:
    """`Mia` or `Krilla`."""
    if random.random() < 0.25:
        return random.choice(KNOWN_PEOPLE)
    return sentence_case(random.choice(PERSON_BEGINNINGS) + random.choice(PERSON_ENDINGS))


def town_name(random: Random) -> str:
    """`London` or `Bradwick`."""
    if random.random() < 0.25:
        return random.choice(KNOWN_TOWNS)
    return sentence_case(random.choice(TOWN_BEGINNINGS) + random.choice(TOWN_ENDINGS))


def company_word(random: Random) -> str:
    """What a company is called by."""
    if random.random() < 0.5:
        return town_name(random)
    return sentence_case(random.choice(PERSON_BEGINNINGS) + random.choice(FAMILY_ENDINGS))
