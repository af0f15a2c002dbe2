"""One workflow in depth: its sagas, its steps, its undos."""

from monitoring.grafana.frame import Choice, Page
from monitoring.grafana.overview import NOTHING_ENDED, NOTHING_FAILED, TROUBLE
from monitoring.grafana.panels import Panel, bars, count, heat, lines, link, matrix
from monitoring.grafana.queries import (
    ONE,
    RANGE,
    going_on,
    happened,
    increase,
    or_none,
    or_zero,
    quantile,
    quantiles,
    rate,
    share,
    stored,
)

WORKFLOW = Choice(
    "workflow", "Workflow", "The workflow that is shown.", "label_values(saga_total, workflow)", several=False
)
CONSOLE = (link("${workflow} in the console", "${console}/console/workflows/${workflow}/"),)
NOT_SUCCEEDED = f'{ONE},statut!="succeeded"'


def now() -> tuple[Panel, ...]:
    """The numbers at the top."""
    ended = increase("saga_duree_seconds_count", ONE)
    completed = increase("saga_duree_seconds_count", f'{ONE},status="COMPLETED"')
    parked = stored("saga_statut_current", f'{ONE},statut="STUCK"', "workflow")
    return (
        count(
            "Live",
            "Sagas of this workflow that have not ended. Click to see them in the console.",
            "short",
            stored("saga_actives_current", ONE, "etat"),
            links=CONSOLE,
        ),
        count(
            "Started",
            "In this time range. None although clients are at work: look at the routes on the platform dashboard.",
            "short",
            or_zero(increase("saga_total", ONE)),
            links=CONSOLE,
        ),
        count(
            "Completed of ended",
            "The share of the sagas ended in this range that reached their goal. Low: “Failures by step” says where.",
            "percentunit",
            share(completed, ended),
            limits=(0.95, 0.8),
            falling=True,
            empty=NOTHING_ENDED,
        ),
        count(
            "Duration, p95",
            "95 of 100 that ended in this range took less. Compare with the step's calls on the platform dashboard.",
            "s",
            quantile(0.95, "saga_duree_seconds", ONE, over=RANGE),
            limits=(5, 25),
            empty=NOTHING_ENDED,
        ),
        count(
            "Answers that were no success",
            "The share of all answers to this workflow's steps in this range that were a refusal, an absence or"
            " unknown, retries included. High while sagas complete: retries hide a participant in trouble.",
            "percentunit",
            share(increase("saga_etapes_total", NOT_SUCCEEDED), increase("saga_etapes_total", ONE)),
            limits=(0.1, 0.5),
            empty="No step was called in this time range.",
        ),
        count(
            "Parked",
            "Sagas of this workflow that wait for a person. Open “Sagas in trouble”, read the reason, retry or"
            " resolve.",
            "short",
            parked,
            limits=(None, 1),
            links=TROUBLE,
        ),
        count(
            "Undos owed",
            "Undos that its parked sagas still owe. Once the participant below is well again, retry the group in the"
            " console.",
            "short",
            stored("saga_undo_debt_current", ONE, "service"),
            limits=(None, 1),
            links=TROUBLE,
        ),
        count(
            "Owed longest",
            "The age of the undo owed longest. What it holds at the participant is held as long: the oldest first.",
            "s",
            f"max(saga_undo_debt_oldest_seconds{{{ONE}}})",
            limits=(1, 3600),
            links=TROUBLE,
        ),
    )


def states() -> tuple[Panel, ...]:
    """Where its sagas are."""
    return (
        lines(
            "Live, by state",
            "The business's word for where the live sagas are. One state that fills up is the step that they wait for.",
            "short",
            {"{{etat}}": f"max by (etat) (saga_actives_current{{{ONE}}})"},
            stacked=True,
            links=CONSOLE,
        ),
        lines(
            "Live, by status",
            "The machine's word. RUNNING that grows: too few workers or threads. WAITING: messages that do not come."
            " COMPENSATING: undos that are not confirmed. STUCK: a person is needed. PAUSED: a person holds it.",
            "short",
            {"{{statut}}": f"max by (statut) (saga_statut_current{{{ONE}}})"},
            stacked=True,
            links=CONSOLE,
        ),
        lines(
            "Started and ended",
            "A minute. Started above the sum of the ended for long is a queue that grows: look at “Live, by state”.",
            "cpm",
            {
                "started": or_zero(f"60 * {rate('saga_total', ONE)}"),
                "{{status}}": or_none(f"60 * {rate('saga_duree_seconds_count', ONE, 'status')}", "status"),
            },
        ),
    )


def steps() -> tuple[Panel, ...]:
    """What its steps answer."""
    no_step = "No step was called in this time range."
    return (
        lines(
            "Answers to steps, by outcome",
            "succeeded; rejected (the participant's own no); unavailable (certainly not done: refused, no connection,"
            " 429); unknown (may have been done: time-out, 5xx). The last two are retried, then undone: call the"
            " participant's team.",
            "cps",
            {"{{etape}} {{statut}}": or_none(going_on("saga_etapes_total", ONE, "etape", "statut"), "etape", "statut")},
        ),
        matrix(
            "Answers in this range",
            "A row a step, a column an outcome; every attempt counts. Many more answers than sagas are retries.",
            or_none(happened("saga_etapes_total", ONE, "etape", "statut"), "etape", "statut"),
            row="etape",
            column="statut",
            empty=no_step,
        ),
        bars(
            "No success, share by step",
            "Of the answers to each step in this range. The longest bar is the step to look at; its type of failure"
            " is below.",
            "percentunit",
            or_none(
                share(
                    increase("saga_etapes_total", NOT_SUCCEEDED, "etape"),
                    increase("saga_etapes_total", ONE, "etape"),
                    by="etape",
                ),
                "etape",
            ),
            "{{etape}}",
            limits=(0.1, 0.5),
            empty=no_step,
        ),
    )


def failures() -> tuple[Panel, ...]:
    """Why its sagas turned back."""
    by_step = ("etape", "type")
    return (
        lines(
            "Failures by step",
            "Sagas that turned back or were parked, a minute, by the step and the type of its failure. rejected is"
            " business; unavailable and unknown are technical; parked needs a person.",
            "cpm",
            {"{{etape}} {{type}}": or_none(f"60 * {going_on('saga_echecs_total', ONE, *by_step)}", *by_step)},
            stacked=True,
            links=CONSOLE,
            width=16,
        ),
        matrix(
            "Failures in this range",
            "A row a step, a column a type of failure. Click “Sagas in trouble” at the top for those that need a"
            " person.",
            or_none(happened("saga_echecs_total", ONE, *by_step), *by_step),
            row="etape",
            column="type",
            empty=NOTHING_FAILED,
        ),
    )


def undos() -> tuple[Panel, ...]:
    """How undoing goes."""
    by_step = ("etape", "statut")
    return (
        lines(
            "Answers to undos, by outcome",
            "succeeded is the rule. unavailable and unknown are tried again; an undo that is given up, or refused,"
            " parks the saga: see “Failures”, type parked.",
            "cps",
            {"{{etape}} {{statut}}": or_none(going_on("saga_compensations_total", ONE, *by_step), *by_step)},
        ),
        matrix(
            "Undos in this range",
            "A row a step, a column an outcome; every attempt counts. Many more than turned-back sagas are undos"
            " repeated: the participant answers late or not at all.",
            or_none(happened("saga_compensations_total", ONE, *by_step), *by_step),
            row="etape",
            column="statut",
            empty="Nothing was undone in this time range.",
        ),
        lines(
            "Undos owed, by participant",
            "Undos of parked sagas that this participant (or topic) has not confirmed. One that grows: its team must"
            " know.",
            "short",
            {"{{service}}": stored("saga_undo_debt_current", ONE, "service", by=("service",))},
            stacked=True,
            links=TROUBLE,
        ),
    )


def duration() -> tuple[Panel, ...]:
    """How long its sagas take."""
    return (
        heat(
            "Durations",
            "How many sagas took how long. Two bands are two kinds of sagas: the upper one is usually those with a"
            " retry.",
            f"sum by (le) (increase(saga_duree_seconds_bucket{{{ONE}}}[$__rate_interval]))",
        ),
        lines(
            "Duration",
            "From start to end: half, 95 and 99 of 100 took less. p99 alone rising means retries; all three a slow"
            " participant.",
            "s",
            quantiles("saga_duree_seconds", ONE),
            empty=NOTHING_ENDED,
        ),
        lines(
            "Duration by end, p95",
            "Refusals (FAILED) are quick, undone sagas (COMPENSATED) as slow as their slowest undo. COMPENSATED in"
            " minutes: an undo is retried.",
            "s",
            {"{{status}}": quantile(0.95, "saga_duree_seconds", ONE, "status")},
            empty=NOTHING_ENDED,
        ),
    )


PAGE = Page(
    uid="saga-workflow",
    title="Saga: one workflow",
    description="One workflow in depth: where its sagas are, what its steps and undos answer, how long they take.",
    since="now-3h",
    refresh="30s",
    variables=(WORKFLOW,),
    sections={
        "Now": now(),
        "Where its sagas are": states(),
        "Steps": steps(),
        "Failures": failures(),
        "Undos": undos(),
        "Duration": duration(),
    },
)
