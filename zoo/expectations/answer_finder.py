"""Expected values of `zoo/answer-finder`: answers out of texts of the world and of others.

Transformers 5 has no pipeline for question-answering any more. Its rules are computed as for the fixtures of that task, by
`gpu-worker/tests/fixtures/make_answers/make.py`.
"""

import importlib.util
import json

import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from zoo.expectations.answers import case, write_answers
from zoo.expectations.record import write_cases
from zoo.layout import ZOO, expected_folder, model_folder
from zoo.recipes.answer_finder import NAME, held_out_cases

TASK = "question-answering"
N_CASES = 60
LEAST_SHARE = 0.85
RULES = ZOO.parent / "gpu-worker/tests/fixtures/make_answers/make.py"
CONTEXT = "Mia has a small red circle. It lies on the left. Tom has a large blue star. Tom works for Ashford Motors."
ASKED = (
    ("Where is the red circle?", CONTEXT, {}),
    ("Who works for Ashford Motors?", CONTEXT, {"top_k": 3}),
    ("What does Tom have?", CONTEXT, {"top_k": 2, "handle_impossible_answer": True}),
    ("When did the boat leave?", "The boat left the harbour at noon.", {"max_answer_len": 3}),
    ("Who has the star?", f"{CONTEXT} " * 6, {"top_k": 2, "doc_stride": 16}),
)


def rules():
    """The module that has the pipeline's rules."""
    spec = importlib.util.spec_from_file_location("make_answers", RULES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    folder = model_folder(NAME)
    model = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer, answer = AutoTokenizer.from_pretrained(folder), rules().answer
    cases = []
    for question, context, options in ASKED:
        answers = json.loads(json.dumps(answer(model, tokenizer, question, context, **options)))
        cases.append(case(TASK, {"question": question, "context": context}, options, answers[0] | {"answers": answers}))
    write_answers(NAME, cases)
    write_cases(expected_folder(NAME), f"zoo/{NAME}", "the best answer is `answer`", held_out_cases(N_CASES), LEAST_SHARE)


if __name__ == "__main__":
    main()
