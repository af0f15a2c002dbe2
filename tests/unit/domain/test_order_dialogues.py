"""The order workflow as a dialogue with its participants."""

from domain.outcomes import Rejected, Unavailable, Unknown
from domain.workflows.commandes import COMMANDES
from tests.support.dialogue import Dialogue

SHOP, COFFEE, TEA = "shop-1", "coffee", "tea"
STOCK = "GET inventaire /api/ddd/inventaire/stock-local/{}/shop-1/"
PRODUCT = "GET catalogue /api/ddd/catalogue/produits/{}/"
RESERVE = "POST inventaire /api/ddd/inventaire/stock-local/{}/shop-1/reservations/"
RELEASE = "POST inventaire /api/ddd/inventaire/stock-local/{}/shop-1/liberations/"
CREATE = "POST commandes /api/v1/ventes-ddd/enregistrer/"
CANCEL = "POST commandes /api/v1/ventes-ddd/annuler/"


def order(*lines: tuple[str, int]) -> Dialogue:
    lignes = [{"produit_id": product, "quantite": quantity} for product, quantity in lines]
    return Dialogue(COMMANDES, {"client_id": "client-1", "magasin_id": SHOP, "lignes": lignes})


def checked(dialogue: Dialogue, *products: str) -> Dialogue:
    """The stock is there and the catalogue knows the products."""
    for product in products:
        dialogue.expect(STOCK.format(product)).ok({"quantite_disponible": 5})
    for product in products:
        dialogue.expect(PRODUCT.format(product)).ok({"id": product, "nom": product.title(), "prix": 1.5})
    return dialogue


def test_an_order_of_one_line_goes_through_in_four_calls():
    dialogue = checked(order((COFFEE, 2)), COFFEE)
    dialogue.expect(RESERVE.format(COFFEE)).ok({"reservation_id": "r1"}).expect(CREATE).ok({"commande_id": "c1"})
    dialogue.ends("COMPLETED", "SAGA_TERMINEE")
    assert dialogue.saga.outputs["creation_commande"] == {"commande_id": "c1"}
    assert dialogue.states() == [
        "EN_ATTENTE",
        "VERIFICATION_STOCK",
        "STOCK_VERIFIE",
        "RESERVATION_STOCK",
        "STOCK_RESERVE",
        "CREATION_COMMANDE",
        "COMMANDE_CREEE",
        "SAGA_TERMINEE",
    ]


def test_the_order_service_is_given_the_names_and_prices_of_the_catalogue():
    dialogue = checked(order((COFFEE, 2), (TEA, 1)), COFFEE, TEA)
    dialogue.ok({"reservation_id": "r1"}).ok({"reservation_id": "r2"}).expect(CREATE)
    assert dialogue.tasks()[0].body == {
        "client_id": "client-1",
        "magasin_id": SHOP,
        "lignes": [
            {"produit_id": COFFEE, "quantite": 2, "nom": "Coffee", "prix_unitaire": 1.5},
            {"produit_id": TEA, "quantite": 1, "nom": "Tea", "prix_unitaire": 1.5},
        ],
    }


def test_every_call_has_the_key_that_the_participants_are_promised():
    dialogue = checked(order((COFFEE, 2)), COFFEE)
    dialogue.expect(RESERVE.format(COFFEE)).ok({"reservation_id": "r1"}).expect(CREATE)
    assert dialogue.keys == [
        "verification_stock[0]:do",
        "information_produit[0]:do",
        "reservation_stock[0]:do",
        "creation_commande:do",
    ]


def test_too_little_stock_ends_the_order_with_nothing_to_undo():
    dialogue = order((COFFEE, 6)).expect(STOCK.format(COFFEE)).ok({"quantite_disponible": 5})
    dialogue.ends("FAILED", "SAGA_ANNULEE")
    assert dialogue.states()[-3:] == ["VERIFICATION_STOCK", "ECHEC_STOCK_INSUFFISANT", "SAGA_ANNULEE"]
    assert dialogue.saga.failure.outcome == "rejected"
    assert dialogue.saga.failure.reason == "stock insuffisant pour coffee: 5 disponible(s), 6 demandé(s)"


def test_exactly_the_stock_that_there_is_suffices():
    order((COFFEE, 5)).expect(STOCK.format(COFFEE)).ok({"quantite_disponible": 5}).expect(PRODUCT.format(COFFEE))


def test_an_answer_without_the_quantity_is_not_taken_for_enough_stock():
    dialogue = order((COFFEE, 1)).expect(STOCK.format(COFFEE)).ok({"quantite": 5})
    assert dialogue.events[-2].outcome == "unknown"
    dialogue.expect(STOCK.format(COFFEE))


def test_an_unknown_product_passes_through_compensation_with_nothing_to_undo():
    dialogue = order((COFFEE, 1)).ok({"quantite_disponible": 5}).expect(PRODUCT.format(COFFEE)).given(Rejected("404"))
    dialogue.ends("FAILED", "SAGA_ANNULEE")
    assert dialogue.states()[-3:] == ["ECHEC_RESERVATION_STOCK", "COMPENSATION_EN_COURS", "SAGA_ANNULEE"]


def test_a_refused_reservation_releases_the_lines_reserved_before():
    dialogue = checked(order((COFFEE, 2), (TEA, 1)), COFFEE, TEA)
    dialogue.expect(RESERVE.format(COFFEE)).ok({"reservation_id": "r1"})
    dialogue.expect(RESERVE.format(TEA)).given(Rejected("409"))
    dialogue.expect(RELEASE.format(COFFEE))
    assert dialogue.tasks()[0].body == {
        "quantite": 2,
        "undo_of": f"{dialogue.saga.id}:reservation_stock[0]:do",
    }
    dialogue.ok().ends("COMPENSATED", "SAGA_ANNULEE")
    assert dialogue.states()[-3:] == ["ECHEC_RESERVATION_STOCK", "COMPENSATION_EN_COURS", "SAGA_ANNULEE"]


def test_a_refused_order_releases_every_line_last_first():
    dialogue = checked(order((COFFEE, 2), (TEA, 1)), COFFEE, TEA)
    dialogue.ok({"reservation_id": "r1"}).ok({"reservation_id": "r2"}).expect(CREATE).given(Rejected("409"))
    dialogue.expect(RELEASE.format(TEA)).ok().expect(RELEASE.format(COFFEE)).ok()
    dialogue.ends("COMPENSATED", "SAGA_ANNULEE")
    assert dialogue.states()[-3:] == ["ECHEC_CREATION_COMMANDE", "COMPENSATION_EN_COURS", "SAGA_ANNULEE"]


def test_an_order_that_may_have_been_created_is_cancelled_as_well():
    dialogue = checked(order((COFFEE, 2)), COFFEE).ok({"reservation_id": "r1"})
    for _ in range(4):
        dialogue.expect(CREATE).given(Unknown("no answer in time"))
    assert set(dialogue.keys[-4:]) == {"creation_commande:do"}
    dialogue.expect(CANCEL).ok().expect(RELEASE.format(COFFEE)).ok().ends("COMPENSATED", "SAGA_ANNULEE")


def test_an_order_service_that_certainly_did_nothing_is_not_told_to_cancel():
    dialogue = checked(order((COFFEE, 2)), COFFEE).ok({"reservation_id": "r1"})
    for _ in range(4):
        dialogue.expect(CREATE).given(Unavailable("connection refused"))
    dialogue.expect(RELEASE.format(COFFEE)).ok().ends("COMPENSATED", "SAGA_ANNULEE")


def test_the_transitions_are_exactly_those_of_the_diagram():
    assert COMMANDES.transitions() == {
        ("EN_ATTENTE", "VERIFICATION_STOCK"),
        ("VERIFICATION_STOCK", "STOCK_VERIFIE"),
        ("STOCK_VERIFIE", "RESERVATION_STOCK"),
        ("RESERVATION_STOCK", "STOCK_RESERVE"),
        ("STOCK_RESERVE", "CREATION_COMMANDE"),
        ("CREATION_COMMANDE", "COMMANDE_CREEE"),
        ("COMMANDE_CREEE", "SAGA_TERMINEE"),
        ("VERIFICATION_STOCK", "ECHEC_STOCK_INSUFFISANT"),
        ("RESERVATION_STOCK", "ECHEC_RESERVATION_STOCK"),
        ("CREATION_COMMANDE", "ECHEC_CREATION_COMMANDE"),
        ("ECHEC_STOCK_INSUFFISANT", "SAGA_ANNULEE"),
        ("ECHEC_RESERVATION_STOCK", "COMPENSATION_EN_COURS"),
        ("ECHEC_CREATION_COMMANDE", "COMPENSATION_EN_COURS"),
        ("COMPENSATION_EN_COURS", "SAGA_ANNULEE"),
    }
