"""The reference's pipelines over a model of the zoo."""

import torch
import transformers

from zoo.layout import model_folder


def load_pipeline(task: str, name: str, **settings):
    """The pipeline in float32 with plain attention."""
    torch.set_num_threads(1)
    plain = {"attn_implementation": "eager"}
    run = transformers.pipeline(task, model=str(model_folder(name)), device="cpu", dtype=torch.float32, model_kwargs=plain, **settings)
    assert run.model.config._attn_implementation == "eager" and run.model.dtype == torch.float32
    return run


def labels(answers: list[dict]) -> dict:
    """Labels with their scores, as the server shows them."""
    return {"predictions": [{"label": one["label"], "score": one["score"]} for one in answers]}
