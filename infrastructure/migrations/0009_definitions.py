"""Who published a workflow's version, and that a version stays for as long as any saga was started under it."""

from typing import ClassVar

from django.db import migrations, models

# A saga is read by its definition, also after its end. The two indexes of `sagas` that could tell are partial, one of the
# finished and one of the live; so each is asked for. The lock keeps out the saga that is being stored meanwhile: it waits,
# and then finds that its definition is gone (saga_state_possible).
DELETION = """
CREATE FUNCTION saga_refuse_deletion_of_used_definition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE sagas IN SHARE MODE;
    IF EXISTS (SELECT FROM sagas WHERE workflow = OLD.name AND version = OLD.version AND finished_at IS NULL)
        OR EXISTS (SELECT FROM sagas WHERE workflow = OLD.name AND version = OLD.version AND finished_at IS NOT NULL)
    THEN
        RAISE EXCEPTION 'sagas were started under % version %, and need it as long as they are there',
            OLD.name, OLD.version
            USING ERRCODE = 'check_violation', CONSTRAINT = 'saga_definition_in_use';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER saga_definition_in_use BEFORE DELETE ON saga_definitions
    FOR EACH ROW EXECUTE FUNCTION saga_refuse_deletion_of_used_definition();
"""
DROP = """
DROP TRIGGER saga_definition_in_use ON saga_definitions;
DROP FUNCTION saga_refuse_deletion_of_used_definition;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("saga", "0008_messages")]
    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.AddField("definitionrow", "published_by", models.TextField(null=True)),
        migrations.RunSQL(DELETION, reverse_sql=DROP),
    ]
