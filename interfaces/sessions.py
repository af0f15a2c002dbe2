"""Which addresses have Django's sessions, users and messages: those that people open. The API pays nothing for them."""

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware

ROOTS = ("/admin/", "/console/")


class OnlyPages:
    """A middleware for the addresses under ROOTS alone."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The request, past the middleware unless it is for a page."""
        if request.path_info.startswith(ROOTS):
            return super().__call__(request)
        return self.get_response(request)


class Sessions(OnlyPages, SessionMiddleware):
    """Django's, for the pages alone."""


class Users(OnlyPages, AuthenticationMiddleware):
    """Django's, for the pages alone."""


class Messages(OnlyPages, MessageMiddleware):
    """Django's, for the pages alone."""


class NoFrames(OnlyPages, XFrameOptionsMiddleware):
    """Django's, for the pages alone."""
