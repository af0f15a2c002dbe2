"""The platform: what the sagas run on."""

from monitoring.grafana import machinery, traffic
from monitoring.grafana.frame import Choice, Page

SERVICES = Choice(
    "service",
    "Participant",
    "The participants shown.",
    "label_values(services_externes_calls_total, service)",
    several=True,
)

PAGE = Page(
    uid="saga-platform",
    title="Saga: platform",
    description="What the sagas run on: participants, gateway, API, workers, messages, database, processes.",
    since="now-1h",
    refresh="10s",
    variables=(SERVICES,),
    sections={
        "Is everything there?": machinery.presence(),
        "Participants": traffic.participants(),
        "Participants, one by one": traffic.participants_now(),
        "Gateway": traffic.gateway(),
        "API": traffic.routes(),
        "Workers and due sagas": machinery.workers(),
        "Messages": machinery.messages(),
        "Database": machinery.database(),
        "PostgreSQL": machinery.server(),
        "Processes": machinery.processes(),
    },
)
