"""A tiny participant for every service, over real HTTP, that answers the order workflow well and counts its calls."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ORDER = {
    "client_id": "12345678-1234-1234-1234-123456789012",
    "magasin_id": "550e8400-e29b-41d4-a716-446655440000",
    "lignes": [{"produit_id": "550e8400-e29b-41d4-a716-446655440001", "quantite": 2}],
}
ANSWERS = {
    "stock-local": {"quantite_disponible": 100},
    "produits": {"nom": "Clavier", "prix": 49.9},
    "reservations": {"reservation_id": "r1"},
    "liberations": {},
    "enregistrer": {"commande_id": "c1"},
    "annuler": {},
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(201)

    def _answer(self, status: int) -> None:
        self.server.calls.append(f"{self.command} {self.path}")
        if self.server.hold:
            self.server.hold.wait(30)
        words = [word for word in self.path.split("/") if word in ANSWERS]
        body = json.dumps(ANSWERS[words[-1]]).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def participants(hold: threading.Event | None = None) -> Iterator[tuple[str, list[str]]]:
    """The URL of a service that plays all of them, and the list of calls that it gets.

    With `hold` it answers nothing until that is set.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.calls, server.hold = [], hold
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.calls
    finally:
        server.shutdown()
        server.server_close()
