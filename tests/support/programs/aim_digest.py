"""One seeded run of AIM, written down; as a program: prints it."""

from fractions import Fraction

import numpy as np

from aim_core.arrays import Counts
from aim_core.counts.workload import parse_workload
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.aim_terms import AimSettings
from aim_core.mechanisms.plaintext import PlaintextOracle
from aim_core.mechanisms.requests import Answer, Request, Select
from aim_core.privacy.noise_facts import Noise
from tests.support.toys import TOY, ProportionalFitter, SeededNoise


def skewed_table() -> Counts:
    """Return (n_cells,) counts of the toy domain, very unequal."""
    generator = np.random.default_rng(5)
    return generator.integers(0, 40, TOY.n_cells(TOY.attributes)) ** 2


def digest_of_a_run() -> str:
    """Return all requests of a run, the selections and the model counts, a line each."""
    oracle = PlaintextOracle(TOY, {TOY.attributes: skewed_table()}, SeededNoise(3), 20)
    settings = AimSettings(Fraction(1, 8), n_max=1000, y_max=1000, seed=7)
    lines: list[str] = []

    def note(request: Request, answer: Answer) -> None:
        lines.append(repr(request))
        if isinstance(request, Select):
            lines.append(str(answer))
            lines.extend(str(counts.tolist()) for counts in request.model_counts)

    drive(aim(settings, parse_workload("2way", TOY), Noise(), ProportionalFitter(2)), oracle, note)
    return "\n".join(lines)


if __name__ == "__main__":
    print(digest_of_a_run())
