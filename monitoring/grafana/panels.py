"""What panels look like: one function a kind, each with a title, what it means and what to do, a unit and queries."""

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as words
from grafana_foundation_sdk.models import heatmap as heatmap_words
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
MISSING = "No data: does Prometheus scrape the orchestrator? See “Platform”."
# From 0, until a value: green, then orange, then red. A limit that is None is left out.
Limits = tuple[float | None, float | None]

Panel = Builder[Any]
Links = Sequence[Mapping[str, Any]]


def link(title: str, url: str) -> dict[str, Any]:
    """A data link."""
    return {"title": title, "url": url, "targetBlank": False}


def count(
    title: str,
    description: str,
    unit: str,
    query: str,
    *,
    limits: Limits = (None, None),
    falling: bool = False,
    empty: str = MISSING,
    links: Links = (),
    width: int = 3,
) -> Panel:
    """One number, coloured by its limits, over the course it took."""
    panel = stat.Panel().thresholds(_limits(limits, falling=falling)).with_target(_range(query, "", "A"))
    panel = panel.color_mode(_coloured(limits)).graph_mode(words.BigValueGraphMode.AREA)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.data_links([dashboard.DashboardLink(each["title"]).url(each["url"]) for each in links])
    return _framed(panel, title, description, unit, width=width, height=4, empty=empty)


def lines(
    title: str,
    description: str,
    unit: str,
    queries: Mapping[str, str],
    *,
    stacked: bool = False,
    limits: Limits = (None, None),
    top: float | None = None,
    empty: str = MISSING,
    links: Links = (),
    width: int = 8,
) -> Panel:
    """A course over time: legend -> query."""
    panel = timeseries.Panel().min(0).line_width(1).fill_opacity(40 if stacked else 8)
    panel = panel.show_points(words.VisibilityMode.AUTO).span_nulls(span_nulls=False)
    panel = panel.tooltip(
        common.VizTooltipOptions().mode(words.TooltipDisplayMode.MULTI).sort(words.SortOrder.DESCENDING)
    )
    panel = panel.legend(_legend()).stacking(common.StackingConfig().mode(_stacking(stacked=stacked)))
    if top is not None:
        panel = panel.max(top)
    if limits != (None, None):
        style = common.GraphThresholdsStyleConfig().mode(words.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_limits(limits)).thresholds_style(style)
    for position, (legend, query) in enumerate(queries.items()):
        panel = panel.with_target(_range(query, legend, chr(ord("A") + position)))
    panel.data_links([dashboard.DashboardLink(each["title"]).url(each["url"]) for each in links])
    return _framed(panel, title, description, unit, width=width, empty=empty)


def bars(
    title: str, description: str, unit: str, query: str, legend: str, *, limits: Limits, empty: str, width: int = 8
) -> Panel:
    """What is compared now, a bar each."""
    panel = bargauge.Panel().thresholds(_limits(limits)).min(0).with_target(_instant(query, "A", legend=legend))
    panel = panel.orientation(words.VizOrientation.HORIZONTAL).display_mode(words.BarGaugeDisplayMode.BASIC)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _framed(panel.max(1) if unit == "percentunit" else panel, title, description, unit, width=width, empty=empty)


def heat(title: str, description: str, query: str, *, width: int = 8) -> Panel:
    """A histogram of seconds over time."""
    target = _range(query, "{{le}}", "A").format(PromQueryFormat.HEATMAP)
    colours = heatmap.HeatmapColorOptions().mode(heatmap_words.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    panel = heatmap.Panel().with_target(target).calculate(calculate=False).color(colours)
    panel = panel.y_axis(heatmap.YAxisConfig().unit("s")).cell_values(heatmap.CellValues().unit("short"))
    return _framed(panel.cell_gap(1).show_legend(), title, description, "short", width=width)


def timeline(title: str, description: str, query: str, legend: str, states: Mapping[str, tuple[str, str]]) -> Panel:
    """Which of a few states each was in: value -> (word, colour)."""
    panel = statetimeline.Panel().with_target(_range(query, legend, "A")).mappings([_mapping(states)])
    panel = panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS)).fill_opacity(80)
    return _framed(panel.merge_values(merge_values=True), title, description, "none", width=8)


def states(
    title: str, description: str, query: str, legend: str, *, words_of: Mapping[str, tuple[str, str]], width: int
) -> Panel:
    """One word each, in its colour: value -> (word, colour)."""
    panel = stat.Panel().with_target(_range(query, legend, "A")).mappings([_mapping(words_of)] if words_of else [])
    panel = panel.color_mode(words.BigValueColorMode.BACKGROUND).graph_mode(words.BigValueGraphMode.NONE)
    panel = panel.text_mode(words.BigValueTextMode.VALUE_AND_NAME)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _framed(panel, title, description, "none", width=width, height=4)


def rows(
    title: str,
    description: str,
    columns: Mapping[str, tuple[str, str]],
    *,
    links: Mapping[str, Links] | None = None,
    limits: Mapping[str, Limits] | None = None,
    sort: str,
    empty: str,
    width: int = 24,
) -> Panel:
    """A table of what several queries say about the same labels: column -> (unit, query)."""
    panel = (
        table.Panel()
        .filterable(filterable=True)
        .sort_by([common.TableSortByFieldState().display_name(sort).desc(desc=True)])
    )
    names = {}
    for position, (column, (_, query)) in enumerate(columns.items()):
        letter = chr(ord("A") + position)
        names["Value" if len(columns) == 1 else f"Value #{letter}"] = column
        panel = panel.with_target(_instant(query, letter, table=True))
    panel = panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    options = {"excludeByName": {"Time": True}, "renameByName": names}
    panel = panel.with_transformation(DataTransformerConfig(id_val="organize", options=options))
    for column, (of_column, _) in columns.items():
        panel = panel.override_by_name(column, _column(of_column, (limits or {}).get(column)))
    for field, targets in (links or {}).items():
        panel = panel.override_by_name(field, [DynamicConfigValue("links", list(targets))])
    return _framed(panel, title, description, "short", width=width, empty=empty)


def matrix(title: str, description: str, query: str, *, row: str, column: str, empty: str, width: int = 8) -> Panel:
    """A table of one query by two labels."""
    options = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "zero"}
    panel = table.Panel().with_target(_instant(query, "A", table=True)).decimals(0)
    panel = panel.with_transformation(DataTransformerConfig(id_val="groupingToMatrix", options=options))
    return _framed(panel, title, description, "short", width=width, empty=empty)


def _column(unit: str, limits: Limits | None) -> list[DynamicConfigValue]:
    properties = [DynamicConfigValue("unit", unit), DynamicConfigValue("decimals", 0 if unit == "short" else 2)]
    if limits:
        properties += [
            DynamicConfigValue("thresholds", _limits(limits).build()),
            DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
        ]
    return properties


def _framed(
    panel: Any, title: str, description: str, unit: str, *, width: int, height: int = 8, empty: str = MISSING
) -> Panel:
    panel = panel.title(title).description(description).unit(unit).no_value(empty)
    framed: Panel = panel.datasource(SOURCE).span(width).height(height)
    return framed


def _range(query: str, legend: str, letter: str) -> Dataquery:
    return Dataquery().expr(query).legend_format(legend).ref_id(letter).datasource(SOURCE).range()


def _instant(query: str, letter: str, *, legend: str = "", table: bool = False) -> Dataquery:
    asked = Dataquery().expr(query).legend_format(legend).ref_id(letter).datasource(SOURCE).instant()
    return asked.format(PromQueryFormat.TABLE) if table else asked


def _limits(limits: Limits, *, falling: bool = False) -> dashboard.ThresholdsConfig:
    """Bad from a limit on; `falling`: bad below it."""
    warning, bad = limits
    if falling:
        steps = [(None, "red"), (bad, "orange"), (warning, "green")]
    else:
        steps = [(None, "green"), (warning, "orange"), (bad, "red")]
    kept = [steps[0], *(step for step in steps[1:] if step[0] is not None)]
    made = [Threshold(value=value, color=colour) for value, colour in kept]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def _coloured(limits: Limits) -> words.BigValueColorMode:
    return words.BigValueColorMode.NONE if limits == (None, None) else words.BigValueColorMode.VALUE


def _stacking(*, stacked: bool) -> words.StackingMode:
    return words.StackingMode.NORMAL if stacked else words.StackingMode.NONE


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(show_legend=True).placement(words.LegendPlacement.BOTTOM)
    return legend.display_mode(words.LegendDisplayMode.LIST).calcs(["lastNotNull", "max"])


def _mapping(states: Mapping[str, tuple[str, str]]) -> ValueMap:
    options = {
        value: ValueMappingResult(text=word, color=colour, index=position)
        for position, (value, (word, colour)) in enumerate(states.items())
    }
    return ValueMap(options=options)
