"""Requests, and what the reference answers, as the server shows it."""

import json

from zoo.expectations.record import write_parity
from zoo.layout import expected_folder

N_DIGITS = 8


def write_answers(name: str, cases: list[dict]) -> None:
    """Writes parity.json: each case is a task, inputs, options and the output that they must give."""
    write_parity(expected_folder(name), f"zoo/{name}", cases=cases)


def case(task: str, inputs: dict, options: dict, output: dict) -> dict:
    """One request and its answer, with no more digits than are compared."""
    plain = json.loads(json.dumps(output), parse_float=lambda digits: round(float(digits), N_DIGITS))
    return {"task": task, "inputs": inputs, "options": options, "output": plain}
