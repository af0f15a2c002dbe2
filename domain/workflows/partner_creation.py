"""Partner creation: a partner by a call to integraciones, then its alliance by messages to and from alianzas."""

from domain.definition import Await, Publish, Request, SagaDefinition, Step

COMMANDS, ANSWERS = "gestion-de-integraciones", "administracion-financiera-compliance"
CREATED, FAILED = "alliance_created", "alliance_failed"

PARTNER_CREATION = SagaDefinition(
    name="partner_creation",
    version=2,  # 2 can be found by its ids, and masks personal data
    title="Partner creation",
    deadline=120.0,
    input_schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["nombre", "email", "telefono", "direccion"],
        "properties": {
            "nombre": {"type": "string", "minLength": 1, "maxLength": 200},
            "email": {"type": "string", "format": "email", "maxLength": 254},
            "telefono": {"type": "string", "pattern": r"^\+?[0-9][0-9 ().-]{4,28}$"},
            "direccion": {"type": "string", "minLength": 1, "maxLength": 500},
        },
    },
    masked=("direccion",),
    business_ids={
        "partner_id": "${steps.create_partner.partner_id}",
        "alliance_id": "${steps.create_alliance.alliance_id}",
    },
    initial_state="started",
    completed_state="completed",
    compensating_state="compensating",
    compensated_state="compensated",
    failed_state="failed",
    steps=(
        Step(
            name="create_partner",
            running_state="partner_creation_in_progress",
            done_state="partner_created",
            action=Request(
                service="integraciones",
                method="POST",
                path="/api/v1/saga/partners",
                body={
                    "nombre": "${input.nombre}",
                    "email": "${input.email}",
                    "telefono": "${input.telefono}",
                    "direccion": "${input.direccion}",
                    "saga_id": "${saga.id}",
                },
            ),
            inquiry=Request(service="integraciones", method="GET", path="/api/v1/saga/partners/saga-status/${saga.id}"),
            compensation=Request(
                service="integraciones",
                method="DELETE",
                path="/api/v1/partners/${steps.create_partner.partner_id}",
            ),
            output={"partner_id": "${response.partner_id}"},
        ),
        Step(
            name="create_alliance",
            running_state="alliance_creation_in_progress",
            done_state="alliance_created",
            publish=Publish(
                topic=COMMANDS,
                body={
                    "type": "CreateAlliance",
                    "saga_id": "${saga.id}",
                    "partner_id": "${steps.create_partner.partner_id}",
                    "correlation_id": "${saga.correlation_id}",
                    "key": "${saga.do_key}",
                },
            ),
            awaits=Await(topic=ANSWERS, types=(CREATED, FAILED)),
            reject_when=f"${{response.type == '{FAILED}'}}",
            reject_reason="${response.reason}",
            undo_publish=Publish(
                topic=COMMANDS,
                body={"type": "CancelAlliance", "saga_id": "${saga.id}", "undo_of": "${saga.do_key}"},
            ),
            output={"alliance_id": "${response.alliance_id}"},
        ),
    ),
)

DEFINITIONS = (PARTNER_CREATION,)
