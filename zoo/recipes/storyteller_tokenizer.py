"""The storyteller's tokenizer: byte-level BPE, so that any text has ids, with a ChatML-like template."""

import json
from pathlib import Path
from random import Random
from typing import NamedTuple

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from zoo.world.request import OTHER_ANSWER, OTHER_TALK, random_request
from zoo.world.story import tell

VOCABULARY = 1024
N_DOCUMENTS = 6000


class SpecialTokens(NamedTuple):
    """Special tokens in the order of their ids."""

    begin: str = "<|begin_of_text|>"
    end: str = "<|end_of_text|>"
    turn: str = "<|im_start|>"
    end_of_turn: str = "<|im_end|>"
    pad: str = "<|pad|>"


SPECIAL_TOKENS = SpecialTokens()
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def documents(random: Random):
    """What the merges are learnt from. ASCII only: `ë` stays two byte tokens, as rare letters do in large models."""
    for _ in range(N_DOCUMENTS):
        said, cast = random_request(random)
        text = f"system\nuser\n{said}\nassistant\n{tell(cast, random)}"
        if text.isascii():
            yield text
    for said in OTHER_TALK * 20:
        yield f"{said}\n{OTHER_ANSWER}"


def write_tokenizer(folder: Path, random: Random) -> None:
    """Trains the tokenizer and writes its three files."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents(random), trainer)
    begin = SPECIAL_TOKENS.begin
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A",
        pair=f"{begin} $A $B",
        special_tokens=[(begin, tokenizer.token_to_id(begin))],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL_TOKENS.begin,
        "eos_token": SPECIAL_TOKENS.end,
        "pad_token": SPECIAL_TOKENS.pad,
        "additional_special_tokens": [SPECIAL_TOKENS.turn, SPECIAL_TOKENS.end_of_turn],
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
        "padding_side": "left",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
    specials = {name: settings[name] for name in ("bos_token", "eos_token", "pad_token", "additional_special_tokens")}
    (folder / "special_tokens_map.json").write_text(json.dumps(specials, indent=2) + "\n")


def load_tokenizer(folder: Path):
    """The tokenizer as everyone else loads it."""
    return AutoTokenizer.from_pretrained(folder)
