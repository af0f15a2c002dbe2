"""How often a password may be tried: counted in the database, for all processes together and for each login page."""

import threading
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils import timezone

from infrastructure.models import LoginAttemptRow

MOST = 10
"""Attempts with one name from one address. Two people who mistype are far from it; a list of passwords gets nowhere."""
WITHIN = timedelta(minutes=10)
AT_ONCE, PATIENCE = 2, 1.0
"""Passwords that a process looks at at once, and seconds that another one waits for its turn: each costs half a second
of a core on purpose, on the threads that drive sagas, and whoever sends names at random meets no count."""
_turns = threading.BoundedSemaphore(AT_ONCE)


class LimitedLogin(ModelBackend):
    """Django's users and passwords. Once there were too many attempts, `request.too_many_logins` is set, and also the
    right password is refused; `request.many_logins_at_once`, when too many are being looked at.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> AbstractBaseUser | None:
        """Count the attempt, and only then look at the password: so do those that come at the same time."""
        if request is None or username is None:  # no page asks
            return super().authenticate(request, username, password, **more)
        now, key = timezone.now(), _key(username, request.META.get("REMOTE_ADDR", ""))
        mine = LoginAttemptRow.objects.filter(key=key)
        LoginAttemptRow.objects.filter(at__lte=now - WITHIN).delete()
        attempt = LoginAttemptRow.objects.create(key=key, at=now)
        if mine.count() > MOST:
            attempt.delete()  # so that it is over in time for whoever goes on trying
            request.too_many_logins = True
            raise PermissionDenied
        if not _turns.acquire(timeout=PATIENCE):
            attempt.delete()
            request.many_logins_at_once = True
            raise PermissionDenied
        try:
            user = super().authenticate(request, username, password, **more)
        finally:
            _turns.release()
        if user:
            mine.delete()
        return user


def _key(username: str, address: str) -> str:
    """Whom it counts for. Not the name itself: people type their password there."""
    return sha256(f"{username.casefold()}\n{address}".encode()).hexdigest()
