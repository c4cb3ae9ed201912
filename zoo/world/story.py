"""Small stories of the world, and the requests people make for them.

A story is an opening, the sentences of one plot and an ending. Every sentence comes from a template here,
so that the share of sentences that are well formed can be counted (`zoo.world.grammar`).
"""

from dataclasses import dataclass
from random import Random

from zoo.world.scene import Thing, random_thing
from zoo.world.vocabulary import PLACE_WORDS, sentence_case, with_article

# Names with letters beyond ASCII are two byte tokens each in the storyteller's tokenizer.
NAMES = ("Mia", "Tom", "Lena", "Oskar", "Nora", "Zoë", "René", "Åsa", "Paul", "Ida")

OPENINGS = (
    "Once there was {a_hero}.",
    "Once upon a time there was {a_hero} {place}.",
    "There was once {a_hero} that lived {place}.",
    "One morning {a_hero} woke up {place}.",
)
NAMINGS = ("Its name was {name}.", "Everyone called it {name}.")

PLOTS = {
    "lost": (
        ("The {hero} could not find the way home.", "But the {hero} was lost."),
        ("It looked to the left and to the right, but nobody was there.", "It rolled up and down and called for help."),
        ("Then it met {a_friend}.", "After a while {a_friend} came along."),
        ('"Where do you want to go?" asked the {friend}.', '"Why are you so sad?" asked the {friend}.'),
        ('"I want to go home," said the {hero}.', '"I do not know the way," said the {hero}.'),
        ("The {friend} showed the way, and soon they were there.", "They went together, step by step, until they saw the house."),
    ),
    "race": (
        ("The {hero} wanted to be fast.", "The {hero} liked to run."),
        ("One day it saw {a_friend}.", "Its neighbour was {a_friend}."),
        ('"Let us race to the other side!" said the {hero}.', '"Who is faster?" asked the {hero}.'),
        ("They ran as fast as they could.", "The {friend} was quick, but the {hero} did not give up."),
        ("In the end both came in at the same time.", "The {hero} won by a tiny bit.", "The {friend} won, and the {hero} clapped."),
    ),
    "rain": (
        ("One day it began to rain.", "Dark clouds came, and it rained and rained."),
        ("The {hero} got wet and cold.", "The {hero} had no roof."),
        ("Not far away sat {a_friend} under a big leaf.", "Then {a_friend} opened a door."),
        ('"Come in, there is room for two," said the {friend}.', '"Come to me, it is dry here," said the {friend}.'),
        ("They sat together and listened to the rain.", "They drank warm tea and told each other stories."),
        ("Later the sun came out, and there was a rainbow.", "When the rain was over, they danced outside."),
    ),
    "hiding": (
        ("The {hero} loved to play hide and seek.", "The {hero} had found a good place to hide."),
        ("It hid behind {a_friend}.", "It waited very quietly next to {a_friend}."),
        ('"Do not tell anyone that I am here," said the {hero}.', '"Please be quiet," said the {hero}.'),
        ("The {friend} had to laugh.", "The {friend} said nothing at all."),
        ("Nobody found the {hero} that day.", "So everyone looked, and nobody saw the {hero}."),
    ),
    "hill": (
        ("The {hero} wanted to see the world from above.", "The {hero} dreamed of a high hill."),
        ("But the hill was steep, and it slid down again and again.", "It tried to climb, but it was too hard."),
        ("{A_friend} saw it and came to help.", "Then {a_friend} came with a rope."),
        ('"Hold on to me," said the {friend}.', '"Two are stronger than one," said the {friend}.'),
        ("Together they climbed up to the top.", "Slowly, slowly they came up."),
        ("From there they could see the whole picture.", "The view was wonderful."),
    ),
    "song": (
        ("The {hero} sang a song every evening.", "Nobody could sing like the {hero}."),
        ("One evening {a_friend} heard it.", "Far away {a_friend} was listening."),
        ('"What a lovely song!" said the {friend}.', '"Will you teach me your song?" asked the {friend}.'),
        ('"Sing with me," said the {hero}.', '"It is easy," said the {hero}.'),
        ("From then on they sang together.", "Their song was heard on all sides."),
    ),
}
ENDINGS = (
    "From that day on they were friends.",
    "And that was a good day for the {hero}.",
    "The {hero} and the {friend} never forgot that day.",
    "And if they are not tired, they are still playing today.",
)


@dataclass(frozen=True)
class Cast:
    """Who a story is about. The friend differs from the hero in colour or in shape."""

    hero: Thing
    friend: Thing
    name: str | None


def random_cast(random: Random, hero: Thing | None = None, friend: Thing | None = None, name: str | None = None) -> Cast:
    """A cast with what is given, the rest drawn."""
    hero = hero or random_thing(random)
    while friend is None or friend.label == hero.label:
        friend = random_thing(random)
    return Cast(hero, friend, name or (random.choice(NAMES) if random.random() < 0.3 else None))


def values_of(cast: Cast, with_size: bool = True) -> dict[str, str | None]:
    """The words of the cast for the templates; without the hero's size if asked."""
    return {
        "hero": cast.hero.label,
        "a_hero": with_article(cast.hero.noun_phrase if with_size else cast.hero.label),
        "friend": cast.friend.label,
        "a_friend": with_article(cast.friend.noun_phrase),
        "A_friend": sentence_case(with_article(cast.friend.noun_phrase)),
        "place": PLACE_WORDS[cast.hero.place][0],
        "name": cast.name,
    }


def tell(cast: Cast, random: Random, with_size: bool = True) -> str:
    """The story as one paragraph; without the hero's size if asked."""
    slots = [OPENINGS, *([NAMINGS] if cast.name else []), *random.choice(list(PLOTS.values())), ENDINGS]
    return " ".join(random.choice(slot).format(**values_of(cast, with_size)) for slot in slots)
