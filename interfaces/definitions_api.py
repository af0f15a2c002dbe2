"""The workflows: list them, show one, publish a new one while the service runs."""

import logging
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from domain.definition import SagaDefinition
from interfaces import documentation as docs
from interfaces.callers import ADMIN, CLIENT, READER
from interfaces.diagrams import state_diagram, step_diagram
from interfaces.platform import engine, platform
from interfaces.presentation import definition_json

logger = logging.getLogger("saga")
DIAGRAMS = {"states": state_diagram, "steps": step_diagram}


class DefinitionListView(APIView):
    """The workflows."""

    roles = {"GET": (CLIENT, READER), "POST": (ADMIN,)}

    @docs.definition_list
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """List workflows."""
        results = [
            {"name": d.name, "version": d.version, "title": d.title, "steps": [step.name for step in d.steps]}
            for d in engine().definitions.all()
        ]
        return Response({"results": results})

    @docs.definition_publish
    def post(self, request: Request) -> Response:
        """Publish a workflow, or a new version of one."""
        options = _options(request.query_params)
        if request.META.get("CONTENT_LENGTH") in {None, "", "0"}:
            raise ValidationError({"body": ["is empty: the definition is missing"]})
        if type(request.data) is not dict:
            raise ValidationError({"body": ["must be an object: the definition"]})
        definition, is_new = platform().publisher.publish(request.data, by=request.user.name, **options)
        place = f"/api/sagas/definitions/{definition.name}/{definition.version}/"
        if is_new and not options["dry_run"]:
            more = {"workflow": definition.name, "version": definition.version, "actor": request.user.name}
            logger.info("definition stored", extra=more)
            return Response(_shown(definition), status=201, headers={"Location": place})
        return Response(_shown(definition), headers={} if is_new else {"Location": place})


class DefinitionView(APIView):
    """One version of a workflow."""

    roles = {"GET": (CLIENT, READER)}

    @docs.definition_detail
    def get(self, request: Request, name: str, version: int) -> Response:  # noqa: ARG002 - DRF's signature
        """Show a workflow."""
        return Response(_shown(engine().definitions.version(name, version)))


class DiagramRenderer(BaseRenderer):
    """A diagram as text, which a browser shows as it is."""

    media_type = "text/plain"
    format = "txt"
    charset = "utf-8"

    def render(
        self,
        data: str,
        accepted_media_type: str | None = None,  # noqa: ARG002 - DRF's signature
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002 - as above
    ) -> bytes:
        """The text."""
        return data.encode()


class MermaidRenderer(DiagramRenderer):
    """The same under Mermaid's own name, for whoever asks for that."""

    media_type = "text/vnd.mermaid"
    format = "mmd"


class DiagramView(APIView):
    """One version of a workflow, drawn."""

    roles = {"GET": (CLIENT, READER)}
    renderer_classes = (DiagramRenderer, MermaidRenderer)

    @docs.definition_diagram
    def get(self, request: Request, name: str, version: int) -> Response:
        """Draw a workflow."""
        kind = request.query_params.get("of", "states")
        if kind not in DIAGRAMS:
            raise ValidationError({"of": [f"must be one of {', '.join(DIAGRAMS)}"]})
        return Response(DIAGRAMS[kind](engine().definitions.version(name, version)))


def _shown(definition: SagaDefinition) -> dict[str, Any]:
    publisher = platform().publisher
    return definition_json(definition, publisher.findings(definition), publisher.definitions.publication(definition))


def _options(parameters: Any) -> dict[str, bool]:
    """`?dry_run=true`, `?shipped=true`; anything else raises ValidationError: what was to be tried is not stored."""
    known = {"dry_run": False, "shipped": False}
    faults = {name: [f"is not a parameter; there is {', '.join(known)}"] for name in parameters if name not in known}
    for name in known:
        text = parameters.get(name, "false").lower()
        if text not in {"true", "false", "1", "0"}:
            faults[name] = ["must be true or false"]
        known[name] = text in {"true", "1"}
    if faults:
        raise ValidationError(faults)
    return known
