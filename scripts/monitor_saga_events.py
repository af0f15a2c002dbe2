#!/usr/bin/env python
"""The messages of the topics as they come: `python scripts/monitor_saga_events.py --type all`, or with `--help`.

The same as `python manage.py saga_monitor_events`, in a development's environment unless told otherwise.
"""

import os
import sys
from pathlib import Path

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from manage import explains, need_nothing

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
    os.environ.setdefault("DEBUG", "True")
    os.environ.setdefault("BROKER_URL", "pulsar://localhost:6650")  # that of `make run`
    if explains(sys.argv[1:]):
        need_nothing()
    execute_from_command_line([sys.argv[0], "saga_monitor_events", *sys.argv[1:]])
