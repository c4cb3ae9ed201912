"""The autoencoder of `zoo/shape-painter`: pictures to latents a quarter as wide and high, and back.

What it loses, no painter can paint: a small star must still be a star.
"""

from random import Random

import torch
from diffusers import AutoencoderKL

from zoo.recipes.checkpoint import Checkpoint
from zoo.recipes.optimisation import kernel_muon, train

# Of an edge of the picture to that of its latents.
FACTOR = 4
STEPS, BATCH = 1600, 16
RATE = 1e-2
KL_WEIGHT = 1e-6
# Grounds are greyish: a pixel whose channels differ by more than this share belongs to the thing.
LEAST_SATURATION = 0.15
# How much more an error in the thing and at its edge counts than one in the ground: it is small, and has all that matters.
THING_WEIGHT = 4


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """Bytes to -1 … 1."""
    return pixels.float() / 127.5 - 1


def weights_of_pixels(batch: torch.Tensor) -> torch.Tensor:
    """`[batch, 1, side, side]` with a mean of one."""
    saturated = (batch.amax(1, keepdim=True) - batch.amin(1, keepdim=True)) / 2 > LEAST_SATURATION
    weights = 1 + THING_WEIGHT * torch.nn.functional.max_pool2d(saturated.float(), 3, stride=1, padding=1)
    return weights / weights.mean()


def train_autoencoder(pixels: torch.Tensor, side: int, random: Random) -> tuple[AutoencoderKL, float]:
    """An autoencoder and the minutes it took."""
    autoencoder = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(12, 24, 32),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=side,
        scaling_factor=1.0,
    )

    def loss_of_step(_step: int) -> torch.Tensor:
        batch = normalised(pixels[torch.randint(len(pixels), (BATCH,))])
        latents = autoencoder.encode(batch).latent_dist
        restored = autoencoder.decode(latents.sample()).sample
        error = (weights_of_pixels(batch) * (restored - batch) ** 2).mean()
        return error + KL_WEIGHT * latents.kl().mean()

    optimisers = kernel_muon(autoencoder, RATE)
    checkpoint = Checkpoint("painter-autoencoder", random, model=autoencoder, muon=optimisers[0], adamw=optimisers[1])
    minutes = train(autoencoder, loss_of_step, STEPS, optimisers, checkpoint)
    standardise(autoencoder, pixels)
    return autoencoder, minutes


@torch.no_grad()
def standardise(autoencoder: AutoencoderKL, pixels: torch.Tensor) -> None:
    """Gives each channel of the latents the mean 0 and the variance 1 that noise has; what is restored stays the same."""
    latents = encode_all(autoencoder, pixels[:2000])
    mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    coding, decoding = autoencoder.quant_conv, autoencoder.post_quant_conv
    n_channels = len(mean)
    # The first half of what is coded are means, the second logarithms of variances.
    coding.weight[:n_channels] /= deviation.view(-1, 1, 1, 1)
    coding.bias[:n_channels] = (coding.bias[:n_channels] - mean) / deviation
    coding.bias[n_channels:] -= 2 * deviation.log()
    decoding.bias += decoding.weight[:, :, 0, 0] @ mean
    decoding.weight *= deviation.view(1, -1, 1, 1)


def encode_all(autoencoder: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Latents of all pictures."""
    with torch.inference_mode():
        parts = [autoencoder.encode(normalised(part)).latent_dist.mean for part in pixels.split(250)]
    return torch.cat(parts).clone()
