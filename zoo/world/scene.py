"""Scenes: which coloured shapes there are, where they lie, and on what ground."""

import hashlib
from dataclasses import dataclass, replace
from random import Random

from zoo.world.vocabulary import COLOURS, GROUNDS, PLACES, SHAPES, SIZES


@dataclass(frozen=True)
class Thing:
    """One coloured shape. A place is taken by at most one thing of a scene."""

    size: str
    colour: str
    shape: str
    place: str

    @property
    def label(self) -> str:
        """Colour and shape, as in `red circle`."""
        return f"{self.colour} {self.shape}"

    @property
    def noun_phrase(self) -> str:
        """Size, colour and shape, as in `small red circle`."""
        return f"{self.size} {self.label}"


@dataclass(frozen=True)
class Scene:
    """What a picture shows and a caption says.

    Where ground and places are empty strings, nothing is said about them; such a scene can be told but not drawn.
    """

    things: tuple[Thing, ...]
    ground: str

    def without_surroundings(self) -> "Scene":
        """The scene with nothing said about places and ground."""
        return Scene(tuple(replace(thing, place="") for thing in self.things), "")

    def key(self) -> str:
        """The same for two scenes exactly if they show the same, whatever the order of their things."""
        return " + ".join(sorted(f"{thing.noun_phrase} {thing.place}" for thing in self.things)) + f" on {self.ground}"

    def is_held_out(self) -> bool:
        """One scene in ten is never trained on. Decided by what it shows, not by the seed that met it."""
        return hashlib.sha256(self.key().encode()).digest()[0] % 10 == 0


def random_thing(random: Random, place: str | None = None) -> Thing:
    """A thing whose attributes are drawn independently."""
    return Thing(
        size=random.choice(SIZES),
        colour=random.choice(COLOURS),
        shape=random.choice(SHAPES),
        place=place or random.choice(PLACES),
    )


def random_scene(random: Random, n_things: int = 1) -> Scene:
    """A scene of `n_things` things at different places."""
    places = random.sample(PLACES, n_things)
    return Scene(tuple(random_thing(random, place) for place in places), random.choice(GROUNDS))


def neighbour(scene: Scene, random: Random) -> Scene:
    """Another scene that differs in one attribute of one thing, in who has which attribute, or in the ground."""
    changes = ["attribute"] * 4 + ["ground"] * bool(scene.ground) + ["exchange"] * 2 * (len(scene.things) > 1)
    change = random.choice(changes)
    if change == "ground":
        return replace(scene, ground=random.choice([ground for ground in GROUNDS if ground != scene.ground]))
    things = list(scene.things)
    if change == "exchange":
        first, second = things
        differing = [name for name in ("size", "colour", "shape", "place") if getattr(first, name) != getattr(second, name)]
        # Exchanging the only difference would give the same scene in another order.
        if len(differing) > 1:
            name = random.choice(differing)
            things = [
                replace(first, **{name: getattr(second, name)}),
                replace(second, **{name: getattr(first, name)}),
            ]
            return replace(scene, things=tuple(things))
    index = random.randrange(len(things))
    choices = {"size": SIZES, "colour": COLOURS, "shape": SHAPES}
    if scene.ground:
        taken = {thing.place for thing in things}
        choices["place"] = tuple(place for place in PLACES if place not in taken)
    name = random.choice(list(choices))
    current = getattr(things[index], name)
    things[index] = replace(things[index], **{name: random.choice([value for value in choices[name] if value != current])})
    return replace(scene, things=tuple(things))
