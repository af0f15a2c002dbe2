"""Partner creation's tests alone, without a running stack: `python tests/test_saga_flow.py`, with pytest's options.

There is none in here; `make test` runs them with all the others.
"""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OF_PARTNERS = [
    "tests/unit/domain/test_messages.py",
    "tests/contract/test_api_partners.py",
    "tests/contract/test_examples_partners.py",
]

if __name__ == "__main__":
    files = [str(ROOT / each) for each in OF_PARTNERS]
    sys.exit(pytest.main(["--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), *files, *sys.argv[1:]]))
