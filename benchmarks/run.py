#!/usr/bin/env python3
"""`make bench`: measures this server beside `transformers` in one run and writes the table of README.md.

Plain standard library; what needs torch runs in the reference environment.
"""

import argparse
import datetime
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import forward
import language
import pictures
import report
import serving
import shapes
import starting
from machine import Clock, Watch, description
from ours import Server
from theirs import Reference

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anymodel"
IMPORTS = "import torch, transformers, tokenizers, safetensors, PIL, fastapi, uvicorn"

# Parts of each group and their shares of the time, about as long as 15 quiet pairs of each take.
PARTS = {
    "start": {"load float32": 150, "load bfloat16": 190, "start": 10},
    "forward": {
        "BERT 1×16": 20,
        "BERT 1×128": 25,
        "BERT 8×128": 65,
        "ViT": 25,
        "prefill GPT-2": 20,
        "decode GPT-2": 40,
        "prefill Llama 135M": 20,
        "decode Llama 135M": 45,
        "neighbour BERT": 60,
        "neighbour GPT-2": 60,
    },
    "serving": {"overhead": 10, "clients": 80},
    "memory": {"cycles": 60},
}
# Only when asked for: not in the table of README.md.
EXTRA = {
    "shapes": {f"shapes {model}": 100 for model in shapes.ROWS},
    "language": language.PARTS,
    "pictures": pictures.PARTS,
}
# Groups that have a table of their own, in <group>.md, and are measured alone.
PAGES = {"language": language.measure, "pictures": pictures.measure}
# Random models of the groups that don't need all.
MODELS = {"language": language.MODELS, "pictures": []}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("REFERENCE_PYTHON") or CACHE / "reference" / "bin" / "python"
    parser.add_argument("--minutes", type=float, default=12, help="about how long it may take (12)")
    parser.add_argument("--pairs", type=int, default=15, help="quiet pairs of each measurement (15)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*PARTS, *EXTRA],
        help="some groups; README.md stays as it is. One of language and pictures, alone, rewrites its own table",
    )
    parser.add_argument("--copies", action="store_true", help="also load a bfloat16 copy of GPT-2")
    parser.add_argument("--others", type=float, default=0.10, help="cores that others may use in a kept round (0.10)")
    parser.add_argument("--bin-dir", type=Path, default=ROOT / "target" / "release")
    parser.add_argument("--reference", type=Path, default=Path(default), help="python of the reference environment")
    parser.add_argument("--zoo", type=Path, default=ROOT / "zoo" / "hub", help="the zoo's hub folder")
    parser.add_argument("--models", type=Path, default=CACHE / "benchmarks" / "hub", help="where random models are kept")
    parser.add_argument("--no-table", action="store_true", help="leave the table as it is")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder of the JSON files")
    painting = parser.add_argument_group("pictures only; with a device the table stays as it is")
    painting.add_argument("--device", default="cpu", help="cpu, or cuda:N on both sides (cpu)")
    painting.add_argument("--dtype", default="float32", help="of both sides: float32, float16, bfloat16 (float32)")
    painting.add_argument("--painter", choices=pictures.SIDES, default="small", help="size of the pipeline (small)")
    painting.add_argument("--peak-tflops", type=float, help="of the device and data type (measured by a product)")
    painting.add_argument("--peak-gbs", type=float, help="of the device's memory (measured by a copy)")
    options = parser.parse_args()
    if set(options.only or []) & PAGES.keys() and len(options.only) > 1:
        parser.error(f"{' and '.join(PAGES)} are measured alone")
    if (options.peak_tflops is None) != (options.peak_gbs is None):
        parser.error("--peak-tflops and --peak-gbs go together")
    return options


class Run:
    """What every measurement needs."""

    def __init__(self, options: argparse.Namespace, log):
        self.bin_dir, self.python = options.bin_dir.resolve(), options.reference.absolute()
        self.models, self.zoo = options.models.resolve(), options.zoo.resolve()
        self.hubs = [self.models, self.zoo]
        self.pairs, self.watch, self.log = options.pairs, Watch(options.others), log
        self.device, self.dtype, self.painter = options.device, options.dtype, options.painter
        self.peaks = None
        if options.peak_tflops:
            self.peaks = {"flops": options.peak_tflops * 1e12, "bytes": options.peak_gbs * 1e9}


def missing(options: argparse.Namespace) -> str | None:
    """What is not there, with the command that brings it."""
    for program in ("control-plane", "gpu-worker"):
        if not (options.bin_dir / program).exists():
            return f"{options.bin_dir / program} is missing: cargo build --release"
    if not (options.zoo / "zoo" / "sentences" / "config.json").exists():
        return f"{options.zoo} has no zoo/sentences: give the zoo's folder with --zoo"
    folder = CACHE / "reference"
    create = (
        f"python3 -m venv {folder} && {folder}/bin/pip install -r {HERE.relative_to(ROOT)}/requirements.txt"
        " (or name another one with --reference or REFERENCE_PYTHON)"
    )
    if not options.reference.exists():
        return f"the reference environment {options.reference} is missing:\n  {create}"
    tried = subprocess.run([options.reference, "-c", IMPORTS], capture_output=True, text=True)
    if tried.returncode != 0:
        return f"the reference environment lacks something: {tried.stderr.strip().splitlines()[-1]}\n  {create}"
    return None


def measure(run: Run, groups: list[str], clock: Clock, say) -> tuple[list, dict]:
    rows = []

    def keep(more: list) -> None:
        for row in more:
            say(row)
        rows.extend(more)

    if groups[0] in PAGES:
        return rows, PAGES[groups[0]](run, clock, keep)
    with closing(Stopping(Reference(run.python, run.models, run.log))) as reference:
        facts = reference.process.ask("threads")
        if "forward" in groups:
            with closing(Stopping(Server(run.bin_dir, run.hubs))) as server:
                keep(forward.measure(run, server.process, reference.process, clock))
        if "shapes" in groups:
            with closing(Stopping(Server(run.bin_dir, run.hubs))) as server:
                keep(shapes.measure(run, server.process, reference.process, clock))
    if "serving" in groups:
        with closing(Stopping(Server(run.bin_dir, run.hubs))) as server:
            keep(serving.overhead(run, server.process, clock))
            keep(serving.sixteen_clients(run, server.process, clock))
    if "memory" in groups:
        with closing(Stopping(Server(run.bin_dir, run.hubs))) as server:
            keep(serving.cycles(server.process, clock.deadline("cycles"), time.perf_counter))
    if "start" in groups:
        keep(starting.measure(run, clock))
    return rows, facts


class Stopping:
    """Stops what it holds when it is closed."""

    def __init__(self, process):
        self.process = process

    def close(self) -> None:
        self.process.stop()


def say(row) -> None:
    met = {True: "met", False: "NOT MET", None: ""}[row.met]
    quiet = "" if row.quiet else ", never quiet"
    print(
        f"{row.name}: {row.ours} | theirs {row.theirs} | {row.ratio} | {row.target} {met}"
        f" | {row.pairs} kept, {row.discarded} discarded{quiet}",
        flush=True,
    )


def commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return asked.stdout.strip() or "unknown"


def main() -> int:
    options = arguments()
    # So that what was started is stopped, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if problem := missing(options):
        print(problem, file=sys.stderr)
        return 2
    groups = options.only or list(PARTS)
    weights = {part: share for group in groups for part, share in (PARTS | EXTRA)[group].items()}
    if options.copies and "start" in groups:
        weights["load bfloat16 copy"] = 130
    with tempfile.TemporaryFile("w+") as log:
        options.models.mkdir(parents=True, exist_ok=True)
        names = MODELS.get(groups[0])
        if names != []:
            made = [options.reference, HERE / "make_models.py", options.models, *(names or [])]
            subprocess.run(made, check=True, stdout=log)
        run = Run(options, log)
        began = time.perf_counter()
        try:
            rows, facts = measure(run, groups, Clock(options.minutes * 60, weights), say)
        except Exception:
            log.seek(0)
            print(log.read()[-3000:], file=sys.stderr)
            raise
    versions = subprocess.run(
        [options.reference, "-c", "import transformers; print(transformers.__version__)"],
        capture_output=True,
        text=True,
    )
    facts |= {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M"),
        "machine": description(),
        "commit": commit(),
        "transformers": versions.stdout.strip(),
        "others_limit_cores": options.others,
    }
    page = HERE / "README.md" if not options.only else HERE / f"{groups[0]}.md" if groups[0] in PAGES else None
    if options.no_table or options.device != "cpu":
        page = None
    written = report.write(page, options.results, facts, rows)
    print(f"{written}; {(time.perf_counter() - began) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
