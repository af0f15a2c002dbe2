"""The order desk's API, `/api/saga/`: the commandes workflow in the words that its users know."""

from typing import Any
from uuid import UUID

from django.conf import settings
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from application.queries import SagaFilter
from domain.entities import Saga
from domain.exceptions import SagaNotFound
from domain.workflows.commandes import COMMANDES, EtatSaga, SagaCommande
from interfaces import documentation as docs
from interfaces.callers import CLIENT, READER
from interfaces.platform import engine, platform
from interfaces.starting import answer, start_saga

LONGEST_LIST = 200
ORDER_OF_TOO_MUCH = {
    "client_id": "12345678-1234-1234-1234-123456789012",
    "magasin_id": "550e8400-e29b-41d4-a716-446655440000",
    "lignes": [{"produit_id": "550e8400-e29b-41d4-a716-446655440001", "quantite": 10000}],
}
"""More than any shop has of the example product."""


class CommandesView(APIView):
    """Start an order."""

    roles = {"POST": (CLIENT,)}

    @docs.commande_start
    def post(self, request: Request) -> Response:
        """Start an order."""
        return _started(start_saga(request, COMMANDES.name, request.data))


class CommandeView(APIView):
    """One order."""

    roles = {"GET": (CLIENT, READER)}

    @docs.commande_detail
    def get(self, request: Request, saga_id: UUID) -> Response:  # noqa: ARG002 - DRF's signature
        """Show an order with its history."""
        saga = engine().store.load(saga_id)
        if saga.definition.name != COMMANDES.name:
            raise SagaNotFound(f"saga {saga_id} is not an order")
        return Response(_commande(saga))


class SagasView(APIView):
    """The orders."""

    roles = {"GET": (READER,)}

    @docs.commande_list
    def get(self, request: Request) -> Response:
        """List orders, newest first."""
        queries, chosen = platform().queries, _filter(request.query_params)
        rows = queries.sagas(chosen, LONGEST_LIST + 1)
        sagas = [_summary(row) for row in rows[:LONGEST_LIST]]
        more = sagas[-1]["saga_id"] if len(rows) > LONGEST_LIST else None
        whole = more is None and chosen.before is None
        total = len(sagas) if whole else queries.count(chosen)
        return Response({"total": total, "sagas": sagas, "suivant": more})


class EchecStockView(APIView):
    """Show a refusal."""

    roles = {"POST": (CLIENT,)}

    @docs.commande_failure
    def post(self, request: Request) -> Response:
        """Start an order that no stock can meet, to see it refused."""
        return _started(start_saga(request, COMMANDES.name, ORDER_OF_TOO_MUCH))


class InfoView(APIView):
    """What this service is."""

    roles = {"GET": (CLIENT, READER)}

    @docs.commande_info
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """Describe the order saga."""
        return Response(
            {
                "service": "saga-orchestrator",
                "workflow": COMMANDES.name,
                "version": COMMANDES.version,
                "etats": [etat.value for etat in EtatSaga],
                "transitions": sorted(COMMANDES.transitions()),
                "etapes": [step.name for step in COMMANDES.steps],
                "gateway": settings.SAGA_ORCHESTRATOR_CONFIG["KONG_GATEWAY"]["BASE_URL"],
            }
        )


def _started(saga: Saga) -> Response:
    return answer(saga, _commande(saga), f"/api/saga/commandes/{saga.id}/")


def _commande(saga: Saga) -> dict[str, Any]:
    return SagaCommande(saga).as_dict()


def _summary(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "saga_id": row["id"],
        "etat": row["state"],
        "client_id": row["data"]["input"]["client_id"],
        "magasin_id": row["data"]["input"]["magasin_id"],
        "erreur": row["error"]["reason"] if row["error"] else None,
        "cree_le": row["created_at"],
        "termine_le": row["finished_at"],
    }


def _filter(parameters: Any) -> SagaFilter:
    faults: dict[str, list[str]] = {}
    only_active = parameters.get("actives_seulement", "").lower()
    if only_active not in {"", "true", "false", "1", "0"}:
        faults["actives_seulement"] = ["must be true or false"]
    etat = parameters.get("etat") or None
    if etat and etat not in list(EtatSaga):
        faults["etat"] = [f"must be one of {', '.join(EtatSaga)}"]
    try:
        before = UUID(parameters["curseur"]) if parameters.get("curseur") else None
    except ValueError:
        faults["curseur"] = ["must be the `suivant` of the page before"]
    if faults:
        raise ValidationError(faults)
    active = True if only_active in {"true", "1"} else None
    return SagaFilter(workflow=COMMANDES.name, state=etat, active=active, before=before)
