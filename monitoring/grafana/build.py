"""All dashboards, as the text of their files."""

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.grafana import overview, platform, workflow
from monitoring.grafana.frame import framed

CONSOLE = "http://localhost:8009"


def texts(console: str = CONSOLE) -> dict[str, str]:
    """File name -> JSON, the same at every call."""
    return {
        f"{page.uid}.json": json.dumps(framed(page, console.rstrip("/")), cls=JSONEncoder, indent=1) + "\n"
        for page in (overview.PAGE, workflow.PAGE, platform.PAGE)
    }
