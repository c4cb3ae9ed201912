"""Expected values of `zoo/table-reader`: the cells that the reference's pipeline chooses, and what is to be done with them."""

import torch
import transformers

from zoo.expectations.answers import case, write_answers
from zoo.expectations.record import write_cases
from zoo.layout import expected_folder, model_folder
from zoo.recipes.table_reader import NAME, frame, held_out_cases

TASK = "table-question-answering"
N_CASES = 60
LEAST_SHARE = 0.9
TABLE = [
    ["Name", "Shape", "Number", "Town"],
    ["Mia", "circle", "3", "Oslo"],
    ["Tom", "star", "12", "Paris"],
    ["Ada Larson", "circle", "8", "Oslo"],
]
OTHER = [["Ship", "Built", "Passengers"], ["Aurora", "1901", "120"], ["Bella", "1923", "85"], ["Zoë", "1910", "1,200"]]
ASKED = (
    ("Where does Tom live?", TABLE),
    ("How many circles are there in all?", TABLE),
    ("What is the average number?", TABLE),
    ("How many people live in Oslo?", TABLE),
    ("Who has the most?", TABLE),
    ("Which ship was built before 1910?", OTHER),
)


def main() -> None:
    torch.set_num_threads(1)
    folder = model_folder(NAME)
    model = transformers.TapasForQuestionAnswering.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = transformers.TapasTokenizer.from_pretrained(folder)
    run = transformers.pipeline(TASK, model=model, tokenizer=tokenizer, device="cpu")
    cases = []
    for question, table in ASKED:
        found = run(table=frame(table), query=question, truncation=False)
        output = found | {"coordinates": [list(place) for place in found["coordinates"]]}
        cases.append(case(TASK, {"question": question, "table": table}, {}, output))
    write_answers(NAME, cases)
    truth = "the chosen cells are `coordinates` and what is to be done with them is `aggregator`"
    write_cases(expected_folder(NAME), f"zoo/{NAME}", truth, held_out_cases(N_CASES), LEAST_SHARE)


if __name__ == "__main__":
    main()
