"""The results as a file for machines and as a table in README.md."""

import json
from pathlib import Path

from row import Row

ORDER = ["start", "load", "forward", "neighbour", "serving", "memory", "shapes"]
ORDER += ["encoders", "streams", "beams", "pictures"]
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def write(page: Path | None, folder: Path, facts: dict, rows: list[Row]) -> Path:
    """Writes `folder/<date>.json`, and the table between the markers of `page` if one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{facts['date'].replace(':', '').replace(' ', '-')}.json"
    content = facts | {"rows": [row.to_dict() for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n")
    if page is None:
        return path
    text = page.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{table(facts, rows)}\n{END}{after}")
    return path


def table(facts: dict, rows: list[Row]) -> str:
    machine = facts["machine"]
    lines = [
        f"{facts['date']} UTC · {machine['processor']}, {machine['cores']} cores,"
        f" {machine['memory'] / 2**30:.0f} GiB, {machine['system']} ·"
        f" {facts['threads']} threads on both sides · commit {facts['commit']} ·"
        f" torch {facts['torch']}, transformers {facts['transformers']}"
        + "".join(f", {name} {facts[name]}" for name in ("onnxruntime", "diffusers") if name in facts),
        "",
        "| What | Ours | Theirs | Ratio | Target | Met | Pairs (discarded) |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: ORDER.index(row.part)):
        met = {True: "yes", False: "**no**", None: "–"}[row.met]
        pairs = f"{row.pairs} ({row.discarded})" + ("" if row.quiet else " not quiet")
        cells = [row.name, row.ours, row.theirs, row.ratio, row.target, met, pairs]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
