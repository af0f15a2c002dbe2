"""The WSGI application: `gunicorn saga_service.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saga_service.settings")
application = get_wsgi_application()

from interfaces.wire import measured  # noqa: E402 - Django must be set up first
from saga_service.bootstrap import start  # noqa: E402 - as above

application = measured(application)
start()
