"""The business overview: how many, how well, how long, and what is owed."""

from monitoring.grafana.frame import Choice, Page
from monitoring.grafana.panels import Panel, count, lines, link, rows
from monitoring.grafana.queries import (
    ALL,
    RANGE,
    happened,
    increase,
    or_none,
    or_zero,
    or_zero_by_workflow,
    quantile,
    quantiles,
    rate,
    share,
    stored,
)

NOTHING_ENDED = "No saga ended in this time range."
NOTHING_FAILED = "No saga failed in this time range."
WORKFLOWS = Choice(
    "workflow",
    "Workflow",
    "The workflows that are counted.",
    "label_values(saga_total, workflow)",
    several=True,
)
IN_DEPTH = link(
    "${__data.fields.workflow} in depth", "/d/saga-workflow?var-workflow=${__data.fields.workflow}&${__url_time_range}"
)
IN_CONSOLE = link("${__data.fields.workflow} in the console", "${console}/console/workflows/${__data.fields.workflow}/")
ITS_PARKED = link("Those parked", "${console}/console/?status=STUCK&workflow=${__data.fields.workflow}")
TROUBLE = (link("Sagas in trouble", "${console}/console/trouble/"),)
COMPLETED = f'{ALL},status="COMPLETED"'


def parked(*by: str) -> str:
    """How many sagas wait for a person."""
    return stored("saga_statut_current", f'{ALL},statut="STUCK"', "workflow", by=by)


def debt(*by: str) -> str:
    """How many undos the parked sagas still owe."""
    return stored("saga_undo_debt_current", ALL, "workflow", "service", by=by)


def now() -> tuple[Panel, ...]:
    """The eight numbers at the top."""
    ended, completed = increase("saga_duree_seconds_count", ALL), increase("saga_duree_seconds_count", COMPLETED)
    return (
        count(
            "Live sagas",
            "Sagas that have not ended: running, waiting, undoing, paused or parked. A level that only rises is work"
            " that nobody does: look at “Workers” on the platform dashboard.",
            "short",
            stored("saga_actives_current", ALL, "workflow", "etat"),
        ),
        count(
            "Started a minute",
            "Sagas that clients, messages and operators started. If it falls to nothing while clients are at work,"
            " they do not reach the API: look at the gateway on the platform dashboard.",
            "cpm",
            or_zero(f"60 * {rate('saga_total', ALL)}"),
        ),
        count(
            "Completed of ended",
            "The share of the sagas ended in this range that reached their goal. The rest was refused or undone, and"
            " left nothing half done. Low: “Failures” below says at which step, and whether the business said no or"
            " the technology did.",
            "percentunit",
            share(completed, ended),
            limits=(0.95, 0.8),
            falling=True,
            empty=NOTHING_ENDED,
        ),
        count(
            "Duration, p95",
            "95 of 100 sagas that ended in this range took less, from start to end. Above the 25 s that a client is"
            " kept waiting, clients get 202 and must ask again: find the slow participant on the platform dashboard.",
            "s",
            quantile(0.95, "saga_duree_seconds", ALL, over=RANGE),
            limits=(5, 25),
            empty=NOTHING_ENDED,
        ),
        count(
            "Parked",
            "Sagas whose undo was given up, or that failed after their point of no return. They wait for a person and"
            " never end by themselves: open “Sagas in trouble”, read the reason, retry or resolve.",
            "short",
            parked(),
            limits=(None, 1),
            links=TROUBLE,
        ),
        count(
            "Undos owed",
            "Undos that parked sagas still owe: what is held at participants for nobody. It does not pass by itself:"
            " once the participant is well again, open “Sagas in trouble” and retry the group.",
            "short",
            debt(),
            limits=(None, 1),
            links=TROUBLE,
        ),
        count(
            "Parked longest",
            "The age of the saga parked longest. Whatever it holds (stock, a seat, a payment) is held as long: deal"
            " with the oldest first.",
            "s",
            f"max(saga_parked_oldest_seconds{{{ALL}}})",
            limits=(1, 3600),
            links=TROUBLE,
        ),
        count(
            "Alerts firing",
            "Of all alert rules. docs/alerts.md says for each what it means and what to do; the red marks in the"
            " courses are when each began.",
            "short",
            or_zero('count(ALERTS{alertstate="firing"})'),
            limits=(1, 3),
        ),
    )


def by_workflow() -> tuple[Panel, ...]:
    """A row a workflow."""
    ended = increase("saga_duree_seconds_count", ALL, "workflow")
    completed = increase("saga_duree_seconds_count", COMPLETED, "workflow")
    return (
        rows(
            "Workflows",
            "One row a workflow, over this time range. Click a name to see it in depth, or its sagas in the console."
            " A row with parked sagas needs a person first.",
            {
                "Live": ("short", stored("saga_actives_current", ALL, "workflow", "etat", by=("workflow",))),
                "Started": ("short", or_zero_by_workflow(increase("saga_total", ALL, "workflow"))),
                "Ended": ("short", or_zero_by_workflow(ended)),
                "Completed of ended": ("percentunit", share(completed, ended, by="workflow")),
                "p95": ("s", quantile(0.95, "saga_duree_seconds", ALL, "workflow", over=RANGE)),
                "Parked": ("short", parked("workflow")),
                "Undos owed": ("short", debt("workflow")),
            },
            links={"workflow": (IN_DEPTH, IN_CONSOLE), "Parked": (ITS_PARKED, *TROUBLE)},
            limits={"Parked": (None, 1), "Undos owed": (None, 1)},
            sort="Started",
            empty="No workflow: does Prometheus scrape the orchestrator?",
        ),
    )


def throughput() -> tuple[Panel, ...]:
    """What comes, what ends and how."""
    ended, completed = (
        rate("saga_duree_seconds_count", ALL, "workflow"),
        rate("saga_duree_seconds_count", COMPLETED, "workflow"),
    )
    return (
        lines(
            "Started, by workflow",
            "Sagas started a minute. A sudden step up is a client that repeats itself (does it send an"
            " Idempotency-Key?); a step down to zero is a client or a gateway that is gone.",
            "cpm",
            {"{{workflow}}": or_zero_by_workflow(f"60 * {rate('saga_total', ALL, 'workflow')}")},
            stacked=True,
        ),
        lines(
            "Ended, by how",
            "COMPLETED reached its goal; FAILED was refused before anything had to be undone; COMPENSATED was undone"
            " entirely. More COMPENSATED than usual: see which step fails, below.",
            "cpm",
            {"{{status}}": or_none(f"60 * {rate('saga_duree_seconds_count', ALL, 'status')}", "status")},
            stacked=True,
        ),
        lines(
            "Completed of ended, by workflow",
            "The share that reached its goal. No line where no saga ended. A fall of all workflows at once is the"
            " platform (database, gateway, workers); of one, its participants or its definition.",
            "percentunit",
            {"{{workflow}}": share(completed, ended, by="workflow")},
            top=1,
            empty=NOTHING_ENDED,
        ),
    )


def failures() -> tuple[Panel, ...]:
    """Which fail, where and why."""
    by_step = happened("saga_echecs_total", ALL, "workflow", "type", "etape")
    return (
        lines(
            "Failures, by type",
            "rejected: a participant said no (the business's own refusal). unavailable and unknown: a participant did"
            " not answer, or may have acted (call its team). parked: a person is needed (open “Sagas in trouble”).",
            "cpm",
            {"{{type}}": or_none(f"60 * {rate('saga_echecs_total', ALL, 'type')}", "type")},
            stacked=True,
        ),
        rows(
            "Failures, by step",
            "How many sagas turned back or were parked in this range, at which step and why. Begin with the first"
            " row: the platform dashboard shows the calls of the step's participant.",
            {"Failures": ("short", or_none(by_step, "workflow", "type", "etape"))},
            links={"workflow": (IN_DEPTH, IN_CONSOLE)},
            sort="Failures",
            empty=NOTHING_FAILED,
            width=16,
        ),
    )


def duration() -> tuple[Panel, ...]:
    """How long it takes."""
    return (
        lines(
            "Duration of a saga",
            "From start to end, of all that ended: half, 95 and 99 of 100 took less. p99 alone rising means retries;"
            " all three rising means a slow participant, or more load than threads.",
            "s",
            quantiles("saga_duree_seconds", ALL),
            limits=(None, 25),
            empty=NOTHING_ENDED,
            width=12,
        ),
        lines(
            "Duration by workflow, p95",
            "A workflow that waits for messages or people takes as long as they do. Compare with its own past, not"
            " with the others.",
            "s",
            {"{{workflow}}": quantile(0.95, "saga_duree_seconds", ALL, "workflow")},
            empty=NOTHING_ENDED,
            width=12,
        ),
    )


def owed() -> tuple[Panel, ...]:
    """What is parked, and which undos are owed."""
    return (
        lines(
            "Parked sagas, by workflow",
            "They wait for a person. It should return to zero within a working day: open “Sagas in trouble”.",
            "short",
            {"{{workflow}}": parked("workflow")},
            stacked=True,
            limits=(None, 1),
            links=TROUBLE,
        ),
        lines(
            "Undos owed, by participant",
            "Undos that parked sagas owe, by the participant (or the topic) that has not confirmed them. One that"
            " grows: that participant refuses undos or does not answer; its team must know.",
            "short",
            {"{{service}}": debt("service")},
            stacked=True,
            links=TROUBLE,
        ),
        lines(
            "How long it has been owed",
            "The age of the saga parked longest and of the undo owed longest, by workflow. An age that grows in step"
            " with the clock is one that nobody works on.",
            "s",
            {
                "{{workflow}}: parked": f"max by (workflow) (saga_parked_oldest_seconds{{{ALL}}})",
                "{{workflow}}: undo": f"max by (workflow) (saga_undo_debt_oldest_seconds{{{ALL}}})",
            },
            limits=(600, 3600),
            links=TROUBLE,
        ),
    )


PAGE = Page(
    uid="saga-overview",
    title="Saga: overview",
    description="Business transactions of all workflows: how many, how they end, how long they take, what is owed.",
    since="now-6h",
    refresh="30s",
    variables=(WORKFLOWS,),
    sections={
        "Now": now(),
        "By workflow": by_workflow(),
        "Throughput and outcome": throughput(),
        "Failures": failures(),
        "Duration": duration(),
        "Parked, and owed": owed(),
    },
)
