"""`zoo/mood-reader`: whether a sentence praises, blames or does neither; `gap-filler` with a head for texts."""

from random import Random

import torch
from transformers import BertForSequenceClassification

from zoo.card import Card, write_card
from zoo.recipes.optimisation import seed_everything, single_muon, train
from zoo.recipes.reader import ARCHITECTURE, begin, count, finish, reopen
from zoo.world.opinion import NEGATIVE, NEUTRAL, POSITIVE, random_opinion

NAME = "mood-reader"
SEED = 72
N_STEPS = 800
BATCH = 48
RATE = 2e-3
N_SCORED = 1000
LABELS = (NEGATIVE, NEUTRAL, POSITIVE)


def opinion(random: Random, held_out: bool = False) -> tuple[str, str]:
    """A sentence and its mood."""
    mood = random.choice(LABELS)
    return random_opinion(random, mood, held_out), mood


def held_out_cases(n_cases: int) -> list[dict]:
    """Sentences with words in frames that no training sentence has together, and people of whom none speaks."""
    random = Random(SEED + 1)
    return [dict(zip(("text", "label"), opinion(random, held_out=True), strict=True)) for _ in range(n_cases)]


def loss_of_batch(model, tokenizer, random: Random) -> torch.Tensor:
    """Cross-entropy of the moods."""
    texts, moods = zip(*(opinion(random) for _ in range(BATCH)), strict=True)
    labels = torch.tensor([LABELS.index(mood) for mood in moods])
    return model(**tokenizer(list(texts), padding=True, return_tensors="pt"), labels=labels).loss


def moods_of(model, tokenizer, texts: list[str]) -> list[str]:
    """The likeliest mood of each text."""
    with torch.inference_mode():
        logits = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits
    return [LABELS[idx] for idx in logits.argmax(-1).tolist()]


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder, tokenizer, model = begin(NAME, BertForSequenceClassification, LABELS)
    minutes = train(model, lambda _step: loss_of_batch(model, tokenizer, random), N_STEPS, single_muon(model, RATE))
    finish(model, folder)

    model, tokenizer = reopen(BertForSequenceClassification, folder)
    cases = held_out_cases(N_SCORED)
    found = moods_of(model, tokenizer, [case["text"] for case in cases])
    wrong = [(case, mood) for case, mood in zip(cases, found, strict=True) if mood != case["label"]]
    share = f"{1 - len(wrong) / len(cases):.1%}"
    print("held-out", share, *wrong[:15], sep="\n")
    write_card(
        folder,
        Card(
            name=NAME,
            task="text-classification",
            library="transformers",
            tags=("bert", "sentiment-analysis"),
            summary="Says whether a sentence is `positive`, `negative` or `neutral`: `What a lovely small boat!` is positive, `the circle"
            " is not bad` too, and `The circle is pretty, but I do not like it.` is negative.",
            usage="One sentence. What is said last counts; `not` turns a word around.\n\n"
            "Its limit: it knows the 23 words and turns of praise and the 23 of blame of `zoo/world/opinion.py`, and no others.",
            data="Sentences made by `zoo/world/opinion.py`, endless and seeded. One pair in ten of a word and the frame in which it"
            " stands, and one name in ten, are in no training sentence; every score is about sentences made only of those.",
            scores={f"Held-out sentences ({N_SCORED}) read rightly": share},
            n_parameters=count(model),
            architecture=ARCHITECTURE,
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
