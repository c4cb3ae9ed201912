"""Writes real-size random models as a local hub: `make_models.py HUB [NAME…]`. Runs in the reference environment.

Each folder has what a real repository has (config, safetensors, tokenizer or preprocessor), so it is loaded through
the public API. Random weights make no sense of the text, but cost what trained ones cost.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.utils import logging

logging.disable_progress_bar()

# Changes when the models do, so that a cached folder of an older script is made anew.
VERSION = 3


def tokenizer(folder: Path, n_words: int, positions: int, bert: bool, ends: bool = False) -> None:
    """A vocabulary of the model's real size in which every word `w<n>` is one token; `ends`: texts end with `[SEP]`."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = special + [f"w{n}" for n in range(n_words - len(special))]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if bert:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    if ends:
        made.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 3)])
    made.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "[UNK]",
        "pad_token": "[PAD]",
        "model_max_length": positions,
    }
    if bert:
        config |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    if ends:
        config |= {"eos_token": "[SEP]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))


def save(hub: Path, name: str, model, dtype: torch.dtype) -> Path:
    folder = hub / "bench" / name
    # Noise on every parameter: norms of 1 and biases of 0 would be a special case.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    model.to(dtype).save_pretrained(folder)
    return folder


def bert(hub: Path, dtype: torch.dtype, name: str, **shape: int) -> None:
    config = BertConfig(attn_implementation="eager", **shape)
    tokenizer(save(hub, name, BertModel(config), dtype), config.vocab_size, 512, bert=True)


def gpt2(hub: Path, dtype: torch.dtype, name: str, n_layer: int = 12) -> None:
    config = GPT2Config(n_layer=n_layer, bos_token_id=None, eos_token_id=None)
    tokenizer(save(hub, name, GPT2LMHeadModel(config), dtype), config.vocab_size, 1024, bert=False)


def llama(hub: Path, dtype: torch.dtype, name: str) -> None:
    """The shape of SmolLM2-135M."""
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    tokenizer(save(hub, name, LlamaForCausalLM(config), dtype), config.vocab_size, 2048, bert=False)


def t5(hub: Path, dtype: torch.dtype, name: str) -> None:
    """The shape of T5-small, which is the config's default."""
    config = T5Config(pad_token_id=0, decoder_start_token_id=0, eos_token_id=3)
    folder = save(hub, name, T5ForConditionalGeneration(config), dtype)
    tokenizer(folder, config.vocab_size, 512, bert=False, ends=True)


def vit(hub: Path, dtype: torch.dtype, name: str) -> None:
    labels = {n: f"label {n}" for n in range(1000)}
    config = ViTConfig(id2label=labels, label2id={label: n for n, label in labels.items()})
    folder = save(hub, name, ViTForImageClassification(config), dtype)
    processor = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": 224, "width": 224},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2))


MODELS = {
    "bert-base": (bert, torch.float32, {}),
    "bert-base-bf16": (bert, torch.bfloat16, {}),
    "gpt2": (gpt2, torch.float32, {}),
    "gpt2-bf16": (gpt2, torch.bfloat16, {}),
    # 500 MB on disk in bfloat16: twice GPT-2's parameters.
    "gpt2-500mb-bf16": (gpt2, torch.bfloat16, {"n_layer": 30}),
    "minilm": (
        bert,
        torch.float32,
        {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    ),
    "t5-small": (t5, torch.float32, {}),
    "smollm2-135m": (llama, torch.float32, {}),
    "smollm2-135m-bf16": (llama, torch.bfloat16, {}),
    "vit-base": (vit, torch.float32, {}),
    "vit-base-bf16": (vit, torch.bfloat16, {}),
}


def main() -> None:
    hub = Path(sys.argv[1])
    stamp = hub / "version"
    is_current = stamp.exists() and stamp.read_text() == str(VERSION)
    if not is_current:
        for done in hub.glob("bench/*/done"):
            done.unlink()
        hub.mkdir(parents=True, exist_ok=True)
        stamp.write_text(str(VERSION))
    for name in sys.argv[2:] or MODELS:
        make, dtype, options = MODELS[name]
        done = hub / "bench" / name / "done"
        if done.exists():
            continue
        print(f"making bench/{name}", file=sys.stderr, flush=True)
        torch.manual_seed(0)
        make(hub, dtype, name, **options)
        done.touch()


if __name__ == "__main__":
    main()
