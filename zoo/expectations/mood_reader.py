"""Expected values of `zoo/mood-reader`: the moods of sentences of the world and of others."""

from zoo.expectations.answers import case, write_answers
from zoo.expectations.pipelines import labels, load_pipeline
from zoo.expectations.record import write_cases
from zoo.layout import expected_folder
from zoo.recipes.mood_reader import NAME, held_out_cases

TASK = "text-classification"
N_CASES = 60
LEAST_SHARE = 0.85
ASKED = (
    ("What a lovely small boat!", {}),
    ("The circle is pretty, but I do not like it.", {"top_k": 2}),
    ("Mia lives in Paris.", {"function_to_apply": "none"}),
    ("The film was never boring.", {"function_to_apply": "sigmoid", "top_k": 1}),
    ("Zoë's Café, 42 — naïve?!", {}),
)


def main() -> None:
    run = load_pipeline(TASK, NAME)
    cases = [case(TASK, {"text": text}, options, labels(run(text, **{"top_k": None} | options))) for text, options in ASKED]
    write_answers(NAME, cases)
    write_cases(expected_folder(NAME), f"zoo/{NAME}", "the first label is `label`", held_out_cases(N_CASES), LEAST_SHARE)


if __name__ == "__main__":
    main()
