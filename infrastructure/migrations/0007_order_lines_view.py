"""The reporting views show what they can of every order: a value that is not what a column holds is null there.

A view that raises for one row cannot be read at all. Inputs are checked and answers are not the orchestrator's, so
neither the schema of today nor the participants decide whether reports work.
"""

from importlib import import_module

from django.db import migrations

# Plain SQL functions, which PostgreSQL puts in their place. A CASE decides before it casts; an AND may not.
VALUES = """
CREATE FUNCTION saga_uuid(given text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN given ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN given::uuid END
$$;
-- A number, also one that is written as a text ("12.50"), as many services write prices.
CREATE FUNCTION saga_number(given jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN given #>> '{}' ~ '^-?[0-9]{1,100}([.][0-9]{1,100})?$' THEN (given #>> '{}')::numeric END
$$;
CREATE FUNCTION saga_count(given numeric) RETURNS int LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN given BETWEEN 0 AND 2147483647 THEN given::int END
$$;
CREATE FUNCTION saga_items(given jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(given) = 'array' THEN given ELSE '[]' END
$$;
"""

VIEWS = """
CREATE OR REPLACE VIEW saga_commandes AS
SELECT
    sagas.id AS saga_id,
    sagas.state AS etat,
    saga_uuid(sagas.data #>> '{input,client_id}') AS client_id,
    saga_uuid(sagas.data #>> '{input,magasin_id}') AS magasin_id,
    CASE WHEN sagas.status = 'COMPLETED' THEN (
        SELECT event.output ->> 'commande_id' FROM saga_evenements AS event
        WHERE event.saga_id = sagas.id AND event.step = 'creation_commande' AND event.type = 'step_succeeded'
        ORDER BY event.seq DESC LIMIT 1
    ) END AS commande_id,
    sagas.error ->> 'reason' AS erreur,
    sagas.created_at AS cree_le,
    sagas.finished_at AS termine_le
FROM sagas
WHERE sagas.workflow = 'commandes';

CREATE OR REPLACE VIEW saga_lignes_commande AS
SELECT
    sagas.id AS saga_id,
    (line.number - 1)::int AS ligne,
    saga_uuid(line.content ->> 'produit_id') AS produit_id,
    saga_count(saga_number(line.content -> 'quantite')) AS quantite,
    event.output ->> 'nom' AS nom,
    saga_number(event.output -> 'prix_unitaire') AS prix_unitaire
FROM sagas
CROSS JOIN LATERAL jsonb_array_elements(saga_items(sagas.data #> '{input,lignes}'))
    WITH ORDINALITY AS line (content, number)
LEFT JOIN saga_evenements AS event
    ON event.saga_id = sagas.id AND event.step = 'information_produit' AND event.type = 'step_succeeded'
    AND event.item = line.number - 1
WHERE sagas.workflow = 'commandes';
"""

BEFORE = import_module("infrastructure.migrations.0003_rules_and_views").VIEWS
BEFORE = BEFORE.replace("CREATE VIEW", "CREATE OR REPLACE VIEW") + """
DROP FUNCTION saga_items;
DROP FUNCTION saga_count;
DROP FUNCTION saga_number;
DROP FUNCTION saga_uuid;
"""


class Migration(migrations.Migration):
    dependencies = [("saga", "0006_bulk")]
    operations = [migrations.RunSQL(VALUES + VIEWS, reverse_sql=BEFORE)]
