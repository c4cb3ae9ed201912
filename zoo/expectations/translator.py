"""Expected values of `zoo/translator`: greedy translations and one by beams, of the world's sentences and of others."""

from zoo.expectations.answers import case, write_answers
from zoo.expectations.record import write_cases
from zoo.expectations.writing import load_writer, written
from zoo.layout import expected_folder
from zoo.recipes.translator import NAME, held_out_cases

TASK = "translation"
N_CASES = 60
LEAST_SHARE = 0.9
ASKED = (
    ("There is a small red circle on the left and a large blue star on the right.", {}),
    ("Mia has a tiny crimson disc.", {}),
    ("Where does Tom live?", {"num_beams": 4}),
    ("The boat left the harbour at noon.", {"max_new_tokens": 12}),
    ("Zoë's Café, 42 — naïve?!", {"max_new_tokens": 9}),
)


def main() -> None:
    model, tokenizer = load_writer(NAME)
    cases = [case(TASK, {"text": text}, options, written(model, tokenizer, text, options)) for text, options in ASKED]
    write_answers(NAME, cases)
    write_cases(expected_folder(NAME), f"zoo/{NAME}", "the greedy translation is `translation`", held_out_cases(N_CASES), LEAST_SHARE)


if __name__ == "__main__":
    main()
