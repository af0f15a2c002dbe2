"""What Django's models cannot say: possible states, an append-only history, the published views, room for updates."""

from django.db import migrations

# A pair of status and state is possible when the saga's definition says so. Definitions never change, so what was
# checked stays true; a foreign key would say the same and lock the definition's row on every checkpoint.
STATES = """
CREATE FUNCTION saga_refuse_impossible_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM saga_definitions
        WHERE name = NEW.workflow AND version = NEW.version AND states -> NEW.status ? NEW.state
    ) THEN
        RAISE EXCEPTION 'a saga of % version % cannot be % in state %', NEW.workflow, NEW.version, NEW.status, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'saga_state_possible';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER saga_state_possible_at_start BEFORE INSERT ON sagas
    FOR EACH ROW EXECUTE FUNCTION saga_refuse_impossible_state();
CREATE TRIGGER saga_state_possible BEFORE UPDATE ON sagas
    FOR EACH ROW WHEN (OLD.status <> NEW.status OR OLD.state <> NEW.state OR OLD.workflow <> NEW.workflow
                       OR OLD.version <> NEW.version)
    EXECUTE FUNCTION saga_refuse_impossible_state();
"""

APPEND_ONLY = """
CREATE FUNCTION saga_refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the rows of % are never changed', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER saga_history_is_append_only BEFORE UPDATE ON saga_evenements
    FOR EACH STATEMENT EXECUTE FUNCTION saga_refuse_rewriting();
CREATE TRIGGER saga_definition_is_immutable BEFORE UPDATE ON saga_definitions
    FOR EACH STATEMENT EXECUTE FUNCTION saga_refuse_rewriting();
"""

# A checkpoint that moves no indexed column stays on its page (a heap-only update) while there is room on it.
STORAGE = """
ALTER TABLE sagas SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
"""

VIEWS = """
CREATE VIEW saga_commandes AS
SELECT
    sagas.id AS saga_id,
    sagas.state AS etat,
    (sagas.data #>> '{input,client_id}')::uuid AS client_id,
    (sagas.data #>> '{input,magasin_id}')::uuid AS magasin_id,
    CASE WHEN sagas.status = 'COMPLETED' THEN (
        SELECT event.output ->> 'commande_id' FROM saga_evenements AS event
        WHERE event.saga_id = sagas.id AND event.step = 'creation_commande' AND event.type = 'step_succeeded'
    ) END AS commande_id,
    sagas.error ->> 'reason' AS erreur,
    sagas.created_at AS cree_le,
    sagas.finished_at AS termine_le
FROM sagas
WHERE sagas.workflow = 'commandes';

CREATE VIEW saga_lignes_commande AS
SELECT
    sagas.id AS saga_id,
    (line.number - 1)::int AS ligne,
    (line.content ->> 'produit_id')::uuid AS produit_id,
    (line.content ->> 'quantite')::int AS quantite,
    event.output ->> 'nom' AS nom,
    (event.output ->> 'prix_unitaire')::numeric AS prix_unitaire
FROM sagas
CROSS JOIN LATERAL jsonb_array_elements(sagas.data #> '{input,lignes}') WITH ORDINALITY AS line (content, number)
LEFT JOIN saga_evenements AS event
    ON event.saga_id = sagas.id AND event.step = 'information_produit' AND event.type = 'step_succeeded'
    AND event.item = line.number - 1
WHERE sagas.workflow = 'commandes';
"""

DROP = """
DROP VIEW saga_lignes_commande;
DROP VIEW saga_commandes;
ALTER TABLE sagas RESET (fillfactor, autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor);
DROP TRIGGER saga_definition_is_immutable ON saga_definitions;
DROP TRIGGER saga_history_is_append_only ON saga_evenements;
DROP FUNCTION saga_refuse_rewriting;
DROP TRIGGER saga_state_possible ON sagas;
DROP TRIGGER saga_state_possible_at_start ON sagas;
DROP FUNCTION saga_refuse_impossible_state;
"""


class Migration(migrations.Migration):
    dependencies = [("saga", "0001_initial")]
    operations = [migrations.RunSQL(STATES + APPEND_ONLY + STORAGE + VIEWS, reverse_sql=DROP)]
