"""`zoo/passage-ranker`: how well a passage answers a query, both read together; `gap-filler` with a head for texts."""

from random import Random

import torch
from transformers import BertForSequenceClassification

from zoo.card import Card, write_card
from zoo.recipes.optimisation import seed_everything, single_muon, train
from zoo.recipes.reader import ARCHITECTURE, begin, count, finish, reopen
from zoo.world.search import Search, random_search

NAME = "passage-ranker"
SEED = 76
N_STEPS = 500
# Searches in a batch, and passages of each.
BATCH, N_PASSAGES = 12, 4
RATE = 2e-3
N_SCORED = 500
N_SCORED_PASSAGES = 8


def held_out_cases(n_cases: int) -> list[dict]:
    """Searches for people and things that no training passage has."""
    random = Random(SEED + 1)
    searches = [random_search(random, N_SCORED_PASSAGES, held_out=True) for _ in range(n_cases)]
    return [{"query": search.query, "candidates": search.passages, "best": search.best} for search in searches]


def scores_of(model, tokenizer, queries: list[str], passages: list[str]) -> torch.Tensor:
    """`[n]`, the larger the better."""
    return model(**tokenizer(queries, passages, padding=True, return_tensors="pt")).logits[:, 0]


def loss_of_batch(model, tokenizer, searches: list[Search]) -> torch.Tensor:
    """Cross-entropy of the best passage of each search, and of each passage being an answer at all."""
    queries = [search.query for search in searches for _ in search.passages]
    scores = scores_of(model, tokenizer, queries, [passage for search in searches for passage in search.passages])
    scores, best = scores.view(len(searches), -1), torch.tensor([search.best for search in searches])
    is_best = torch.nn.functional.one_hot(best, scores.shape[1]).float()
    among = torch.nn.functional.cross_entropy(scores, best)
    return among + torch.nn.functional.binary_cross_entropy_with_logits(scores, is_best)


def main() -> None:
    seed_everything(SEED)
    random = Random(SEED)
    folder, tokenizer, model = begin(NAME, BertForSequenceClassification, ("LABEL_0",))

    def loss(_step: int) -> torch.Tensor:
        return loss_of_batch(model, tokenizer, [random_search(random, N_PASSAGES) for _ in range(BATCH)])

    minutes = train(model, loss, N_STEPS, single_muon(model, RATE))
    finish(model, folder)

    model, tokenizer = reopen(BertForSequenceClassification, folder)
    cases = held_out_cases(N_SCORED)
    wrong = []
    for case in cases:
        with torch.inference_mode():
            scores = scores_of(model, tokenizer, [case["query"]] * N_SCORED_PASSAGES, case["candidates"])
        if int(scores.argmax()) != case["best"]:
            wrong.append((case["query"], case["candidates"][case["best"]], case["candidates"][int(scores.argmax())]))
    share = f"{1 - len(wrong) / len(cases):.1%}"
    print("held-out", share, *wrong[:15], sep="\n")
    write_card(
        folder,
        Card(
            name=NAME,
            task="text-ranking",
            library="sentence-transformers",
            tags=("bert", "cross-encoder", "transformers"),
            summary="Ranks passages by how well they answer a query, reading both together: for `Where is the red circle?` it puts `Mia"
            " has a small red circle. It lies on the left.` before what else is told of Mia and of other circles.",
            usage="A question, or a few words such as `home of Mia`, and passages of one or two sentences. Scores are between 0 and 1.\n\n"
            "Its limit: it knows the facts of `zoo/world/fact.py` and no others.",
            data="Searches made by `zoo/world/search.py`, endless and seeded: most other passages are about the same person, or tell the"
            " same of somebody else. One thing at a place and one name in ten are in no training passage; every score is about those.",
            scores={f"Held-out searches ({N_SCORED}) with the answer first of {N_SCORED_PASSAGES}": share},
            n_parameters=count(model),
            architecture=ARCHITECTURE,
            dtype="float16",
            minutes=minutes,
        ),
    )


if __name__ == "__main__":
    main()
