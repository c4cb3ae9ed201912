"""The other side of `pictures.py`: `diffusers`. Runs in the reference environment, never in serving.

`reference_pictures.py first FOLDER DEVICE DTYPE SIDE` imports, loads, paints a first small picture and one of SIDE
pixels, prints its times and memory, and exits. `reference_pictures.py serve FOLDER DEVICE DTYPE` answers commands as
reference.py does.
"""

import base64
import io
import json
import sys
import time

STARTED = time.perf_counter()

import torch  # noqa: E402
from diffusers import StableDiffusionPipeline  # noqa: E402
from diffusers.utils import logging  # noqa: E402

logging.set_verbosity_error()
logging.disable_progress_bar()

PROMPT = "a small red circle on blue"
FIRST_SIDE = 64


def load(folder: str, device: str, dtype: str) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(pipeline, side: int, steps: int, seed: int) -> tuple[bytes, list[float], float]:
    """A picture as a PNG; milliseconds of each step after the first, and of everything."""
    ends = []

    def on_step_end(_pipeline, _step, _time, tensors: dict) -> dict:
        synchronise(pipeline.device)
        ends.append(time.perf_counter())
        return tensors

    started = time.perf_counter()
    picture = pipeline(
        PROMPT,
        height=side,
        width=side,
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(seed),
        callback_on_step_end=on_step_end,
    ).images[0]
    file = io.BytesIO()
    picture.save(file, "PNG")
    took = (time.perf_counter() - started) * 1e3
    return file.getvalue(), [(end - begin) * 1e3 for begin, end in zip(ends, ends[1:])], took


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory() -> int:
    """Bytes that were resident at most."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def first_pictures(folder: str, device: str, dtype: str, side: int) -> dict:
    imported = time.perf_counter()
    pipeline = load(folder, device, dtype)
    loaded = time.perf_counter()
    paint(pipeline, FIRST_SIDE, 1, 0)
    painted = time.perf_counter()
    paint(pipeline, side, 2, 0)
    free, total = torch.cuda.mem_get_info(device) if device.startswith("cuda") else (0, 0)
    return {
        "import_s": imported - STARTED,
        "load_s": loaded - imported,
        "until_first_s": painted - STARTED,
        "memory": peak_memory(),
        # Of everybody, as the driver says.
        "device_memory": total - free,
    }


class Painter:
    """Keeps the pipeline loaded between commands."""

    def __init__(self, folder: str, device: str, dtype: str):
        self.pipeline = load(folder, device, dtype)

    def facts(self) -> dict:
        import diffusers

        return {"threads": torch.get_num_threads(), "torch": torch.__version__, "diffusers": diffusers.__version__}

    def paint(self, side: int, steps: int, seed: int) -> dict:
        _, steps_ms, ms = paint(self.pipeline, side, steps, seed)
        return {"steps_ms": steps_ms, "ms": ms}

    def difference(self, side: int, steps: int, seed: int, png: str) -> int:
        """The farthest that any level of a picture is from ours, of 255."""
        import numpy
        from PIL import Image

        theirs, _, _ = paint(self.pipeline, side, steps, seed)
        ours = base64.b64decode(png)
        levels = [numpy.asarray(Image.open(io.BytesIO(file)).convert("RGB"), dtype=int) for file in (ours, theirs)]
        return int(abs(levels[0] - levels[1]).max())

    def step_cost(self, side: int) -> dict:
        """Floating-point operations of the network in one step with guidance, counted over its operators, and the bytes
        that it has to move at least: its weights, what it is given and what it gives back, each once."""
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode

        unet = self.pipeline.unet
        kind = dict(dtype=unet.dtype, device=unet.device)
        latents = torch.zeros(2, unet.config.in_channels, side // 8, side // 8, **kind)
        text = torch.zeros(2, 77, unet.config.cross_attention_dim, **kind)
        # The fused attention of a CPU isn't counted; the plain one is the same products.
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            given = unet(latents, 1, encoder_hidden_states=text).sample
        moved = [*unet.parameters(), latents, text, given]
        return {
            "flops": counter.get_total_flops(),
            "bytes": sum(tensor.numel() * tensor.element_size() for tensor in moved),
        }

    def peaks(self) -> dict:
        """Operations per second of the best of some square products, and bytes per second of a copy, of 5 each."""
        kind = dict(dtype=self.pipeline.unet.dtype, device=self.pipeline.device)
        side, long = (8192, 1_000_000_000) if kind["device"].type == "cuda" else (2048, 125_000_000)
        square, values = torch.rand(side, side, **kind), torch.ones(long, **kind)
        target = torch.empty_like(values)
        best = {"flops": 0.0, "bytes": 0.0}
        for _ in range(5):
            for name, amount, run in [
                ("flops", 2 * side**3, lambda: square @ square),
                ("bytes", 2 * values.numel() * values.element_size(), lambda: target.copy_(values)),
            ]:
                synchronise(kind["device"])
                started = time.perf_counter()
                run()
                synchronise(kind["device"])
                best[name] = max(best[name], amount / (time.perf_counter() - started))
        return best


def main() -> None:
    mode, *arguments = sys.argv[1:]
    if mode == "first":
        folder, device, dtype, side = arguments
        with torch.inference_mode():
            print(json.dumps(first_pictures(folder, device, dtype, int(side))))
        return
    # Only now: what it imports is no part of the first picture.
    from reference import serve

    serve(Painter(*arguments))


if __name__ == "__main__":
    main()
