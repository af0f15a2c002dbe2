"""Who calls, and what they may do: the gateway's consumers, believed with its secret, or a key of our own."""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

_BEARER = re.compile(r"bearer +", re.IGNORECASE)
CLIENT, READER, OPERATOR, ADMIN = "saga-client", "saga-reader", "saga-operator", "saga-admin"

_IMPLIED = {
    CLIENT: frozenset({CLIENT}),
    READER: frozenset({READER}),
    OPERATOR: frozenset({CLIENT, READER, OPERATOR}),
    ADMIN: frozenset({CLIENT, READER, OPERATOR, ADMIN}),
}
"""What each role may act as. A client starts sagas and reads those whose id it knows; a reader sees all of them."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; the actor of what happens because of it."""

    name: str
    roles: frozenset[str]
    is_authenticated = True

    def may(self, *roles: str) -> bool:
        """Whether one of these roles is among the caller's."""
        return not self.roles.isdisjoint(roles)


ANYBODY_IN_DEVELOPMENT = Caller("development", _IMPLIED[ADMIN])


class CallerAuthentication(BaseAuthentication):
    """Wrong credentials are refused even where none are needed; with DEBUG none are needed."""

    def authenticate(self, request: Request) -> tuple[Caller, None] | None:
        """The caller, or None when nobody said who they are."""
        caller = named(request.META)
        if caller is None and settings.SAGA_ORCHESTRATOR_CONFIG["DEBUG"]:
            caller = ANYBODY_IN_DEVELOPMENT
        return (caller, None) if caller else None

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - DRF's signature
        """What a 401 asks for."""
        return "Key"


class RolePermission(BasePermission):
    """A view says who may call it: `roles = {"GET": (READER,), ...}`; what it does not say is refused.

    A method that the view does not have is nobody's: whoever may call the view at all is told so (405).
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        """Whether the caller has one of the view's roles for this method."""
        roles: dict[str, tuple[str, ...]] = getattr(view, "roles", {})
        anywhere = {role for allowed in roles.values() for role in allowed}
        method = "GET" if request.method == "HEAD" else request.method
        needed = roles.get(method, anywhere)
        self.message = _("This needs the role %(roles)s.") % {"roles": " / ".join(sorted(needed))}
        return request.user is not None and request.user.may(*needed)


def named(meta: dict[str, Any]) -> Caller | None:
    """Who the headers say it is; None when they do not say. Raises AuthenticationFailed for wrong credentials."""
    return _consumer(meta) or _own_key(meta)


def roles_of(groups: Iterable[str]) -> frozenset[str]:
    """What somebody of these groups may act as; a group that is no role gives nothing."""
    return frozenset().union(*(_IMPLIED.get(group, ()) for group in groups))


def _consumer(meta: dict[str, Any]) -> Caller | None:
    """The gateway's consumer. Its headers mean nothing without the secret that only the gateway adds."""
    secret = meta.get("HTTP_X_GATEWAY_SECRET")
    if secret is None:
        return None
    if not _same(secret, settings.SAGA_ORCHESTRATOR_CONFIG["KONG_GATEWAY"]["SHARED_SECRET"]):
        raise AuthenticationFailed(_("The gateway's secret is wrong."), code="gateway_secret_wrong")
    groups = (group.strip() for group in meta.get("HTTP_X_CONSUMER_GROUPS", "").split(","))
    # A consumer may have no username (only a custom id, which can be another's username); its id the gateway gives it.
    name = meta.get("HTTP_X_CONSUMER_USERNAME") or meta.get("HTTP_X_CONSUMER_ID")
    if not name:
        raise AuthenticationFailed(_("The gateway did not say which consumer this is."), code="consumer_unnamed")
    return Caller(name, roles_of(groups))


def _own_key(meta: dict[str, Any]) -> Caller | None:
    given = meta.get("HTTP_X_API_KEY")
    if not given and (credentials := meta.get("HTTP_AUTHORIZATION")):
        bearer = _BEARER.match(credentials)
        if bearer is None:
            raise AuthenticationFailed(_("This key is not known here."), code="key_unknown")
        given = credentials[bearer.end() :]
    if not given:
        return None
    # Every key is compared, so that the time taken does not tell which one came close.
    matches = [key for key in settings.SAGA_ORCHESTRATOR_CONFIG["API_KEYS"] if _same(given, key.key)]
    if matches:
        return Caller(matches[0].name, _IMPLIED[matches[0].role])
    config = settings.SAGA_ORCHESTRATOR_CONFIG
    if config["DEBUG"] and _same(given, config["KONG_GATEWAY"]["API_KEY"]):
        return ANYBODY_IN_DEVELOPMENT
    raise AuthenticationFailed(_("This key is not known here."), code="key_unknown")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
