"""Expected values of the zoo's models, computed by the reference libraries: float32, CPU, eager attention.

`parity.json` holds inputs and outputs to be equal to; `cases.json` holds held-out cases with their truth.
"""
