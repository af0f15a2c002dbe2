"""What Django's models cannot say: possible states, an append-only history, the published views, room for updates."""

from django.db import migrations

# Few and short, because PostgreSQL reads them anew for every statement.
CHECKS = """
ALTER TABLE sagas
    ADD CONSTRAINT saga_counts_from_1 CHECK (version > 0 AND seq > 0),
    ADD CONSTRAINT saga_finished_has_a_time CHECK (
        (finished_at IS NOT NULL) = (status IN ('COMPLETED', 'COMPENSATED', 'FAILED'))
    ),
    -- Never lost: what moves by itself has a driver's lease that expires, or a time to be woken at; what rests, neither.
    ADD CONSTRAINT saga_moves_if_and_only_if_somebody_moves_it CHECK (
        status = 'WAITING'
        OR (lease_expires_at IS NOT NULL OR wake_at IS NOT NULL) = (status IN ('RUNNING', 'COMPENSATING'))
    ),
    ADD CONSTRAINT saga_lease_has_a_token CHECK (lease_expires_at IS NULL OR lease_token IS NOT NULL),
    ADD CONSTRAINT saga_that_turned_back_has_an_error CHECK (
        error IS NOT NULL OR status NOT IN ('COMPENSATING', 'COMPENSATED', 'FAILED')
    ),
    ADD CONSTRAINT saga_that_completed_has_no_error CHECK (error IS NULL OR status <> 'COMPLETED'),
    ADD CONSTRAINT saga_idempotency_key_has_a_hash CHECK ((idempotency_key IS NULL) = (request_hash IS NULL));
"""

# A pair of status and state is possible when the saga's definition says so. Definitions never change, so what was
# checked stays true; a foreign key would say the same and lock the definition's row on every checkpoint.
STATES = """
CREATE FUNCTION saga_refuse_impossible_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.status = OLD.status AND NEW.state = OLD.state
        AND NEW.workflow = OLD.workflow AND NEW.version = OLD.version
    THEN
        RETURN NEW;
    END IF;
    IF NOT EXISTS (
        SELECT 1 FROM saga_definitions
        WHERE name = NEW.workflow AND version = NEW.version AND states -> NEW.status::text ? NEW.state
    ) THEN
        RAISE EXCEPTION 'a saga of % version % cannot be % in state %', NEW.workflow, NEW.version, NEW.status, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'saga_state_possible';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER saga_state_possible BEFORE INSERT OR UPDATE ON sagas
    FOR EACH ROW EXECUTE FUNCTION saga_refuse_impossible_state();
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
DROP FUNCTION saga_refuse_impossible_state;
ALTER TABLE sagas
    DROP CONSTRAINT saga_counts_from_1, DROP CONSTRAINT saga_finished_has_a_time,
    DROP CONSTRAINT saga_moves_if_and_only_if_somebody_moves_it, DROP CONSTRAINT saga_lease_has_a_token,
    DROP CONSTRAINT saga_that_turned_back_has_an_error, DROP CONSTRAINT saga_that_completed_has_no_error,
    DROP CONSTRAINT saga_idempotency_key_has_a_hash;
"""


class Migration(migrations.Migration):
    dependencies = [("saga", "0002_tables")]
    operations = [migrations.RunSQL(CHECKS + STATES + APPEND_ONLY + STORAGE + VIEWS, reverse_sql=DROP)]
