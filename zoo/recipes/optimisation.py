"""How every recipe trains: a warm-up, then a cosine down to zero; one thread, one seed."""

import math
import re
import time

import torch

WARM_UP_STEPS = 50
BETAS = (0.9, 0.98)
# Numbered layers of transformer bodies; embeddings and heads lie outside of them.
LAYER_NAME = re.compile(r"layers?\.\d+\.")


def seed_everything(seed: int) -> None:
    """Makes a run repeatable; one thread, because the order of sums depends on their number."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)


def adamw(model: torch.nn.Module, peak_rate: float) -> list[torch.optim.Optimizer]:
    """AdamW for everything; only matrices decay."""
    matrices = [weight for weight in model.parameters() if weight.ndim >= 2]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return [torch.optim.AdamW(groups, lr=peak_rate, betas=BETAS)]


def muon(model: torch.nn.Module, peak_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for embeddings, heads, norms and biases."""
    matrices, others = [], []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and LAYER_NAME.search(name) else others).append(weight)
    return [
        torch.optim.Muon(matrices, lr=peak_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=peak_rate, weight_decay=0.01, betas=BETAS),
    ]


def train(model: torch.nn.Module, loss_of_step, n_steps: int, optimisers: list[torch.optim.Optimizer]) -> float:
    """Trains in place on `loss_of_step(step)` and returns the minutes of processor time it took."""
    started = time.process_time()
    peaks = [optimiser.defaults["lr"] for optimiser in optimisers]
    model.train()
    for step in range(n_steps):
        share = min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / n_steps))
        loss = loss_of_step(step)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, peak in zip(optimisers, peaks, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * share
            optimiser.step()
        if step % 100 == 0 or step + 1 == n_steps:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.process_time() - started:6.0f} s", flush=True)
    model.eval()
    return (time.process_time() - started) / 60
