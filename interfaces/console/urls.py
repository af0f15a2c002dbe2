"""The console's addresses."""

from django.urls import path

from interfaces.console import entrance, operate, saga, sagas, starting, statistics, trouble, workflows

app_name = "console"
urlpatterns = [
    path("", sagas.sagas, name="sagas"),
    path("sagas/<uuid:saga_id>/", saga.saga, name="saga"),
    path("sagas/<uuid:saga_id>/events/", saga.events, name="saga_events"),
    path("sagas/<uuid:saga_id>/<slug:verb>/", operate.operate, name="operate"),
    path("trouble/", trouble.trouble, name="trouble"),
    path("trouble/<slug:group>/<slug:verb>/", trouble.remedy, name="remedy"),
    path("bulk/<uuid:bulk_id>/", trouble.bulk, name="bulk"),
    path("bulk/<uuid:bulk_id>/cancel/", trouble.cancel, name="cancel"),
    path("login/", entrance.Login.as_view(), name="login"),
    path("logout/", entrance.Logout.as_view(), name="logout"),
    path("language/", entrance.language, name="language"),
    path("statistics/", statistics.statistics, name="statistics"),
    path("workflows/", workflows.workflows, name="workflows"),
    path("workflows/<slug:name>/", workflows.workflow, name="workflow"),
    path("workflows/<slug:name>/start/", starting.start, name="start"),
    path("workflows/<slug:name>/<int:version>/", workflows.workflow, name="workflow_version"),
]
