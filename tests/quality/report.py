"""Tables on paper: what was measured, what it is held against, and what fell short."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Row:
    """One line: `ours` may be `allowed` below `reference`. Both are scores, one for each clip."""

    name: str
    reference: list[float]
    ours: list[float]
    allowed: float
    note: str = ""

    def difference(self) -> float:
        return float(np.mean(self.ours) - np.mean(self.reference))

    def holds(self) -> bool:
        # A hundredth of what PESQ can tell is no reason to fail.
        return bool(self.ours) and self.difference() >= -self.allowed - 0.0005


@dataclass
class Table:
    title: str
    reference: str
    """What the column of references is called."""
    ours: str = "daemon"
    rows: list[Row] = field(default_factory=list)

    def print(self) -> None:
        width = max([len(row.name) for row in self.rows] + [4])
        print(f"\n{self.title}\n")
        print(f"{'':{width}} {self.reference:>9} {self.ours:>9} {'diff':>7} {'worst':>7} {'allowed':>8}")
        for row in self.rows:
            print(f"{row.name:{width}} {self.figures(row)}")
        print(flush=True)

    def figures(self, row: Row) -> str:
        if not row.ours:
            return f"{np.mean(row.reference):9.3f} {'-':>9} {'':>7} {'':>7} {'':>8}  FAILS: {row.note}"
        worst = min(ours - reference for ours, reference in zip(row.ours, row.reference, strict=True))
        verdict = "" if row.holds() else "  FAILS"
        note = f"  {row.note}" if row.note else ""
        means = f"{np.mean(row.reference):9.3f} {np.mean(row.ours):9.3f}"
        return f"{means} {row.difference():+7.3f} {worst:+7.3f} {-row.allowed:+8.2f}{verdict}{note}"

    def failures(self) -> list[str]:
        return [f"{self.title}: {row.name}" for row in self.rows if not row.holds()]
