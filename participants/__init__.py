"""The reference business services: real HTTP, a real database each, and a participant's four duties kept.

A service is one module that declares its tables, its routes and a ``SERVICE``; ``python -m participants`` finds it.
"""
