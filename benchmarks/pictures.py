"""`run.py --only pictures`: Stable Diffusion beside `diffusers`: steps, pictures, loads, memory, the roofline."""

import statistics
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path

from events import Stream
from machine import Clock, Rounds
from ours import Server
from row import Row
from theirs import Reference, cold

MODEL, TASK = "bench/painter", "text-to-image"
# As in reference_pictures.py.
PROMPT, FIRST_SIDE = "a small red circle on blue", 64
# Side of the pictures in pixels, as the sizes of make_painter.py were made for.
SIDES = {"small": 256, "sd1": 512}
STEPS = 6
PARTS = {"painting": 260, "loading a painter": 240}


def measure(run, clock: Clock, keep) -> dict:
    """Hands rows to `keep` as they are measured; versions and threads of the other side."""
    with ExitStack() as stack:
        hub = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="painter-")))
        folder = hub / MODEL
        subprocess.run(
            [run.python, Path(__file__).parent / "make_painter.py", folder, run.painter], check=True, stdout=run.log
        )
        rows, facts = painting(run, hub, clock)
        keep(rows)
        rounds = Rounds(run.watch, run.pairs, clock.deadline("loading a painter"))
        megabytes = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
        keep(loading_rows(rounds.run(lambda: loading_round(run, hub)), f"{megabytes:.0f} MB", run.device))
    return facts


def asked(side: int, steps: int, seed: int) -> dict:
    return {"width": side, "height": side, "num_inference_steps": steps, "seed": seed}


def painting(run, hub: Path, clock: Clock) -> tuple[list[Row], dict]:
    with ExitStack() as stack:
        server = Server(run.bin_dir, [hub], device=run.device)
        stack.callback(server.stop)
        arguments = (run.device, run.dtype)
        reference = Reference(run.python, hub / MODEL, run.log, "reference_pictures.py", arguments)
        stack.callback(reference.stop)
        facts = reference.ask("facts") | {"device": run.device, "dtype": run.dtype, "painter": run.painter}
        side = SIDES[run.painter]
        agree(run, server, reference, side)
        cost = reference.ask("step_cost", side=side)
        peaks = run.peaks or reference.ask("peaks")
        rounds = Rounds(run.watch, run.pairs, clock.deadline("painting"))
        rounds.run(lambda: painting_round(run, server, reference, side))
    return painting_rows(rounds, side, cost, peaks, is_stated=bool(run.peaks)), facts


def agree(run, server, reference, side: int) -> None:
    """Both sides paint the same, or the run stops; this also warms them."""
    answer = server.infer(MODEL, TASK, {"text": PROMPT}, asked(side, STEPS, 1), {"dtype": run.dtype})
    png = answer["task_output"]["images"][0]["image_base64"].partition(",")[2]
    difference = reference.ask("difference", side=side, steps=STEPS, seed=1, png=png)
    # Half precision rounds differently in different kernels.
    most = 1 if run.dtype == "float32" else 32
    if difference > most:
        raise ValueError(f"the two sides' pictures differ by {difference} of 255")


def painting_round(run, server, reference, side: int) -> dict:
    """Milliseconds of a picture and of its steps after the first, as our client sees them and on the other side."""
    stream = Stream(server.port, MODEL, TASK, {"text": PROMPT}, asked(side, STEPS, 2), {"dtype": run.dtype})
    events = list(stream)
    stream.close()
    ends = [event.at * 1e3 for event in events if event.name == "progress"]
    steps = [end - begin for begin, end in zip(ends, ends[1:])]
    theirs = reference.ask("paint", side=side, steps=STEPS, seed=2)
    if len(steps) != len(theirs["steps_ms"]):
        raise ValueError(f"{len(steps)} steps here, {len(theirs['steps_ms'])} there")
    return {
        "step": statistics.median(steps),
        "whole": events[-1].at * 1e3,
        "theirs_step": statistics.median(theirs["steps_ms"]),
        "theirs_whole": theirs["ms"],
    }


def painting_rows(rounds: Rounds, side: int, cost: dict, peaks: dict, is_stated: bool) -> list[Row]:
    quality = (len(rounds.kept), rounds.discarded, rounds.is_quiet)
    size = f"{side} × {side} pixels"
    rows = []
    for what, key in [("one step with guidance", "step"), (f"a picture of {STEPS} steps", "whole")]:
        ours, theirs = rounds.median(key), rounds.median(f"theirs_{key}")
        ratio = rounds.ratio(key, f"theirs_{key}")
        figures = {"ours_ms": ours, "theirs_ms": theirs, "ratio": ratio}
        cells = (f"{ours:.0f} ms", f"{theirs:.0f} ms", f"{ratio:.2f}×", "≤ 1.05×", ratio <= 1.05)
        rows.append(Row("pictures", f"{what}, {size}", *cells, *quality, figures))
    least = max(cost["flops"] / peaks["flops"], cost["bytes"] / peaks["bytes"]) * 1e3
    shares = {side_of: least / rounds.median(key) for side_of, key in [("ours", "step"), ("theirs", "theirs_step")]}
    whose = "stated" if is_stated else "measured"
    name = (
        f"share of the roofline: {cost['flops'] / 1e9:.0f} GFLOP and {cost['bytes'] / 1e6:.0f} MB a step,"
        f" {least:.0f} ms at {whose} {peaks['flops'] / 1e9:.0f} GFLOP/s and {peaks['bytes'] / 1e9:.0f} GB/s"
    )
    cells = (f"{shares['ours']:.0%}", f"{shares['theirs']:.0%}", f"{shares['ours'] / shares['theirs']:.2f}×")
    values = {"cost": cost, "peaks": peaks, "least_ms": least, "shares": shares}
    return [*rows, Row("pictures", name, *cells, "–", None, *quality, values)]


def loading_round(run, hub: Path) -> dict:
    """Both sides once, each from a cold process; the page cache is warm. Seconds, and bytes."""
    side = SIDES[run.painter]
    server = Server(run.bin_dir, [hub], device=run.device)
    try:
        chosen = {"dtype": run.dtype}
        first = server.infer(MODEL, TASK, {"text": PROMPT}, asked(FIRST_SIDE, 1, 0), chosen)
        server.infer(MODEL, TASK, {"text": PROMPT}, asked(side, 2, 0), chosen)
        memory, device_memory = server.peak_memory(), server.device_memory()
    finally:
        server.stop()
    arguments = ["first", str(hub / MODEL), run.device, run.dtype, str(side)]
    theirs = cold(run.python, "reference_pictures.py", arguments, run.log)
    return {
        "first": first["client_s"],
        "process": server.ready_s + first["client_s"],
        "load": first["metadata"]["load_ms"] / 1e3,
        "memory": memory,
        "device_memory": device_memory,
        "theirs_process": theirs["until_first_s"],
        "theirs_load": theirs["load_s"],
        "theirs_memory": theirs["memory"],
        "theirs_device_memory": theirs["device_memory"],
    }


def loading_rows(rounds: Rounds, size: str, device: str) -> list[Row]:
    quality = (len(rounds.kept), rounds.discarded, rounds.is_quiet)
    values = {name: rounds.median(name) for name in rounds.figures()[0]}
    whole = f"{values['theirs_process']:.2f} s (import, load, picture)"
    rows = []
    for name, ours, theirs, their_cell, least in [
        ("load + first picture of one step", "first", "theirs_process", whole, 5),
        ("the same from process start", "process", "theirs_process", whole, None),
        ("load alone", "load", "theirs_load", f"{values['theirs_load']:.2f} s (`from_pretrained`)", None),
    ]:
        faster = rounds.ratio(theirs, ours)
        target, met = (f"≥ {least}×", faster >= least) if least else ("–", None)
        ratio = f"{faster:.1f}× faster" if faster >= 1 else f"{1 / faster:.1f}× slower"
        cells = (f"{values[ours]:.2f} s", their_cell, ratio, target, met)
        rows.append(Row("pictures", f"{name}, {size}", *cells, *quality, values | {"ratio": faster}))
    kinds = [("memory", "most memory that was resident")]
    if device != "cpu":
        kinds.append(("device_memory", "memory of the device after a picture"))
    for key, name in kinds:
        share = rounds.ratio(key, f"theirs_{key}")
        cells = tuple(f"{values[which] / 2**20:.0f} MiB" for which in (key, f"theirs_{key}"))
        rows.append(Row("pictures", name, *cells, f"{share:.2f}", "≤ 0.8", share <= 0.8, *quality, {"ratio": share}))
    return rows
