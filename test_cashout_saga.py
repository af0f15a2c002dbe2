#!/usr/bin/env python
"""One cash-out through the services of a running stack, and back again: `python test_cashout_saga.py`.

It takes slip 129 of the reference services, which can be cashed out again and again, and ends with status 0 if the
cash-out went through and was taken back. Where it runs: docs/cashout.md.
"""

import argparse
import os
import sys

import django
from django.conf import settings

SLIP = {"bet_slip_id": 129, "user_id": 456, "bookmaker_type": "SYSTEM", "bookmaker_id": "system"}

if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
    os.environ.setdefault("DEBUG", "True")
    django.setup()

    from interfaces.platform import platform
    from sagas.models import SagaTransaction
    from sagas.orchestrator import SagaOrchestrator

    if not platform().checks["gateway"]().ok:
        gateway = settings.SAGA_ORCHESTRATOR_CONFIG["KONG_GATEWAY"]["BASE_URL"]
        sys.exit(f"Nothing answers at {gateway}: start it with `make run`, or say where it is (KONG_GATEWAY_URL).")
    orchestrator = SagaOrchestrator()
    saga = orchestrator.start_cashout_saga(**SLIP)
    print(f"cash-out {saga.id}: {saga.status}{f', {saga.failure.reason}' if saga.failure else ''}")
    if saga.status != "COMPLETED":
        sys.exit(1)
    back = orchestrator.rollback_cashout_saga(saga_transaction_id=str(saga.id), reason="test_cashout_saga.py")
    print(f"rolled back: {back.status}")
    for step in SagaTransaction.objects.get(id=saga.id).steps.all():
        print(f"  {step.order} {step.name}: {step.status}")
    sys.exit(back.status != "COMPENSATED")
