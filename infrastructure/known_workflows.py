"""The workflows of which the metrics tell a zero before anything happens: what begins at 1 never rose, to Prometheus.

They are those that ship, and the newest version of each that the database keeps.
"""

import threading
from collections.abc import Iterable
from typing import Final

from django.db.models import Max

from domain.definition import SagaDefinition
from domain.exceptions import DefinitionUnreadable
from domain.workflows import shipped_definitions
from infrastructure.definition_codec import from_json
from infrastructure.models import DefinitionRow

MOST: Final = 100
"""So many stored workflows, those published last: each is some hundred series."""


class KnownWorkflows:
    """The definitions, in memory once they were read."""

    def __init__(self, shipped: Iterable[SagaDefinition]) -> None:
        self._known: dict[tuple[str, int], SagaDefinition | None] = {(d.name, d.version): d for d in shipped}
        self._lock = threading.Lock()

    def look(self) -> list[SagaDefinition]:
        """Those known now, with what was published since. Raises django.db.Error."""
        newest = DefinitionRow.objects.values("name").annotate(newest=Max("version"), at=Max("created_at"))
        for name, version in newest.order_by("-at").values_list("name", "newest")[:MOST]:
            if (name, version) not in self._known:
                content = DefinitionRow.objects.values_list("content", flat=True).get(name=name, version=version)
                with self._lock:
                    self._known[name, version] = _read(content)
        return self.all()

    def all(self) -> list[SagaDefinition]:
        """Those known so far."""
        with self._lock:
            return [definition for definition in self._known.values() if definition]


def _read(content: object) -> SagaDefinition | None:
    """None for one of a later release: whoever starts sagas of it logs that."""
    try:
        return from_json(content)
    except DefinitionUnreadable:
        return None


KNOWN: Final = KnownWorkflows(shipped_definitions())
