"""The Django project: settings, addresses, and the wiring of adapters to ports."""

__version__ = "0.1.0"
