"""How expected values are written: small, rounded to seven digits, with the versions that computed them."""

import json
from pathlib import Path

import torch
import transformers

# The share of held-out cases that a correct server gets right at least, unless a model is worse by itself.
LEAST_SHARE = 0.95


def rounded(values):
    """A tensor or nested list of floats with seven significant digits, which float32 has."""
    if isinstance(values, torch.Tensor):
        values = values.tolist()
    if isinstance(values, list):
        return [rounded(value) for value in values]
    return float(f"{values:.7g}")


def write_parity(folder: Path, model: str, **content) -> None:
    """Writes parity.json."""
    reference = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, float32, CPU, eager attention"
    write(folder / "parity.json", {"model": model, "reference": reference, **content})


def write_cases(folder: Path, model: str, truth: str, cases: list[dict], least_share: float = LEAST_SHARE, **more) -> None:
    """Writes cases.json; `truth` says what makes an answer right, `least_share` how many must be."""
    write(folder / "cases.json", {"model": model, "truth": truth, "least_share": least_share, **more, "cases": cases})


def write(path: Path, value) -> None:
    """JSON with one line for each flat list or object, so that changes can be read."""
    path.write_text(spread(value, 0) + "\n")


def spread(value, depth: int) -> str:
    """Nested containers indented, flat ones on one line."""
    inner, outer = "  " * (depth + 1), "  " * depth
    if isinstance(value, dict) and any(isinstance(item, (dict, list)) for item in value.values()):
        items = [f"{inner}{json.dumps(key)}: {spread(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(items) + f"\n{outer}}}"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return "[\n" + ",\n".join(inner + spread(item, depth + 1) for item in value) + f"\n{outer}]"
    return json.dumps(value, ensure_ascii=False)
