"""Expected values of `zoo/name-finder`: the names in texts of the world and in others, put together in several ways."""

from zoo.expectations.answers import case, write_answers
from zoo.expectations.pipelines import load_pipeline
from zoo.expectations.record import write_cases
from zoo.layout import expected_folder
from zoo.recipes.name_finder import NAME, held_out_cases

TASK = "token-classification"
N_CASES = 60
LEAST_SHARE = 0.95
TEXT = "Mia works for Ashford Motors. Yesterday Tom Larson went from Oslo to Bradwick."
ASKED = (
    (TEXT, {}),
    (TEXT, {"aggregation_strategy": "none"}),
    (TEXT, {"aggregation_strategy": "first", "ignore_labels": ["O", "LOC"]}),
    ("Ada Lovelace was born in London.", {"aggregation_strategy": "average"}),
    ("Zoë's Café, 42 — naïve René?!", {"aggregation_strategy": "max"}),
)


def entities(run, text: str, options: dict) -> dict:
    """The names with their places in the text, as the server shows them."""
    found = run(text, **{"aggregation_strategy": "simple"} | options)
    shown = [{name: value for name, value in entity.items() if name != "index"} for entity in found]
    return {"entities": [entity | {"score": float(entity["score"])} for entity in shown]}


def main() -> None:
    run = load_pipeline(TASK, NAME)
    write_answers(NAME, [case(TASK, {"text": text}, options, entities(run, text, options)) for text, options in ASKED])
    truth = "the names found are exactly `entities`, each a label and a part of the text, in order"
    write_cases(expected_folder(NAME), f"zoo/{NAME}", truth, held_out_cases(N_CASES), LEAST_SHARE)


if __name__ == "__main__":
    main()
