"""Where the zoo keeps its models and their expected values."""

import os
from pathlib import Path

ZOO = Path(__file__).resolve().parent


def model_folder(name: str) -> Path:
    """The model as a Hub repository; `ZOO_HUB` names another hub folder to write to."""
    folder = Path(os.environ.get("ZOO_HUB", ZOO / "hub")) / "zoo" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def body_folder(name: str) -> Path:
    """A model that others begin with: that of the hub which is written to, or else the zoo's."""
    own = Path(os.environ.get("ZOO_HUB", ZOO / "hub")) / "zoo" / name
    return own if (own / "config.json").exists() else ZOO / "hub" / "zoo" / name


def expected_folder(name: str) -> Path:
    """Reference outputs and held-out cases of a model."""
    folder = ZOO / "expected" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
