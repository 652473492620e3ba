"""A rehearsal of a job's policy on made-up data: what it asks for, and how long its fits take.

AIM runs in the clear on a table that a seed makes up, with fits of a few iterations, which are good
enough to see when it lowers the noise; then one whole fit is timed in the middle of that course.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from aim_core.arrays import CodeTable, Counts
from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import maximal_cliques
from aim_core.domain import Clique, Domain
from aim_core.errors import MechanismError
from aim_core.mechanisms.aim import aim, drive
from aim_core.mechanisms.aim_terms import RoundRecord
from aim_core.mechanisms.plaintext import PlaintextOracle
from aim_core.mechanisms.requests import Answer, Measure, Request, Select
from aim_core.models.descent import MirrorDescent
from aim_core.models.junction_tree import hypothetical_cells
from aim_core.models.measurement import Measurement
from mpc.steps.job import FRACTION_BITS
from parties.agreement.derived import aim_settings, manifest_noise
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.forecast.secure_steps import REHEARSED_CELLS, padded, shrunk
from parties.wire.messages import decode_counts, encode_counts
from parties.wire.transcript import counts_digest

_MOST_ROWS = 100_000
_FILLED = 0.75
"""How much of the bound n_max the made-up table fills."""

_N_CLASSES = 5
_SKEW = 2.5
_LOOSENED_SIZE = 50
"""With these three the made-up data takes about the rounds, has about the zeros, and leads to
marginals of about the sizes, of real data."""

_COURSE_ITERATIONS = 20
_TIMED_CLIQUES = 40


@dataclass(frozen=True)
class PolicyRehearsal:
    """What the estimator will ask for, and its seconds per round on this machine.

    `variances` are the rounds by the variance that they measure with. `nonzero_cells` are the
    cells, over all candidates, with a model count above 0 in the mean selection; `nonzero_most`
    bounds them for any model. `mean_cells` is the mean size of a measured marginal, `noise_cells`
    of the noise that is made for one, in whole words of 64.
    """

    sigma2: Fraction
    selection_epsilon: Fraction
    rho_oneways: Fraction
    variances: dict[Fraction, int]
    n_rows: int
    oneway_cells: int
    all_cells: int
    nonzero_cells: int
    nonzero_most: int
    mean_cells: float
    noise_cells: float
    request_bytes: int
    fit_seconds: float
    marginals_seconds: float
    pack_seconds: float
    unpack_seconds: float
    count_seconds: float
    sample_seconds: float

    @property
    def rounds(self) -> int:
        """Count the rounds."""
        return sum(self.variances.values())


def rehearse_policy(manifest: Manifest, inputs: PublicInputs) -> PolicyRehearsal:
    """Run the policy on made-up data, then time its parts in the middle of the run."""
    course = _rehearse_course(manifest, inputs)
    data = _Data(manifest, inputs.domain)
    first, select = _first_requests(manifest, inputs, data)
    fitting = _time_fit(manifest, inputs, data, course, select)
    sending = _time_request(select, inputs, manifest)
    nonzero = sum(int(np.count_nonzero(counts)) for counts in select.model_counts)
    measured = [inputs.domain.n_cells(record.clique) for record in course.rounds]
    return PolicyRehearsal(
        sigma2=first.sigma2,
        selection_epsilon=select.selection_epsilon,
        rho_oneways=first.rho_used,
        variances=dict(Counter(record.sigma2 for record in course.rounds)),
        n_rows=data.n_rows,
        oneway_cells=sum(inputs.domain.n_cells(clique) for clique in first.cliques),
        all_cells=sum(inputs.sizes),
        nonzero_cells=round(nonzero * course.nonzero_growth),
        nonzero_most=sum(min(size, manifest.y_max) for size in inputs.sizes),
        mean_cells=float(np.mean(measured)),
        noise_cells=float(np.mean([padded(n_cells) for n_cells in measured])),
        request_bytes=sending.n_bytes,
        fit_seconds=fitting.fit_seconds,
        marginals_seconds=fitting.marginals_seconds,
        pack_seconds=sending.pack_seconds,
        unpack_seconds=sending.unpack_seconds,
        count_seconds=_time_counting(inputs, data),
        sample_seconds=fitting.sample_seconds,
    )


@dataclass(frozen=True)
class _Course:
    """The rounds of a run, and its mean number of cells above 0 over that of its first round."""

    rounds: tuple[RoundRecord, ...]
    nonzero_growth: float


def _rehearse_course(manifest: Manifest, inputs: PublicInputs) -> _Course:
    """Run AIM in the clear on made-up data, on a smaller domain if need be."""
    small = shrunk(inputs, REHEARSED_CELLS)
    data = _Data(manifest, small.domain)
    noise = manifest_noise(manifest)
    counts = data.counts(maximal_cliques(small.workload))
    oracle = PlaintextOracle(
        small.domain, counts, _SeededNoise(noise.variance_factor), FRACTION_BITS
    )
    nonzero: list[int] = []

    def observe(request: Request, _: Answer) -> None:
        if isinstance(request, Select):
            nonzero.append(sum(int(np.count_nonzero(model)) for model in request.model_counts))

    settings = aim_settings(manifest, len(manifest.holders))
    run = aim(settings, small.workload, noise, MirrorDescent(_COURSE_ITERATIONS))
    result = drive(run, oracle, observe)
    growth = float(np.mean(nonzero)) / max(1, nonzero[0]) if nonzero else 1.0
    return _Course(result.rounds, growth)


class _SeededNoise:
    """Noise for made-up data: nothing is to be hidden, and an estimate should not vary."""

    def __init__(self, variance_factor: Fraction) -> None:
        self._factor, self._generator = variance_factor, np.random.default_rng(2027)

    def gaussian(self, n: int, sigma2: Fraction) -> Counts:
        """Return (n,) int64 noise in counts."""
        sigma = float(sigma2 * self._factor) ** 0.5
        return np.rint(self._generator.normal(0, sigma, n)).astype(np.int64)

    def gumbel(self, n: int, fraction_bits: int) -> Counts:
        """Return (n,) int64 noise in units of 2**-fraction_bits."""
        noise: Counts = np.rint(self._generator.gumbel(size=n) * 2**fraction_bits).astype(np.int64)
        return noise


class _Data:
    """A made-up table, counted on a sample."""

    def __init__(self, manifest: Manifest, domain: Domain) -> None:
        self.n_rows = max(1, round(_FILLED * manifest.n_max))
        self.codes = made_up_codes(domain, min(self.n_rows, _MOST_ROWS))
        self._domain = domain
        self._noise = _SeededNoise(Fraction(1))

    def counts(self, cliques: Sequence[Clique]) -> dict[Clique, Counts]:
        """Return marginals, int64 flat."""
        counts = count_marginals(iter([self.codes]), self._domain, cliques)
        scale = self.n_rows / len(self.codes)
        return {c: np.rint(values * scale).astype(np.int64) for c, values in counts.items()}

    def noisy(self, cliques: Sequence[Clique], sigma2: Fraction) -> list[Measurement]:
        """Return the cliques' marginals with Gaussian noise."""
        return [
            Measurement(clique, values + self._noise.gaussian(values.size, sigma2), float(sigma2))
            for clique, values in self.counts(cliques).items()
        ]


def made_up_codes(domain: Domain, n_rows: int) -> CodeTable:
    """Return (n_rows, d) codes with skewed columns that depend on a hidden class; always equal.

    Large columns depend on it less: a row follows its class at the rate 50 / (50 + size).
    """
    generator = np.random.default_rng(2026)
    classes = generator.integers(_N_CLASSES, size=n_rows)
    columns = []
    for size in domain.sizes:
        weights = 1.0 / np.arange(1, size + 1) ** _SKEW
        orders = np.array([generator.permutation(size) for _ in range(_N_CLASSES)])
        drawn = generator.choice(size, size=n_rows, p=weights / weights.sum())
        follows = generator.random(n_rows) < _LOOSENED_SIZE / (_LOOSENED_SIZE + size)
        columns.append(orders[np.where(follows, classes, 0), drawn])
    return np.stack(columns, axis=1)


def _first_requests(
    manifest: Manifest, inputs: PublicInputs, data: _Data
) -> tuple[Measure, Select]:
    """Return what a run asks for first: the one-ways, and the first selection."""
    settings = aim_settings(manifest, len(manifest.holders))
    noise = manifest_noise(manifest)
    run = aim(settings, inputs.workload, noise, MirrorDescent(_COURSE_ITERATIONS))
    first = next(run)
    if not isinstance(first, Measure):
        raise MechanismError("the mechanism does not begin with the one-way marginals")
    select = run.send([m.values for m in data.noisy(first.cliques, first.sigma2)])
    if not isinstance(select, Select):
        raise MechanismError("the mechanism does not go on with a selection")
    return first, select


@dataclass(frozen=True)
class _Fitting:
    """What a fit in mid-run takes, all candidates' marginals of it, and a table drawn from it."""

    fit_seconds: float
    marginals_seconds: float
    sample_seconds: float


def _time_fit(
    manifest: Manifest, inputs: PublicInputs, data: _Data, course: _Course, select: Select
) -> _Fitting:
    """Fit a model as in the middle of the run, and use it."""
    domain, settings = inputs.domain, aim_settings(manifest, len(manifest.holders))
    limit = settings.max_model_mb * 2**20 / 8 / 2
    oneways = [clique for clique in inputs.candidates if len(clique) == 1]
    chosen: list[Clique] = []
    for record in course.rounds[: len(course.rounds) // 2 + 1]:
        if record.clique not in oneways + chosen and (
            hypothetical_cells(domain, chosen, [record.clique])[0] <= limit
        ):
            chosen.append(record.clique)
    fitter = MirrorDescent()
    measurements = data.noisy([*oneways, *chosen], course.rounds[0].sigma2)
    times = [time.perf_counter()]
    model = fitter.fit(domain, measurements, None)
    times.append(time.perf_counter())
    model.marginals(select.candidates)
    times.append(time.perf_counter())
    model.sample(data.n_rows, np.random.default_rng(0))
    times.append(time.perf_counter())
    return _Fitting(*np.diff(times).tolist())


@dataclass(frozen=True)
class _Sending:
    """What it takes to pack a selection's request and to unpack it, and its size."""

    pack_seconds: float
    unpack_seconds: float
    n_bytes: int


def _time_request(request: Select, inputs: PublicInputs, manifest: Manifest) -> _Sending:
    """Pack a selection's model counts for the parties, and unpack them as a party does."""
    started = time.perf_counter()
    widths, payload = encode_counts(request.model_counts)
    packed = time.perf_counter()
    sizes = [inputs.domain.n_cells(clique) for clique in request.candidates]
    counts_digest(decode_counts(payload, widths, sizes, manifest.y_max))
    return _Sending(packed - started, time.perf_counter() - packed, len(payload))


def _time_counting(inputs: PublicInputs, data: _Data) -> float:
    """Return the seconds to count the maximal marginals of the whole table."""
    cliques = maximal_cliques(inputs.workload)
    timed = cliques[:_TIMED_CLIQUES]
    started = time.perf_counter()
    data.counts(timed)
    seconds = time.perf_counter() - started
    return seconds * len(cliques) / len(timed) * data.n_rows / len(data.codes)
