"""Alternating rounds of several engines, and when they are measured again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# Above this difference between the rounds of one engine, as a share of the smallest, figures are not to be trusted.
SPREAD_LIMIT = 0.10
# Cores that others may use before or while we measure.
OTHERS_LIMIT = 0.30

Record = dict


class EngineError(Exception):
    """Why an engine has no figures. The text is for the table."""


@dataclass
class Attempt:
    """All rounds of one cell: records by engine, reasons of the engines that have none, cores that others used before the start."""

    records: dict[str, list[Record]]
    failures: dict[str, str] = field(default_factory=dict)
    others_before: float = 0.0

    def spread(self, engine: str) -> float:
        """Largest difference between the rounds' medians, as a share of the smallest."""
        medians = [record["median_ms"] for record in self.records[engine]]
        return (max(medians) - min(medians)) / min(medians) if medians and min(medians) > 0 else 0.0

    def others(self, engine: str) -> float:
        """Cores that other programs used, the worst round."""
        return max((record.get("others_cores", 0.0) for record in self.records[engine]), default=0.0)

    def noisy(self, engine: str) -> bool:
        """Are the figures of this engine not to be trusted?"""
        return self.spread(engine) > SPREAD_LIMIT or self.others(engine) > OTHERS_LIMIT

    def noise(self) -> list[str]:
        """What disturbed the attempt; empty when it was quiet."""
        spread = [f"{engine} by {self.spread(engine):.0%}" for engine in self.records if self.spread(engine) > SPREAD_LIMIT]
        others = max([self.others_before, *(self.others(engine) for engine in self.records)])
        found = [f"others used up to {others:.2f} cores"] if others > OTHERS_LIMIT else []
        return found + ([f"rounds differ ({', '.join(spread)})"] if spread else [])

    def badness(self) -> float:
        """Less is better: how far the worst engine is over the limits, 1 at a limit."""
        worst = [self.others_before / OTHERS_LIMIT]
        for engine in self.records:
            worst += [self.spread(engine) / SPREAD_LIMIT, self.others(engine) / OTHERS_LIMIT]
        return max(worst)


def alternate(engines: Sequence[str], rounds: int, run: Callable[[str], Record]) -> Attempt:
    """A B C A B C ...: what changes slowly (temperature, neighbours) meets all engines alike. An engine that fails once is not tried again."""
    attempt = Attempt({engine: [] for engine in engines})
    for _ in range(rounds):
        for engine in engines:
            if engine in attempt.failures:
                continue
            try:
                attempt.records[engine].append(run(engine))
            except EngineError as error:
                attempt.failures[engine] = str(error)
                attempt.records[engine].clear()
    return attempt


def measure(engines: Sequence[str], rounds: int, retries: int, run: Callable[[str], Record], others_now: Callable[[], float],
            tell: Callable[[str], None] = lambda text: None) -> tuple[Attempt, int]:
    """The quietest of up to 1 + ``retries`` attempts, and how many were made. Stops at the first quiet one."""
    best: Attempt | None = None
    made = 0
    for made in range(1, retries + 2):
        others = others_now()
        attempt = alternate(engines, rounds, run)
        attempt.others_before = others
        if best is None or attempt.badness() < best.badness():
            best = attempt
        noise = attempt.noise()
        if not noise:
            break
        tell(f"noisy: {'; '.join(noise)}" + ("; once more" if made <= retries else ""))
    assert best is not None
    return best, made
