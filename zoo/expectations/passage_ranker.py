"""Expected values of `zoo/passage-ranker`: passages in the order of sentence-transformers' cross-encoder, with its scores."""

import torch
from sentence_transformers import CrossEncoder

from zoo.expectations.answers import case, write_answers
from zoo.expectations.record import write_cases
from zoo.layout import expected_folder, model_folder
from zoo.recipes.passage_ranker import NAME, held_out_cases

TASK = "text-ranking"
N_CASES = 60
LEAST_SHARE = 0.9
PASSAGES = [
    "Mia has a small red circle. It lies on the left.",
    "Tom has a large blue circle. It lies at the top.",
    "Mia lives in Oslo.",
    "The boat left the harbour at noon.",
]
ASKED = (
    ("Where is the small red circle?", {}),
    ("home of Mia", {"top_k": 2}),
    ("When did the boat leave?", {"raw_scores": True}),
)


def main() -> None:
    torch.set_num_threads(1)
    plain = {"dtype": torch.float32, "attn_implementation": "eager"}
    judge = CrossEncoder(str(model_folder(NAME)), device="cpu", model_kwargs=plain)
    assert judge.model.dtype == torch.float32 and judge.model.config._attn_implementation == "eager"
    cases = []
    for query, options in ASKED:
        scores = torch.nn.Identity() if options.get("raw_scores") else torch.nn.Sigmoid()
        found = judge.rank(query, PASSAGES, top_k=options.get("top_k"), activation_fn=scores)
        results = [{"index": one["corpus_id"], "score": float(one["score"])} for one in found]
        cases.append(case(TASK, {"query": query, "candidates": PASSAGES}, options, {"results": results}))
    write_answers(NAME, cases)
    write_cases(expected_folder(NAME), f"zoo/{NAME}", "the first result is candidate `best`", held_out_cases(N_CASES), LEAST_SHARE)


if __name__ == "__main__":
    main()
