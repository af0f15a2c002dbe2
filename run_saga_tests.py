#!/usr/bin/env python
"""The flight bookings' test scenarios against a running stack: `python run_saga_tests.py`, or with `--help`.

The same as `python manage.py saga_scenarios booking`, in a development's environment unless told otherwise.
"""

import os
import sys

from django.core.management import execute_from_command_line

from manage import explains, need_nothing

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
    os.environ.setdefault("DEBUG", "True")
    os.environ.setdefault("SAGA_FAULT_INJECTION", os.environ["DEBUG"])
    if explains(sys.argv[1:]):
        need_nothing()
    execute_from_command_line([sys.argv[0], "saga_scenarios", *sys.argv[1:]])
