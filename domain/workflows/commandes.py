"""commandes: an order of a shop. Check the stock, ask the catalogue, reserve, create the order; French by contract.

The states and the participants' routes are what the shops' systems already use.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from domain.definition import Request, SagaDefinition, Step
from domain.entities import Saga
from domain.events import SagaEvent


class EtatSaga(StrEnum):
    """The order saga's states, as its users know them."""

    EN_ATTENTE = "EN_ATTENTE"
    VERIFICATION_STOCK = "VERIFICATION_STOCK"
    STOCK_VERIFIE = "STOCK_VERIFIE"
    RESERVATION_STOCK = "RESERVATION_STOCK"
    STOCK_RESERVE = "STOCK_RESERVE"
    CREATION_COMMANDE = "CREATION_COMMANDE"
    COMMANDE_CREEE = "COMMANDE_CREEE"
    SAGA_TERMINEE = "SAGA_TERMINEE"
    ECHEC_STOCK_INSUFFISANT = "ECHEC_STOCK_INSUFFISANT"
    ECHEC_RESERVATION_STOCK = "ECHEC_RESERVATION_STOCK"
    ECHEC_CREATION_COMMANDE = "ECHEC_CREATION_COMMANDE"
    COMPENSATION_EN_COURS = "COMPENSATION_EN_COURS"
    SAGA_ANNULEE = "SAGA_ANNULEE"


_UUID = {"type": "string", "format": "uuid"}
_STOCK = "/api/ddd/inventaire/stock-local/${item.produit_id}/${input.magasin_id}/"

COMMANDES = SagaDefinition(
    name="commandes",
    version=3,  # 1 took any price that the catalogue gave, "12,50" too; 3 can be found by its ids
    title="Création de commande e-commerce",
    input_schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["client_id", "magasin_id", "lignes"],
        "properties": {
            "client_id": _UUID,
            "magasin_id": _UUID,
            "lignes": {
                "type": "array",
                "minItems": 1,
                "maxItems": 200,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["produit_id", "quantite"],
                    "properties": {
                        "produit_id": _UUID,
                        "quantite": {"type": "integer", "minimum": 1, "maximum": 10000},
                    },
                },
            },
        },
    },
    business_ids={"commande_id": "${steps.creation_commande.commande_id}", "client_id": "${input.client_id}"},
    initial_state=EtatSaga.EN_ATTENTE.value,
    completed_state=EtatSaga.SAGA_TERMINEE.value,
    compensating_state=EtatSaga.COMPENSATION_EN_COURS.value,
    compensated_state=EtatSaga.SAGA_ANNULEE.value,
    failed_state=EtatSaga.SAGA_ANNULEE.value,
    steps=(
        Step(
            name="verification_stock",
            foreach="${input.lignes}",
            safe=True,
            running_state=EtatSaga.VERIFICATION_STOCK.value,
            done_state=EtatSaga.STOCK_VERIFIE.value,
            failed_state=EtatSaga.ECHEC_STOCK_INSUFFISANT.value,
            action=Request(service="inventaire", method="GET", path=_STOCK),
            reject_when="${response.quantite_disponible < item.quantite}",
            reject_reason="stock insuffisant pour ${item.produit_id}: "
            "${response.quantite_disponible} disponible(s), ${item.quantite} demandé(s)",
            output={"quantite_disponible": "${response.quantite_disponible}"},
        ),
        Step(
            name="information_produit",
            foreach="${input.lignes}",
            safe=True,
            running_state=EtatSaga.RESERVATION_STOCK.value,
            failed_state=EtatSaga.ECHEC_RESERVATION_STOCK.value,
            action=Request(service="catalogue", method="GET", path="/api/ddd/catalogue/produits/${item.produit_id}/"),
            output={
                "produit_id": "${item.produit_id}",
                "quantite": "${item.quantite}",
                "nom": "${response.nom}",
                "prix_unitaire": "${to_number(response.prix)}",
            },
        ),
        Step(
            name="reservation_stock",
            foreach="${input.lignes}",
            running_state=EtatSaga.RESERVATION_STOCK.value,
            done_state=EtatSaga.STOCK_RESERVE.value,
            failed_state=EtatSaga.ECHEC_RESERVATION_STOCK.value,
            action=Request(
                service="inventaire",
                method="POST",
                path=f"{_STOCK}reservations/",
                body={"quantite": "${item.quantite}"},
            ),
            compensation=Request(
                service="inventaire",
                method="POST",
                path=f"{_STOCK}liberations/",
                body={"quantite": "${item.quantite}", "undo_of": "${saga.do_key}"},
            ),
            output={"reservation_id": "${response.reservation_id}"},
        ),
        Step(
            name="creation_commande",
            running_state=EtatSaga.CREATION_COMMANDE.value,
            done_state=EtatSaga.COMMANDE_CREEE.value,
            failed_state=EtatSaga.ECHEC_CREATION_COMMANDE.value,
            action=Request(
                service="commandes",
                method="POST",
                path="/api/v1/ventes-ddd/enregistrer/",
                body={
                    "client_id": "${input.client_id}",
                    "magasin_id": "${input.magasin_id}",
                    "lignes": "${steps.information_produit}",
                },
            ),
            compensation=Request(
                service="commandes",
                method="POST",
                path="/api/v1/ventes-ddd/annuler/",
                body={"undo_of": "${saga.do_key}"},
            ),
            output={"commande_id": "${response.commande_id}"},
        ),
    ),
)

DEFINITIONS = (COMMANDES,)


@dataclass(frozen=True, slots=True)
class EvenementSaga:
    """One line of an order's history, in the order desk's words."""

    event: SagaEvent

    def as_dict(self) -> dict[str, Any]:
        """`type, etape, ligne, tentative, ancien_etat, etat, resultat, message, horodatage`; `ligne` counts from 0."""
        event = self.event
        return {
            "type": event.type,
            "etape": event.step,
            "ligne": event.item,
            "tentative": event.attempt,
            "ancien_etat": event.previous_state,
            "etat": event.state,
            "resultat": event.outcome,
            "message": event.reason,
            "horodatage": event.at,
        }


@dataclass(frozen=True, slots=True)
class SagaCommande:
    """A saga read as an order."""

    saga: Saga

    @property
    def lignes(self) -> list[dict[str, Any]]:
        """The lines ordered, with name and price once the catalogue has said them."""
        ordered = self.saga.origin.input["lignes"]
        known = self.saga.outputs.get("information_produit")
        return list(known) if known else [{**line, "nom": None, "prix_unitaire": None} for line in ordered]

    @property
    def commande_id(self) -> str | None:
        """The order's number at the order service; None until it is created, and for an order that was undone."""
        created = self.saga.outputs.get("creation_commande")
        return created["commande_id"] if created and self.saga.state == EtatSaga.SAGA_TERMINEE else None

    def as_dict(self) -> dict[str, Any]:
        """The published shape of an order saga; times are datetimes in UTC."""
        saga = self.saga
        return {
            "saga_id": saga.id,
            "etat": saga.state,
            "client_id": saga.origin.input["client_id"],
            "magasin_id": saga.origin.input["magasin_id"],
            "lignes": self.lignes,
            "commande_id": self.commande_id,
            "erreur": saga.failure.reason if saga.failure else None,
            "historique": [EvenementSaga(event).as_dict() for event in saga.history],
            "cree_le": saga.origin.started_at,
            "termine_le": saga.finished_at,
        }
