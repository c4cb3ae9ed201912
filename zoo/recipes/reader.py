"""What the zoo's readers of texts share: the body and the tokenizer of `gap-filler`, on which each puts a head of its own."""

import shutil
from pathlib import Path
from random import Random

import torch
from transformers import AutoTokenizer

from zoo.layout import body_folder, model_folder

BODY = "gap-filler"
MAX_TOKENS = 128
IGNORED = -100
FILES = ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
ARCHITECTURE = "bert, 4 layers of 96, 4 heads, WordPiece with capitals"


def begin(name: str, model_class, labels: tuple[str, ...] = (), **settings):
    """The folder of a new reader with its tokenizer in it, the tokenizer, and the model with a head that is yet to learn."""
    folder = model_folder(name)
    for file in FILES:
        shutil.copy(body_folder(BODY) / file, folder / file)
    if labels:
        settings |= {"id2label": dict(enumerate(labels)), "label2id": {label: idx for idx, label in enumerate(labels)}}
    model = model_class.from_pretrained(body_folder(BODY), dtype=torch.float32, **settings)
    print(f"{count(model)} parameters")
    return folder, AutoTokenizer.from_pretrained(folder), model


def finish(model, folder: Path) -> None:
    """Saves the model as it is published."""
    model.half().save_pretrained(folder)


def reopen(model_class, folder: Path):
    """What was saved, in float32, and its tokenizer."""
    return model_class.from_pretrained(folder, dtype=torch.float32).eval(), AutoTokenizer.from_pretrained(folder)


def count(model) -> int:
    """How many parameters a model has."""
    return sum(weight.numel() for weight in model.parameters())


def by_length(draw, random: Random, batch: int, length):
    """Endless batches of drawn cases of about the same length."""
    while True:
        cases = sorted((draw() for _ in range(8 * batch)), key=length)
        yield from random.sample([cases[start : start + batch] for start in range(0, len(cases), batch)], 8)


def offsets_of(batch, row: int, sequence: int) -> list[tuple[int, tuple[int, int]]]:
    """The tokens of a row that belong to its first or second text, with where they stand in it."""
    encoding = batch.encodings[row]
    return [
        (token, span)
        for token, (span, of) in enumerate(zip(encoding.offsets, encoding.sequence_ids, strict=True))
        if of == sequence
    ]
