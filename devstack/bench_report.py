"""The benchmark's result as text."""

from typing import Any

COLUMNS = (
    ("sagas/s", "per_second", "{:.0f}"),
    ("p50 ms", "p50_ms", "{:.2f}"),
    ("p99 ms", "p99_ms", "{:.1f}"),
    ("CPU ms a saga: gunicorn", "cpu_gunicorn_ms", "{:.2f}"),
    ("PostgreSQL", "cpu_postgres_ms", "{:.2f}"),
    ("stub", "cpu_participants_ms", "{:.2f}"),
    ("clients", "cpu_load_ms", "{:.2f}"),
    ("all", "cpu_all_ms", "{:.2f}"),
)


def table(result: dict[str, Any]) -> str:
    """One row a number of clients; medians over the rounds."""
    lines = [_heading()]
    for clients, row in result["clients"].items():
        lines.append(_row(clients, [form.format(row[name]) for _, name, form in COLUMNS]))
    lines.append(
        f"{result['rounds']} rounds of {result['seconds']:g} s, {result['sagas']} sagas, all completed; "
        f"{result['cores']} cores, load average {result['load_average']:.1f} at the end"
    )
    lines.append(
        f"a saga: {result['commits_per_saga']:.2f} commits, {result['wal_syncs_per_saga']:.2f} syncs of the log, "
        f"{result['wal_bytes_per_saga'] / 1000:.1f} kB of log (over all rounds)"
    )
    return "\n".join(lines)


def comparison(result: dict[str, Any], earlier: dict[str, Any]) -> str:
    """The same table as ratios, now to then: above 1 is more."""
    lines = [f"ratio to {earlier['at']} ({(earlier['commit'] or 'unknown')[:10]})", _heading()]
    for clients, row in result["clients"].items():
        then = earlier["clients"].get(clients)
        if then is not None:
            lines.append(_row(clients, [_ratio(row[name], then.get(name)) for _, name, _ in COLUMNS]))
    return "\n".join(lines)


def _ratio(now: float, then: float | None) -> str:
    return f"{now / then:.2f}" if then else "-"


def _heading() -> str:
    return _row("clients", [title for title, _, _ in COLUMNS])


def _row(first: str, cells: list[str]) -> str:
    widths = [len(title) + 2 for title, _, _ in COLUMNS]
    return f"{first:>7}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
