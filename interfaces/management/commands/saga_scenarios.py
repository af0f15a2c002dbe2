"""The documented scenarios of a workflow, run against the participants that there are."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import CommandError

from domain.exceptions import SagaError
from interfaces.booking_scenarios import REPORT, SCENARIOS, run_saga_tests
from interfaces.progress_bar import ProgressBar
from interfaces.saga_command import SagaCommand


class Command(SagaCommand):
    """`python manage.py saga_scenarios booking`."""

    help = (
        "Book one flight that succeeds and one that fails at each step, compare each result with what it must be, and "
        f"write {REPORT}. Needs the participants, the gateway and SAGA_FAULT_INJECTION=True; ends with status 1 if a "
        "scenario went otherwise."
    )
    examples = ("saga_scenarios booking", "saga_scenarios booking --report /tmp/report.json")
    exits = "0 all passed, 1 one did not, or they could not be run, 2 wrong usage"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The command's options."""
        parser.add_argument(
            "workflow", nargs="?", choices=["booking"], default="booking", help="whose (default: booking)"
        )
        parser.add_argument(
            "--report", type=Path, default=Path(REPORT), metavar="FILE", help="where to write it (default %(default)s)"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run them all, and write the report."""
        try:
            with ProgressBar("running", len(SCENARIOS), "scenarios") as bar:
                report = run_saga_tests(done=bar.advance)
        except SagaError as error:
            raise CommandError(str(error)) from error
        for test in report["tests"]:
            self.stdout.write(f"{'passed' if test['passed'] else 'FAILED'}  {test['name']}")
            for fault in test["faults"]:
                self.stdout.write(f"        {fault}")
        try:
            options["report"].write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
        except OSError as error:
            raise CommandError(f"the report cannot be written: {error}") from error
        self.stdout.write(f"{report['passed']} of {report['total_tests']} passed, see {options['report']}")
        if report["failed"]:
            raise SystemExit(1)
