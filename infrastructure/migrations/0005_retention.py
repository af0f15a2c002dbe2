"""A million finished sagas: what may be deleted at all, and the indexes that find what is past its time or asked for.

Indexes are made while sagas go on (CONCURRENTLY), so this migration is no transaction. When one of them fails, it leaves
an index that is marked invalid behind: drop that one and migrate again.
"""

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

# History is append-only, and goes only together with its saga; a saga goes only when it is finished, and only together
# with its history. Asked once a statement that deletes, and of none that a running saga makes: a foreign key would say
# half of it and be asked at every event. Arrays and not joins: see sql/prune.sql.
DELETION = """
CREATE FUNCTION saga_refuse_deletion_of_sagas() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM deleted WHERE finished_at IS NULL) THEN
        RAISE EXCEPTION 'a saga that is not finished is never deleted'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'saga_live_is_kept';
    END IF;
    IF EXISTS (SELECT FROM saga_evenements WHERE saga_id = ANY (ARRAY(SELECT id FROM deleted))) THEN
        RAISE EXCEPTION 'a saga is deleted only together with its history'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'saga_goes_with_its_history';
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION saga_refuse_deletion_of_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM sagas WHERE id = ANY (ARRAY(SELECT DISTINCT saga_id FROM deleted))) THEN
        RAISE EXCEPTION 'history is deleted only together with its saga'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'saga_goes_with_its_history';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER saga_deletion AFTER DELETE ON sagas
    REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION saga_refuse_deletion_of_sagas();
CREATE TRIGGER saga_history_deletion AFTER DELETE ON saga_evenements
    REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION saga_refuse_deletion_of_history();
"""
DROP = """
DROP TRIGGER saga_history_deletion ON saga_evenements;
DROP TRIGGER saga_deletion ON sagas;
DROP FUNCTION saga_refuse_deletion_of_history;
DROP FUNCTION saga_refuse_deletion_of_sagas;
"""


def _add(fields: list[str], name: str) -> AddIndexConcurrently:
    finished = models.Q(("finished_at__isnull", False))
    return AddIndexConcurrently("sagarow", models.Index(fields=fields, name=name, condition=finished))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("saga", "0004_operations")]
    operations = [
        migrations.RunSQL(DELETION, reverse_sql=DROP),
        _add(["workflow", "finished_at"], "saga_finished"),
        _add(["workflow", "version", "status", "id"], "saga_finished_kind"),
        _add(["tenant", "workflow", "version", "status", "id"], "saga_finished_tenant"),
        RemoveIndexConcurrently("sagarow", "saga_correlation"),
        AddIndexConcurrently("sagarow", models.Index(fields=["correlation_id", "id"], name="saga_correlation")),
    ]
