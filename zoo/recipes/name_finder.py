"""`zoo/name-finder`: finds people, towns and companies in texts; `gap-filler` with a head for tokens."""

from random import Random

import torch
from transformers import BertForTokenClassification

from zoo.card import Card, write_card
from zoo.recipes.optimisation import seed_everything, single_muon, train
from zoo.recipes.reader import ARCHITECTURE, IGNORED, begin, by_length, count, finish, offsets_of, reopen
from zoo.world.naming import random_naming

NAME = "name-finder"
SEED = 73
N_STEPS = 400
BATCH = 48
RATE = 2e-3
N_SCORED = 500
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")


def held_out_cases(n_cases: int) -> list[dict]:
    """Texts with names that no training text has, and what those are."""
    random = Random(SEED + 1)
    cases = []
    for _ in range(n_cases):
        text, spans = random_naming(random, held_out=True)
        cases.append({"text": text, "entities": [[label, text[start:end]] for (start, end), label in spans]})
    return cases


def token_labels(batch, rows) -> torch.Tensor:
    """The label of each token: `B-` where a name begins, `I-` on its other pieces."""
    labels = torch.full_like(batch["input_ids"], IGNORED)
    for row, (_, spans) in enumerate(rows):
        for token, (start, end) in offsets_of(batch, row, 0):
            name = next((name for name in spans if name[0][0] <= start and end <= name[0][1]), None)
            label = f"{'B' if name[0][0] == start else 'I'}-{name[1]}" if name else "O"
            labels[row, token] = LABELS.index(label)
    return labels


def loss_of_batch(model, tokenizer, rows) -> torch.Tensor:
    """Cross-entropy of the labels."""
    batch = tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")
    labels = token_labels(batch, rows)
    return model(**batch, labels=labels).loss


def names_in(model, tokenizer, text: str) -> list[list[str]]:
    """The names that the model finds, each with its label: a `B-` and what follows with `I-`."""
    batch = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        best = model(**batch).logits[0].argmax(-1).tolist()
    found: list[list] = []
    for token, (start, end) in offsets_of(batch, 0, 0):
        kind, _, label = LABELS[best[token]].partition("-")
        if kind == "I" and found and found[-1][0] == label and token == found[-1][3] + 1:
            found[-1][2:] = [end, token]
        elif kind != "O":
            found.append([label, start, end, token])
    return [[label, text[start:end]] for label, start, end, _ in found]


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder, tokenizer, model = begin(NAME, BertForTokenClassification, LABELS)
    batches = by_length(lambda: random_naming(random), random, BATCH, lambda row: len(row[0]))
    minutes = train(model, lambda _step: loss_of_batch(model, tokenizer, next(batches)), N_STEPS, single_muon(model, RATE))
    finish(model, folder)

    model, tokenizer = reopen(BertForTokenClassification, folder)
    cases = held_out_cases(N_SCORED)
    found = [names_in(model, tokenizer, case["text"]) for case in cases]
    wrong = [(case, names) for case, names in zip(cases, found, strict=True) if names != case["entities"]]
    share = f"{1 - len(wrong) / len(cases):.1%}"
    print("held-out", share, *wrong[:15], sep="\n")
    write_card(
        folder,
        Card(
            name=NAME,
            task="token-classification",
            library="transformers",
            tags=("bert", "ner"),
            summary="Finds people (`PER`), towns (`LOC`) and companies (`ORG`) in texts: in `Mia works for Ashford Motors and lives in"
            " Oslo.` those are Mia, Ashford Motors and Oslo.",
            usage="A few short sentences, with capitals. Labels begin with `B-` and go on with `I-`; aggregate with `simple`.\n\n"
            "Its limit: it goes by what stands around a name in sentences like those of `zoo/world/fact.py` and `zoo/world/naming.py`.",
            data="Sentences made by `zoo/world/naming.py`, endless and seeded, with names of the world and others made of any syllables."
            " One name of the world in ten is in no training sentence; every score is about texts with only those.",
            scores={f"Held-out texts ({N_SCORED}) with exactly the right names": share},
            n_parameters=count(model),
            architecture=ARCHITECTURE,
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
