"""Which host names the service answers to: ALLOWED_HOSTS, for every request but whether the process is alive."""

from collections.abc import Callable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse

from interfaces.errors import problem, problem_answer

LIVENESS = frozenset({"/health", "/api/health/"})
"""Asked by address, by whatever starts and watches the process; they say nothing but that it answers."""


class HostMiddleware:
    """Refuses a request whose `Host` is not one of ours: it was meant for another service, or means to pass for one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info not in LIVENESS:
            try:
                request.get_host()
            except DisallowedHost:
                detail = "This service does not answer to that host name; ALLOWED_HOSTS names those that it does."
                return problem_answer(problem(400, "host_unknown", detail))
        return self._get_response(request)
