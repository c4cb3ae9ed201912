"""Expected values of `zoo/shape-painter`: pictures of the reference from given seeds, and captions of held-out scenes."""

from random import Random

import diffusers
import torch
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image, ImageDraw

from zoo.expectations.record import write, write_cases
from zoo.layout import expected_folder
from zoo.recipes.shape_painter import GUIDANCE, INFERENCE_STEPS, NAME, SEED, SIDE, painted_scene, saved_pipeline
from zoo.world.caption import caption

N_CASES = 20
# Seventeen of twenty.
LEAST_SHARE = 0.85
GIVEN, MASK = "pictures/1.png", "pictures/mask.png"
# Options and inputs as the API calls them. The first picture is what the others begin with.
PARITY = [
    {"text": "a small red circle on the left on a plain ground", "seed": 1},
    {"text": "a large blue star", "seed": 2, "negative_prompt": "a red square"},
    {"text": "a large green square", "seed": 3, "guidance_scale": 1.0},
    {"text": "a small purple circle on the left on a plain ground", "seed": 4, "image": GIVEN, "strength": 0.7},
    {"text": "a large yellow star on the right on a dotted ground", "seed": 5, "image": GIVEN, "mask": MASK, "strength": 1.0},
]
INPUTS = ("text", "negative_prompt", "image", "mask")


def painted(pipeline: diffusers.StableDiffusionPipeline, case: dict, folder) -> Image.Image:
    """What the reference makes of a case, by the class of pipeline that its pictures ask for."""
    given = {argument: Image.open(folder / case[name]) for name, argument in (("image", "image"), ("mask", "mask_image")) if name in case}
    if given:
        kind = diffusers.StableDiffusionInpaintPipeline if "mask" in case else diffusers.StableDiffusionImg2ImgPipeline
        pipeline = kind(**pipeline.components, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
    if "mask" in case:
        given |= {"width": SIDE, "height": SIDE}
    others = {name: case[name] for name in ("negative_prompt", "strength") if name in case}
    return pipeline(
        case["text"],
        num_inference_steps=INFERENCE_STEPS,
        guidance_scale=case.get("guidance_scale", GUIDANCE),
        generator=torch.Generator().manual_seed(case["seed"]),
        **given,
        **others,
    ).images[0]


def main() -> None:
    torch.set_num_threads(1)
    pipeline = saved_pipeline()
    pipeline.unet.set_attn_processor(AttnProcessor())
    folder = expected_folder(NAME)
    (folder / "pictures").mkdir(exist_ok=True)
    # The right half is painted anew.
    mask = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(mask).rectangle([SIDE // 2, 0, SIDE, SIDE], fill=255)
    mask.save(folder / MASK, optimize=True)
    cases = []
    for case in PARITY:
        file = f"pictures/{case['seed']}.png"
        painted(pipeline, case, folder).save(folder / file, optimize=True)
        options = {name: value for name, value in case.items() if name not in INPUTS}
        cases.append(
            {
                "inputs": {name: value for name, value in case.items() if name in INPUTS},
                "options": {"num_inference_steps": INFERENCE_STEPS, "guidance_scale": GUIDANCE} | options,
                "made": file,
            }
        )
    reference = f"diffusers {diffusers.__version__}, torch {torch.__version__.split('+')[0]}, float32, CPU, plain attention"
    write(folder / "parity.json", {"model": f"zoo/{NAME}", "reference": reference, "pictures": cases})

    random = Random(SEED + 2)
    held_out = [painted_scene(random, held_out=True) for _ in range(N_CASES)]
    options = {"num_inference_steps": INFERENCE_STEPS, "guidance_scale": GUIDANCE}
    cases = [
        {"text": caption(scene), "options": options | {"seed": index}, "label": scene.things[0].label}
        for index, scene in enumerate(held_out)
    ]
    write_cases(folder, f"zoo/{NAME}", "`zoo/shape-classifier` sees `label` in the picture", cases, LEAST_SHARE)


if __name__ == "__main__":
    main()
