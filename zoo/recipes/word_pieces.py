"""WordPiece tokenizers in the files that `BertTokenizer` reads."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import BertWordPieceTokenizer

PRINTABLE = [chr(code) for code in range(33, 127)]
SPECIALS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def write_word_pieces(folder: Path, texts: Iterable[str], n_pieces: int, lowercase: bool, max_tokens: int) -> None:
    """Learns the pieces of `texts`; every printable ASCII character is one too, so plain text has no unknown token."""
    tokenizer = BertWordPieceTokenizer(lowercase=lowercase)
    tokenizer.train_from_iterator(texts, vocab_size=n_pieces, min_frequency=2, initial_alphabet=PRINTABLE, show_progress=False)
    vocabulary = tokenizer.get_vocab()
    # Continuation pieces of all letters and digits, so that no word is unknown.
    characters = "abcdefghijklmnopqrstuvwxyz0123456789" + ("" if lowercase else "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    missing = [f"##{character}" for character in characters if f"##{character}" not in vocabulary]
    words = sorted(vocabulary, key=vocabulary.get) + missing
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    complete = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lowercase)
    complete.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": lowercase,
        "tokenize_chinese_chars": True,
        "strip_accents": None,
        "clean_up_tokenization_spaces": True,
        "model_max_length": max_tokens,
        **SPECIALS,
    }
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "special_tokens_map.json", SPECIALS)


def write_json(path: Path, value) -> None:
    """Indented JSON with a newline at its end."""
    path.write_text(json.dumps(value, indent=2) + "\n")
