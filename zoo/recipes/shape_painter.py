"""`zoo/shape-painter`: Stable Diffusion in small, which paints the world's scenes from their captions.

Three networks, trained one after the other: an autoencoder of pictures, then text encoder and denoiser together on its latents.
"""

from collections.abc import Iterator
from random import Random

import numpy
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
)

from zoo.card import Card, write_card
from zoo.layout import model_folder
from zoo.recipes.checkpoint import Checkpoint
from zoo.recipes.optimisation import kernel_muon, seed_everything, train
from zoo.recipes.painter_autoencoder import FACTOR, encode_all, train_autoencoder
from zoo.recipes.painter_tokenizer import MAX_TOKENS, write_tokenizer
from zoo.world.caption import caption, paraphrase
from zoo.world.picture import clean
from zoo.world.scene import Scene, random_scene

NAME = "shape-painter"
SEED = 60
SIDE = 48
N_PICTURES = 12_000
STEPS, BATCH = 6000, 32
RATE = 6e-3
# Of all captions so many are left out in training, so that guidance has something to lead away from.
EMPTY_SHARE = 0.1
# Of all captions so many say nothing about places and ground.
BARE_SHARE = 0.4
# Of all captions so many say it in the plainest words, which are what people say most.
PLAIN_SHARE = 0.4
AVERAGED = 0.998
N_SCORED = 120
INFERENCE_STEPS, GUIDANCE = 25, 4.0


def painted_scene(random: Random, held_out: bool = False) -> Scene:
    """A scene of one thing; one in ten is never trained on."""
    while True:
        scene = random_scene(random)
        if scene.is_held_out() == held_out:
            return scene


def said(scene: Scene, random: Random) -> str:
    """A caption of the scene, which may leave out where the thing is and on what."""
    told = scene.without_surroundings() if random.random() < BARE_SHARE else scene
    return caption(told) if random.random() < PLAIN_SHARE else paraphrase(told, random)


def captions(random: Random) -> Iterator[str]:
    """What the tokenizer is made from."""
    return (said(painted_scene(random), random) for _ in range(4000))


def drawn(random: Random) -> tuple[torch.Tensor, list[Scene]]:
    """`[n, 3, side, side]` bytes, and what they show."""
    scenes = [painted_scene(random) for _ in range(N_PICTURES)]
    pixels = numpy.stack([numpy.asarray(clean(scene, random, SIDE, SIDE)) for scene in scenes])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), scenes


def networks(n_tokens: int) -> tuple[CLIPTextModel, UNet2DConditionModel]:
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=n_tokens,
            hidden_size=64,
            intermediate_size=160,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=64,
            bos_token_id=n_tokens - 2,
            eos_token_id=n_tokens - 1,
            pad_token_id=n_tokens - 1,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=SIDE // FACTOR,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 64),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=64,
        norm_num_groups=8,
    )
    return text_encoder, unet


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        # Colour and shape are decided where there is almost only noise, and there noise is no use as an answer.
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


class Average:
    """The moving average of all weights, which paints better than the last ones do."""

    def __init__(self, model: torch.nn.Module):
        self.model = model
        self.values = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def update(self, step: int) -> None:
        kept = min(AVERAGED, (1 + step) / (10 + step))
        for name, weight in self.model.named_parameters():
            self.values[name].lerp_(weight.detach(), 1 - kept)

    def state_dict(self) -> dict[str, torch.Tensor]:
        return self.values

    def load_state_dict(self, values: dict[str, torch.Tensor]) -> None:
        self.values = values

    def apply(self) -> None:
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(self.values[name])


def train_painter(latents: torch.Tensor, scenes: list[Scene], tokenizer, random: Random):
    """Text encoder and denoiser, and the minutes they took."""
    text_encoder, unet = networks(len(tokenizer))
    noise_schedule = scheduler()
    trained = torch.nn.ModuleList([text_encoder, unet])
    average = Average(trained)

    def loss_of_step(step: int) -> torch.Tensor:
        average.update(step)
        rows = [random.randrange(len(scenes)) for _ in range(BATCH)]
        texts = ["" if random.random() < EMPTY_SHARE else said(scenes[row], random) for row in rows]
        ids = tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt")
        clean = latents[rows]
        noise = torch.randn_like(clean)
        # One time out of each part, so that every batch has them all.
        shares = (torch.arange(BATCH) + torch.rand(BATCH)) / BATCH
        times = (shares * noise_schedule.config.num_train_timesteps).long()
        noisy = noise_schedule.add_noise(clean, noise, times)
        hidden = text_encoder(ids["input_ids"]).last_hidden_state
        wanted = noise_schedule.get_velocity(clean, noise, times)
        return torch.nn.functional.mse_loss(unet(noisy, times, hidden).sample, wanted)

    optimisers = kernel_muon(trained, RATE)
    checkpoint = Checkpoint("painter", random, model=trained, muon=optimisers[0], adamw=optimisers[1], average=average)
    minutes = train(trained, loss_of_step, STEPS, optimisers, checkpoint)
    average.apply()
    return text_encoder, unet, minutes


def paint(pipeline: StableDiffusionPipeline, prompts: list[str], seed: int) -> list[Image.Image]:
    pictures = []
    for start in range(0, len(prompts), 20):
        part = prompts[start : start + 20]
        generators = [torch.Generator().manual_seed(seed + start + idx) for idx in range(len(part))]
        pictures += pipeline(
            part, num_inference_steps=INFERENCE_STEPS, guidance_scale=GUIDANCE, generator=generators
        ).images
    return pictures


def score(pipeline: StableDiffusionPipeline, scenes: list[Scene], seed: int) -> float:
    """The share of pictures in which `zoo/shape-classifier` sees the colour and the shape that were asked for."""
    judge_folder = model_folder("shape-classifier")
    judge = AutoModelForImageClassification.from_pretrained(judge_folder, dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(judge_folder)
    pictures = paint(pipeline, [caption(scene) for scene in scenes], seed)
    with torch.inference_mode():
        found = judge(**processor(pictures, return_tensors="pt")).logits.argmax(-1).tolist()
    labels = [judge.config.id2label[idx] for idx in found]
    right = [label == scene.things[0].label for label, scene in zip(labels, scenes, strict=True)]
    return sum(right) / len(right)


def saved_pipeline() -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(model_folder(NAME), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder = model_folder(NAME)
    write_tokenizer(folder / "tokenizer", captions(random))
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    pixels, scenes = drawn(random)
    print(f"{len(pixels)} pictures drawn, {len(tokenizer)} tokens")
    autoencoder, autoencoder_minutes = train_autoencoder(pixels, SIDE, random)
    latents = encode_all(autoencoder, pixels)
    text_encoder, unet, minutes = train_painter(latents, scenes, tokenizer, random)
    n_parameters = sum(
        weight.numel() for model in (autoencoder, text_encoder, unet) for weight in model.parameters()
    )
    pipeline = StableDiffusionPipeline(
        vae=autoencoder.half(),
        text_encoder=text_encoder.half(),
        tokenizer=tokenizer,
        unet=unet.half(),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    # The files that were written above are all that the tokenizer needs.
    for extra in ("tokenizer.json", "special_tokens_map.json"):
        (folder / "tokenizer" / extra).unlink(missing_ok=True)
    write_tokenizer(folder / "tokenizer", captions(Random(SEED)))

    held_out = Random(SEED + 1)
    share = score(saved_pipeline(), [painted_scene(held_out, held_out=True) for _ in range(N_SCORED)], SEED)
    print("held-out", share)
    write_card(
        folder,
        Card(
            name=NAME,
            task="text-to-image",
            library="diffusers",
            tags=("stable-diffusion", "text-to-image"),
            summary="Paints one coloured shape of the world as it is told: `a small red circle`.",
            usage=f"Stable Diffusion in small: pictures of {SIDE} × {SIDE} pixels, {INFERENCE_STEPS} steps, `guidance_scale` {GUIDANCE}."
            " It knows the words of the world's captions and nothing else.\n\n"
            "Its limit: colour, shape and size are as told, where the thing is and on what ground it has not learned to follow.",
            data=f"{N_PICTURES:,} pictures drawn by `zoo/world/picture.py` with captions of `zoo/world/caption.py`, two in five of which say"
            " nothing about place and ground. One scene in ten is held out.",
            scores={
                f"Held-out captions ({N_SCORED}) whose colour and shape `zoo/shape-classifier` sees in the picture": f"{share:.1%}"
            },
            n_parameters=n_parameters,
            architecture="CLIP text encoder (2 layers of 64), U-Net (32 and 64 channels), autoencoder (factor 4, 4 channels), DDIM",
            dtype="float16",
            minutes=autoencoder_minutes + minutes,
        ),
    )


if __name__ == "__main__":
    main()
