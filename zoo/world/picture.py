"""Pictures of scenes. Drawn four times as large and averaged down, so that edges are smooth."""

import math
from random import Random

import numpy
from PIL import Image, ImageDraw

from zoo.world.scene import Scene, Thing

OVERSAMPLING = 4

COLOUR_VALUES = {
    "red": (214, 38, 38),
    "orange": (244, 138, 24),
    "yellow": (246, 222, 48),
    "green": (44, 160, 66),
    "blue": (44, 92, 222),
    "purple": (140, 56, 184),
}
# Grounds are greyish, so that no ground has a colour of the world.
GROUND_VALUES = ((250, 250, 250), (226, 226, 222), (196, 200, 206), (160, 160, 156), (92, 94, 98), (36, 36, 40))

# Centres as shares of width and height.
PLACE_CENTRES = {
    "left": (0.22, 0.5),
    "right": (0.78, 0.5),
    "top": (0.5, 0.22),
    "bottom": (0.5, 0.78),
    "centre": (0.5, 0.5),
}
# Radii as shares of the shorter side.
SIZE_RADII = {"small": (0.14, 0.18), "large": (0.24, 0.31)}


def draw(scene: Scene, random: Random, width: int = 96, height: int = 96) -> Image.Image:
    """An RGB picture; exact positions, tones, turns, textures and grain come from `random`."""
    return grained(clean(scene, random, width, height), random)


def clean(scene: Scene, random: Random, width: int = 96, height: int = 96) -> Image.Image:
    """A picture without grain."""
    large = (width * OVERSAMPLING, height * OVERSAMPLING)
    tone = random.choice(GROUND_VALUES)
    canvas = Image.new("RGB", large, varied(tone, random, 8))
    pen = ImageDraw.Draw(canvas)
    texture(pen, scene.ground, tone, large, random)
    for thing in scene.things:
        draw_thing(pen, thing, large, random)
    return canvas.resize((width, height), Image.Resampling.BOX)


def varied(colour: tuple[int, int, int], random: Random, spread: int) -> tuple[int, int, int]:
    """The colour with each channel moved by at most `spread`."""
    return tuple(min(255, max(0, value + random.randint(-spread, spread))) for value in colour)


def texture(pen: ImageDraw.ImageDraw, ground: str, tone: tuple[int, int, int], size: tuple[int, int], random: Random) -> None:
    """Stripes or dots a little darker or lighter than the ground; nothing on a plain one."""
    if ground == "plain":
        return
    width, height = size
    step = random.uniform(0.10, 0.20) * min(size)
    shift = random.choice((1, -1)) * random.randint(14, 34)
    if tone[0] > 215:
        shift = -abs(shift)
    other = tuple(min(255, max(0, value + shift)) for value in tone)
    offset = random.uniform(0, step)
    if ground == "striped":
        slant = random.uniform(-0.6, 0.6) * height
        x = offset - abs(slant) - step
        while x < width + abs(slant):
            pen.line([(x, 0), (x + slant, height)], fill=other, width=max(1, round(step * 0.4)))
            x += step
        return
    radius = step * random.uniform(0.16, 0.28)
    y = offset - step
    while y < height + step:
        x = offset - step
        while x < width + step:
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=other)
            x += step
        y += step


def draw_thing(pen: ImageDraw.ImageDraw, thing: Thing, size: tuple[int, int], random: Random) -> None:
    """One shape, wholly inside the picture."""
    shorter = min(size)
    radius = random.uniform(*SIZE_RADII[thing.size]) * shorter
    margin = radius + 0.01 * shorter
    centre = []
    for share, length in zip(PLACE_CENTRES[thing.place], size, strict=True):
        wanted = (share + random.uniform(-0.06, 0.06)) * length
        centre.append(min(length - margin, max(margin, wanted)))
    colour = varied(COLOUR_VALUES[thing.colour], random, 14)
    turn = random.uniform(-0.25, 0.25)
    pen.polygon(outline(thing.shape, tuple(centre), radius, turn), fill=colour)


def outline(shape: str, centre: tuple[float, float], radius: float, turn: float) -> list[tuple[float, float]]:
    """Corners of the shape in its circle of `radius`, turned by `turn` radians; a circle has 72."""
    if shape == "star":
        corners = [(index / 10, radius if index % 2 == 0 else radius * 0.42) for index in range(10)]
    elif shape == "square":
        corners = [((index + 0.5) / 4, radius) for index in range(4)]
    else:
        n_corners = {"circle": 72, "triangle": 3}[shape]
        corners = [(index / n_corners, radius) for index in range(n_corners)]
    points = []
    for share, distance in corners:
        # The first corner points up; y grows downwards.
        angle = 2 * math.pi * share + turn - math.pi / 2
        points.append((centre[0] + distance * math.cos(angle), centre[1] + distance * math.sin(angle)))
    return points


def grained(picture: Image.Image, random: Random) -> Image.Image:
    """The picture with a little noise in every pixel, as a camera adds it."""
    strength = random.choice((0.0, 0.0, 2.0, 5.0))
    if strength == 0.0:
        return picture
    noise = numpy.random.default_rng(random.getrandbits(32)).normal(0.0, strength, (picture.height, picture.width, 3))
    pixels = numpy.asarray(picture, dtype=numpy.float64) + noise
    return Image.fromarray(pixels.round().clip(0, 255).astype(numpy.uint8))
