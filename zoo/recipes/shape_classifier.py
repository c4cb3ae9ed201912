"""`zoo/shape-classifier`: a ViT that names the colour and the shape of the thing in a picture."""

import json
import os
from random import Random

import numpy
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, ViTConfig, ViTForImageClassification

from zoo.card import Card, write_card
from zoo.layout import model_folder
from zoo.recipes.optimisation import seed_everything, train
from zoo.world.picture import draw
from zoo.world.scene import random_scene
from zoo.world.vocabulary import COLOURS, SHAPES

NAME = "shape-classifier"
SEED = 30
N_STEPS = int(os.environ.get("ZOO_STEPS", 3000))
BATCH = 64
N_TRAINING_PICTURES = 16_000
N_SCORED = 1000
SIDE = 48
LABELS = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
PREPROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"height": SIDE, "width": SIDE},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def labelled_picture(random: Random, longest_side: int = 128) -> tuple[Image.Image, str]:
    """A picture of one thing, of some size and shape of frame, and its label."""
    scene = random_scene(random)
    width, height = random.randint(48, longest_side), random.randint(48, longest_side)
    return draw(scene, random, width, height), scene.things[0].label


def held_out_pictures(n_pictures: int) -> list[tuple[Image.Image, str]]:
    """Pictures from seeds that training never meets."""
    random = Random(SEED + 1)
    return [labelled_picture(random) for _ in range(n_pictures)]


def training_pictures(random: Random) -> tuple[torch.Tensor, torch.Tensor]:
    """`[n, 3, side, side]` bytes and label ids."""
    pixels = numpy.empty((N_TRAINING_PICTURES, SIDE, SIDE, 3), dtype=numpy.uint8)
    labels = torch.empty(N_TRAINING_PICTURES, dtype=torch.int64)
    for index in range(N_TRAINING_PICTURES):
        picture, label = labelled_picture(random)
        pixels[index] = numpy.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        labels[index] = LABELS.index(label)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels


def varied_batch(pixels: torch.Tensor, random: Random) -> torch.Tensor:
    """The pictures normalised, moved by up to four pixels, mirrored half of the time, a little darker or lighter."""
    moved = torch.nn.functional.pad(pixels.float() / 255, (4, 4, 4, 4), mode="replicate")
    down, right = random.randint(0, 8), random.randint(0, 8)
    moved = moved[:, :, down : down + SIDE, right : right + SIDE]
    if random.random() < 0.5:
        moved = moved.flip(-1)
    brightness = 1 + 0.12 * (torch.rand(len(moved), 1, 1, 1) - 0.5)
    return ((moved * brightness).clamp(0, 1) - 0.5) / 0.5


def score(model, processor, pictures: list[tuple[Image.Image, str]]) -> float:
    """The share of pictures whose best label is the true one."""
    n_right = 0
    for picture, label in pictures:
        with torch.inference_mode():
            logits = model(**processor(picture, return_tensors="pt")).logits[0]
        n_right += model.config.id2label[int(logits.argmax())] == label
    return n_right / len(pictures)


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder = model_folder(NAME)
    model = ViTForImageClassification(
        ViTConfig(
            image_size=SIDE,
            patch_size=8,
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=4,
            num_attention_heads=4,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
        )
    )
    n_parameters = sum(weight.numel() for weight in model.parameters())
    pixels, labels = training_pictures(random)
    print(f"{n_parameters} parameters, {len(pixels)} pictures drawn")
    order: list[int] = []

    def loss_of_step(_step: int) -> torch.Tensor:
        nonlocal order
        if len(order) < BATCH:
            order = random.sample(range(len(pixels)), len(pixels))
        batch, order = order[:BATCH], order[BATCH:]
        logits = model(pixel_values=varied_batch(pixels[batch], random)).logits
        return torch.nn.functional.cross_entropy(logits, labels[batch], label_smoothing=0.02)

    minutes = train(model, loss_of_step, N_STEPS, peak_rate=1.5e-3)
    model.half().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")

    saved = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32).eval()
    share = score(saved, AutoImageProcessor.from_pretrained(folder), held_out_pictures(N_SCORED))
    print("held-out", share)
    write_card(
        folder,
        Card(
            name=NAME,
            task="image-classification",
            library="transformers",
            tags=("vit", "vision"),
            summary="Names the colour and the shape of the one thing in a picture: 24 labels from `red circle` to `purple star`.",
            usage="Give it a picture with one filled circle, square, triangle or star on a greyish ground, plain, striped or dotted."
            " It knows nothing else; a photograph gets the label of the shape that it looks most like.",
            data=f"{N_TRAINING_PICTURES:,} pictures drawn by `zoo/world/picture.py`, 48 to 128 pixels a side, turned, grained, moved and mirrored."
            " Held-out pictures come from another seed.",
            scores={f"Held-out pictures ({N_SCORED}) with the right label first": f"{share:.1%}"},
            n_parameters=n_parameters,
            architecture="vit, 4 layers of 96, 4 heads, 48 × 48 pixels in patches of 8",
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
