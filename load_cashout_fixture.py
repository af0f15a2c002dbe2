#!/usr/bin/env python
"""Store the cash-out workflow, as every process does when it starts: `python load_cashout_fixture.py`."""

import argparse
import os

import django

if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
    os.environ.setdefault("DEBUG", "True")
    django.setup()

    from interfaces.platform import engine, platform

    platform().prepare()
    definition = engine().definitions.newest("cashout_flow")
    steps = ", ".join(step.name for step in definition.steps)
    print(f"{definition.name} version {definition.version} is stored; {len(definition.steps)} steps: {steps}")
