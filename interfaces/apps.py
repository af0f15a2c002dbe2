from django.apps import AppConfig


class InterfacesConfig(AppConfig):
    """REST and the command line."""

    name = "interfaces"
