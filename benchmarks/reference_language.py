"""The other side of `language.py`: onnxruntime on encoders, `generate` with beams. Runs in the reference environment.

`reference_language.py serve HUB` answers like `reference.py serve HUB`. Exported encoders lie in `onnx` beside HUB.
"""

import sys
import time
from pathlib import Path

import numpy
import onnxruntime
import torch
from reference import Server, serve
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

OPSET = 17


class Hidden(torch.nn.Module):
    """What is exported: ids and mask in, the last hidden state out."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state


def export(folder: Path, path: Path) -> None:
    """Writes the checkpoint of `folder` as an ONNX file of float32 with free batch and length."""
    encoder = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    ids = torch.arange(12).view(2, 6)
    free = {0: "batch", 1: "length"}
    path.parent.mkdir(exist_ok=True)
    made = path.with_suffix(".part")
    # The exporter does not trace tensors of inference mode.
    with torch.inference_mode(False), torch.no_grad():
        torch.onnx.export(
            Hidden(encoder).eval(),
            (ids, torch.ones_like(ids)),
            str(made),
            input_names=["ids", "mask"],
            output_names=["hidden"],
            dynamic_axes={"ids": free, "mask": free, "hidden": free},
            opset_version=OPSET,
            dynamo=False,
        )
    made.rename(path)


class Language(Server):
    def __init__(self, hub: str):
        super().__init__(hub)
        self.sessions = {}

    def versions(self) -> dict:
        return {"onnxruntime": onnxruntime.__version__}

    def session(self, model: str) -> onnxruntime.InferenceSession:
        """One with as many threads as torch has, and every optimisation of the graph."""
        if model not in self.sessions:
            folder = Path(self.hub) / model
            path = Path(self.hub).parent / "onnx" / f"{folder.name}.onnx"
            weights = folder / "model.safetensors"
            if not path.exists() or path.stat().st_mtime < weights.stat().st_mtime:
                export(folder, path)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            self.sessions[model] = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        return self.sessions[model]

    def onnx(self, model: str, ids: list, together: bool) -> dict:
        """Milliseconds of `run` over all texts, one by one or as one padded batch; the first one's pooled beginning.

        `ids` are lists of different lengths."""
        session = self.session(model)
        batches = [padded(ids)] if together else [padded([row]) for row in ids]
        started = time.perf_counter()
        hidden = [session.run(None, batch)[0] for batch in batches]
        took = (time.perf_counter() - started) * 1e3
        return {"ms": took, "check": hidden[0][0, : len(ids[0])].mean(0)[:8].tolist()}

    def beams(self, model: str, kind: str, ids: list, tokens: int, num_beams: int) -> dict:
        """Milliseconds of `generate` as users call it (the attention it chooses itself); the ids that it made."""
        key = f"beams {model}"
        if key not in self.models:
            auto = {"causal": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}[kind]
            self.models[key] = auto.from_pretrained(f"{self.hub}/{model}", dtype=torch.float32).eval()
        fed = torch.tensor([ids])
        started = time.perf_counter()
        made = self.models[key].generate(
            fed,
            attention_mask=torch.ones_like(fed),
            num_beams=num_beams,
            do_sample=False,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            pad_token_id=0,
        )
        took = (time.perf_counter() - started) * 1e3
        return {"ms": took, "ids": made[0, -tokens:].tolist()}


def padded(rows: list) -> dict:
    """Ids and mask, `[batch, longest]`."""
    longest = max(len(row) for row in rows)
    ids = numpy.zeros((len(rows), longest), dtype=numpy.int64)
    mask = numpy.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return {"ids": ids, "mask": mask}


if __name__ == "__main__":
    serve(Language(sys.argv[2]))
