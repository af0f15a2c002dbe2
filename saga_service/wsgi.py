"""The WSGI application: `gunicorn saga_service.wsgi:application`."""

import logging
import os
import sys

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
application = get_wsgi_application()

from domain.exceptions import SagaError  # noqa: E402 - Django must be set up first
from interfaces.wire import measured  # noqa: E402 - as above
from saga_service.bootstrap import start  # noqa: E402 - as above

application = measured(application)
try:
    start()
except SagaError as error:  # a workflow that is wrong: a sentence says it, a trace hides it
    logging.getLogger("saga").critical("the service cannot start", extra={"reason": str(error)})
    sys.exit(3)  # tells gunicorn not to try again
