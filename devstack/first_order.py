"""The order that `make run` places, what came of it, and where to look from there."""

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from devstack.bench_load import ORDER, PATH
from devstack.stack import DEVELOPMENT_KEY, Stack

CREATED, CONFLICT = 201, 409
LONGEST_WAIT = 40  # s; longer than the gateway waits

_direct = build_opener(ProxyHandler({}))


class OrderError(Exception):
    """The first order did not get through the stack."""


def place_order(stack: Stack) -> None:
    """Post the order of the documentation through the gateway and print its history; raises OrderError."""
    status, saga = _post(stack.gateway + PATH)
    if status not in {CREATED, CONFLICT}:
        raise OrderError(f"the first order was answered {status}: {json.dumps(saga, ensure_ascii=False)[:2000]}")
    print(f"\norder placed through the gateway: {status} {saga['etat']}, saga {saga['saga_id']}")
    for line in saga["lignes"]:
        print(f"  {line['quantite']} x {line['nom']} at {line['prix_unitaire']}")
    for event in saga["historique"]:
        print(f"  {event['horodatage']}  {event['type']:<22} {event.get('etape') or '':<20} {event['etat']}")
    if status == CONFLICT:
        print(f"  refused: {saga['erreur']}\n  (each run takes 2 from the stock; `make clean` starts over)")


def _post(url: str) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "X-API-Key": DEVELOPMENT_KEY}
    request = Request(url, json.dumps(ORDER).encode(), headers)  # noqa: S310 an http URL of our own
    try:
        with _direct.open(request, timeout=LONGEST_WAIT) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            body = error.read().decode(errors="replace")
        return error.code, _decoded(body)
    except OSError as error:
        raise OrderError(f"the first order got no answer from {url}: {error}") from error


def _decoded(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body


def _python() -> str:
    """This one, which has what the product needs, as it is called from here."""
    return os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable


def where_to_look(stack: Stack) -> None:
    """Print every address, and what to try."""
    print(
        f"""
Console    {stack.api}/console/
Orders     {stack.api}/api/saga/sagas/
Sagas      {stack.api}/api/sagas/transactions/
Swagger    {stack.api}/swagger/
Failures   {stack.api}/saga/test
Metrics    {stack.api}/metrics/ and, of the worker, http://localhost:{stack.ports.worker_metrics}/metrics
Gateway    curl -H 'X-API-Key: {DEVELOPMENT_KEY}' {stack.gateway}/api/catalogue/health
End to end {_python()} test_saga_integration.py --api {stack.api} --gateway {stack.gateway}
Logs       {stack.data / "logs"}

Another order:
  curl -X POST {stack.api}{PATH} -H 'Content-Type: application/json' -d '{json.dumps(ORDER)}'

Serving. Ctrl-C ends everything.""",
        flush=True,
    )
