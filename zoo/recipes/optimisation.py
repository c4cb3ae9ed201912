"""How every recipe trains: a warm-up, then a cosine down to zero; one thread, one seed."""

import math
import re
import time

import torch

from zoo.recipes.checkpoint import EVERY_STEPS, Checkpoint

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
    matrices, others = layers_and_rest(model)
    return [
        torch.optim.Muon(matrices, lr=peak_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=peak_rate, weight_decay=0.01, betas=BETAS),
    ]


def single_muon(model: torch.nn.Module, peak_rate: float) -> list[torch.optim.Optimizer]:
    """Like `muon`, ten times faster where a processor has no instructions for bfloat16."""
    matrices, others = layers_and_rest(model)
    return [SingleMuon(matrices, peak_rate), torch.optim.AdamW(others, lr=peak_rate, weight_decay=0.01, betas=BETAS)]


def kernel_muon(model: torch.nn.Module, peak_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for every matrix and convolution but embeddings, AdamW for the rest."""
    embeddings = {module.weight for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    matrices, others = [], []
    for weight in model.parameters():
        (matrices if weight.ndim in (2, 4) and weight not in embeddings else others).append(weight)
    return [SingleMuon(matrices, peak_rate), torch.optim.AdamW(others, lr=peak_rate, weight_decay=0.01, betas=BETAS)]


def layers_and_rest(model: torch.nn.Module) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """The matrices of the layers, and all other parameters; T5's biases of positions are tables and no matrices."""
    matrices, others = [], []
    for name, weight in model.named_parameters():
        is_matrix = weight.ndim == 2 and LAYER_NAME.search(name) and "relative_attention_bias" not in name
        (matrices if is_matrix else others).append(weight)
    return matrices, others


class SingleMuon(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024) in float32, with matrices of one shape made orthogonal together; a convolution's kernels are
    the rows of one matrix."""

    MOMENTUM = 0.95
    WEIGHT_DECAY = 0.01
    # Coefficients of the quintic iteration and the number of its steps, as in torch.optim.Muon.
    QUINTIC = (3.4445, -4.775, 2.0315)
    N_STEPS = 5

    def __init__(self, matrices: list[torch.nn.Parameter], rate: float):
        super().__init__(matrices, {"lr": rate})

    @torch.no_grad()
    def step(self) -> None:
        """One update; all matrices must have a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for weight in group["params"]:
                shapes.setdefault(weight.flatten(1).shape, []).append(weight)
            for shape, weights in shapes.items():
                updates = self.orthogonal(torch.stack([self.momentum(weight) for weight in weights]))
                # The root mean square that AdamW's updates have.
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                for weight, update in zip(weights, updates, strict=True):
                    weight.mul_(1 - group["lr"] * self.WEIGHT_DECAY).sub_(update.view_as(weight), alpha=rate)

    def momentum(self, weight: torch.nn.Parameter) -> torch.Tensor:
        """Nesterov's momentum of the gradient, as a matrix."""
        state = self.state[weight]
        average = state.setdefault("average", torch.zeros_like(weight))
        average.lerp_(weight.grad, 1 - self.MOMENTUM)
        return weight.grad.lerp(average, self.MOMENTUM).flatten(1)

    def orthogonal(self, matrices: torch.Tensor) -> torch.Tensor:
        """`[n, rows, columns]` with singular values brought near one by Newton and Schulz's iteration."""
        a, b, c = self.QUINTIC
        is_tall = matrices.shape[1] > matrices.shape[2]
        x = matrices.mT if is_tall else matrices
        x = x / x.flatten(1).norm(dim=1).clamp_min(1e-7)[:, None, None]
        for _ in range(self.N_STEPS):
            square = x @ x.mT
            x = a * x + (b * square + c * (square @ square)) @ x
        return x.mT if is_tall else x


def train(
    model: torch.nn.Module,
    loss_of_step,
    n_steps: int,
    optimisers: list[torch.optim.Optimizer],
    checkpoint: Checkpoint | None = None,
) -> float:
    """Trains in place on `loss_of_step(step)` and returns the minutes of processor time it took."""
    peaks = [optimiser.defaults["lr"] for optimiser in optimisers]
    first, seconds = checkpoint.restore() if checkpoint else (0, 0.0)
    started = time.process_time() - seconds
    model.train()
    for step in range(first, n_steps):
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
        if checkpoint and ((step + 1) % EVERY_STEPS == 0 or step + 1 == n_steps):
            checkpoint.save(step + 1, time.process_time() - started)
    model.eval()
    return (time.process_time() - started) / 60
