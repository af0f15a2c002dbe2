"""Retention: finished sagas that are older than they need to be are deleted, workflow by workflow, batch by batch."""

from collections.abc import Callable, Iterable
from datetime import datetime

from application.ports import Pruned, Retention


def prune(
    retention: Retention, workflows: Iterable[str], before: datetime, batch: int, go_on: Callable[[str, Pruned], bool]
) -> None:
    """Delete what finished before the time, at most `batch` sagas at once, oldest first in each workflow.

    `go_on` is told of each batch, after it is committed, and stops the work by returning False. Stopped or killed
    anywhere, what was deleted is deleted whole, and the next run finds the rest.
    """
    for workflow in workflows:
        deleted = retention.prune(workflow, before, None, batch)
        while deleted.sagas:
            if not go_on(workflow, deleted):
                return
            deleted = retention.prune(workflow, before, deleted.until, batch)
