"""Workflows that do not ship: between them they have what no shipped one has, and get the same tests."""

import json
from pathlib import Path
from typing import Any

from domain.definition import SagaDefinition
from domain.definition_reader import read_definition
from tests.support.example_inputs import COFFEE, SHOP, TEA

HAMPER = """
{
  "name": "hamper", "version": 1,
  "initial_state": "asked", "completed_state": "packed", "compensating_state": "unpacking",
  "compensated_state": "unpacked", "failed_state": "refused",
  "input_schema": {"type": "object", "required": ["products", "amount"]},
  "steps": [
    {
      "name": "price", "safe": true, "foreach": "${input.products}",
      "action": {"service": "catalogue", "method": "GET", "path": "/api/ddd/catalogue/produits/${item}/"},
      "output": {"produit_id": "${item}", "quantite": 1, "nom": "${response.nom}", "prix_unitaire": "${response.prix}"}
    },
    {
      "name": "hold", "foreach": "${input.products}", "concurrency": 2,
      "action": {
        "service": "inventaire", "method": "POST", "body": {"quantite": 1},
        "path": "/api/ddd/inventaire/stock-local/${item}/SHOP/reservations/"
      },
      "compensation": {
        "service": "inventaire", "method": "POST", "body": {"quantite": 1, "undo_of": "${saga.do_key}"},
        "path": "/api/ddd/inventaire/stock-local/${item}/SHOP/liberations/"
      }
    },
    {
      "name": "gift_wrap", "when": "${input.amount > `1000`}",
      "action": {"service": "nobody", "method": "POST", "path": "/wraps"},
      "compensation": {"service": "nobody", "method": "POST", "path": "/wraps/undo"}
    },
    {
      "name": "charge",
      "action": {
        "service": "payments", "method": "POST", "path": "/payments",
        "body": {"order_id": "${saga.id}", "amount": "${input.amount}", "payment_method": "voucher"}
      },
      "inquiry": {
        "service": "payments", "method": "GET", "path": "/payments/outcome", "query": {"key": "${saga.do_key}"}
      },
      "compensation": {"service": "payments", "method": "POST", "path": "/payments/${steps.charge.id}/compensate"}
    },
    {
      "name": "hand_over", "pivot": true,
      "action": {
        "service": "commandes", "method": "POST", "path": "/api/v1/ventes-ddd/enregistrer/",
        "body": {
          "client_id": "12345678-1234-1234-1234-123456789012", "magasin_id": "SHOP", "lignes": "${steps.price}"
        }
      }
    },
    {
      "name": "thank",
      "action": {
        "service": "payments", "method": "POST", "path": "/payments",
        "body": {"order_id": "${saga.id}", "amount": 0, "payment_method": "bonus"}
      },
      "compensation": {
        "service": "payments", "method": "POST", "path": "/payments/0/compensate", "body": {"undo_of": "${saga.do_key}"}
      }
    }
  ]
}
""".replace("SHOP", SHOP)
"""With items at once, a step left out, an inquiry, a pivot, and a step after it."""

CONSORTIUM = """
{
  "name": "consortium", "version": 1,
  "initial_state": "asked", "completed_state": "founded", "compensating_state": "dissolving",
  "compensated_state": "dissolved", "failed_state": "refused",
  "input_schema": {"type": "object", "required": ["leader", "members"]},
  "steps": [
    {
      "name": "lead",
      "publish": {
        "topic": "gestion-de-integraciones",
        "body": {
          "type": "CreateAlliance", "saga_id": "${saga.id}", "partner_id": "${input.leader}", "key": "${saga.do_key}"
        }
      },
      "awaits": {
        "topic": "administracion-financiera-compliance", "types": ["alliance_created", "alliance_failed"], "timeout": 9
      },
      "reject_when": "${response.type == 'alliance_failed'}", "reject_reason": "${response.reason}",
      "undo_publish": {
        "topic": "gestion-de-integraciones",
        "body": {"type": "CancelAlliance", "saga_id": "${saga.id}", "undo_of": "${saga.do_key}"}
      }
    },
    {
      "name": "join", "foreach": "${input.members}",
      "publish": {
        "topic": "gestion-de-integraciones",
        "body": {"type": "CreateAlliance", "saga_id": "${saga.id}", "partner_id": "${item}", "key": "${saga.do_key}"}
      },
      "undo_publish": {
        "topic": "gestion-de-integraciones",
        "body": {"type": "CancelAlliance", "saga_id": "${saga.id}", "undo_of": "${saga.do_key}"}
      }
    },
    {
      "name": "fee",
      "action": {
        "service": "payments", "method": "POST", "path": "/api/payments/",
        "body": {"user_id": 1, "amount": 7, "discount": 0, "payment_method": "card"}
      },
      "compensation": {
        "service": "payments", "method": "POST", "path": "/api/payments/refund/", "body": {"undo_of": "${saga.do_key}"}
      }
    }
  ]
}
"""
"""A message that is answered, one for each item that nobody answers, and then a call."""

TREATY = """
{
  "name": "treaty", "version": 1,
  "initial_state": "drafted", "completed_state": "in_force", "compensating_state": "withdrawing",
  "compensated_state": "withdrawn", "failed_state": "refused",
  "input_schema": {"type": "object", "required": ["partner"]},
  "steps": [
    {
      "name": "deposit",
      "action": {
        "service": "payments", "method": "POST", "path": "/api/payments/",
        "body": {"user_id": 1, "amount": 7, "discount": 0, "payment_method": "card"}
      },
      "compensation": {
        "service": "payments", "method": "POST", "path": "/api/payments/refund/", "body": {"undo_of": "${saga.do_key}"}
      }
    },
    {
      "name": "sign", "pivot": true,
      "publish": {
        "topic": "gestion-de-integraciones",
        "body": {
          "type": "CreateAlliance", "saga_id": "${saga.id}", "partner_id": "${input.partner}", "key": "${saga.do_key}"
        }
      },
      "awaits": {
        "topic": "administracion-financiera-compliance", "types": ["alliance_created", "alliance_failed"], "timeout": 9
      },
      "reject_when": "${response.type == 'alliance_failed'}", "reject_reason": "${response.reason}"
    }
  ]
}
"""
"""A message that is the point of no return."""

LOAN: dict[str, Any] = json.loads((Path(__file__).parents[2] / "fixtures" / "loan.json").read_bytes())
"""A file that is published to what runs: a sixth workflow, as anybody adds one."""
LOAN_INPUT = {"user_id": 456, "amount": 500, "fee": 5, "card": "card"}

PUBLISHED: dict[str, dict[str, Any]] = {"loan": LOAN}
"""What is not there before somebody publishes it, as JSON."""

EXAMPLE_WORKFLOWS: dict[str, tuple[SagaDefinition, dict[str, Any]]] = {
    "hamper": (read_definition(json.loads(HAMPER)), {"products": [COFFEE, TEA], "amount": 19.9}),
    "consortium": (read_definition(json.loads(CONSORTIUM)), {"leader": "p-1", "members": ["p-2", "p-3"]}),
    "treaty": (read_definition(json.loads(TREATY)), {"partner": "p-1"}),
    "loan": (read_definition(LOAN), LOAN_INPUT),
}
"""Each with an input."""
