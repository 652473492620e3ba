"""What a comparison is asked: its tasks, and settings that are refused before any work."""

from pathlib import Path

import pytest

from aim_core.errors import AimError
from parties.compare.settings import SYNTHFS, check_settings, tasks
from parties.compare.sweep import compare, file_sha256
from parties.errors import ConfigError
from tests.support.comparisons import Clinic, settings_of


def test_tasks_cover_all_methods_seed_by_seed(clinic: Clinic) -> None:
    asked = tasks(settings_of(clinic, epsilons=["1", "3"], seeds=2))
    assert len(asked) == len(set(asked)) == 12
    assert [task.seed for task in asked] == [0] * 6 + [1] * 6


def test_other_settings_do_not_mix_with_old_rows(clinic: Clinic, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "settings.json").write_text(settings_of(clinic, rounds=3).model_dump_json())
    with pytest.raises(ConfigError, match="another rounds"):
        compare(settings_of(clinic), out, 1)
    (out / "settings.json").write_text(settings_of(clinic).model_dump_json())
    (out / "rows.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="no row"):
        compare(settings_of(clinic), out, 1)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"methods": ["aim"]}, "cannot be compared"),
        ({"methods": []}, "cannot be compared"),
        ({"methods": ["flaim", "flaim"]}, "name each once"),
        ({"holders": 0}, "at least 1 holder"),
        ({"participation": "0"}, "above 0"),
        ({"participation": "2"}, "at most 1"),
        ({"participation": "half"}, "not a number"),
        ({"epsilons": []}, "epsilon"),
        ({"epsilons": ["0"]}, "epsilon"),
        ({"delta": "1"}, "delta"),
        ({"split": "alphabet"}, "split"),
        ({"split": "dirichlet:0"}, "dirichlet"),
        ({"max_model_mb": "0"}, "above 0 MB"),
        ({"schema_file": None}, "public schema"),
        ({"table": SYNTHFS}, "own schema"),
        (
            {
                "table": SYNTHFS,
                "schema_file": None,
                "methods": ["distaim"],
                "plaintext_utility": False,
            },
            "--plaintext-utility",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(
    clinic: Clinic, changes: dict[str, object], text: str
) -> None:
    with pytest.raises((ConfigError, AimError), match=text):
        check_settings(settings_of(clinic, **changes))


def test_a_table_that_cannot_be_read_is_refused(clinic: Clinic) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        file_sha256(clinic[0] / "nowhere")
