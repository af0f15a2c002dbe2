"""Django's settings, from the environment that `configuration` has read and checked."""

from pathlib import Path
from typing import Any

from infrastructure import booking_log
from infrastructure.logging import handler as log_handler
from saga_service import __version__, configuration

BASE_DIR = Path(__file__).resolve().parent.parent
CONFIGURATION = configuration.read()

# Django's own debug mode answers errors with HTML pages and keeps every query: an API wants neither, even in
# development. The environment's DEBUG decides about callers and secrets, below.
DEBUG = False
SECRET_KEY = CONFIGURATION.secret_key
ALLOWED_HOSTS = list(CONFIGURATION.allowed_hosts)

SAGA_ORCHESTRATOR_CONFIG = {
    "KONG_GATEWAY": {
        "BASE_URL": CONFIGURATION.gateway_url,
        "API_KEY": CONFIGURATION.gateway_key,
        "SHARED_SECRET": CONFIGURATION.gateway_secret,
    },
    "SERVICES": dict(CONFIGURATION.services),
    "SAGA_TIMEOUT": CONFIGURATION.saga_timeout,
    "MAX_RETRIES": CONFIGURATION.max_retries,
    "RATES": {"cashout_flow": CONFIGURATION.cashout_rate},  # requests a minute of each caller; 0 does not limit them
    "BREAKER_FAILURES": CONFIGURATION.breaker_failures,
    "BREAKER_SECONDS": CONFIGURATION.breaker_seconds,
    "PARTICIPANT_CALLS": CONFIGURATION.participant_calls,
    "BROKER_URL": CONFIGURATION.broker_url,
    "TRIGGERS": CONFIGURATION.triggers,
    "API_KEYS": CONFIGURATION.api_keys,
    "TRACING": CONFIGURATION.tracing,
    "FAULT_INJECTION": CONFIGURATION.fault_injection,
    "BOOKING_LOG": CONFIGURATION.log_directory is not None,
    "METRICS": CONFIGURATION.metrics,
    "DEBUG": CONFIGURATION.debug,  # nobody has to say who they are, and the example secrets are accepted
}

SAGA_VERSION = __version__
SAGA_PLATFORM = "saga_service.bootstrap.platform"

INSTALLED_APPS = [
    *("django.contrib.admin.apps.SimpleAdminConfig", "django.contrib.auth", "django.contrib.contenttypes"),
    *("django.contrib.sessions", "django.contrib.messages"),
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_yasg",
    "infrastructure.apps.SagaConfig",
    "interfaces.apps.InterfacesConfig",
]
MIDDLEWARE = [
    "interfaces.correlation.CorrelationMiddleware",
    "interfaces.hosts.HostMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    *(f"interfaces.sessions.{name}" for name in ("Sessions", "Users", "Messages", "NoFrames")),
]
if CONFIGURATION.metrics:
    MIDDLEWARE.insert(0, "infrastructure.request_metrics.RequestMetrics")
if CONFIGURATION.tracing:
    MIDDLEWARE.insert(0, "infrastructure.tracing.RequestSpans")
ROOT_URLCONF = "saga_service.urls"
WSGI_APPLICATION = "saga_service.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "interfaces.console.access.context",
            ]
        },
    }
]

if CONFIGURATION.database is None:
    from devstack.postgres import ensure_running  # only where there is no database to be told of

    _database = configuration.database_settings(ensure_running(BASE_DIR / ".data" / "postgres"))
else:
    _database = dict(CONFIGURATION.database)
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        **_database,
        # A connection a thread, kept: opening one costs more than a whole saga.
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
}

# For the pages at /admin/ and /console/: with DEBUG off they are for https, which whatever is in front of the service
# ends. The API reads no cookie.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not CONFIGURATION.debug
SESSION_COOKIE_AGE = 12 * 60 * 60
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
AUTHENTICATION_BACKENDS = ["infrastructure.logins.LimitedLogin"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("fr", "Français"), ("es", "Español"), ("vi", "Tiếng Việt")]
LANGUAGE_COOKIE_SAMESITE = "Lax"  # for every address: /saga/test is a page too, and the API reads no cookie
# Before the catalogues of Django's own applications, which have some of the same words in other senses.
LOCALE_PATHS = [BASE_DIR / "interfaces" / "locale"]
CSRF_FAILURE_VIEW = "interfaces.console.access.forged"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False

# One message of an order has at most 200 lines: some 20 kB. Ten times that is a mistake or an attack.
DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024
APPEND_SLASH = False

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["interfaces.callers.CallerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["interfaces.callers.RolePermission"],
    "DEFAULT_PARSER_CLASSES": ["interfaces.wire.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["interfaces.wire.JSONRenderer"],
    "EXCEPTION_HANDLER": "interfaces.errors.problem_response",
    "UNAUTHENTICATED_USER": None,
}
SWAGGER_USE_COMPAT_RENDERERS = False
SWAGGER_SETTINGS = {
    "DEFAULT_INFO": "interfaces.documentation.API_INFO",
    "USE_SESSION_AUTH": False,
    "SECURITY_DEFINITIONS": {"X-API-Key": {"type": "apiKey", "name": "X-API-Key", "in": "header"}},
    "DEFAULT_MODEL_RENDERING": "example",
}
REDOC_SETTINGS = {"NATIVE_SCROLLBARS": True, "HIDE_HOSTNAME": True}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "infrastructure.logging.JsonFormatter"}},
    "filters": {
        "correlation": {"()": "interfaces.correlation.CorrelationFilter"},
        "unexpected": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: record.exc_info is not None,
        },
    },
    "handlers": {"lines": {**log_handler(CONFIGURATION.log_file), "filters": ["correlation"]}},
    "root": {"handlers": ["lines"], "level": "WARNING"},
    "loggers": {
        "saga": {"level": CONFIGURATION.log_level},
        # Answers such as 404 and 502 are counted, and their sagas logged; only what nobody expected is an error here.
        "django.request": {"level": "ERROR", "filters": ["unexpected"]},
    },
}
if CONFIGURATION.log_directory:
    LOGGING = booking_log.with_files(
        LOGGING, CONFIGURATION.log_directory, CONFIGURATION.log_level, correlation=CONFIGURATION.log_correlation
    )
for _name, _level in CONFIGURATION.log_levels.items():
    _logger = LOGGING["root"] if _name == "root" else LOGGING["loggers"].setdefault(_name, {})
    _logger["level"] = _level
SILENCED_SYSTEM_CHECKS: list[str] = []
