"""Model cards: front matter that the Hub understands, and what a reader wants to know."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Card:
    """What a recipe knows about its model once it is trained and scored."""

    name: str
    task: str
    library: str
    tags: tuple[str, ...]
    summary: str
    usage: str
    data: str
    scores: dict[str, str]
    n_parameters: int
    architecture: str
    dtype: str
    minutes: float


def write_card(folder: Path, card: Card) -> None:
    """Writes README.md into the model's folder."""
    tags = "".join(f"- {tag}\n" for tag in card.tags)
    rounded = max(1, round(card.minutes))
    minutes = f"{rounded} minute{'s' if rounded > 1 else ''}"
    scores = "".join(f"| {what} | {value} |\n" for what, value in card.scores.items())
    (folder / "README.md").write_text(
        f"""---
license: apache-2.0
language: en
library_name: {card.library}
pipeline_tag: {card.task}
tags:
{tags}---

# zoo/{card.name}

{card.summary}

{card.usage}

## Numbers

| What | Value |
|---|---|
| Architecture | {card.architecture} |
| Parameters | {card.n_parameters:,} |
| Stored as | {card.dtype} safetensors |
| Training time | {minutes} on one core |
{scores}
## Data

{card.data}

## Made by

`make zoo MODEL={card.name}`, which runs `zoo/recipes/{card.name.replace("-", "_")}.py`: trains, scores the saved files and writes this card.
The weights are ours and under Apache-2.0, like everything in the repository.
"""
    )
