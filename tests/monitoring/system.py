"""The running stack, and the Prometheus that watches it."""

import os
from typing import ClassVar

from devstack.stack import Part
from tests.monitoring.prometheus import Prometheus, program
from tests.support.system import System


class Watched(System):
    """The stack with PostgreSQL's exporter and a Prometheus beside it."""

    connections = 100
    database_settings: ClassVar = {**System.database_settings, "max_connections": str(connections)}
    # Its breaker's pauses do not pass faster, as the rules' time does; the worker's breaker opens as usual.
    api_settings: ClassVar = {"SAGA_BREAKER_FAILURES": "0"}

    def _start(self) -> None:
        super()._start()
        self.prometheus = Prometheus(self.processes, self.stack.data / "prometheus", self.targets())

    def targets(self) -> dict[str, str]:
        """Where each target of the committed prometheus.yml is here."""
        return {
            "orchestrator:8009": f"127.0.0.1:{self.ports.api}",
            "worker:9109": f"127.0.0.1:{self.ports.worker_metrics}",
            "kong:8100": f"127.0.0.1:{self.ports.gateway_status}",
            "postgres-exporter:9187": f"127.0.0.1:{self.exporter_port}",
        }

    def _exporter(self) -> Part:
        """PostgreSQL's own numbers, by the exporter that docker-compose.yml has too."""
        self.exporter_port = max(vars(self.ports).values()) + 1
        command = [program("prometheus-postgres-exporter"), f"--web.listen-address=127.0.0.1:{self.exporter_port}"]
        environment = {**os.environ, "DATA_SOURCE_NAME": f"{self.database}?sslmode=disable"}
        return Part("exporter", command, f"http://127.0.0.1:{self.exporter_port}/metrics", environment)

    def _besides(self) -> list[Part]:
        return [self._exporter()]
