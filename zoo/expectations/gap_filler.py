"""Expected values of `zoo/gap-filler`: what it puts into gaps, of texts of the world and of others."""

from zoo.expectations.answers import case, write_answers
from zoo.expectations.pipelines import load_pipeline
from zoo.expectations.record import write_cases
from zoo.layout import expected_folder
from zoo.recipes.gap_filler import NAME, held_out_cases

TASK = "fill-mask"
N_CASES = 60
LEAST_SHARE = 0.95
ASKED = (
    ("Mia has a small red circle. The circle of Mia is [MASK].", {}),
    ("Tom lives in Paris and [MASK] in Oslo. [MASK] is at home in Paris.", {"top_k": 2}),
    ("There is a tiny crimson disc on the left. The picture shows a [MASK] red circle.", {"targets": ["small", "large", "Paris"]}),
    ("The boat left the harbour at [MASK].", {"top_k": 3}),
    ("Zoë's Café, 42 — [MASK]?!", {"top_k": 1}),
)


def filled(run, text: str, options: dict) -> dict:
    """The likeliest words of each gap, as the server shows them."""
    answers = run(text, **options)
    masks = answers if isinstance(answers[0], list) else [answers]
    return {"masks": [{"predictions": predictions} for predictions in masks]}


def main() -> None:
    run = load_pipeline(TASK, NAME)
    write_answers(NAME, [case(TASK, {"text": text}, options, filled(run, text, options)) for text, options in ASKED])
    truth = "the likeliest word of the gap is one of `words`; gaps for names are left out, the model often misses those (see its card)"
    cases = [case for case in held_out_cases(2 * N_CASES, run.tokenizer) if case["kind"] == "word"][:N_CASES]
    write_cases(expected_folder(NAME), f"zoo/{NAME}", truth, cases, LEAST_SHARE)


if __name__ == "__main__":
    main()
