"""What does the work: scrapes, workers, messages, the database, processes."""

from monitoring.grafana.panels import Panel, count, lines, states
from monitoring.grafana.queries import SERVICE, or_none, or_zero, quantiles, rate

UP = {"0": ("DOWN", "red"), "1": ("up", "green")}
NO_DATABASE = "No data: the database does not answer, or the orchestrator is not scraped."
OURS = 'job=~"saga-.*"'


def presence() -> tuple[Panel, ...]:
    """What is up, and which version."""
    return (
        states(
            "Scraped",
            "Whether Prometheus reaches each of its targets; a job is up when all of it is. DOWN: the process is"
            " gone, or the address in monitoring/prometheus/prometheus.yml is wrong. Its panels then say nothing, not"
            " zero.",
            "min by (job) (up)",
            "{{job}}",
            words_of=UP,
            width=8,
        ),
        states(
            "Database",
            "Whether the database told its numbers at the last scrape. DOWN: no saga advances; none is lost. See"
            " /api/saga/health/ for the reason.",
            "min(saga_database_up)",
            "",
            words_of=UP,
            width=3,
        ),
        count(
            "Workers",
            "Workers that reported lately. Without one no retry, no timer, no message and no recovery happens: start"
            " `manage.py saga_worker`.",
            "short",
            "max(saga_workers_current)",
            limits=(None, 1),
            falling=True,
            empty=NO_DATABASE,
        ),
        count(
            "Breakers open",
            "Participants that are not called for a while because they did not answer. “Circuit breakers” says which.",
            "short",
            or_zero(f"sum(max by (service) (saga_participant_open{{{SERVICE}}}))"),
            limits=(None, 1),
        ),
        count(
            "Overdue sagas",
            "Due, and taken up by nobody. Above zero for more than a moment: there is no worker, or too few threads.",
            "short",
            "max(saga_overdue_current)",
            limits=(1, 100),
            empty=NO_DATABASE,
        ),
        states(
            "Version",
            "What runs. Two versions at once is a deployment under way, or one that stopped half-way.",
            "count by (version) (saga_build_info)",
            "{{version}}",
            words_of={},
            width=4,
        ),
    )


def workers() -> tuple[Panel, ...]:
    """Who takes up what is due."""
    return (
        lines(
            "Workers",
            "Workers that reported lately. Fewer than were started: one died or lost the database; its sagas are"
            " taken over once their leases end.",
            "short",
            {"workers": "max(saga_workers_current)"},
            empty=NO_DATABASE,
            width=6,
        ),
        lines(
            "Last heartbeat",
            "Seconds since any worker reported. Growing with the clock: none runs.",
            "s",
            {"since": "min(saga_worker_seen_seconds)"},
            limits=(15, 60),
            empty="No worker has ever reported, or the database does not answer.",
            width=6,
        ),
        lines(
            "Overdue sagas",
            "Due and taken up by nobody. It should return to zero at once: otherwise start a worker or give it"
            " threads.",
            "short",
            {"overdue": "max(saga_overdue_current)"},
            limits=(None, 1),
            empty=NO_DATABASE,
            width=6,
        ),
        lines(
            "Overdue for",
            "How long the first of them has been due. Above a minute clients notice.",
            "s",
            {"oldest": "max(saga_overdue_oldest_seconds)"},
            limits=(10, 60),
            empty=NO_DATABASE,
            width=6,
        ),
    )


def messages() -> tuple[Panel, ...]:
    """The outbox, and what comes in."""
    return (
        lines(
            "Messages waiting to go out",
            "Stored with their saga and not yet at the broker. It grows while the broker is away (BROKER_URL) and"
            " drains by itself afterwards; without a broker, nobody publishes.",
            "short",
            {"waiting": "max(saga_outbox_waiting_current)"},
            limits=(100, 1000),
            empty=NO_DATABASE,
        ),
        lines(
            "Waiting for",
            "Age of the oldest message not yet at the broker. Above a minute: the broker or the worker is away.",
            "s",
            {"oldest": "max(saga_outbox_oldest_seconds)"},
            limits=(10, 60),
            empty=NO_DATABASE,
        ),
        lines(
            "Messages that came, by result",
            "What became of the messages on each topic. Refused ones that keep coming: whoever sends them and the"
            " workflow disagree; docs/messaging.md names each result.",
            "cps",
            {
                "{{topic}} {{resultat}}": or_none(
                    rate("saga_messages_total", "", "topic", "resultat"), "topic", "resultat"
                )
            },
        ),
    )


def database() -> tuple[Panel, ...]:
    """PostgreSQL, as the orchestrator sees it."""
    checkpoint = "saga_database_checkpoint_seconds"
    return (
        lines(
            "Connections",
            "Client connections by what they do, and how many the server takes. Near the maximum: fewer threads or"
            " processes, or a greater max_connections. “idle in transaction” that stays is a session to end.",
            "short",
            {
                "{{etat}}": "max by (etat) (saga_database_connections_current)",
                "maximum": "max(saga_database_connections_max)",
            },
            empty=NO_DATABASE,
            width=6,
        ),
        lines(
            "Size",
            "The saga database on disk. `manage.py saga_prune` every night keeps it level; a rise that does not end:"
            " it does not run, or keeps too much.",
            "bytes",
            {"size": "max(saga_database_size_bytes)"},
            empty=NO_DATABASE,
            width=6,
        ),
        lines(
            "Duration of a checkpoint",
            "The one statement that stores a step. Usually milliseconds; tens of them: the disk, a lock or a replica"
            " that is waited for. Every saga is slower by as much at each step.",
            "s",
            quantiles(checkpoint, ""),
            limits=(0.05, 0.5),
            empty="No step was stored in this time range.",
            width=6,
        ),
        lines(
            "Checkpoints",
            "Steps stored a second: the load that the database carries. docs/benchmark.md says what one machine can.",
            "cps",
            {"checkpoints": or_zero(f"sum(rate({checkpoint}_count[$__rate_interval]))")},
            width=6,
        ),
    )


def server() -> tuple[Panel, ...]:
    """PostgreSQL, as its exporter sees it."""
    missing = "No data: does Prometheus scrape PostgreSQL's exporter?"
    hit, read = (
        "rate(pg_stat_database_blks_hit[$__rate_interval])",
        "rate(pg_stat_database_blks_read[$__rate_interval])",
    )
    return (
        lines(
            "Transactions",
            "Of the whole server, a second. A checkpoint is one. Rollbacks that rise: refused statements, look in the"
            " server's log.",
            "cps",
            {
                "committed": "sum(rate(pg_stat_database_xact_commit[$__rate_interval]))",
                "rolled back": "sum(rate(pg_stat_database_xact_rollback[$__rate_interval]))",
            },
            empty=missing,
        ),
        lines(
            "Blocks found in memory",
            "The share of blocks that did not have to be read from disk. Below nine tenths: give the server more"
            " shared_buffers, or prune finished sagas.",
            "percentunit",
            {"share": f"sum({hit}) / (sum({hit}) + sum({read}))"},
            top=1,
            empty=missing,
        ),
        lines(
            "Deadlocks",
            "A second. The service makes none: another program writes to its tables, and must not.",
            "cps",
            {"deadlocks": "sum(rate(pg_stat_database_deadlocks[$__rate_interval]))"},
            empty=missing,
        ),
    )


def processes() -> tuple[Panel, ...]:
    """CPU, memory, files; the scrapes themselves."""
    name = "{{job}} {{instance}}"
    return (
        lines(
            "CPU",
            "Cores in use, all processes of an instance together. At the number of its cores, add an instance.",
            "short",
            {name: "sum by (job, instance) (rate(saga_process_cpu_seconds_total[$__rate_interval]))"},
            width=6,
        ),
        lines(
            "Memory",
            "Resident; shared pages count for each process. A rise over days that no restart explains is a leak:"
            " report it.",
            "bytes",
            {name: "sum by (job, instance) (saga_process_resident_memory_bytes)"},
            width=6,
        ),
        lines(
            "Threads and open files",
            "Of each instance. Files that only rise are connections that are not closed; at the limit (ulimit -n) it"
            " accepts no more.",
            "short",
            {
                f"{name} threads": "sum by (job, instance) (saga_process_threads)",
                f"{name} files": "sum by (job, instance) (saga_process_open_fds)",
            },
            width=6,
        ),
        lines(
            "Duration of scrapes",
            "How long Prometheus waits for the metrics. Near its scrape_timeout the service or its database is"
            " overloaded, and the gaps in all other panels come from there.",
            "s",
            {name: "max by (job, instance) (scrape_duration_seconds)"},
            limits=(1, 4),
            width=6,
        ),
    )
