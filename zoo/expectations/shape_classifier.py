"""Expected values of `zoo/shape-classifier`: resized pixels by both processor backends, logits, probabilities."""

from pathlib import Path
from random import Random

import numpy
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from zoo.expectations.record import rounded, write_cases, write_parity
from zoo.layout import expected_folder, model_folder
from zoo.recipes.shape_classifier import NAME, SEED, SIDE, labelled_picture
from zoo.world.picture import draw
from zoo.world.scene import Scene, Thing

N_CASES = 40
BACKENDS = ("pil", "torchvision")


def parity_pictures() -> dict[str, Image.Image]:
    """A wide and large picture, a tall and tiny one, one that needs no resizing, one with alpha, one with a palette."""
    random = Random(SEED + 2)

    def picture(colour: str, shape: str, place: str, ground: str, width: int, height: int) -> Image.Image:
        return draw(Scene((Thing("large", colour, shape, place),), ground), random, width, height)

    transparent = picture("green", "triangle", "left", "plain", 60, 52).convert("RGBA")
    fade = numpy.linspace(0, 255, 60, dtype=numpy.uint8)[None, :].repeat(52, 0)
    transparent.putalpha(Image.fromarray(fade))
    return {
        "wide": picture("red", "circle", "left", "striped", 131, 87),
        "tall": picture("blue", "star", "top", "dotted", 23, 41),
        "exact": picture("yellow", "square", "centre", "plain", SIDE, SIDE),
        "alpha": transparent,
        "palette": picture("purple", "star", "right", "plain", 64, 64).convert("P", palette=Image.Palette.ADAPTIVE, colors=16),
    }


def resized_bytes(values: torch.Tensor) -> numpy.ndarray:
    """`[side, side, 3]` bytes whose normalisation gives the pixel values; fails if there are none."""
    pixels = ((values * 0.5 + 0.5) * 255).round()
    assert ((pixels / 255 - 0.5) / 0.5 - values).abs().max() < 1e-6, "pixel values do not come from bytes"
    return pixels.permute(1, 2, 0).to(torch.uint8).numpy()


def expected_of(path: Path, model, processors) -> dict:
    """What each backend makes of one file, and what the model says to it. Pipelines convert every picture to RGB first."""
    picture = Image.open(path).convert("RGB")
    case: dict = {"file": f"pictures/{path.name}"}
    for backend, processor in processors.items():
        values = processor(picture, return_tensors="pt").pixel_values
        resized = path.with_name(f"{path.stem}.{backend}.png")
        Image.fromarray(resized_bytes(values[0])).save(resized, optimize=True)
        with torch.inference_mode():
            logits = model(values).logits[0]
        probabilities = logits.softmax(-1)
        case[backend] = {
            "resized": f"pictures/{resized.name}",
            "logits": rounded(logits),
            "probabilities": rounded(probabilities),
            "label": model.config.id2label[int(logits.argmax())],
        }
    return case


def main() -> None:
    torch.set_num_threads(1)
    folder = model_folder(NAME)
    model = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    processors = {backend: AutoImageProcessor.from_pretrained(folder, backend=backend) for backend in BACKENDS}
    expected = expected_folder(NAME)
    pictures = expected / "pictures"
    pictures.mkdir(exist_ok=True)
    parity = []
    for name, picture in parity_pictures().items():
        picture.save(pictures / f"{name}.png", optimize=True)
        parity.append(expected_of(pictures / f"{name}.png", model, processors))
    write_parity(expected, f"zoo/{NAME}", pictures=parity)

    random = Random(SEED + 1)
    cases = []
    for index in range(N_CASES):
        picture, label = labelled_picture(random, widest=64)
        name = f"held-out-{index:02}.png"
        picture.save(pictures / name, optimize=True)
        cases.append({"file": f"pictures/{name}", "label": label})
    write_cases(expected, f"zoo/{NAME}", "the first label is `label`", cases)


if __name__ == "__main__":
    main()
