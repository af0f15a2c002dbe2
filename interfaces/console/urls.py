"""The console's addresses."""

from django.urls import path

from interfaces.console import entrance, operate, saga, sagas

app_name = "console"
urlpatterns = [
    path("", sagas.sagas, name="sagas"),
    path("sagas/<uuid:saga_id>/", saga.saga, name="saga"),
    path("sagas/<uuid:saga_id>/<slug:verb>/", operate.operate, name="operate"),
    path("login/", entrance.Login.as_view(), name="login"),
    path("logout/", entrance.Logout.as_view(), name="logout"),
    path("language/", entrance.language, name="language"),
]
