"""Expected values of `zoo/label-chooser`: which labels fit texts, and what follows from them."""

from zoo.expectations.answers import case, write_answers
from zoo.expectations.pipelines import labels, load_pipeline
from zoo.expectations.record import write_cases
from zoo.layout import expected_folder
from zoo.recipes.label_chooser import NAME, held_out_cases

CHOOSING, JUDGING = "zero-shot-classification", "text-classification"
N_CASES = 60
LEAST_SHARE = 0.85
CHOSEN = (
    ("There is a tiny crimson disc on the left.", ["red", "blue", "green"], {}),
    ("There is a tiny crimson disc on the left.", ["circle", "small", "blue"], {"multi_label": True}),
    ("Mia works for Ashford Motors.", ["home", "work", "birth"], {"hypothesis_template": "This text is about {}."}),
    ("The boat left the harbour at noon.", ["travel", "cooking", "music"], {}),
)
JUDGED = (
    ("Mia has a small red circle.", "The circle of Mia is red."),
    ("Mia has a small red circle. Tom lives in Oslo.", "The home of Tom is Paris."),
    ("Zoë's Café, 42 — naïve?!", "Mia came on Monday."),
)


def main() -> None:
    run = load_pipeline(CHOOSING, NAME)
    cases = []
    for text, among, options in CHOSEN:
        found = run(text, candidate_labels=among, **options)
        answers = [{"label": label, "score": score} for label, score in zip(found["labels"], found["scores"], strict=True)]
        cases.append(case(CHOOSING, {"text": text, "labels": among}, options, labels(answers)))
    run = load_pipeline(JUDGING, NAME)
    for text, claim in JUDGED:
        inputs = {"text": text, "text_pair": claim}
        cases.append(case(JUDGING, inputs, {}, labels(run(inputs, top_k=None))))
    write_answers(NAME, cases)
    write_cases(expected_folder(NAME), f"zoo/{NAME}", "the first of `labels` is `label`", held_out_cases(N_CASES), LEAST_SHARE)


if __name__ == "__main__":
    main()
