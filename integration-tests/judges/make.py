"""Remakes what small encoders with a head must answer: `python integration-tests/judges/make.py`.

Needs the reference libraries. The models' weights are computed from a hash (gpu-worker/tests/fixtures/make), their
tokenizer is that of zoo/sentences; the tests write the same models. Each JSON file holds a model's `config.json`, the
names and shapes of its tensors, and requests with what the reference's pipelines answer.
"""

import json
import pathlib
import shutil
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import CrossEncoder, SentenceTransformer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "gpu-worker/tests/fixtures/make"))
import hashed_weights  # noqa: E402

SEED = 7
SENTENCES = ROOT / "zoo/hub/zoo/sentences"
TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]
SIZES = dict(vocab_size=350, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
             max_position_embeddings=64)
DISTIL = dict(vocab_size=350, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64)

TEXTS = [
    "a small red circle is left of a blue square",
    "A little circle in red stands beside a square!",
    "a large green triangle moves to the top",
    "yellow",
]
LONG = " ".join(TEXTS * 4)
PAIRS = [(TEXTS[0], TEXTS[1]), (TEXTS[2], TEXTS[3]), (TEXTS[3], TEXTS[0]), (LONG, TEXTS[2]), (TEXTS[1], LONG), (LONG, LONG)]
LABELS = ["red", "a green thing", "square", "blue"]


def named(*labels, **more):
    return dict(id2label=dict(enumerate(labels)), label2id={label: id for id, label in enumerate(labels)}, **more)


MODELS = {
    "mood": ("Bert", SIZES | named("sad", "neither", "glad"), ["classes", "pairs"]),
    "topics": ("Bert", SIZES | named("shapes", "colours", problem_type="multi_label_classification"), ["classes"]),
    "degree": ("Bert", SIZES | named("degree", problem_type="regression"), ["classes"]),
    "follows": ("Bert", SIZES | named("contradiction", "neutral", "entailment"), ["labels", "pairs"]),
    # The label that is looked for is the first, and segments don't exist.
    "follows-first": ("DistilBert", DISTIL | named("ENTAILMENT", "not_entailment"), ["labels"]),
    "ranker": ("Bert", SIZES | named("LABEL_0"), ["ranks", "classes"]),
}


def classes(folder):
    judge = transformers.pipeline("text-classification", model=str(folder), device="cpu")
    for text in [*TEXTS, LONG]:
        yield "text-classification", {"text": text}, {"truncate": True}, judge(text, top_k=None, truncation=True)
    for function in ["softmax", "sigmoid", "none"]:
        options = {"function_to_apply": function, "top_k": 2}
        yield "text-classification", {"text": TEXTS[0]}, options, judge(TEXTS[0], **options)


def pairs(folder):
    judge = transformers.pipeline("text-classification", model=str(folder), device="cpu")
    for text, pair in PAIRS:
        inputs = {"text": text, "text_pair": pair}
        yield "text-classification", inputs, {"truncate": True}, judge(inputs, top_k=None, truncation=True)


def labels(folder):
    judge = transformers.pipeline("zero-shot-classification", model=str(folder), device="cpu")
    for text in [*TEXTS, LONG]:
        for asked in [{}, {"multi_label": True}, {"hypothesis_template": "{{it}} shows {}", "multi_label": False}]:
            answer = judge(text, candidate_labels=LABELS, **asked)
            answer = [dict(label=label, score=score) for label, score in zip(answer["labels"], answer["scores"])]
            yield "zero-shot-classification", {"text": text, "labels": LABELS}, asked | {"truncate": True}, answer
    answer = judge(TEXTS[0], candidate_labels=["red"])
    yield "zero-shot-classification", {"text": TEXTS[0], "labels": ["red"]}, {}, [dict(label="red", score=answer["scores"][0])]


def ranking(results):
    return [dict(index=result["corpus_id"], score=float(result["score"])) for result in results]


def ranks(folder):
    judge = CrossEncoder(str(folder), device="cpu")
    candidates = [*TEXTS, LONG]
    for query in [TEXTS[0], "which circle", LONG]:
        inputs = {"query": query, "candidates": candidates}
        yield "text-ranking", inputs, {"truncate": True}, ranking(judge.rank(query, candidates, activation_fn=torch.nn.Sigmoid()))
        raw = judge.rank(query, candidates, activation_fn=torch.nn.Identity())
        yield "text-ranking", inputs, {"truncate": True, "raw_scores": True}, ranking(raw)


def retrieval():
    """zoo/sentences itself, which has a head of its own kind: vectors."""
    encoder = SentenceTransformer(str(SENTENCES), device="cpu")
    for query in [TEXTS[0], "which circle"]:
        scores = encoder.similarity(encoder.encode_query(query), encoder.encode_document(TEXTS))[0].tolist()
        order = sorted(range(len(TEXTS)), key=lambda at: -scores[at])
        answer = [dict(index=at, score=scores[at]) for at in order]
        yield "text-retrieval", {"query": query, "candidates": TEXTS}, {}, answer


def build(folder, prefix, config):
    config = getattr(transformers, f"{prefix}Config")(**config)
    config._attn_implementation = "eager"
    getattr(transformers, f"{prefix}ForSequenceClassification")(config).save_pretrained(folder)
    weights = folder / "model.safetensors"
    shapes = {name: list(tensor.shape) for name, tensor in sorted(load_file(weights).items())}
    save_file(hashed_weights.checkpoint(shapes, SEED), weights, metadata={"format": "pt"})
    for file in TOKENIZER:
        shutil.copy(SENTENCES / file, folder / file)
    return json.loads((folder / "config.json").read_text()), shapes


def write(name, cases, config=None, shapes=None):
    lines = ",\n".join(
        "  " + json.dumps(dict(task=task, inputs=inputs, options=options, answer=answer), ensure_ascii=False)
        for task, inputs, options, answer in cases)
    path = pathlib.Path(__file__).with_name(f"{name}.json")
    path.write_text(f'{{"config": {json.dumps(config)},\n"tensors": {json.dumps(shapes)},\n"cases": [\n{lines}\n]}}\n')
    print(name, lines.count("\n") + 1)


def main():
    torch.set_grad_enabled(False)
    for name, (prefix, config, kinds) in MODELS.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            config, shapes = build(folder, prefix, config)
            cases = [case for kind in kinds for case in globals()[kind](folder)]
        write(name, cases, config, shapes)
    write("sentences", list(retrieval()))


if __name__ == "__main__":
    main()
