"""What is asked of the models: texts of an exact number of tokens, one picture."""

import base64
import random
import struct
import zlib

# Ids of `[CLS]`, `[SEP]` and of the word `w0` in the tokenizers of `make_models.py`.
CLS, SEP, FIRST_WORD = 2, 3, 4


def words(tokens: int, seed: int = 0) -> list[int]:
    """`tokens` different words, as numbers."""
    return random.Random(seed).sample(range(20_000), tokens)


def text(numbers: list[int]) -> str:
    return " ".join(f"w{number}" for number in numbers)


def ids(numbers: list[int]) -> list[int]:
    return [FIRST_WORD + number for number in numbers]


def spelled(ids: list[int]) -> list[str]:
    """The words of ids, as the tokenizers spell them."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    return [special[token] if token < FIRST_WORD else f"w{token - FIRST_WORD}" for token in ids]


def bert_ids(numbers: list[int]) -> list[int]:
    return [CLS, *ids(numbers), SEP]


def png(size: int = 224) -> str:
    """A picture of noise, `size` × `size`, as base64."""
    noise = random.Random(0)
    rows = b"".join(b"\0" + noise.randbytes(3 * size) for _ in range(size))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + data).decode()
