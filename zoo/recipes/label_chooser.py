"""`zoo/label-chooser`: whether a claim follows from a text, and so which labels fit it; `gap-filler` with a head for texts."""

from random import Random

import torch
from transformers import BertForSequenceClassification

from zoo.card import Card, write_card
from zoo.recipes.optimisation import seed_everything, single_muon, train
from zoo.recipes.reader import ARCHITECTURE, begin, by_length, count, finish, reopen
from zoo.world.claim import (
    CONTRADICTION,
    ENTAILMENT,
    NEUTRAL_CLAIM,
    TEMPLATES,
    Claim,
    fact_claim,
    label_claim,
    labelled_text,
    labels_to_choose_from,
    random_claim,
)

NAME = "label-chooser"
SEED = 75
N_STEPS = 900
BATCH = 48
RATE = 2e-3
N_SCORED = 500
LABELS = (CONTRADICTION, NEUTRAL_CLAIM, ENTAILMENT)
N_LABELS = 4


def held_out_cases(n_cases: int) -> list[dict]:
    """Texts that no training text is like, labels of one group, and the one that fits."""
    random = Random(SEED + 1)
    cases = []
    while len(cases) < n_cases:
        labelled = labelled_text(random, held_out=True)
        choice = labels_to_choose_from(random, labelled, N_LABELS)
        if choice:
            labels, right = choice
            cases.append({"text": labelled.text, "labels": labels, "label": right})
    return cases


def held_out_claims(draw, n_claims: int) -> list[Claim]:
    """Claims about texts that no training text is like."""
    random = Random(SEED + 2)
    return [draw(random, True) for _ in range(n_claims)]


def loss_of_batch(model, tokenizer, claims: list[Claim]) -> torch.Tensor:
    """Cross-entropy of what follows."""
    labels = torch.tensor([LABELS.index(claim.label) for claim in claims])
    batch = tokenizer([claim.text for claim in claims], [claim.claim for claim in claims], padding=True, return_tensors="pt")
    return model(**batch, labels=labels).loss


def logits_of(model, tokenizer, texts: list[str], claims: list[str]) -> torch.Tensor:
    """`[n, labels]`"""
    with torch.inference_mode():
        return model(**tokenizer(texts, claims, padding=True, return_tensors="pt")).logits


def right_claims(model, tokenizer, claims: list[Claim]) -> str:
    """The share of claims whose relation to their text is seen."""
    logits = logits_of(model, tokenizer, [claim.text for claim in claims], [claim.claim for claim in claims])
    n_right = sum(LABELS[idx] == claim.label for idx, claim in zip(logits.argmax(-1).tolist(), claims, strict=True))
    return f"{n_right / len(claims):.1%}"


def chosen_label(model, tokenizer, case: dict) -> str:
    """The label whose claim follows most surely."""
    claims = [TEMPLATES[0].format(label) for label in case["labels"]]
    logits = logits_of(model, tokenizer, [case["text"]] * len(claims), claims)
    return case["labels"][int(logits[:, LABELS.index(ENTAILMENT)].argmax())]


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder, tokenizer, model = begin(NAME, BertForSequenceClassification, LABELS)
    batches = by_length(lambda: random_claim(random), random, BATCH, lambda claim: len(claim.text))
    minutes = train(model, lambda _step: loss_of_batch(model, tokenizer, next(batches)), N_STEPS, single_muon(model, RATE))
    finish(model, folder)

    model, tokenizer = reopen(BertForSequenceClassification, folder)
    cases = held_out_cases(N_SCORED)
    found = [chosen_label(model, tokenizer, case) for case in cases]
    wrong = [(case, label) for case, label in zip(cases, found, strict=True) if label != case["label"]]
    scores = {
        f"Held-out texts ({N_SCORED}) with the right one of two to four labels": f"{1 - len(wrong) / len(cases):.1%}",
        f"Held-out claims ({N_SCORED}) about facts, rightly told to follow, to contradict, or neither": right_claims(
            model, tokenizer, held_out_claims(fact_claim, N_SCORED)
        ),
        f"Held-out claims ({N_SCORED}) that a label fits": right_claims(model, tokenizer, held_out_claims(label_claim, N_SCORED)),
    }
    print(*scores.items(), *wrong[:15], sep="\n")
    write_card(
        folder,
        Card(
            name=NAME,
            task="zero-shot-classification",
            library="transformers",
            tags=("bert", "nli"),
            summary="Says which of the given labels fits a text: of `There is a tiny crimson disc.` it chooses `red` among colours and"
            " `circle` among shapes. It was trained on what follows from what: `entailment`, `neutral`, `contradiction`.",
            usage="Labels of one kind in one request: colours, shapes, sizes, places (`left`, `top`), `positive` and `negative`, or topics"
            " (`home`, `birth`, `work`, `travel`, `rain`, `music`, `a race`, `climbing` and others of `zoo/world/claim.py`). As a"
            " text-classification of a text with a `text_pair` it says whether the second follows from the first.\n\n"
            "Its limit: labels in words that it never saw mean nothing to it.",
            data="Captions, facts, opinions and pieces of stories with claims about them, made by `zoo/world/claim.py`, endless and seeded."
            " Things, scenes, names, heroes and pairs of a frame and a word that are held out are in no training text; every score"
            " is about texts made only of those.",
            scores=scores,
            n_parameters=count(model),
            architecture=ARCHITECTURE,
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
