"""The way in and out of the console, and the choice of its language."""

from functools import partial
from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST
from django.views.i18n import set_language

from interfaces.console.access import forget, guarded, in_language


class Login(LoginView):
    """Django's login, in the console's dress."""

    template_name = "console/login.html"
    next_page = reverse_lazy("console:sagas")
    redirect_authenticated_user = False

    def dispatch(self, request: HttpRequest, *arguments: Any, **more: Any) -> HttpResponse:
        """In the language of the browser."""
        answer = partial(super().dispatch, request, *arguments, **more)
        return guarded(in_language(request, answer))

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """Said as it is when it was tried too often, whatever the password."""
        too_many = getattr(self.request, "too_many_logins", False)
        at_once = getattr(self.request, "many_logins_at_once", False)
        if too_many or at_once:
            form.errors.clear()
            often = _("Tried too often with this name. Wait ten minutes, then try again.")
            form.add_error(
                None, often if too_many else _("Too many log in at this moment. Try again in a few seconds.")
            )
        response: HttpResponse = super().form_invalid(form)
        response.status_code = 429 if too_many or at_once else 200
        return response


@method_decorator(csrf_protect, name="dispatch")
class Logout(LogoutView):
    """Django's logout."""

    next_page = reverse_lazy("console:login")

    def post(self, request: HttpRequest, *arguments: Any, **more: Any) -> HttpResponse:
        """And the process forgets who it was."""
        forget(request)
        return super().post(request, *arguments, **more)


@require_POST
@csrf_protect
def language(request: HttpRequest) -> HttpResponse:
    """Remember the language, in a cookie, and go back to the page."""
    response = set_language(request)
    if response.status_code == 204:  # noqa: PLR2004 - no page to go back to was named
        response.headers["Location"] = reverse("console:sagas")
        response.status_code = 302
    return response
