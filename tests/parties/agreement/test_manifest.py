import json
from fractions import Fraction
from pathlib import Path

import pytest

from aim_core.privacy.zcdp import rho_from_epsilon_delta
from parties.agreement.derived import manifest_budget
from parties.agreement.manifest import Manifest, load_manifest, save_manifest
from parties.agreement.public_inputs import public_inputs
from parties.agreement.roles import roles
from parties.agreement.toml import summary
from parties.agreement.values import parse_fraction
from parties.errors import ConfigError
from parties.setup.config import load_party_config
from tests.support.party_world import Raw, World


def test_file_round_trip_keeps_the_digest(world: World, tmp_path: Path) -> None:
    manifest = world.manifest()
    save_manifest(manifest, tmp_path / "m.json")
    assert load_manifest(tmp_path / "m.json") == manifest
    assert load_manifest(tmp_path / "m.json").digest == manifest.digest


def test_digest_does_not_depend_on_key_order_but_on_every_value(world: World) -> None:
    raw = world.raw()
    backwards = dict(reversed(raw.items()))
    assert Manifest.parse(backwards).digest == Manifest.parse(raw).digest
    assert Manifest.parse({**raw, "n_max": 63}).digest != Manifest.parse(raw).digest


def test_schemas_of_another_meaning_have_another_digest(world: World) -> None:
    """Also where canonical JSON alone would not tell: the order of keys, and 1.0 beside 1."""

    def digest(schema: Raw) -> str:
        return Manifest.parse({**world.raw(), "schema": schema}).digest

    assert digest({"a": 2, "b": 3, "c": 2}) != digest({"c": 2, "b": 3, "a": 2})

    def labelled(values: list[float]) -> Raw:
        others: list[Raw] = [{"name": n, "type": "coded", "size": 2} for n in "bc"]
        return {"columns": [{"name": "a", "type": "categorical", "values": values}, *others]}

    assert digest(labelled([1, 2])) != digest(labelled([1.0, 2.0]))


def test_a_schema_that_cannot_be_is_refused_with_the_manifest(world: World) -> None:
    with pytest.raises(ConfigError, match="do not fit"):
        Manifest.parse({**world.raw(), "schema": {"columns": [{"name": "a"}]}})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"colour": "red"}, "colour"),
        ({"n_max": "127"}, "n_max"),
        ({"n_max": 0}, "n_max"),
        ({"threshold": 2}, "below one half"),
        ({"min_holders": 3}, "min_holders"),
        ({"sigma2_max": "1e9"}, "sigma2_max"),
        ({"protocol": "distaim/0"}, "protocol"),
        ({"noise": "none"}, "noise"),
        ({"parties": []}, "3 to 7"),
    ],
)
def test_refuses_by_the_name_of_the_field(world: World, change: Raw, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Manifest.parse({**world.raw(), **change})


def test_refuses_a_certificate_in_two_roles(world: World) -> None:
    raw = world.raw()
    raw["estimator"] = {**raw["estimator"], "certificate": raw["holders"][0]["certificate"]}
    with pytest.raises(ConfigError, match="certificate"):
        Manifest.parse(raw)


def test_roles_follow_certificates(world: World) -> None:
    kinds = sorted((role.kind, role.name) for role in roles(world.manifest()).values())
    assert kinds == [
        ("estimator", "estimator"),
        ("holder", "ann"),
        ("holder", "bob"),
        ("party", "party-0"),
        ("party", "party-1"),
        ("party", "party-2"),
    ]


def test_a_number_that_other_programs_round_is_refused_by_its_value(world: World) -> None:
    raw = world.raw()
    raw["mechanism"]["seed"] = 2**60
    with pytest.raises(ConfigError, match=r"1152921504606846976 .* 2\^53 - 1"):
        Manifest.parse(raw)
    raw["mechanism"]["seed"] = 2**53 - 1
    assert Manifest.parse(raw).mechanism.seed == 2**53 - 1


def test_a_large_range_survives_its_file(world: World, tmp_path: Path) -> None:
    raw = world.raw()
    column = {"name": "x", "type": "continuous", "min": 0.0, "max": 1e20, "bins": 4}
    raw["schema"]["columns"].append(column)
    manifest = Manifest.parse(raw)
    save_manifest(manifest, tmp_path / "m.json")
    assert load_manifest(tmp_path / "m.json").digest == manifest.digest


@pytest.mark.parametrize("noise", ["joint", "dealers"])
def test_rho_is_computed_anew_and_a_larger_one_refused(world: World, noise: str) -> None:
    raw = {**world.raw(), "noise": noise}

    def with_rho(rho: Fraction) -> Manifest:
        return Manifest.parse({**raw, "mechanism": {**raw["mechanism"], "rho": str(rho)}})

    inputs = public_inputs(world.manifest())
    allowed = manifest_budget(with_rho(Fraction(1, 10**6)), inputs).rho
    assert allowed <= rho_from_epsilon_delta(Fraction(1), Fraction(1, 10**9))
    assert manifest_budget(with_rho(allowed), inputs).rho == allowed
    with pytest.raises(ConfigError, match=r"mechanism\.rho"):
        manifest_budget(with_rho(allowed * (1 + Fraction(1, 10**30))), inputs)


def test_public_inputs_are_in_closure_order(world: World) -> None:
    inputs = public_inputs(world.manifest())
    assert inputs.candidates[:3] == (("a",), ("b",), ("c",))
    assert inputs.sizes == [2, 3, 2, 6, 4, 6]
    broken = Manifest.parse({**world.raw(), "cliques": [["a", "z"]]})
    with pytest.raises(ConfigError, match="'z'"):
        public_inputs(broken)


def test_weights_stand_in_a_manifest_only_where_they_differ(world: World, tmp_path: Path) -> None:
    raw = world.raw()
    plain = Manifest.parse(raw)
    ones = [1] * len(raw["cliques"])
    assert Manifest.parse({**raw, "weights": ones}).digest == plain.digest
    assert "weights" not in json.loads(plain.canonical_bytes())
    weighted = Manifest.parse({**raw, "weights": [2, *ones[1:]]})
    assert weighted.digest != plain.digest
    save_manifest(weighted, tmp_path / "m.json")
    assert load_manifest(tmp_path / "m.json").digest == weighted.digest
    inputs = public_inputs(weighted)
    assert inputs.workload.clique_weights == (2, *ones[1:])
    assert public_inputs(plain).workload.clique_weights == tuple(ones)
    assert "weights from 1 to 2" in summary(weighted, inputs)


@pytest.mark.parametrize("weights", [[1], [0, 1, 1], [1001, 1, 1], [1.0, 1, 1], "111", []])
def test_weights_that_no_workload_has_are_refused(world: World, weights: object) -> None:
    with pytest.raises(ConfigError, match="weights"):
        Manifest.parse({**world.raw(), "weights": weights})


def test_a_column_that_no_clique_names_is_measured_one_way(world: World) -> None:
    inputs = public_inputs(Manifest.parse({**world.raw(), "cliques": [["a", "b"]]}))
    assert inputs.candidates == (("a",), ("b",), ("c",), ("a", "b"))


def test_fractions_are_exact_and_short() -> None:
    assert parse_fraction("3/4") == Fraction(3, 4)
    for text in ("1e999999999", "-1", "1/0", "0.5", "", "9" * 401, "１"):
        with pytest.raises(ConfigError):
            parse_fraction(text)


def test_site_config_refuses_unknown_keys(tmp_path: Path) -> None:
    settings = {
        "name": "party-0",
        "manifest": "m.json",
        "certificate": "c",
        "key": "k",
        "pid": 0,
        "https_port": 5001,
        "mpc_port": 6001,
        "state": "s",
        "transcript": "t",
    }
    path = tmp_path / "p.json"
    path.write_text(json.dumps(settings))
    assert load_party_config(path).https_port == 5001
    for change in ({"colour": "red"}, {"https_port": 0}, {"connect_timeout": 0}):
        path.write_text(json.dumps({**settings, **change}))
        with pytest.raises(ConfigError, match=next(iter(change))):
            load_party_config(path)
    path.write_text("[")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_party_config(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epsilon": "0"}, "epsilon is 0"),
        ({"epsilon": "much"}, "not a number"),
        ({"delta": "1"}, "delta is 1"),
        ({"participation": "3/2"}, "at most 1"),
        ({"alpha": "1"}, "alpha"),
        ({"alpha": "0"}, "alpha"),
    ],
)
def test_a_manifest_without_a_budget_or_rate_cannot_be_read(
    world: World, change: dict[str, str], text: str
) -> None:
    raw = world.raw()
    with pytest.raises(ConfigError, match=text):
        Manifest.parse({**raw, "mechanism": {**raw["mechanism"], **change}})
