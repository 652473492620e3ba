"""What every role derives from the manifest about the table: schema, workload, candidates."""

from dataclasses import dataclass

from aim_core.counts.workload import Workload, closure
from aim_core.domain import Clique, Domain
from aim_core.errors import AimError, SchemaError
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import schema_from_dict
from parties.agreement.manifest import Manifest
from parties.errors import ConfigError


@dataclass(frozen=True)
class PublicInputs:
    """What every role derives from the manifest: the schema, the workload, the candidates."""

    schema: Schema
    workload: Workload
    candidates: tuple[Clique, ...]

    @property
    def domain(self) -> Domain:
        """Return the schema's domain."""
        return self.schema.domain

    @property
    def sizes(self) -> list[int]:
        """Return each candidate's number of cells."""
        return [self.domain.n_cells(clique) for clique in self.candidates]


def public_inputs(manifest: Manifest) -> PublicInputs:
    """Derive the public inputs; ConfigError if the manifest's schema and cliques do not fit."""
    try:
        schema = schema_from_dict(manifest.table_schema)
        if schema.draft:
            raise SchemaError("the schema is marked as a draft, which nobody has reviewed")
        domain = schema.domain
        cliques = tuple(domain.canonical(clique) for clique in manifest.cliques)
        workload = Workload(domain, cliques, tuple(manifest.weights or ()))
        return PublicInputs(schema, workload, closure(workload))
    except AimError as error:
        raise ConfigError(f"the manifest's schema and workload do not fit: {error}") from error
