"""The engine of a party refuses uploads that are not counts of one table, and names the holder."""

from pathlib import Path

import numpy as np
import pytest

from aim_core.arrays import Counts
from aim_core.counts.marginals import count_marginals
from aim_core.counts.workload import maximal_cliques
from mpc.session.in_memory import run_parties
from mpc.session.session import Session
from parties.agreement.derived import upload_format
from parties.agreement.manifest import Manifest
from parties.agreement.public_inputs import PublicInputs, public_inputs
from parties.errors import InputsRefused
from parties.party.engine import MpcEngine
from tests.support.party_world import World


def upload(
    tmp_path: Path, name: str, manifest: Manifest, inputs: PublicInputs, values: Counts
) -> list[Path]:
    paths = []
    for pid, body in enumerate(upload_format(manifest, inputs).share(values)):
        paths.append(tmp_path / f"{name}-{pid}")
        paths[-1].write_bytes(b"".join(body))
    return paths


@pytest.mark.parametrize("fault", ["none", "disagree", "negative"])
def test_the_holder_at_fault_is_named(tmp_path: Path, fault: str) -> None:
    manifest = World(tmp_path).manifest()
    inputs = public_inputs(manifest)
    cliques = maximal_cliques(inputs.workload)
    codes = np.stack([np.arange(20) % size for size in inputs.domain.sizes], axis=1)
    counted = count_marginals([codes], inputs.domain, cliques)
    good = np.concatenate([counted[clique] for clique in cliques])
    bad = good.copy()
    if fault == "disagree":
        bad[0] += 1
    if fault == "negative":
        bad[0] += (1 << upload_format(manifest, inputs).ring_bits - 1) - 1 - bad[0]
    files = {"ann": upload(tmp_path, "ann", manifest, inputs, good)}
    files["bob"] = upload(tmp_path, "bob", manifest, inputs, bad)

    async def program(session: Session) -> str:
        engine = MpcEngine(session, manifest, inputs)
        try:
            await engine.load({name: paths[session.pid] for name, paths in files.items()})
        except InputsRefused as error:
            return str(error)
        engine.finish()
        return "loaded"

    answers = set(run_parties(3, 1, program))
    if fault == "none":
        assert answers == {"loaded"}
    else:
        (text,) = answers
        assert "bob" in text
        assert "ann" not in text
