from django.apps import AppConfig


class SagaConfig(AppConfig):
    """The Django app that holds the saga's tables."""

    name = "infrastructure"
    label = "saga"
    verbose_name = "Saga orchestrator"
    default_auto_field = "django.db.models.BigAutoField"
