"""Expected values of `zoo/shape-painter`: pictures of the reference from given seeds, and captions of held-out scenes."""

import json
from random import Random

import diffusers
import torch
from diffusers.models.attention_processor import AttnProcessor

from zoo.expectations.record import write, write_cases
from zoo.layout import expected_folder
from zoo.recipes.shape_painter import GUIDANCE, INFERENCE_STEPS, NAME, SEED, painted_scene, saved_pipeline
from zoo.world.caption import caption

N_CASES = 20
# Seventeen of twenty.
LEAST_SHARE = 0.85
PARITY = [
    {"text": "a small red circle on the left on a plain ground", "seed": 1},
    {"text": "a large blue star", "seed": 2, "negative_prompt": "a red square"},
    {"text": "a large green square", "seed": 3, "guidance_scale": 1.0},
]


def main() -> None:
    torch.set_num_threads(1)
    pipeline = saved_pipeline()
    pipeline.unet.set_attn_processor(AttnProcessor())
    folder = expected_folder(NAME)
    (folder / "pictures").mkdir(exist_ok=True)
    cases = []
    for case in PARITY:
        arguments = {name: value for name, value in case.items() if name not in ("text", "seed")}
        picture = pipeline(
            case["text"],
            num_inference_steps=INFERENCE_STEPS,
            generator=torch.Generator().manual_seed(case["seed"]),
            **{"guidance_scale": GUIDANCE} | arguments,
        ).images[0]
        file = f"pictures/{case['seed']}.png"
        picture.save(folder / file, optimize=True)
        cases.append({**case, "guidance_scale": arguments.get("guidance_scale", GUIDANCE), "file": file})
    reference = f"diffusers {diffusers.__version__}, torch {torch.__version__.split('+')[0]}, float32, CPU, plain attention"
    content = {"model": f"zoo/{NAME}", "reference": reference, "num_inference_steps": INFERENCE_STEPS, "pictures": cases}
    write(folder / "parity.json", content)

    random = Random(SEED + 2)
    held_out = [painted_scene(random, held_out=True) for _ in range(N_CASES)]
    cases = [
        {"text": caption(scene), "seed": index, "label": scene.things[0].label} for index, scene in enumerate(held_out)
    ]
    write_cases(folder, f"zoo/{NAME}", "`zoo/shape-classifier` sees `label` in the picture", cases)
    path = folder / "cases.json"
    written = json.loads(path.read_text()) | {
        "least_share": LEAST_SHARE,
        "num_inference_steps": INFERENCE_STEPS,
        "guidance_scale": GUIDANCE,
    }
    write(path, {**{key: value for key, value in written.items() if key != "cases"}, "cases": written["cases"]})


if __name__ == "__main__":
    main()
