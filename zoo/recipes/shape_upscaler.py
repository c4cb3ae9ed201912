"""`zoo/shape-upscaler`: a Swin2SR that makes the world's pictures twice as large, with edges as sharp as they were drawn."""

import json
from random import Random

import numpy
import torch
from PIL import Image
from transformers import AutoImageProcessor, Swin2SRConfig, Swin2SRForImageSuperResolution

from zoo.card import Card, write_card
from zoo.layout import model_folder
from zoo.recipes.optimisation import kernel_muon, seed_everything, train
from zoo.world.picture import draw
from zoo.world.scene import random_scene

NAME = "shape-upscaler"
SEED = 61
N_STEPS = 900
BATCH = 8
SCALE = 2
N_TRAINING_PICTURES = 3000
# Sides of drawn pictures, and of the parts of them that are trained on.
SMALLEST, LARGEST, PART = 64, 128, 64
# Of the pixel before, the pixel itself and the one after, for the first of two that it becomes: nearly bicubic.
NEAR_TAPS = [0.2031, 0.8672, -0.0703]
N_SCORED, SCORED_SIDE = 200, 96
PREPROCESSOR = {
    "image_processor_type": "Swin2SRImageProcessor",
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_pad": True,
    "pad_size": 8,
}


def drawn(random: Random, side: int) -> Image.Image:
    """A scene of one thing or two."""
    return draw(random_scene(random, n_things=random.choice((1, 2))), random, side, side)


def reduced(picture: Image.Image) -> Image.Image:
    """What the model is given: half as wide and half as high."""
    return picture.resize((picture.width // SCALE, picture.height // SCALE), Image.Resampling.BICUBIC)


def held_out_pictures(n_pictures: int, side: int = SCORED_SIDE) -> list[Image.Image]:
    """Pictures from seeds that training never meets."""
    random = Random(SEED + 1)
    return [drawn(random, side) for _ in range(n_pictures)]


def pixels_of(picture: Image.Image) -> torch.Tensor:
    """`[3, height, width]` bytes."""
    return torch.from_numpy(numpy.array(picture)).permute(2, 0, 1)


def training_parts(random: Random) -> tuple[torch.Tensor, torch.Tensor]:
    """Bytes of `[n, 3, part / 2, part / 2]` parts that were made smaller, and of the same `[n, 3, part, part]` as drawn."""
    small, large = [], []
    for _ in range(N_TRAINING_PICTURES):
        picture = drawn(random, random.randrange(SMALLEST, LARGEST + 1, SCALE))
        whole = pixels_of(picture), pixels_of(reduced(picture))
        left, top = (random.randrange((picture.width - PART) // SCALE + 1) for _ in range(2))
        side = PART // SCALE
        small.append(whole[1][:, top : top + side, left : left + side])
        large.append(whole[0][:, top * SCALE :, left * SCALE :][:, :PART, :PART])
    return torch.stack(small), torch.stack(large)


def turned(pixels: torch.Tensor, turn: int) -> torch.Tensor:
    """One of the eight ways in which a square can lie."""
    return torch.rot90(pixels.flip(-1) if turn >= 4 else pixels, turn % 4, (-2, -1))


@torch.no_grad()
def begin_with_interpolation(model: Swin2SRForImageSuperResolution) -> None:
    """Makes the model interpolate at first: the colours go through three channels, and what the body says counts for nothing."""
    first, last = model.swin2sr.first_convolution, model.upsample.conv
    model.swin2sr.conv_after_body.weight.zero_()
    taps = torch.tensor([NEAR_TAPS, NEAR_TAPS[::-1]])
    for colour in range(3):
        first.weight[colour] = 0
        first.weight[colour, colour, 1, 1] = 1
        of_colour = slice(colour * SCALE**2, (colour + 1) * SCALE**2)
        last.weight[of_colour] = 0
        last.weight[of_colour, colour] = torch.einsum("iy,jx->ijyx", taps, taps).flatten(0, 1)


def enlarged(model, processor, picture: Image.Image) -> Image.Image:
    """The picture `SCALE` times as large; what the processor pads is cut off."""
    with torch.inference_mode():
        made = model(**processor(picture, return_tensors="pt")).reconstruction[0]
    levels = (made.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(levels[: picture.height * SCALE, : picture.width * SCALE])


def decibels(found: Image.Image, truth: Image.Image) -> float:
    """Peak signal-to-noise ratio."""
    error = numpy.asarray(found, dtype=numpy.float64) - numpy.asarray(truth, dtype=numpy.float64)
    return float(10 * numpy.log10(255**2 / max(1e-6, (error**2).mean())))


def gains(model, processor, pictures: list[Image.Image]) -> list[tuple[float, float]]:
    """For each picture the decibels of bicubic interpolation and those of the model."""
    both = []
    for truth in pictures:
        small = reduced(truth)
        bicubic = small.resize(truth.size, Image.Resampling.BICUBIC)
        both.append((decibels(bicubic, truth), decibels(enlarged(model, processor, small), truth)))
    return both


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder = model_folder(NAME)
    model = Swin2SRForImageSuperResolution(
        Swin2SRConfig(
            image_size=PART // SCALE,
            embed_dim=48,
            depths=[2, 2],
            num_heads=[4, 4],
            window_size=8,
            mlp_ratio=2.0,
            upscale=SCALE,
            upsampler="pixelshuffledirect",
        )
    )
    begin_with_interpolation(model)
    n_parameters = sum(weight.numel() for weight in model.parameters())
    small, large = training_parts(random)
    print(f"{n_parameters} parameters, {len(small)} pictures drawn")

    def loss_of_step(_step: int) -> torch.Tensor:
        rows, turn = [random.randrange(len(small)) for _ in range(BATCH)], random.randrange(8)
        given, wanted = (turned(parts[rows], turn).float() / 255 for parts in (small, large))
        return torch.nn.functional.l1_loss(model(given).reconstruction, wanted)

    minutes = train(model, loss_of_step, N_STEPS, kernel_muon(model, 2e-3))
    model.half().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")

    saved = Swin2SRForImageSuperResolution.from_pretrained(folder, dtype=torch.float32).eval()
    both = gains(saved, AutoImageProcessor.from_pretrained(folder), held_out_pictures(N_SCORED))
    bicubic, ours = (sum(values) / len(both) for values in zip(*both, strict=True))
    worst = min(ours - bicubic for bicubic, ours in both)
    print(f"held-out {ours:.2f} dB, bicubic {bicubic:.2f} dB, least gain {worst:.2f} dB")
    write_card(
        folder,
        Card(
            name=NAME,
            task="image-to-image",
            library="transformers",
            tags=("swin2sr", "image-super-resolution", "vision"),
            summary="Makes a picture of the world twice as wide and twice as high, with edges as sharp as they were drawn.",
            usage="Give it a picture with coloured shapes on a plain, striped or dotted ground. It also takes a little of the grain away,"
            " because grain cannot be guessed. Photographs become larger too, but it has never seen one.",
            data=f"{N_TRAINING_PICTURES:,} parts of {PART} × {PART} pixels of pictures drawn by `zoo/world/picture.py`, {SMALLEST} to {LARGEST}"
            " pixels wide, and the same at half the size by bicubic interpolation. Held-out pictures come from another seed.",
            scores={
                f"PSNR over held-out pictures ({N_SCORED}, {SCORED_SIDE} × {SCORED_SIDE}), mean": f"{ours:.2f} dB",
                "Bicubic interpolation of the same": f"{bicubic:.2f} dB",
            },
            n_parameters=n_parameters,
            architecture="swin2sr, 2 stages of 2 layers of 48, 4 heads, windows of 8, pixelshuffledirect, ×2",
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
