"""`zoo/shape-classifier`: a ViT that names the colour and the shape of the thing in a picture."""

import json
from random import Random

import numpy
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, ViTConfig, ViTForImageClassification

from zoo.card import Card, write_card
from zoo.layout import model_folder
from zoo.recipes.optimisation import muon, seed_everything, train
from zoo.world.picture import draw
from zoo.world.scene import random_scene
from zoo.world.vocabulary import COLOURS, SHAPES

NAME = "shape-classifier"
SEED = 30
N_STEPS = 2400
BATCH = 64
N_TRAINING_PICTURES = 10_000
N_SCORED = 1000
SIDE = 64
PATCH = 16
# Grounds are greyish: a pixel whose channels differ by more than this share belongs to the thing.
LEAST_SATURATION = 0.3
# A patch belongs to the thing if this share of its pixels does.
LEAST_COVERAGE = 0.2
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


def labelled_picture(random: Random, widest: int = 96) -> tuple[Image.Image, str]:
    """A picture of one thing, of some size and shape of frame, and its label."""
    scene = random_scene(random)
    width = random.randint(48, widest)
    height = round(width * random.uniform(0.85, 1.15))
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


def thing_masks(pixel_values: torch.Tensor) -> torch.Tensor:
    """`[batch, n_patches, patch × patch]` with 1 where the thing is and 0 where the ground is."""
    saturated = (pixel_values.amax(1, keepdim=True) - pixel_values.amin(1, keepdim=True)) / 2 > LEAST_SATURATION
    return torch.nn.functional.unfold(saturated.float(), PATCH, stride=PATCH).transpose(1, 2)


class TrainingHeads(torch.nn.Module):
    """What the model must know besides the label, in training only: where in each patch the thing is (from the second
    layer), and of which thing each patch is a part (from the last). Without them it learns colours quickly and shapes
    hardly ever.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.mask = torch.nn.Linear(dim, PATCH * PATCH)
        self.part = torch.nn.Linear(dim, len(LABELS) + 1)

    def loss(self, hidden_states: tuple[torch.Tensor, ...], last: torch.Tensor, masks: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Patches with little of the thing count as ground, which has the id after the last label."""
        mask_loss = torch.nn.functional.binary_cross_entropy_with_logits(self.mask(hidden_states[2][:, 1:]), masks)
        parts = torch.where(masks.mean(-1) > LEAST_COVERAGE, labels.unsqueeze(1), len(LABELS))
        part_loss = torch.nn.functional.cross_entropy(self.part(last[:, 1:]).flatten(0, 1), parts.flatten())
        return 3 * mask_loss + 2 * part_loss


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
            patch_size=PATCH,
            hidden_size=96,
            intermediate_size=256,
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
    heads = TrainingHeads(model.config.hidden_size)
    trained = torch.nn.ModuleList([model, heads])
    order: list[int] = []

    def loss_of_step(_step: int) -> torch.Tensor:
        nonlocal order
        if len(order) < BATCH:
            order = random.sample(range(len(pixels)), len(pixels))
        batch, order = order[:BATCH], order[BATCH:]
        pixel_values = varied_batch(pixels[batch], random)
        outputs = model.vit(pixel_values=pixel_values, output_hidden_states=True)
        last = outputs.last_hidden_state
        loss = torch.nn.functional.cross_entropy(model.classifier(last[:, 0]), labels[batch])
        return loss + heads.loss(outputs.hidden_states, last, thing_masks(pixel_values), labels[batch])

    minutes = train(trained, loss_of_step, N_STEPS, muon(trained, 3e-3))
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
            data=f"{N_TRAINING_PICTURES:,} pictures drawn by `zoo/world/picture.py`, 48 to 96 pixels wide and nearly square, turned, grained, moved and mirrored."
            " Held-out pictures come from another seed.",
            scores={f"Held-out pictures ({N_SCORED}) with the right label first": f"{share:.1%}"},
            n_parameters=n_parameters,
            architecture="vit, 4 layers of 96, 4 heads, 64 × 64 pixels in patches of 16",
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
