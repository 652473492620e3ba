"""Draw the figures of docs/comparison.md from a finished comparison.

python scripts/draw_figures.py COMPARISON adult-cluster --out docs/figures
"""

import argparse
import json
from pathlib import Path

from parties.compare.page import write_plots
from parties.compare.rows import Facts, Row


def main() -> None:
    """Read compare.json, write an SVG file per plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("comparison", type=Path, help="folder that distaim compare has written")
    parser.add_argument("prefix", help="how the files' names begin")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    options = parser.parse_args()
    content = json.loads((options.comparison / "compare.json").read_text("utf-8"))
    rows = [Row.model_validate(row) for row in content["rows"]]
    write_plots(options.out, Facts.model_validate(content["facts"]), rows, options.prefix)


if __name__ == "__main__":
    main()
