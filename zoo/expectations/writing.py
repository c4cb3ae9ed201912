"""What the reference's encoder–decoders write, as the server shows it."""

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from zoo.layout import model_folder


def load_writer(name: str):
    """The model in float32 with plain attention, and its tokenizer."""
    torch.set_num_threads(1)
    folder = model_folder(name)
    model = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return model, AutoTokenizer.from_pretrained(folder)


def written(model, tokenizer, text: str, options: dict) -> dict:
    """The text that the model writes for another, and how many tokens were read and written."""
    inputs = tokenizer(text, return_tensors="pt")
    (row,) = model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], **options).tolist()
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    ids = row[1:]
    ids = ids[: ids.index(end) + 1] if end in ids else [token for token in ids if token != pad]
    return {
        "text": tokenizer.decode(ids, skip_special_tokens=True),
        "prompt_tokens": inputs["input_ids"].shape[1],
        "generated_tokens": len(ids),
        "finish_reason": "stop" if ids[-1] == end else "length",
    }
