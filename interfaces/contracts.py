"""The published shapes, as JSON Schema: the documentation shows them, the contract tests hold the answers to them."""

from typing import Any

from domain.events import EventType, SagaStatus
from domain.lint import Severity
from domain.step_progress import StepStatus
from domain.workflows.cashout import CASHOUT as CASHOUT_FLOW
from domain.workflows.commandes import COMMANDES, EtatSaga
from domain.workflows.order_processing import ORDER_PROCESSING
from domain.workflows.partner_creation import PARTNER_CREATION

Schema = dict[str, Any]


def _object(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
ID: Schema = {"type": "string", "format": "uuid"}
TIME: Schema = {"type": "string", "format": "date-time"}
ANY_OBJECT: Schema = {"type": "object"}
STATUS: Schema = {"type": "string", "enum": [status.value for status in SagaStatus]}
ETAT: Schema = {"type": "string", "enum": [etat.value for etat in EtatSaga]}

EXAMPLE_ORDER = {
    "client_id": "12345678-1234-1234-1234-123456789012",
    "magasin_id": "550e8400-e29b-41d4-a716-446655440000",
    "lignes": [{"produit_id": "550e8400-e29b-41d4-a716-446655440001", "quantite": 2}],
}
"""What the reference participants can do."""

EXAMPLE_DEFINITION: Schema = {
    "name": "price_check",
    "version": 1,
    "title": "What a product costs",
    "input_schema": {
        "type": "object",
        "required": ["produit_id"],
        "properties": {"produit_id": {"type": "string", "format": "uuid"}},
    },
    "initial_state": "asked",
    "completed_state": "answered",
    "compensating_state": "withdrawing",
    "compensated_state": "withdrawn",
    "failed_state": "unanswered",
    "steps": [
        {
            "name": "price",
            "safe": True,
            "action": {
                "service": "catalogue",
                "method": "GET",
                "path": "/api/ddd/catalogue/produits/${input.produit_id}/",
            },
            "output": {"price": "${to_number(response.prix)}"},
        }
    ],
}

PROBLEM = _object(
    {
        "type": TEXT,
        "title": TEXT,
        "status": {"type": "integer"},
        "code": TEXT,
        "detail": TEXT,
        "errors": ANY_OBJECT,
        "correlation_id": TEXT,
        "saga_id": _or_null(ID),
        "error": {**TEXT, "description": "In the answers of partner creation"},
        "codigo": TEXT,
        "timestamp": TIME,
    },
    optional=("errors", "correlation_id", "saga_id", "error", "codigo", "timestamp"),
)
FAILURE = {**_object({"step": TEXT, "item": _or_null(COUNT), "outcome": TEXT, "reason": TEXT}), "type": "object"}

START = _object(
    {
        "workflow": TEXT,
        "saga_type": {**TEXT, "description": "Another name for `workflow`; one of the two is required"},
        "input": ANY_OBJECT,
        "version": {"type": "integer", "minimum": 1},
        "correlation_id": TEXT,
    },
    optional=("workflow", "saga_type", "input", "version", "correlation_id"),
) | {"example": {"workflow": COMMANDES.name, "input": EXAMPLE_ORDER, "correlation_id": "till-7-0042"}}
SAGA_SUMMARY = _object(
    {
        "id": ID,
        "workflow": TEXT,
        "version": {"type": "integer"},
        "tenant": TEXT,
        "correlation_id": TEXT,
        "status": STATUS,
        "state": TEXT,
        "error": _or_null(FAILURE),
        "deadline_at": TIME,
        "created_at": TIME,
        "updated_at": TIME,
        "finished_at": _or_null(TIME),
        "wake_at": _or_null(TIME),
    }
)
SAGA = _object(
    {
        **SAGA_SUMMARY["properties"],
        "parked_reason": _or_null(TEXT),
        "input": ANY_OBJECT,
        "outputs": ANY_OBJECT,
        "business_ids": {
            **ANY_OBJECT,
            "description": "The ids that it can be found by (`q`), by name: those known now",
        },
        "seq": COUNT,
        "events": TEXT,
    }
)
WAITING = _object(
    {
        "step": TEXT,
        "item": _or_null(COUNT),
        "action": TEXT,
        "service": TEXT,
        "attempt": COUNT,
        "budget": COUNT,
        "due_at": TIME,
    }
)
UNSENT = _object(
    {
        "number": {**COUNT, "description": "In the outbox: manage.py saga_outbox retry|drop NUMBER"},
        "step": _or_null(TEXT),
        "item": _or_null(COUNT),
        "action": {**_or_null(TEXT), "description": "What was to be done by it; null for word of an event"},
        "topic": TEXT,
        "reason": TEXT,
    }
)
SAGA_DETAIL = _object(
    {
        **SAGA["properties"],
        "explanation": {**TEXT, "description": "What it waits for, and why, in words"},
        "waiting_for": _list(WAITING),
        "unsent": {
            **_list(UNSENT),
            "description": "Messages that no broker would take: what they were to do is not done, whatever the status",
        },
        "owed": {**_list(TEXT), "description": "What must be undone before it could end undone, in that order"},
        "driver": _or_null(TEXT),
        "driven_until": _or_null(TIME),
    }
)
REASON: Schema = {"type": "string", "minLength": 1, "maxLength": 500, "description": "Why; kept in the saga's history"}
PREVIEW_FLAG: Schema = {"type": "boolean", "description": "Only show what would happen"}
EXPECTED_SEQ: Schema = {
    "type": "integer",
    "minimum": 1,
    "description": "The `seq` that you looked at: when the saga has moved since, nothing is done (409 `saga_moved`)",
}
OPERATION = _object(
    {"reason": REASON, "preview": PREVIEW_FLAG, "expected_seq": EXPECTED_SEQ}, optional=("preview", "expected_seq")
)
SKIP = _object(
    {
        **OPERATION["properties"],
        "step": TEXT,
        "item": {**COUNT, "description": "From 0, for a foreach step"},
        "action": {"type": "string", "enum": ["do", "undo"], "description": "The step (unless told), or its undo"},
        "output": {**ANY_OBJECT, "description": "What later steps read as this step's output"},
    },
    optional=("preview", "expected_seq", "item", "action", "output"),
)
RESOLVE = _object(
    {**OPERATION["properties"], "outcome": {"type": "string", "enum": ["completed", "compensated"]}},
    optional=("preview", "expected_seq"),
)
CALL = _object(
    {
        "step": TEXT,
        "item": _or_null(COUNT),
        "key": _or_null(TEXT),
        "certain": {"type": "boolean", "description": "false: it depends on answers, and shows its templates"},
        "service": TEXT,
        "method": {**TEXT, "description": "PUBLISH: no call but a message, and `service` is its topic"},
        "path": TEXT,
        "query": ANY_OBJECT,
        "body": {},
    }
)
PREVIEW = _object({"preview": {"type": "boolean"}, "seq": COUNT, "status": STATUS, "state": TEXT, "calls": _list(CALL)})
FAILURE_GROUP = _object(
    {
        "id": TEXT,
        "workflow": TEXT,
        "step": TEXT,
        "action": TEXT,
        "service": TEXT,
        "outcome": TEXT,
        "fingerprint": {**TEXT, "description": "The reason without ids, numbers and quoted texts"},
        "sagas": COUNT,
        "parked": COUNT,
        "oldest": TIME,
        "examples": _list(ID),
        "reason": TEXT,
    }
)
PUT_ASIDE = _object({"number": COUNT, "saga_id": ID, "seq": COUNT, "topic": TEXT, "reason": TEXT})
FAILURES = _object(
    {
        "results": _list(FAILURE_GROUP),
        "unsent": {
            **_list(PUT_ASIDE),
            "description": "Messages that no broker would take, of sagas that may have ended: the first 100 "
            "(manage.py saga_outbox)",
        },
    }
)
BULK_REQUEST = _object(
    {
        "reason": REASON,
        "preview": PREVIEW_FLAG,
        "per_second": {
            "type": "number",
            "minimum": 0.1,
            "maximum": 1000,
            "description": "Sagas a second, 10 unless told",
        },
        "expected_sagas": {
            "type": "integer",
            "minimum": 1,
            "description": "How many you looked at: when there are more by now, nothing is done (409 `group_grown`)",
        },
    },
    optional=("preview", "per_second", "expected_sagas"),
)
BULK_PREVIEW = _object({"preview": {"type": "boolean"}, "verb": TEXT, "sagas": COUNT, "seconds": NUMBER})
BULK = _object(
    {
        "id": ID,
        "group": TEXT,
        "verb": TEXT,
        "reason": TEXT,
        "actor": TEXT,
        "per_second": NUMBER,
        "created_at": TIME,
        "finished_at": _or_null(TIME),
        "status": {"type": "string", "enum": ["running", "finished", "cancelled"]},
        "cancelled_by": {**_or_null(TEXT), "description": "Who stopped it, at `finished_at`"},
        "total": COUNT,
        "done": COUNT,
        "refused": COUNT,
        "waiting": COUNT,
    }
)
BULK_DETAIL = _object({**BULK["properties"], "refusals": _list(_object({"saga_id": ID, "detail": TEXT}))})
BULK_LIST = _object({"results": _list(BULK)})
EVENT = _object(
    {
        "saga_id": ID,
        "seq": COUNT,
        "type": {"type": "string", "enum": [kind.value for kind in EventType]},
        "at": TIME,
        "status": STATUS,
        "state": TEXT,
        "previous_state": _or_null(TEXT),
        "step": _or_null(TEXT),
        "item": _or_null(COUNT),
        "action": _or_null(TEXT),
        "attempt": _or_null(COUNT),
        "outcome": _or_null(TEXT),
        "reason": _or_null(TEXT),
        "output": {},
        "due_at": _or_null(TIME),
        "service": _or_null(TEXT),
        "http_method": _or_null(TEXT),
        "http_status": _or_null(COUNT),
        "duration": _or_null(NUMBER),
        "actor": _or_null(TEXT),
    }
)
SAGA_PAGE = _object({"results": _list(SAGA_SUMMARY), "next": _or_null(ID)})
EVENT_PAGE = _object({"results": _list(EVENT), "next": _or_null(TEXT)})
STATISTICS = _object(
    {"total": COUNT, "live": COUNT, "stuck": COUNT, "by_status": ANY_OBJECT, "live_by_state": ANY_OBJECT}
)
DEFINITION_LIST = _object(
    {"results": _list(_object({"name": TEXT, "version": COUNT, "title": TEXT, "steps": _list(TEXT)}))}
)
FINDING = _object(
    {
        "severity": {"type": "string", "enum": [severity.value for severity in Severity]},
        "path": TEXT,
        "message": TEXT,
    }
)
DEFINITION: Schema = {
    "type": "object",
    "required": [
        "name",
        "version",
        "steps",
        "input_schema",
        "states",
        "transitions",
        "findings",
        "published_by",
        "published_at",
    ],
    "properties": {
        "name": TEXT,
        "version": COUNT,
        "steps": _list(ANY_OBJECT),
        "input_schema": ANY_OBJECT,
        "states": ANY_OBJECT,
        "transitions": _list(_list(TEXT)),
        "findings": {**_list(FINDING), "description": "What may not be meant in it"},
        "published_by": {**_or_null(TEXT), "description": "`release`: it came with one; null: not stored, or not kept"},
        "published_at": _or_null(TIME),
    },
}
_STATES = ("initial_state", "completed_state", "compensating_state", "compensated_state", "failed_state")
DEFINITION_BODY = _object(
    {
        "name": TEXT,
        "version": {"type": "integer", "minimum": 1},
        "title": TEXT,
        "input_schema": {**ANY_OBJECT, "description": "JSON Schema (2020-12) of the input"},
        "deadline": {**NUMBER, "description": "Seconds for all the steps; SAGA_TIMEOUT unless told"},
        **dict.fromkeys(_STATES, TEXT),
        "masked": {**_list(TEXT), "description": "Names of fields whose values people may not see"},
        "business_ids": {**ANY_OBJECT, "description": "Name -> template of an id to look for a saga by"},
        "steps": {**_list(ANY_OBJECT), "description": "docs/workflows.md explains their fields"},
    },
    optional=("title", "input_schema", "deadline", "masked", "business_ids"),
) | {"example": EXAMPLE_DEFINITION}

COMMANDE_INPUT: Schema = dict(COMMANDES.input_schema)
LIGNE = _object({"produit_id": ID, "quantite": COUNT, "nom": _or_null(TEXT), "prix_unitaire": _or_null(NUMBER)})
EVENEMENT = _object(
    {
        "type": TEXT,
        "etape": _or_null(TEXT),
        "ligne": _or_null(COUNT),
        "tentative": _or_null(COUNT),
        "ancien_etat": _or_null(TEXT),
        "etat": ETAT,
        "resultat": _or_null(TEXT),
        "message": _or_null(TEXT),
        "horodatage": TIME,
    }
)
COMMANDE = _object(
    {
        "saga_id": ID,
        "etat": ETAT,
        "client_id": ID,
        "magasin_id": ID,
        "lignes": _list(LIGNE),
        "commande_id": _or_null(TEXT),
        "erreur": _or_null(TEXT),
        "historique": _list(EVENEMENT),
        "cree_le": TIME,
        "termine_le": _or_null(TIME),
    }
)
COMMANDE_LIST = _object(
    {
        "total": {**COUNT, "description": "On all pages"},
        "sagas": _list(
            _object(
                {
                    "saga_id": ID,
                    "etat": ETAT,
                    "client_id": ID,
                    "magasin_id": ID,
                    "erreur": _or_null(TEXT),
                    "cree_le": TIME,
                    "termine_le": _or_null(TIME),
                }
            )
        ),
        "suivant": {**_or_null(ID), "description": "`curseur` of the next page; null on the last"},
    }
)
INFO = _object(
    {
        "service": TEXT,
        "workflow": TEXT,
        "version": COUNT,
        "etats": _list(TEXT),
        "transitions": _list(_list(TEXT)),
        "etapes": _list(TEXT),
        "gateway": TEXT,
    }
)
PARTNER_INPUT: Schema = {
    **PARTNER_CREATION.input_schema,
    "properties": {**PARTNER_CREATION.input_schema["properties"], "correlation_id": TEXT},
    "example": {
        "nombre": "Example Partner",
        "email": "partner@example.com",
        "telefono": "+1234567890",
        "direccion": "123 Main Street",
        "correlation_id": "unique-correlation-id",
    },
}
PARTNER_STARTED = _object({"mensaje": TEXT, "saga_id": ID, "correlation_id": TEXT, "status": TEXT})
PARTNER_STATE: Schema = {"type": "string", "enum": sorted(
    {state for states in PARTNER_CREATION.states_by_status().values() for state in states}
)}  # fmt: skip
PARTNER = _object(
    {
        "saga": _object(
            {
                "saga_id": ID,
                "status": PARTNER_STATE,
                "partner_id": _or_null(TEXT),
                "alliance_id": _or_null(TEXT),
                "correlation_id": TEXT,
                "error": _or_null(TEXT),
                "created_at": TIME,
                "completed_at": _or_null(TIME),
            }
        )
    }
)
PARTNERS_ACTIVE = _object(
    {
        "total": COUNT,
        "sagas": _list(
            _object(
                {"saga_id": ID, "status": PARTNER_STATE, "correlation_id": TEXT, "created_at": TIME, "updated_at": TIME}
            )
        ),
    }
)
EXAMPLE_FOOD_ORDER = {
    "saga_type": ORDER_PROCESSING.name,
    "entity_id": 123,
    "step_data": [
        {
            "customer_id": 1,
            "restaurant_id": 2,
            "total_amount": 50.00,
            "delivery_address": "123 Main St",
            "delivery_latitude": 40.7128,
            "delivery_longitude": -74.0060,
            "status": "PENDING_PAYMENT",
            "items": [{"menu_item_id": 1, "quantity": 2, "price": 25.00}],
        },
        {"order_id": 123, "amount": 50.00, "payment_method": "credit_card", "status": "PENDING"},
        {"order_id": 123},
    ],
}
FOOD_START = _object(
    {
        "saga_type": {"type": "string", "enum": [ORDER_PROCESSING.name]},
        "entity_id": {"type": "integer", "description": "What you call the order"},
        "step_data": {
            "type": "array",
            "items": ANY_OBJECT,
            "minItems": 3,
            "maxItems": 3,
            "description": "The bodies of the order, the payment and the confirmation; `order_id` is replaced by the "
            "number that the order service gives",
        },
    }
) | {"example": EXAMPLE_FOOD_ORDER}
FOOD_RESULT = _object({"success": {"type": "boolean"}, "saga_id": ID, "error": _or_null(TEXT)})
FOOD_STEP_STATUS: Schema = {
    "type": "string",
    "enum": [
        "PENDING", "RUNNING", "COMPLETED", "FAILED", "UNKNOWN", "COMPENSATING", "COMPENSATED", "COMPENSATION_FAILED",
    ],
}  # fmt: skip
FOOD_STATUS = _object(
    {
        "saga_id": ID,
        "saga_type": TEXT,
        "entity_id": {"type": "integer"},
        "status": STATUS,
        "state": TEXT,
        "current_step": {**_or_null(TEXT), "description": "null when it has ended"},
        "error": _or_null(TEXT),
        "steps": _list(_object({"name": TEXT, "status": FOOD_STEP_STATUS, "attempts": COUNT, "error": _or_null(TEXT)})),
        "created_at": TIME,
        "finished_at": _or_null(TIME),
    }
)
FOOD_COMPENSATE = _object({"reason": REASON}, optional=("reason",))

# --- cash-outs

CASHOUT_INPUT: Schema = {
    **CASHOUT_FLOW.input_schema,
    "example": {"bet_slip_id": 123, "user_id": 456, "bookmaker_type": "SYSTEM", "bookmaker_id": "system"},
}
CASHOUT_ROLLBACK = _object({"saga_transaction_id": ID, "reason": REASON}) | {
    "example": {"saga_transaction_id": "0192f0c1-2a3b-7c4d-8e5f-000000000001", "reason": "User cancelled"}
}
CASHOUT_RETRY = _object({"reason": {**REASON, "description": "Why; `retry of <step>` unless told"}}, ("reason",))
CASHOUT_STEP = _object(
    {
        "name": {"type": "string", "enum": [step.name for step in CASHOUT_FLOW.steps]},
        "order": COUNT,
        "status": {
            "type": "string",
            "enum": [status.value for status in StepStatus if status is not StepStatus.NOT_NEEDED],
        },
        "attempts": COUNT,
        "compensation_attempts": COUNT,
        "started_at": _or_null(TIME),
        "completed_at": _or_null(TIME),
        "duration": {**_or_null(NUMBER), "description": "Seconds"},
        "error": _or_null(TEXT),
        "output": _or_null(ANY_OBJECT),
    }
)
CASHOUT_EVENT = _object(
    {
        "event_type": {"type": "string", "enum": [kind.value for kind in EventType]},
        "step": _or_null(TEXT),
        "action": _or_null(TEXT),
        "attempt": _or_null(COUNT),
        "status": STATUS,
        "outcome": _or_null(TEXT),
        "message": _or_null(TEXT),
        "actor": _or_null(TEXT),
        "created_at": TIME,
    }
)
_CASHOUT = {
    "saga_transaction_id": ID,
    "saga_type": TEXT,
    "correlation_id": TEXT,
    "status": STATUS,
    "state": TEXT,
    "bet_slip_id": COUNT,
    "user_id": COUNT,
    "bookmaker_type": TEXT,
    "bookmaker_id": TEXT,
    "error": _or_null(TEXT),
    "failed_step": _or_null(TEXT),
    "timeout_at": TIME,
    "created_at": TIME,
    "finished_at": _or_null(TIME),
}
CASHOUT = _object(
    {
        **_CASHOUT,
        "amount": {**_or_null(NUMBER), "description": "What was paid; null unless the cash-out stands"},
        "transaction_id": {**_or_null(TEXT), "description": "The wallet's; null unless the cash-out stands"},
        "current_step": _or_null(TEXT),
        "progress": _object({"completed_steps": COUNT, "total_steps": COUNT, "percentage": COUNT}),
        "steps": _list(CASHOUT_STEP),
        "events": _list(CASHOUT_EVENT),
        "parked_reason": _or_null(TEXT),
    }
)
CASHOUT_PAGE = _object({"results": _list(_object(_CASHOUT)), "next": _or_null(ID)})

CHECK = _object({"status": TEXT, "detail": _or_null(TEXT)})
LIVE = _object({"status": TEXT})
READY = _object({"status": TEXT, "checks": _object({"database": CHECK, "gateway": CHECK, "worker": CHECK})})
SERVICE_STATUS = _object({"service": TEXT, "time": TIME, "workflows": _list(TEXT), "services": _list(TEXT)})
