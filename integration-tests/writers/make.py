"""Remakes what small encoder–decoder models must write: `python integration-tests/writers/make.py`.

Needs the reference libraries. The models' weights are computed from a hash (gpu-worker/tests/fixtures/make), their
tokenizer is that of zoo/storyteller; the tests write the same models. Each JSON file holds a model's small files, the
names and shapes of its tensors, and cases with what the reference answers.
"""

import json
import pathlib
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "gpu-worker/tests/fixtures/make"))
import hashed_weights  # noqa: E402

SEED = 7
TOKENIZER = ROOT / "zoo/hub/zoo/storyteller/tokenizer.json"
LANGUAGES = ["eng_Latn", "fra_Latn", "deu_Latn"]
N_TOKENS = 886
TEXTS = ["Once upon a time there was a small red circle.", "A big blue square sat on the hill and sang."]
BOS, EOS, PAD = 0, 1, 4
SHAPE = dict(
    vocab_size=N_TOKENS + len(LANGUAGES), d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
    decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=128,
    bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD,
)
ENDS = {"eos_token_id": [EOS, 30, 31, 32, 33], "pad_token_id": PAD, "bos_token_id": BOS}

MODELS = {
    "summariser": dict(
        config=transformers.BartConfig(**SHAPE, decoder_start_token_id=EOS, forced_eos_token_id=EOS),
        class_name="BartForConditionalGeneration",
        generation=dict(ENDS, decoder_start_token_id=EOS, num_beams=4, max_length=24, min_length=6, length_penalty=2.0,
                        no_repeat_ngram_size=3, early_stopping=True, forced_eos_token_id=EOS, forced_bos_token_id=BOS),
        tokenizer={}, task="summarization",
        asked=[{}, {"num_beams": 1}, {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 9, "early_stopping": "never"},
               {"num_beams": 2, "length_penalty": -1.0, "min_length": 12, "no_repeat_ngram_size": 0}],
    ),
    "translator": dict(
        config=transformers.M2M100Config(**SHAPE, decoder_start_token_id=EOS),
        class_name="M2M100ForConditionalGeneration",
        generation=dict(ENDS, decoder_start_token_id=EOS, max_length=30, num_beams=5),
        tokenizer={"tokenizer_class": "NllbTokenizer"}, task="translation",
        asked=[{}, {"num_beams": 1, "max_new_tokens": 12}],
    ),
    "instructed": dict(
        config=transformers.T5Config(
            vocab_size=SHAPE["vocab_size"], d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
            feed_forward_proj="gated-gelu", pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD,
            task_specific_params={
                "summarization": {"prefix": "summarize: ", "num_beams": 4, "max_length": 15, "min_length": 5,
                                  "no_repeat_ngram_size": 3, "length_penalty": 2.0, "early_stopping": True},
                "translation_en_to_de": {"prefix": "translate English to German: ", "num_beams": 3, "max_length": 12},
                "translation_en_to_fr": {"prefix": "translate English to French: ", "num_beams": 2, "max_length": 9},
            }),
        class_name="T5ForConditionalGeneration",
        generation=dict(ENDS, decoder_start_token_id=PAD, max_length=18), tokenizer={},
        task="text2text-generation", asked=[{}, {"num_beams": 2, "max_new_tokens": 6}],
    ),
}


def build(class_name, config):
    config._attn_implementation = "eager"
    model_class = getattr(transformers, class_name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        model_class(config).save_pretrained(folder)
        shapes = {name: list(tensor.shape) for name, tensor in sorted(load_file(folder / "model.safetensors").items())}
        save_file(hashed_weights.checkpoint(shapes, SEED), folder / "model.safetensors", metadata={"format": "pt"})
        model = model_class.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
        return model.eval(), shapes, json.loads((folder / "config.json").read_text())


def tokenizer():
    description = json.loads(TOKENIZER.read_text())
    for number, language in enumerate(LANGUAGES):
        description["added_tokens"].append(dict(
            id=N_TOKENS + number, content=language, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True))
    from tokenizers import Tokenizer
    return Tokenizer.from_str(json.dumps(description))


def write(model, tokenizer, ids, options):
    given = transformers.GenerationConfig(**options)
    model.generation_config = transformers.GenerationConfig()
    rows = model.generate(torch.tensor([ids]), generation_config=given)
    answers = []
    for row in rows.tolist():
        ends = options["eos_token_id"]
        target = row[1:]
        last = next((at for at, token in enumerate(target) if token in ends), len(target) - 1)
        target = target[:last + 1]
        answers.append(dict(
            text=tokenizer.decode(target, skip_special_tokens=True), prompt_tokens=len(ids), generated_tokens=len(target),
            finish_reason="stop" if target[-1] in ends else "length"))
    return answers


def sources(tokenizer, name, text):
    """Every way of asking a model about a text: task, inputs beside the text, ids, defaults of the task, forced token."""
    encode = lambda text, special=True: tokenizer.encode(text, add_special_tokens=special).ids  # noqa: E731
    language = {code: N_TOKENS + number for number, code in enumerate(LANGUAGES)}
    if name == "translator":
        for source, target in [("eng_Latn", "fra_Latn"), ("deu_Latn", "eng_Latn")]:
            ids = [language[source], *encode(text, False), EOS]
            yield "translation", {"src_lang": source, "tgt_lang": target}, ids, {"forced_bos_token_id": language[target]}
    elif name == "instructed":
        specific = dict(MODELS[name]["config"].task_specific_params)
        yield "text2text-generation", {}, encode(text), {}
        for task, inputs, key in [
            ("summarization", {}, "summarization"),
            ("translation", {"src_lang": "en", "tgt_lang": "de"}, "translation_en_to_de"),
            ("translation", {"tgt_lang": "fr"}, "translation_en_to_fr"),
        ]:
            own = dict(specific[key])
            yield task, inputs, encode(own.pop("prefix") + text), own
    else:
        yield "summarization", {}, encode(text), {}


def main():
    torch.set_grad_enabled(False)
    encoder = tokenizer()
    for name, model in MODELS.items():
        built, shapes, config = build(model["class_name"], model["config"])
        cases = []
        for text in TEXTS:
            for task, inputs, ids, own in sources(encoder, name, text):
                for asked in model["asked"]:
                    options = model["generation"] | own | asked
                    # A number of new tokens counts without the start token.
                    if "max_new_tokens" in asked:
                        options["max_length"] = options.pop("max_new_tokens") + 1
                    cases.append(dict(task=task, inputs=dict(inputs, text=text), options=asked,
                                      answers=write(built, encoder, ids, options)))
        files = {"config.json": config, "generation_config.json": model["generation"]}
        if model["tokenizer"]:
            files["tokenizer_config.json"] = model["tokenizer"] | {"eos_token": "<|end_of_text|>", "pad_token": "<|pad|>"}
        path = pathlib.Path(__file__).with_name(f"{name}.json")
        lines = ",\n".join("  " + json.dumps(case, ensure_ascii=False) for case in cases)
        path.write_text(
            f'{{"files": {json.dumps(files)},\n"languages": {json.dumps(LANGUAGES)},\n"tensors": {json.dumps(shapes)},\n'
            f'"cases": [\n{lines}\n]}}\n')
        print(name, len(cases), [answer["finish_reason"] for case in cases for answer in case["answers"]])


if __name__ == "__main__":
    main()
