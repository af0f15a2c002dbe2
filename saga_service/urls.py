"""The service's routes, and its answers to addresses and errors that no view has."""

from django.urls import include, path
from django.views.generic import RedirectView

from interfaces.admin import site

urlpatterns = [
    path("", RedirectView.as_view(url="/console/")),
    path("admin/", site.urls),
    path("console/", include("interfaces.console.urls")),
    path("", include("interfaces.urls")),
]
handler404 = "interfaces.console.access.not_found"
handler500 = "interfaces.errors.server_error"
