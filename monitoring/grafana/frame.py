"""What all dashboards have in common: variables, marks for deployments and incidents, links to each other."""

from collections.abc import Mapping
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from monitoring.grafana.panels import SOURCE, Panel

TAG = "saga"


@dataclass(frozen=True)
class Page:
    """A dashboard: what is its own."""

    uid: str
    title: str
    description: str
    since: str
    """The beginning of the time range."""
    refresh: str
    variables: tuple["Choice", ...]
    sections: Mapping[str, tuple[Panel, ...]]


@dataclass(frozen=True)
class Choice:
    """A variable whose values are those of a label."""

    name: str
    label: str
    description: str
    values: str
    several: bool


class Mark(AnnotationQuery, Builder[AnnotationQuery]):
    """An annotation from Prometheus, with the fields of that data source."""

    def __init__(self, name: str, expression: str, colour: str, **own: object) -> None:
        super().__init__(name=name, datasource=SOURCE, enable=True, icon_color=colour, hide=False)
        self.expression, self.own = expression, own

    def to_json(self) -> dict[str, object]:
        """As Grafana 11 stores it."""
        target = {"expr": self.expression, "refId": "Anno", "interval": ""}
        return {**super().to_json(), "target": target, **self.own}

    def build(self) -> "Mark":
        """It is its own builder."""
        return self


MARKS = (
    Mark(
        "Deployments",
        "max by (job, instance, version) "
        "(saga_process_start_time_seconds * on (job, instance) group_left (version) saga_build_info) * 1000",
        "blue",
        titleFormat="{{job}} {{version}} started",
        textFormat="{{instance}}",
        tagKeys="job,version",
        useValueForTime="on",
    ),
    Mark(
        "Incidents",
        'max by (alertname, severity) (ALERTS{alertstate="firing"})',
        "red",
        titleFormat="{{alertname}}",
        textFormat="{{severity}}: docs/alerts.md says what to do",
        tagKeys="alertname,severity",
    ),
)


def framed(page: Page, console: str) -> Dashboard:
    """The whole dashboard; panels are numbered in the order in which they are read."""
    made = dashboard.Dashboard(page.title).uid(page.uid).description(page.description).tags([TAG])
    made = made.readonly().timezone("browser").time(page.since, "now").refresh(page.refresh)
    made = made.timepicker(dashboard.TimePicker().refresh_intervals(["5s", "10s", "30s", "1m", "5m", "15m"]))
    made = made.tooltip(DashboardCursorSync.CROSSHAIR)
    for choice in page.variables:
        made = made.with_variable(_choice(choice))
    made = made.with_variable(_console(console))
    for mark in MARKS:
        made = made.annotation(mark)
    for each in _links():
        made = made.link(each)
    _fill(made, page.sections)
    return made.build()


def _fill(made: dashboard.Dashboard, sections: Mapping[str, tuple[Panel, ...]]) -> None:
    number = 0
    for title, panels in sections.items():
        number += 1
        made.with_row(dashboard.Row(title).id(number))
        for panel in panels:
            number += 1
            panel.build().id_val = number
            made.with_panel(panel)


def _choice(choice: Choice) -> dashboard.QueryVariable:
    query = {"qryType": 1, "query": choice.values, "refId": choice.name}
    made = dashboard.QueryVariable(choice.name).label(choice.label).description(choice.description)
    made = made.datasource(SOURCE).query(query).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    made = made.sort(VariableSort.ALPHABETICAL_ASC).multi(choice.several).include_all(choice.several)
    if choice.several:
        made = made.all_value(".*").current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    return made


def _console(console: str) -> dashboard.ConstantVariable:
    made = dashboard.ConstantVariable("console").label("Console").value(console)
    made._internal.hide = VariableHide.HIDE_VARIABLE  # noqa: SLF001 - the builder has no word for it
    return made


def _links() -> list[dashboard.DashboardLink]:
    others = dashboard.DashboardLink("Saga dashboards").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    others = others.keep_time(keep_time=True)
    console = dashboard.DashboardLink("Console").type(DashboardLinkType.LINK).icon("external link")
    trouble = dashboard.DashboardLink("Sagas in trouble").type(DashboardLinkType.LINK).icon("bolt")
    return [
        others,
        console.url("${console}/console/").tooltip("Every saga, live").target_blank(target_blank=True),
        trouble.url("${console}/console/trouble/")
        .tooltip("Parked sagas, and what to do")
        .target_blank(target_blank=True),
    ]
