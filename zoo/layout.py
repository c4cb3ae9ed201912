"""Where the zoo keeps its models and their expected values."""

import os
from pathlib import Path

ZOO = Path(__file__).resolve().parent


def model_folder(name: str) -> Path:
    """The model as a Hub repository; `ZOO_HUB` names another hub folder to write to."""
    folder = Path(os.environ.get("ZOO_HUB", ZOO / "hub")) / "zoo" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def expected_folder(name: str) -> Path:
    """Reference outputs and held-out cases of a model."""
    folder = ZOO / "expected" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
