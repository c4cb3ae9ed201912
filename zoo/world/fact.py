"""Facts about people and their things, as sentences and as questions; people, towns and companies have names of `names.py`."""

from random import Random

from zoo.world.scene import Thing
from zoo.world.vocabulary import COLOUR_WORDS, PLACE_WORDS, SHAPE_WORDS, SIZE_WORDS, sentence_case, with_article

# Everything that is told of a person, each in one sentence.
SENTENCES = {
    "has": ("{name} has {art} {thing}.", "{name} owns {art} {thing}.", "{Art} {thing} belongs to {name}.", "{name} keeps {art} {thing}."),
    "place": ("The {label} lies {place}.", "The {label} is {place}.", "{Place} lies the {label}.", "You can see the {label} {place}."),
    "lives": ("{name} lives in {town}.", "{name} is at home in {town}.", "The home of {name} is {town}.", "{name} has a house in {town}."),
    "born": ("{name} was born in {birthplace}.", "{birthplace} is where {name} was born."),
    "works": ("{name} works for {company}.", "{name} is with {company}.", "{company} pays {name}."),
    "came": ("{name} came on {day}.", "On {day} came {name}.", "{name} arrived on {day}."),
}
# Question, slot of the answer, and the answer as a sentence.
QUESTIONS = {
    "has": (
        ("Who has the {label}?", "name", "The {label} belongs to {name}."),
        ("Who owns the {label}?", "name", "{name} has the {label}."),
        ("Whose is the {label}?", "name", "The {label} is that of {name}."),
        ("What does {name} have?", "thing", "{name} has {art} {thing}."),
        ("What belongs to {name}?", "thing", "{Art} {thing} is that of {name}."),
        ("What colour is the {shape} of {name}?", "colour", "The {shape} of {name} is {colour}."),
        ("What size is the {shape} of {name}?", "size", "The {shape} of {name} is {size}."),
        ("What shape is the {colour} thing of {name}?", "shape", "The {colour} thing of {name} is a {shape}."),
    ),
    "place": (
        ("Where is the {label}?", "place", "The {label} is {place}."),
        ("Where does the {label} lie?", "place", "{Place} lies the {label}."),
        ("What is {place}?", "label", "The {label} lies {place}."),
        ("What lies {place}?", "label", "{Place} you can see the {label}."),
    ),
    "lives": (
        ("Where does {name} live?", "town", "{name} lives in {town}."),
        ("Where is the home of {name}?", "town", "The home of {name} is {town}."),
        ("Who lives in {town}?", "name", "{name} is at home in {town}."),
    ),
    "born": (
        ("Where was {name} born?", "birthplace", "{name} was born in {birthplace}."),
        ("Who was born in {birthplace}?", "name", "{birthplace} is where {name} was born."),
    ),
    "works": (
        ("Who does {name} work for?", "company", "{name} works for {company}."),
        ("Where does {name} work?", "company", "{name} is with {company}."),
        ("Who works for {company}?", "name", "{company} pays {name}."),
    ),
    "came": (
        ("When did {name} come?", "day", "{name} came on {day}."),
        ("When did {name} arrive?", "day", "{name} arrived on {day}."),
        ("Who came on {day}?", "name", "On {day} came {name}."),
    ),
}


def one_word(words: tuple[str, ...], random: Random) -> str:
    """Any of the words that are one word."""
    return random.choice([word for word in words if " " not in word])


def thing_values(thing: Thing, random: Random) -> dict[str, str]:
    """The slots that tell of a thing, with one choice of words for all of them."""
    size, colour = one_word(SIZE_WORDS[thing.size], random), one_word(COLOUR_WORDS[thing.colour], random)
    shape, place = one_word(SHAPE_WORDS[thing.shape], random), random.choice(PLACE_WORDS[thing.place])
    whole = f"{size} {colour} {shape}"
    article = with_article(whole).split()[0]
    return {
        "size": size,
        "colour": colour,
        "shape": shape,
        "label": f"{colour} {shape}",
        "thing": whole,
        "art": article,
        "Art": sentence_case(article),
        "place": place,
        "Place": sentence_case(place),
    }
