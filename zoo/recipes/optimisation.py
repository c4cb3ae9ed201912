"""How every recipe trains: AdamW, a short warm-up, then a cosine down to zero; one thread, one seed."""

import math
import time

import torch

WARM_UP_STEPS = 50


def seed_everything(seed: int) -> None:
    """Makes a run repeatable; one thread, because the order of sums depends on their number."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)


def train(model: torch.nn.Module, loss_of_step, n_steps: int, peak_rate: float, weight_decay: float = 0.05) -> float:
    """Trains in place on `loss_of_step(step)` and returns the minutes it took."""
    started = time.monotonic()
    decayed = [weight for weight in model.parameters() if weight.ndim >= 2]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=peak_rate, betas=(0.9, 0.98))
    model.train()
    for step in range(n_steps):
        progress = step / n_steps
        rate = peak_rate * min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of_step(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 100 == 0 or step + 1 == n_steps:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.monotonic() - started:6.0f} s", flush=True)
    model.eval()
    return (time.monotonic() - started) / 60
