"""Expected values of `zoo/summariser`: greedy summaries and one by beams, of stories and of another text."""

from zoo.expectations.answers import case, write_answers
from zoo.expectations.record import write_cases
from zoo.expectations.writing import load_writer, written
from zoo.layout import expected_folder
from zoo.recipes.summariser import NAME, held_out_cases

TASK = "summarization"
N_CASES = 40
LEAST_SHARE = 0.9
STORY = (
    "Once there was a small red circle. One day it began to rain. The red circle had no roof. Then a large green star opened a"
    ' door. "Come in, there is room for two," said the green star. They sat together and listened to the rain.'
)
ASKED = (
    (STORY, {}),
    (STORY, {"num_beams": 4, "no_repeat_ngram_size": 3, "length_penalty": 2.0}),
    ("The boat left the harbour at noon. By night it had not come back.", {"max_new_tokens": 12}),
    ("Zoë's Café, 42 — naïve?!", {"max_new_tokens": 9}),
)


def main() -> None:
    model, tokenizer = load_writer(NAME)
    cases = [case(TASK, {"text": text}, options, written(model, tokenizer, text, options)) for text, options in ASKED]
    write_answers(NAME, cases)
    write_cases(expected_folder(NAME), f"zoo/{NAME}", "the greedy summary is `summary`", held_out_cases(N_CASES), LEAST_SHARE)


if __name__ == "__main__":
    main()
