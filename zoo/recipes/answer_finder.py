"""`zoo/answer-finder`: finds the part of a text that answers a question; `gap-filler` with a head for spans."""

from random import Random

import torch
from transformers import BertForQuestionAnswering

from zoo.card import Card, write_card
from zoo.recipes.optimisation import seed_everything, single_muon, train
from zoo.recipes.reader import ARCHITECTURE, begin, by_length, count, finish, offsets_of, reopen
from zoo.world.telling import random_passage, random_question

NAME = "answer-finder"
SEED = 74
N_STEPS = 700
BATCH = 32
RATE = 2e-3
N_SCORED = 500
# More tokens than any answer of the world has.
LONGEST = 15

Asked = tuple[str, str, tuple[int, int]]


def asked(random: Random, held_out: bool = False) -> Asked:
    """A question, a text, and where in it the answer stands."""
    n_people = random.choice((1, 2, 2, 3))
    n_facts = random.randint(1, 6) if n_people > 1 else random.randint(1, 4)
    passage = random_passage(random, n_people, n_facts, held_out)
    fact = random.choice(passage.facts)
    question, slot = random_question(random, fact)
    return question, passage.text, fact.spans[slot]


def held_out_cases(n_cases: int) -> list[dict]:
    """Questions about people, things and names that no training text has."""
    random = Random(SEED + 1)
    cases = []
    for _ in range(n_cases):
        question, context, (start, end) = asked(random, held_out=True)
        cases.append({"question": question, "context": context, "answer": context[start:end]})
    return cases


def loss_of_batch(model, tokenizer, rows: list[Asked]) -> torch.Tensor:
    """Cross-entropy of the first and the last token of each answer."""
    batch = tokenizer([question for question, _, _ in rows], [context for _, context, _ in rows], padding=True, return_tensors="pt")
    firsts, lasts = [], []
    for row, (_, _, (start, end)) in enumerate(rows):
        inside = [token for token, span in offsets_of(batch, row, 1) if start <= span[0] and span[1] <= end]
        firsts.append(inside[0])
        lasts.append(inside[-1])
    return model(**batch, start_positions=torch.tensor(firsts), end_positions=torch.tensor(lasts)).loss


def answer_of(model, tokenizer, question: str, context: str) -> str:
    """The likeliest part of the text."""
    batch = tokenizer(question, context, return_tensors="pt")
    with torch.inference_mode():
        output = model(**batch)
    spans = dict(offsets_of(batch, 0, 1))
    first, last = min(spans), max(spans)
    scores = output.start_logits[0, first : last + 1, None] + output.end_logits[0, None, first : last + 1]
    allowed = torch.ones_like(scores, dtype=torch.bool).triu().tril(LONGEST - 1)
    best = int(scores.masked_fill(~allowed, -torch.inf).argmax())
    start, end = divmod(best, scores.shape[1])
    return context[spans[first + start][0] : spans[first + end][1]]


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder, tokenizer, model = begin(NAME, BertForQuestionAnswering)
    batches = by_length(lambda: asked(random), random, BATCH, lambda row: len(row[1]))
    minutes = train(model, lambda _step: loss_of_batch(model, tokenizer, next(batches)), N_STEPS, single_muon(model, RATE))
    finish(model, folder)

    model, tokenizer = reopen(BertForQuestionAnswering, folder)
    cases = held_out_cases(N_SCORED)
    found = [answer_of(model, tokenizer, case["question"], case["context"]) for case in cases]
    wrong = [(case, answer) for case, answer in zip(cases, found, strict=True) if answer != case["answer"]]
    share = f"{1 - len(wrong) / len(cases):.1%}"
    print("held-out", share, *wrong[:15], sep="\n")
    write_card(
        folder,
        Card(
            name=NAME,
            task="question-answering",
            library="transformers",
            tags=("bert",),
            summary="Answers a question with a part of a text: of `Mia has a small red circle. It lies on the left.` it answers"
            " `Where is the red circle?` with `on the left`.",
            usage="A question and up to six short sentences about up to three people: who has what, where it lies, where they live,"
            " were born and work, and when they came. The question may use other words than the text, such as `crimson` for `red`.\n\n"
            "Its limit: it always finds something, even if the text does not answer the question.",
            data="Passages and questions made by `zoo/world/telling.py`, endless and seeded. One thing at a place and one name in ten"
            " are in no training text; every score is about texts made only of those.",
            scores={f"Held-out questions ({N_SCORED}) answered with exactly the right words": share},
            n_parameters=count(model),
            architecture=ARCHITECTURE,
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
