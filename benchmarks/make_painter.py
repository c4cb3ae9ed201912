"""Writes a Stable Diffusion 1 of random weights as diffusers does: `make_painter.py FOLDER SIZE`.

Runs in the reference environment. The topology is that of the published one; `small` has 0.4 of its channels.
The tokenizer is a small CLIP tokenizer of the tests, since the size of a vocabulary costs next to nothing.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOKENIZER = Path(__file__).resolve().parent.parent / "gpu-worker/tests/fixtures/tokenizers/clip"
# Channels of the U-Net and of the autoencoder, width, inner width and heads of the text encoder, side of the latents.
SIZES = {
    "small": ((128, 256, 512, 512), (64, 128, 256, 256), 384, 1536, 6, 32),
    "sd1": ((320, 640, 1280, 1280), (128, 256, 512, 512), 768, 3072, 12, 64),
}


def pipeline(size: str) -> StableDiffusionPipeline:
    channels, vae_channels, width, inner, heads, side = SIZES[size]
    vocabulary = json.loads((TOKENIZER / "vocab.json").read_text())
    crossing = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    unet = UNet2DConditionModel(
        sample_size=side,
        block_out_channels=channels,
        down_block_types=crossing[0],
        up_block_types=crossing[1],
        layers_per_block=2,
        cross_attention_dim=width,
        attention_head_dim=8,
    )
    vae = AutoencoderKL(
        block_out_channels=vae_channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=8 * side,
    )
    text = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_hidden_layers=12,
        max_position_embeddings=77,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        pad_token_id=0,
    )
    scheduler = PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        steps_offset=1,
        skip_prk_steps=True,
        set_alpha_to_one=False,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER),
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def main() -> None:
    torch.manual_seed(0)
    pipeline(sys.argv[2]).save_pretrained(sys.argv[1])


if __name__ == "__main__":
    main()
