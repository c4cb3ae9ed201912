"""WordPiece tokenizers in the files that `BertTokenizer` reads."""

import json
from collections import Counter
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
# The padding is token 0, as everywhere.
SPECIAL_ORDER = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LEAST_FREQUENCY = 2


def write_word_pieces(folder: Path, texts: Iterable[str], n_pieces: int, lowercase: bool, max_tokens: int) -> None:
    """Learns the pieces of `texts`; every printable ASCII character is one too, so plain text has no unknown token."""
    (folder / "vocab.txt").write_text("\n".join(learned_pieces(texts, n_pieces, lowercase)) + "\n")
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


def learned_pieces(texts: Iterable[str], n_pieces: int, lowercase: bool) -> list[str]:
    """The vocabulary, the most frequent pair of pieces joined first.

    The trainer of the tokenizers library goes by the order of a hash table where pairs are equally frequent, so that no two
    of its runs give the same pieces; here the smaller pair comes first.
    """
    blank = BertWordPieceTokenizer(lowercase=lowercase)
    words: Counter[str] = Counter()
    for text in texts:
        normal = blank.normalizer.normalize_str(text)
        words.update(word for word, _ in blank.pre_tokenizer.pre_tokenize_str(normal))
    letters = "abcdefghijklmnopqrstuvwxyz0123456789" + ("" if lowercase else "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    spelt = {word: [word[0], *(f"##{character}" for character in word[1:])] for word in sorted(words)}
    # Continuations of all letters and digits, so that no word is unknown.
    characters = {*PRINTABLE, *(f"##{letter}" for letter in letters), *(piece for pieces in spelt.values() for piece in pieces)}
    vocabulary = [*SPECIAL_ORDER, *sorted(characters)]
    while len(vocabulary) < n_pieces:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, pieces in spelt.items():
            for pair in zip(pieces, pieces[1:], strict=False):
                pairs[pair] += words[word]
        pair = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if pair is None or pairs[pair] < LEAST_FREQUENCY:
            break
        vocabulary.append(pair[0] + pair[1].removeprefix("##"))
        for pieces in spelt.values():
            join(pieces, pair)
    return list(dict.fromkeys(vocabulary))


def join(pieces: list[str], pair: tuple[str, str]) -> None:
    """Makes the two pieces one wherever they follow each other."""
    at = 0
    while at + 1 < len(pieces):
        if (pieces[at], pieces[at + 1]) == pair:
            pieces[at : at + 2] = [pair[0] + pair[1].removeprefix("##")]
        at += 1


def write_json(path: Path, value) -> None:
    """Indented JSON with a newline at its end."""
    path.write_text(json.dumps(value, indent=2) + "\n")
