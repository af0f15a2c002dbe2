"""The benchmark's participants: one nginx that answers the order workflow's calls at once, and always well.

It takes next to no CPU, so that what is measured is the orchestrator.
"""

from pathlib import Path

from devstack.gateway import nginx_command
from devstack.gateway_conf import TEMPORARY_PATHS

STOCK = r"~ ^/api/ddd/inventaire/stock-local/([^/]+)/([^/]+)/$"
PRODUCT = r"~ ^/api/ddd/catalogue/produits/([^/]+)/$"
ANSWERS = (
    (STOCK, 200, '{"produit_id":"$1","magasin_id":"$2","quantite_disponible":100000}'),
    (PRODUCT, 200, '{"id":"$1","nom":"Clavier","prix":49.9}'),
    (r"~ /reservations/$", 201, '{"reservation_id":"7b0d2f3a-0000-4000-8000-000000000001"}'),
    (r"~ /liberations/$", 200, "{}"),
    ("/api/v1/ventes-ddd/enregistrer/", 201, '{"commande_id":"7b0d2f3a-0000-4000-8000-000000000002"}'),
    ("/api/v1/ventes-ddd/annuler/", 200, "{}"),
    ("= /v1/traces", 200, ""),  # a collector of traces
)
CONF = """daemon off; master_process off; error_log stderr error; pid {directory}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
{temporary}
access_log off; default_type application/json; tcp_nodelay on;
client_max_body_size 64m; keepalive_requests 100000000; keepalive_timeout 600s;
server {{
listen 127.0.0.1:{port} backlog=1024;
location / {{ return 404 '{{}}'; }}
{locations}
}} }}
"""


def stub_command(directory: Path, port: int) -> list[str]:
    """Write the configuration; the command serves until it is ended."""
    directory.mkdir(parents=True, exist_ok=True)
    conf = directory / "nginx.conf"
    temporary = " ".join(f"{name}_temp_path {directory / name};" for name in TEMPORARY_PATHS)
    locations = "\n".join(f"location {path} {{ return {status} '{body}'; }}" for path, status, body in ANSWERS)
    conf.write_text(CONF.format(directory=directory, port=port, temporary=temporary, locations=locations))
    return nginx_command(conf)
