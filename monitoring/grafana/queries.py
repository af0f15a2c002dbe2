"""How the metrics are asked.

What is read from the database (live sagas, parked ones, debt) every instance tells alike: it is `max`, never `sum`,
over instances. What has not happened yet has no series: it is a zero as long as the service is scraped, so that an
empty panel means that the metrics are missing, not that all is well.
"""

RATE = "$__rate_interval"
RANGE = "$__range"
ALL = 'workflow=~"$workflow"'
ONE = 'workflow="$workflow"'
SERVICE = 'service=~"$service"'
# 401, 403, 408, 425 and 429 do not answer the request: it may be right later, or with another key.
FAILED_CALL = 'statut=~"5..|401|403|408|425|429|unavailable|unknown"'
SCRAPED = '0 * max(up{job=~"saga-.*"} == 1)'


def rate(metric: str, where: str, *by: str, over: str = RATE) -> str:
    """Events a second, summed over processes."""
    return _summed("rate", metric, where, by, over)


def increase(metric: str, where: str, *by: str, over: str = RANGE) -> str:
    """Events in the range, summed over processes."""
    return _summed("increase", metric, where, by, over)


def happened(metric: str, where: str, *by: str) -> str:
    """Events in the range, of the kinds that there were any of."""
    return f"{increase(metric, where, *by)} > 0"


def going_on(metric: str, where: str, *by: str) -> str:
    """Events a second, of the kinds that there were any of in the range: the others would only crowd the panel."""
    return f"{rate(metric, where, *by)} and {happened(metric, where, *by)}"


def _summed(function: str, metric: str, where: str, by: tuple[str, ...], over: str) -> str:
    labels = f" by ({', '.join(by)}) " if by else ""
    selected = f"{metric}{{{where}}}" if where else metric
    return f"sum{labels}({function}({selected}[{over}]))"


def stored(metric: str, where: str, *labels: str, by: tuple[str, ...] = ()) -> str:
    """A number from the database with these labels, said once however many instances say it, summed `by` fewer."""
    once = f"max by ({', '.join(labels)}) ({metric}{{{where}}})"
    return once if by == labels else f"sum by ({', '.join(by)}) ({once})" if by else f"sum({once})"


def quantile(share: float, metric: str, where: str, *by: str, over: str = RATE) -> str:
    """This share of the observations of a histogram took less; nothing, and not NaN, where there was none."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', where, 'le', *by, over=over)}) >= 0"


def quantiles(metric: str, where: str, over: str = RATE) -> dict[str, str]:
    """The three that are looked at, by their names."""
    return {f"p{share * 100:g}": quantile(share, metric, where, over=over) for share in (0.5, 0.95, 0.99)}


def or_zero(expression: str) -> str:
    """For an expression without labels."""
    return f"{expression} or {SCRAPED}"


def or_none(expression: str, *labels: str) -> str:
    """For one with labels: where nothing at all has happened, one series that is called `none`."""
    nothing = SCRAPED
    for label in labels:
        nothing = f'label_replace({nothing}, "{label}", "none", "", "")'
    return f"{expression} or on () {nothing}"


def or_zero_by_workflow(expression: str, where: str = ALL) -> str:
    """For one by workflow: every workflow has a value."""
    return f"{expression} or 0 * max by (workflow) (saga_actives_current{{{where}}})"


def share(part: str, whole: str, *, by: str = "") -> str:
    """Which part of the whole; nothing where there is no whole, since no share of nothing is good or bad."""
    zero = f"0 * {whole}" if by else SCRAPED
    return f"({part} or {zero}) / ({whole} > 0)"
