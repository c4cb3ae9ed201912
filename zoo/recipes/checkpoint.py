"""Where a long training stands, so that one that was stopped goes on: `ZOO_CHECKPOINTS` names the folder that keeps it."""

import os
from pathlib import Path
from random import Random

import torch

EVERY_STEPS = 250


class Checkpoint:
    """Everything that the next steps depend on: `parts` with a `state_dict`, and both generators of random numbers."""

    def __init__(self, name: str, random: Random, **parts):
        folder = os.environ.get("ZOO_CHECKPOINTS")
        self.path = Path(folder) / f"{name}.pt" if folder else None
        self.random = random
        self.parts = parts

    def restore(self) -> tuple[int, float]:
        """Steps done and the seconds they took; none where nothing is kept."""
        if self.path is None or not self.path.exists():
            return 0, 0.0
        kept = torch.load(self.path, weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(kept["parts"][name])
        torch.set_rng_state(kept["torch"])
        self.random.setstate(kept["random"])
        print(f"{self.path.stem} goes on at step {kept['step']}")
        return kept["step"], kept["seconds"]

    def save(self, step: int, seconds: float) -> None:
        """Keeps what stands after `step` steps, in place of what was kept."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        kept = {"step": step, "seconds": seconds, "parts": parts}
        kept |= {"torch": torch.get_rng_state(), "random": self.random.getstate()}
        unfinished = self.path.with_suffix(".unfinished")
        torch.save(kept, unfinished)
        unfinished.replace(self.path)
