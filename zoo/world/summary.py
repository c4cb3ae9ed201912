"""Stories and what happens in them, in one or two sentences that say how it ended."""

from dataclasses import dataclass
from random import Random

from zoo.world.story import ENDINGS, NAMINGS, OPENINGS, PLOTS, Cast, values_of
from zoo.world.vocabulary import sentence_case

# By the plot; what stands in braces beside the cast depends on how the story was told.
SUMMARIES = {
    "lost": "{A_hero} was lost, and {a_friend} showed it the way home.",
    "race": "{A_hero} ran a race against {a_friend}. {outcome}",
    "rain": "{A_hero} had no roof in the rain, and {a_friend} took it in. {outcome}",
    "hiding": "{A_hero} hid {outcome} {a_friend}, and nobody found it.",
    "hill": "{A_hero} wanted to climb a hill, and {a_friend} helped{outcome}.",
    "song": "{A_hero} sang, and {a_friend} sang along.",
}
# The slot of the plot whose sentence decides, and what each of its sentences means.
OUTCOMES = {
    "race": (4, ("Both came in at the same time.", "The {hero} won.", "The {friend} won.")),
    "rain": (4, ("They listened to the rain.", "They drank tea.")),
    "hiding": (1, ("behind", "next to")),
    "hill": (2, ("", " with a rope")),
}


@dataclass(frozen=True)
class Summarised:
    """A story and its summary."""

    story: str
    summary: str


def random_summary(random: Random, cast: Cast) -> Summarised:
    """One story of the cast; some begin late or break off, so that no sentence is always there."""
    values = values_of(cast)
    plot = random.choice(list(PLOTS))
    sentences = [random.choice(slot) for slot in PLOTS[plot]]
    opening = [random.choice(OPENINGS), *([random.choice(NAMINGS)] if cast.name else [])]
    ending = [random.choice(ENDINGS)] if random.random() < 0.8 else []
    outcome = ""
    if plot in OUTCOMES:
        at, meanings = OUTCOMES[plot]
        outcome = meanings[PLOTS[plot][at].index(sentences[at])].format(**values)
    hero = values["a_hero"] + (f" called {cast.name}" if cast.name else "")
    summary = SUMMARIES[plot].format(A_hero=sentence_case(hero), outcome=outcome, **values)
    story = " ".join([*opening, *sentences, *ending]).format(**values)
    return Summarised(story, summary)
