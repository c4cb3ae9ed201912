"""What people say to the storyteller, and what it answers when that is not a request for a story."""

from dataclasses import replace
from random import Random

from zoo.world.scene import Thing, random_thing
from zoo.world.story import NAMES, Cast, random_cast
from zoo.world.vocabulary import SIZE_WORDS, sentence_case, with_article

# Sized heroes that no training story is about.
HELD_OUT_HEROES = frozenset(
    {
        ("small", "red", "star"),
        ("small", "orange", "circle"),
        ("small", "green", "triangle"),
        ("small", "purple", "square"),
        ("large", "yellow", "circle"),
        ("large", "blue", "square"),
        ("large", "green", "star"),
        ("large", "orange", "triangle"),
    }
)

FRAMES = (
    "tell a story about {wish}",
    "tell me a story about {wish}",
    "write a story about {wish}",
    "write a small story about {wish}",
    "please tell me a story about {wish}",
    "tell me about {wish}",
    "can you tell a story about {wish}?",
    "I want a story about {wish}",
    "a story about {wish}, please",
    "now one about {wish}",
    "{wish}",
)
OPEN_FRAMES = ("tell me a story", "tell a story", "another story, please", "write a story", "one more")

OTHER_TALK = (
    "hello",
    "hi",
    "hello, how are you?",
    "good morning",
    "who are you?",
    "what are you?",
    "what can you do?",
    "what is your name?",
    "help",
    "thank you",
    "thanks",
    "bye",
    "what is the capital of France?",
    "what is two plus two?",
    "how old are you?",
    "what time is it?",
    "write a program",
    "translate this",
    "do you speak German?",
    "what is the weather like?",
    "why is the sky blue?",
    "how do I cook rice?",
)
OTHER_ANSWER = "I only tell small stories about coloured shapes. Ask me for one, for example about a small red circle."


def is_held_out(thing: Thing) -> bool:
    """Whether no training story has this thing as its hero."""
    return (thing.size, thing.colour, thing.shape) in HELD_OUT_HEROES


def random_request(random: Random, cast: Cast | None = None) -> tuple[str, Cast]:
    """What the user says, and a cast that fits it. What the user leaves open, the cast fills in."""
    cast = cast or random_cast(random)
    kind = random.random()
    if kind < 0.05:
        return spoken(random.choice(OPEN_FRAMES), random), cast
    hero = cast.hero
    if kind < 0.10:
        wish = f"something {hero.colour}"
    elif kind < 0.30:
        wish = with_article(hero.label)
    else:
        wish = with_article(f"{random.choice(SIZE_WORDS[hero.size])} {hero.label}")
    naming = random.random()
    if naming < 0.2:
        cast = replace(cast, name=cast.name or random.choice(NAMES))
        wish += f" {random.choice(('called', 'named'))} {cast.name}"
    elif naming < 0.5:
        friend = cast.friend
        wish += f" and {with_article(random.choice((friend.label, friend.noun_phrase)))}"
    return spoken(random.choice(FRAMES).format(wish=wish), random), cast


def spoken(text: str, random: Random) -> str:
    """With or without a capital letter and a full stop, as people type."""
    if random.random() < 0.5:
        text = sentence_case(text)
    if random.random() < 0.5 and text[-1] not in "?.":
        text += "."
    return text


def training_cast(random: Random) -> Cast:
    """A cast whose hero may be trained on."""
    while True:
        hero = random_thing(random)
        if not is_held_out(hero):
            return random_cast(random, hero)


def held_out_cast(random: Random) -> Cast:
    """A cast whose hero no training story has."""
    size, colour, shape = random.choice(sorted(HELD_OUT_HEROES))
    return random_cast(random, replace(random_thing(random), size=size, colour=colour, shape=shape))
