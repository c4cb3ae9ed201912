"""One line of the results."""

from dataclasses import asdict, dataclass, field


@dataclass
class Row:
    part: str
    name: str
    # Figures as they are printed, with their unit.
    ours: str
    theirs: str = "–"
    # What the target is about, as it is printed; and whether it is met (None: no target).
    ratio: str = "–"
    target: str = "–"
    met: bool | None = None
    pairs: int = 0
    discarded: int = 0
    # False when no round was free of other load, and the figures are of the least noisy one.
    quiet: bool = True
    # The numbers behind, for the machine-readable file.
    values: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.quiet:
            # Figures beside other load say nothing about a target.
            self.met = None

    def to_dict(self) -> dict:
        return asdict(self)
