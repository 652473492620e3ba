"""A trial run: `distaim run` on made-up data of a smaller domain, for what no rehearsal shows.

It starts the processes that a run starts, all at once, on this machine. What is left of its
duration without the steps is the start and end of any run: imports, keys, connections, results. The
engine on MPyC keeps its state in the process, so its steps are measured here as well.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import TypeAdapter

from aim_core.tables.schema_file import save_schema
from mpc.session.channel import Step
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs
from parties.errors import JobFailed
from parties.forecast.secure_steps import shrunk
from parties.wire.messages import StepCost
from parties.wire.run_facts import RunFacts
from parties.wire.transcript import add_costs

_COSTS: TypeAdapter[dict[str, StepCost]] = TypeAdapter(dict[str, StepCost])
_TRIED_CELLS = 1000
_ROWS_PER_HOLDER = 20


@dataclass(frozen=True)
class Trial:
    """What a run of one round took.

    Attributes:
        start_seconds: the processes' start, connections, results and end, on this machine.
        n_cells: cells of all candidates, of which there are as many as in the job.
        steps: what each step cost a party in all: bytes as the parties' mean, and seconds.
    """

    start_seconds: float
    n_cells: int
    steps: dict[str, StepCost]


def try_out(manifest: Manifest, inputs: PublicInputs, n_holders: int) -> Trial:
    """Run one round with the manifest's parties, engine, noise and candidates.

    JobFailed if that does not work on this machine.
    """
    small = shrunk(inputs, _TRIED_CELLS)
    with TemporaryDirectory(prefix="distaim-") as name:
        folder = Path(name)
        summary = _run(folder, _arguments(folder, manifest, small, n_holders))
        costs = [_costs(folder / "out", pid) for pid in range(manifest.n_parties)]
    seconds = summary.seconds
    # the noise is made within the steps that wait for it
    secure = sum(cost.seconds for step, cost in costs[0].items() if step != Step.NOISE)
    start = seconds.total - seconds.fit - seconds.sample - secure
    return Trial(max(0.0, start), sum(small.sizes), _mean(costs))


def _arguments(
    folder: Path, manifest: Manifest, small: PublicInputs, n_holders: int
) -> dict[str, str]:
    """Write table, schema and workload; return the options of `distaim run`."""
    domain = small.domain
    generator = np.random.default_rng(1)
    codes = generator.integers(0, domain.sizes, (_ROWS_PER_HOLDER * n_holders, len(domain)))
    table = small.schema.decode(codes, generator)
    table.to_csv(folder / "table.csv", index=False)
    save_schema(small.schema, folder / "schema.json")
    workload = {
        "cliques": [list(clique) for clique in small.workload.cliques],
        "weights": list(small.workload.clique_weights),
    }
    (folder / "workload.json").write_text(json.dumps(workload), "utf-8")
    return {
        "--schema": str(folder / "schema.json"),
        "--workload": str(folder / "workload.json"),
        "--parties": str(manifest.n_parties),
        "--threshold": str(manifest.threshold),
        "--holders": str(n_holders),
        "--noise": manifest.noise,
        "--engine": manifest.engine,
        "--rounds": "1",
        "--seed": "1",
        "--out": str(folder / "out"),
    }


def _run(folder: Path, options: dict[str, str]) -> RunFacts:
    pairs = [word for pair in options.items() for word in pair]
    command = [sys.executable, "-m", "parties", "run", str(folder / "table.csv"), *pairs]
    done = subprocess.run([*command, "--json"], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise JobFailed(
            "a trial run on this machine failed, so there is nothing to estimate from: "
            f"{done.stderr.strip()[-500:]}"
        )
    return RunFacts.model_validate_json(done.stdout)


def _costs(out: Path, pid: int) -> dict[str, StepCost]:
    """Add up what each step cost one party, as its transcript says."""
    lines = (out / "transcript" / f"party-{pid}.jsonl").read_text("utf-8").splitlines()
    return reduce(add_costs, (_COSTS.validate_python(json.loads(x).get("cost", {})) for x in lines))


def _mean(costs: list[dict[str, StepCost]]) -> dict[str, StepCost]:
    n_parties = len(costs)
    return {
        step: first.model_copy(
            update={"bytes_sent": sum(cost[step].bytes_sent for cost in costs) // n_parties}
        )
        for step, first in costs[0].items()
    }
