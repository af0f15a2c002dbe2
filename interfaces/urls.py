"""Every route of the service."""

from django.urls import path, re_path
from drf_yasg.views import get_schema_view

from interfaces import (
    cashout_api,
    commandes_api,
    definitions_api,
    failures_api,
    fault_page,
    health,
    operations_api,
    order_processing_api,
    partner_api,
    saga_api,
)
from interfaces.callers import CLIENT, READER, RolePermission
from interfaces.documentation import API_INFO, OwnReDoc, self_contained

schema_view = get_schema_view(API_INFO, public=True, permission_classes=[RolePermission])
schema_view.roles = {"GET": (CLIENT, READER)}
swagger = self_contained(schema_view.with_ui("swagger", cache_timeout=0))
redoc = self_contained(schema_view.as_view(renderer_classes=(OwnReDoc, *schema_view.renderer_classes)))

urlpatterns = [
    path("api/sagas/start/", saga_api.StartView.as_view()),
    path("api/sagas/transactions/", saga_api.SagaListView.as_view()),
    path("api/sagas/transactions/<uuid:saga_id>/", saga_api.SagaView.as_view()),
    path("api/sagas/transactions/<uuid:saga_id>/events/", saga_api.SagaEventsView.as_view()),
    path("api/sagas/transactions/<uuid:saga_id>/retry/", operations_api.RetryView.as_view()),
    path("api/sagas/transactions/<uuid:saga_id>/skip/", operations_api.SkipView.as_view()),
    path("api/sagas/transactions/<uuid:saga_id>/compensate/", operations_api.CompensateView.as_view()),
    path("api/sagas/transactions/<uuid:saga_id>/pause/", operations_api.PauseView.as_view()),
    path("api/sagas/transactions/<uuid:saga_id>/resume/", operations_api.ResumeView.as_view()),
    path("api/sagas/transactions/<uuid:saga_id>/resolve/", operations_api.ResolveView.as_view()),
    path("api/sagas/transactions/<uuid:saga_id>/signals/<slug:name>/", operations_api.SignalView.as_view()),
    path("api/sagas/failures/", failures_api.FailuresView.as_view()),
    path("api/sagas/failures/<slug:group>/retry/", failures_api.RetryGroupView.as_view()),
    path("api/sagas/failures/<slug:group>/compensate/", failures_api.CompensateGroupView.as_view()),
    path("api/sagas/bulk/", failures_api.BulkListView.as_view()),
    path("api/sagas/bulk/<uuid:bulk_id>/", failures_api.BulkView.as_view()),
    path("api/sagas/bulk/<uuid:bulk_id>/cancel/", failures_api.CancelBulkView.as_view()),
    path("api/sagas/events/", saga_api.EventsView.as_view()),
    path("api/sagas/statistics/", saga_api.StatisticsView.as_view()),
    path("api/sagas/definitions/", definitions_api.DefinitionListView.as_view()),
    path("api/sagas/definitions/<slug:name>/<int:version>/", definitions_api.DefinitionView.as_view()),
    path("api/sagas/definitions/<slug:name>/<int:version>/diagram/", definitions_api.DiagramView.as_view()),
    path("api/sagas/cashout/start/", cashout_api.StartView.as_view()),
    path("api/sagas/cashout/rollback/", cashout_api.RollbackView.as_view()),
    path("api/sagas/cashout/list/", cashout_api.ListView.as_view()),
    path("api/sagas/cashout/status/<uuid:saga_id>/", cashout_api.StatusView.as_view()),
    path("api/sagas/cashout/<uuid:saga_id>/retry/<slug:step>/", cashout_api.RetryView.as_view()),
    path("api/saga/commandes/", commandes_api.CommandesView.as_view()),
    path("api/saga/commandes/<uuid:saga_id>/", commandes_api.CommandeView.as_view()),
    path("api/saga/sagas/", commandes_api.SagasView.as_view()),
    path("api/saga/test/echec-stock/", commandes_api.EchecStockView.as_view()),
    path("api/saga/info/", commandes_api.InfoView.as_view()),
    path("api/v1/saga/partner-creation", partner_api.PartnerCreationView.as_view()),
    path("api/v1/saga/status/<uuid:saga_id>", partner_api.PartnerStatusView.as_view()),
    path("api/v1/saga/active", partner_api.PartnersActiveView.as_view()),
    path("sagas/start", order_processing_api.FoodStartView.as_view()),
    path("sagas/<uuid:saga_id>/status", order_processing_api.FoodStatusView.as_view()),
    path("sagas/<uuid:saga_id>/compensate", order_processing_api.FoodCompensateView.as_view()),
    path("saga/test", fault_page.FaultPageView.as_view()),
    path("api/saga/health/", health.ReadyView.as_view()),
    path("api/health/", health.LiveView.as_view()),
    path("health", health.LiveView.as_view()),
    path("api/status/", health.StatusView.as_view()),
    path("metrics/", health.MetricsView.as_view()),
    path("swagger/", swagger),
    path("api/docs/", swagger),
    path("redoc/", redoc),
    path("api/redoc/", redoc),
    path("api/schema/", schema_view.without_ui(cache_timeout=0)),
    re_path(r"^swagger\.(?P<format>json|yaml)$", schema_view.without_ui(cache_timeout=0)),
]
