"""Expected values of `zoo/shape-upscaler`: what the reference makes of some pictures, and held-out pictures with their truth."""

from random import Random

import torch
from PIL import Image
from transformers import AutoImageProcessor, Swin2SRForImageSuperResolution

from zoo.expectations.record import write, write_cases, write_parity
from zoo.layout import expected_folder, model_folder
from zoo.recipes.shape_upscaler import NAME, SEED, drawn, enlarged, gains, held_out_pictures, reduced

N_CASES, CASE_SIDE = 8, 64
# Of the mean gain over these pictures so much is asked of a server.
ASKED_SHARE = 0.9
# Width and height: no multiple of a window, a multiple, and hardly more than one.
SIZES = ((45, 30), (32, 32), (13, 9))


def main() -> None:
    torch.set_num_threads(1)
    folder = model_folder(NAME)
    model = Swin2SRForImageSuperResolution.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="torchvision")
    expected = expected_folder(NAME)
    (expected / "pictures").mkdir(exist_ok=True)

    def saved(picture: Image.Image, name: str) -> str:
        picture.save(expected / "pictures" / name, optimize=True)
        return f"pictures/{name}"

    random = Random(SEED + 2)
    parity = []
    for width, height in SIZES:
        picture = drawn(random, 48).resize((width, height), Image.Resampling.BICUBIC)
        name = f"{width}x{height}"
        made = enlarged(model, processor, picture)
        parity.append({"file": saved(picture, f"{name}.png"), "made": saved(made, f"{name}.made.png")})
    write_parity(expected, f"zoo/{NAME}", pictures=parity)

    pictures = held_out_pictures(N_CASES, CASE_SIDE)
    both = gains(model, processor, pictures)
    print(both)
    cases = []
    for index, truth in enumerate(pictures):
        name = f"held-out-{index}"
        cases.append({"file": saved(reduced(truth), f"{name}.png"), "truth": saved(truth, f"{name}.truth.png")})
    least = round(ASKED_SHARE * sum(ours - bicubic for bicubic, ours in both) / len(both), 1)
    truth = "nearer to `truth` than bicubic interpolation is, by `least_gain_db` on average over the cases"
    write_cases(expected, f"zoo/{NAME}", truth, cases, least_share=1.0, least_gain_db=least)


if __name__ == "__main__":
    main()
