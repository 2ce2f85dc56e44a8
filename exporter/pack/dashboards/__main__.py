"""`python -m exporter.pack.dashboards`: write dashboards/*.json, or with --check say what is not as it would be."""

from __future__ import annotations

import sys
from pathlib import Path

from exporter.pack.dashboards.pages import files

HERE = Path(__file__).parents[3] / "dashboards"


def differing() -> list[str]:
    """Return the names of files that are missing, another, or of no dashboard."""
    wanted = files()
    found = {file.name: file.read_text(encoding="utf-8") for file in HERE.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def main() -> int:
    names = differing()
    if "--check" in sys.argv[1:]:
        for name in names:
            sys.stderr.write(f"dashboards/{name}: python -m exporter.pack.dashboards\n")
        return 1 if names else 0
    for name, text in files().items():
        (HERE / name).write_text(text, encoding="utf-8")
    for name in set(names) - files().keys():
        (HERE / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
