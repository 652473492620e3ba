"""A manifest for people: the TOML file that sites exchange, and the summary before they sign."""

from pathlib import Path

from mpc.noise.kinds import NoiseKind
from parties.agreement.manifest import Manifest, Member
from parties.agreement.public_inputs import PublicInputs
from parties.agreement.values import parse_fraction
from parties.files import write_whole
from parties.identity.certificates import fingerprint

_HEADER = """Manifest of a DistAIM job: what all sites agree on.
Its hash is taken over the values below; comments, order and line breaks do not count.
Nothing in it is secret. Every compute party signs it with `distaim approve`."""

_COMMENTS: dict[tuple[str | int, ...], str] = {
    (): _HEADER,
    ("mechanism",): "The privacy budget: epsilon and delta are exact; rho follows from them and\n"
    "from the kind of noise, and every party computes it anew. Without `rounds`, AIM adapts.",
    ("estimator",): "Who drives the job and fits the model; it sees only what the parties open.",
    ("parties", 0): "A compute party: its API for holders and estimator (url), and where its\n"
    "peers reach it (host, port). Its place in the list, from 0, is its number.",
    ("holders", 0): "A data holder that may upload.",
    ("schema",): "The columns of every holder's table, in this order; public.",
}


def manifest_toml(manifest: Manifest) -> str:
    """Write a manifest as TOML; `load_manifest` of the text has the same hash."""
    from aim_core.tables.toml import toml_text  # loads tomlkit, which `summary` does not need

    raw = manifest.model_dump(mode="json", by_alias=True, exclude_none=True)
    tables = {
        key: raw.pop(key) for key in ("mechanism", "estimator", "parties", "holders", "schema")
    }
    return toml_text(raw | tables, _COMMENTS)


def save_manifest_toml(manifest: Manifest, path: Path) -> None:
    """Write the TOML file of a manifest."""
    write_whole(path, manifest_toml(manifest))


def summary(manifest: Manifest, inputs: PublicInputs) -> str:
    """Say in plain words what a party agrees to by signing a manifest."""
    blocks = {
        f"Manifest {manifest.digest}": [f"expires {manifest.expires}"],
        f"Compute parties: {manifest.n_parties}, of whom up to {manifest.threshold} may collude": [
            f"{pid}: {_known(party)} at {party.url} and {party.host}:{party.port}"
            for pid, party in enumerate(manifest.parties)
        ],
        f"Data holders: {len(manifest.holders)} may upload, at least {manifest.min_holders} must": [
            _known(holder) for holder in manifest.holders
        ],
        "Estimator": [_known(manifest.estimator)],
        "What is spent": _spent(manifest),
        "What is revealed": _revealed(manifest, inputs),
        "Bounds": [
            f"at most n_max = {manifest.n_max:,} records in all tables together; more are refused"
        ],
        f"Schema: {len(inputs.domain)} columns, public": [
            f"{column.name}: {column.kind}, {column.size} values"
            for column in inputs.schema.columns
        ],
    }
    paragraphs = [[title, *(f"  {line}" for line in lines)] for title, lines in blocks.items()]
    return "\n".join(line for paragraph in paragraphs for line in paragraph)


def _spent(manifest: Manifest) -> list[str]:
    mechanism = manifest.mechanism
    budget = f"({mechanism.epsilon}, {mechanism.delta})-differential privacy"
    rho = float(parse_fraction(mechanism.rho))
    joint = "the noise is drawn jointly; no party knows any of it"
    dealt = "the noise is dealt by the parties, a part by each"
    return [
        f"{budget} for adding or removing one record: rho = {rho:.6g}",
        joint if manifest.noise is NoiseKind.JOINT else dealt,
        "this pays for one job; further jobs on the same data add to it",
    ]


def _revealed(manifest: Manifest, inputs: PublicInputs) -> list[str]:
    n_rounds, n_candidates = manifest.mechanism.rounds, len(inputs.candidates)
    rounds = "an adaptive number of" if n_rounds is None else str(n_rounds)
    cells = f"{len(inputs.workload.cliques)} marginals, {sum(inputs.sizes):,} cells in all"
    return [
        "to the parties and the estimator: who uploaded, and whether the inputs are consistent",
        f"in {rounds} rounds: which of {n_candidates} marginals was chosen, its counts with noise",
        "to all who get the synthetic table: what follows from these",
        "to nobody: a row, an exact count, a share",
        f"the workload {manifest.workload} has {cells}; {_weighed(manifest)}",
    ]


def _weighed(manifest: Manifest) -> str:
    if manifest.weights is None:
        return "all count the same"
    return f"they count with weights from {min(manifest.weights)} to {max(manifest.weights)}"


def _known(member: Member) -> str:
    return f"{member.name} ({fingerprint(member.certificate)[:16]}...)"
