#!/usr/bin/env python
"""Django's command line: `python manage.py help`."""

import os
import sys

from django.core.management import execute_from_command_line

from saga_service.configuration import ConfigurationError

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
    if {"help", "-h", "--help"} & set(sys.argv[1:]):  # what only explains needs neither secrets nor a database
        os.environ |= {"DEBUG": "True", "DATABASE_URL": "postgresql://nowhere/none"}
    try:
        execute_from_command_line(sys.argv)
    except ConfigurationError as error:
        sys.exit(str(error))
