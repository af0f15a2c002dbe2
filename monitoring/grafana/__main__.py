"""Write the dashboards: `python -m monitoring.grafana [--console URL] [--output DIRECTORY]`."""

import argparse
from pathlib import Path

from monitoring.grafana.build import CONSOLE, texts

DIRECTORY = Path(__file__).parent / "dashboards"


def main() -> None:
    """Write a file a dashboard, and say which."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.grafana", description=__doc__)
    parser.add_argument("--console", default=CONSOLE, help="where people reach the orchestrator (%(default)s)")
    parser.add_argument("--output", type=Path, default=DIRECTORY, help="where the files go")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, text in texts(options.console).items():
        (options.output / name).write_text(text, encoding="utf-8")
        print(options.output / name)  # noqa: T201 - the command's answer


if __name__ == "__main__":
    main()
