"""A 2 GB model loads beside a small one that answers: p99 of the small one, alone and meanwhile.

    python3 benchmarks/loading.py --bin-dir target/release [--rounds 3]

The large checkpoint is a sparse file of zeros, so only reading and not the disk is measured. A line says what else ran.
"""

import argparse
import json
import os
import shutil
import struct
import tempfile
import threading
import time
from pathlib import Path

from ours import Server

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("zoo/sentences", "feature-extraction", {"text": "a red circle"})
# 2 GB in float32.
DIM, LAYERS, TOKENS, POSITIONS = 2048, 10, 886, 1024


def tensors() -> list[tuple[str, list[int]]]:
    found = [("wte.weight", [TOKENS, DIM]), ("wpe.weight", [POSITIONS, DIM]), ("ln_f.weight", [DIM]), ("ln_f.bias", [DIM])]
    for layer in range(LAYERS):
        for name, shape in [
            ("ln_1.weight", [DIM]), ("ln_1.bias", [DIM]), ("attn.c_attn.weight", [DIM, 3 * DIM]),
            ("attn.c_attn.bias", [3 * DIM]), ("attn.c_proj.weight", [DIM, DIM]), ("attn.c_proj.bias", [DIM]),
            ("ln_2.weight", [DIM]), ("ln_2.bias", [DIM]), ("mlp.c_fc.weight", [DIM, 4 * DIM]),
            ("mlp.c_fc.bias", [4 * DIM]), ("mlp.c_proj.weight", [4 * DIM, DIM]), ("mlp.c_proj.bias", [DIM]),
        ]:
            found.append((f"h.{layer}.{name}", shape))
    return found


def write_large(folder: Path) -> int:
    """The bytes of its weights."""
    folder.mkdir(parents=True)
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
        shutil.copy(ROOT / "zoo/hub/zoo/storyteller" / file, folder / file)
    config = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": TOKENS, "n_embd": DIM,
        "n_layer": LAYERS, "n_head": 16, "n_positions": POSITIONS, "bos_token_id": 0, "eos_token_id": 1,
    }
    (folder / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, shape in tensors():
        start, size = end, 4
        for dim in shape:
            size *= dim
        end += size
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return end


def p99(server: Server, goes_on) -> tuple[float, int]:
    """Milliseconds of the small model's answers, one after the other, while `goes_on()`; and their number."""
    times = []
    while goes_on(len(times)):
        times.append(server.infer(*SMALL)["client_s"] * 1e3)
    times.sort()
    return times[int((len(times) - 1) * 0.99)], len(times)


def one_round(bin_dir: Path, hub: Path) -> tuple[float, float, int, float]:
    server = Server(bin_dir, [hub, ROOT / "zoo/hub"])
    other = None
    try:
        for _ in range(20):
            server.infer(*SMALL)
        alone, _ = p99(server, lambda done: done < 500)
        took = []

        def load():
            from http_client import Connection

            connection = Connection(server.port)
            started = time.perf_counter()
            connection.json("/api/models/load", {"model_id": "bench/two-gigabytes", "task": "text-generation"})
            took.append(time.perf_counter() - started)
            connection.close()

        other = threading.Thread(target=load)
        other.start()
        beside, count = p99(server, lambda _: other.is_alive())
        return alone, beside, count, took[0]
    finally:
        if other:
            other.join()
        server.stop()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--bin-dir", type=Path, default=ROOT / "target/release")
    options.add_argument("--rounds", type=int, default=3)
    options = options.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        size = write_large(Path(folder) / "bench/two-gigabytes")
        print(f"{size / 1e9:.2f} GB; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for _ in range(options.rounds):
            alone, beside, count, seconds = one_round(options.bin_dir, Path(folder))
            ratios.append(beside / alone)
            print(
                f"p99 alone {alone:.1f} ms, beside the load {beside:.1f} ms ({count} answers in {seconds:.1f} s): "
                f"{ratios[-1]:.2f}×"
            )
    ratio = sorted(ratios)[len(ratios) // 2]
    print(f"median {ratio:.2f}× (at most 2×: {'met' if ratio <= 2 else 'missed'})")


if __name__ == "__main__":
    main()
