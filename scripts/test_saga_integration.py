#!/usr/bin/env python
"""The creation of a partner through a running stack, to its end: `python scripts/test_saga_integration.py`.

`--api http://localhost:8009` says where the orchestrator is, `--key` what it asks for. Ends with status 0 if the
partner has its alliance. The orders' script is `test_saga_integration.py`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

Ask = Callable[[str, str, dict[str, str] | None], dict[str, Any]]
SECONDS = 60
ENDS = {"completed", "failed", "compensated"}
PARTNER = {
    "nombre": "Example Partner",
    "email": "partner@example.com",
    "telefono": "+1234567890",
    "direccion": "123 Main Street",
}


def create_partner(ask: Ask, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """The saga once it has ended, or as it is after a minute."""
    saga_id = ask("POST", "/api/v1/saga/partner-creation", PARTNER)["saga_id"]
    print(f"started: saga {saga_id}")
    for _ in range(SECONDS * 4):
        saga: dict[str, Any] = ask("GET", f"/api/v1/saga/status/{saga_id}", None)["saga"]
        if saga["status"] in ENDS:
            break
        sleep(0.25)
    print(f"{saga['status']}: partner {saga['partner_id']}, alliance {saga['alliance_id']}")
    return saga


def over_http(api: str, key: str | None) -> Ask:
    """Asks the API at this address."""

    def ask(method: str, path: str, body: dict[str, str] | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", **({"X-API-Key": key} if key else {})}
        content = json.dumps(body).encode() if body else None
        request = Request(api.rstrip("/") + path, content, headers, method=method)
        with urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    return ask


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--api", default="http://localhost:8009", help="the orchestrator (default %(default)s)")
    parser.add_argument("--key", help="an API key, where one is needed")
    options = parser.parse_args()
    try:
        done = create_partner(over_http(options.api, options.key))
    except OSError as error:
        sys.exit(f"{options.api} does not answer as it should: {error}")
    sys.exit(done["status"] != "completed")
