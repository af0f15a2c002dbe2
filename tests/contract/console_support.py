"""Every page of the console, in every state that changes what it says."""

import re
from datetime import timedelta

from api_support import ORDER, START, UNKNOWN_ID
from django.contrib.auth.models import Group, User
from django.test import Client
from test_admin import PARTNER

from application.bulk import BulkRunner
from domain.outcomes import Rejected, Succeeded, Unavailable, Unknown
from domain.workflows import shipped_definitions
from domain.workflows.cashout import CASHOUT
from interfaces.callers import READER
from interfaces.console import access, live
from interfaces.console.sagas import FILTERS
from interfaces.platform import platform

SLIP = {"bet_slip_id": 123, "user_id": 456}
GIVEN = {
    *("development", "release", "anna", "WHY-7", "NO-5", "BUSY-1", "CLOSED-9"),
    *(*FILTERS, "cursor", "limit", "nonsense"),
}
"""Names of people, reasons and parameters that the pages show because they were given."""


def begun(api, workflow="commandes", given=None, **answers):
    api.participants.answers = answers
    return api.post(START, {"workflow": workflow, "input": given or ORDER}).json()["id"]


def parked(api):
    """A cash-out whose undo was refused."""
    failing = {"liability_update": Rejected("NO-5"), "wallet_credit:undo": Rejected("CLOSED-9")}
    return begun(api, CASHOUT.name, SLIP, **failing)


class Visit:
    """Somebody whose browser asks for a language, going through the console; `pages` yields each answer by its name."""

    def __init__(self, api, settings, language):
        self._api, self._settings, self._language = api, settings, language
        self._browser = self._client()
        self._sagas = {}

    def _client(self, **more):
        return Client(headers={"Accept-Language": self._language, **more.pop("headers", {})}, **more)

    def get(self, path, client=None, **fields):
        live._drawn.clear()
        live._pulse._until = -1.0
        access._remembered.clear()
        return f"{path} {fields or ''}", (client or self._browser).get(path, fields)

    def post(self, path, client=None, **fields):
        return f"POST {path} {fields}", (client or self._browser).post(path, fields)

    def done(self, path, **chosen):
        """The act, as its preview has shown it."""
        page = self.get(path, **chosen)[1].content.decode()
        brought = dict(re.findall(r'type="hidden" name="(seen|chosen)" value="([^"]*)"', page))
        return self.post(path, **brought, **chosen, reason="WHY-7")

    def pages(self):
        """All of them: those that show nothing yet, then with sagas, and last for who may not."""
        for path in ("", "trouble/", "statistics/", "workflows/", "workflows/commandes/"):
            yield self.get(f"/console/{path}")
        self._begin()
        for part in (
            self._one_saga,
            self._acts,
            self._lists,
            self._workflows,
            self._trouble,
            self._faults,
            self._others,
        ):
            yield from part()

    def _begin(self):
        api = self._api
        self._sagas = {
            "done": begun(api),
            "refused": begun(api, verification_stock=Rejected("NO-5")),
            "undone": begun(api, creation_commande=Rejected("NO-5")),
            "lost": begun(api, creation_commande=Unknown("no answer in time")),
            "parked": parked(api),
            "parked as well": parked(api),
            "given": begun(api, "partner_creation", PARTNER, create_partner=Succeeded({"partner_id": "p-1"})),
            "odd": begun(api, "partner_creation", PARTNER, create_partner=Succeeded({})),
            "paused": begun(api, creation_commande=Unavailable("BUSY-1", 5.0)),
            "resolved": parked(api),
            "waits": begun(api, creation_commande=Unavailable("BUSY-1", 5.0)),
        }
        for name, verb, more in (("paused", "pause", {}), ("resolved", "resolve", {"outcome": "compensated"})):
            path = f"/api/sagas/transactions/{self._sagas[name]}/{verb}/"
            assert api.post(path, {"reason": "WHY-7", **more}).status_code == 200, path

    def _one_saga(self):
        for saga_id in self._sagas.values():
            yield self.get(f"/console/sagas/{saga_id}/")
        self._api.clock.ahead += timedelta(hours=30)
        yield self.get(f"/console/sagas/{self._sagas['waits']}/")

    def _acts(self):
        def at(name, verb):
            return f"/console/sagas/{self._sagas[name]}/{verb}/"

        for verb in ("retry", "resume", "pause", "compensate", "skip", "resolve", "signal"):
            for name in ("parked", "given", "done", "paused"):
                yield self.get(at(name, verb))
                yield self.post(at(name, verb), reason="")
        for place in ("undo:wallet_credit", "do:wallet_credit", "do:nowhere", "x", "undo:cashout_quote"):
            yield self.get(at("parked", "skip"), place=place)
        yield self.get(at("waits", "skip"), place="do:creation_commande")
        yield self.post(at("parked", "resolve"), outcome="x", reason="WHY-7")
        yield self.post(at("parked", "retry"), seen="1", reason="WHY-7")
        for body in ("[1]", "{", "{}"):
            yield self.post(at("given", "signal"), body=body, reason="WHY-7", type="x")
        yield self.get(at("given", "signal"), body='{"alliance_id": "a-1"}', type="alliance_created")
        seen = self._api.get(f"/api/sagas/transactions/{self._sagas['parked']}/").json()["seq"]
        yield self.post(at("parked", "resolve"), outcome="completed", seen=seen, chosen="otherwise", reason="WHY-7")
        self.done(at("paused", "resume"))
        yield self.get(f"/console/sagas/{self._sagas['paused']}/")

    def _lists(self):
        platform().statistics.roll_up(self._api.clock.now(), 1000)
        for query in ("", "q=nothing", "limit=1", f"limit=1&cursor={self._sagas['undone']}"):
            yield self.get(f"/console/?{query}")
        for query in ("status=NONE", "cursor=x", "created_after=x", "nonsense=1", "active=x", "limit=0", "q=%00"):
            yield self.get(f"/console/?{query}")
        for window in ("hour", "day", "week"):
            yield self.get(f"/console/statistics/?window={window}")

    def _workflows(self):
        yield self.get("/console/workflows/")
        for definition in shipped_definitions():
            page = f"/console/workflows/{definition.name}/"
            yield self.get(page)
            yield self.get(f"{page}start/")
            yield self.post(f"{page}start/", key="schlüssel", correlation_id="with spaces")
            for text in ("[" * 100 + "]" * 100, '{"client_id": "me", "lignes": [], "bet_slip_id": 0}'):
                yield self.post(f"{page}start/", json=text, key="k")

    def _trouble(self):
        name, answer = self.get("/console/trouble/")
        yield name, answer
        group = re.search(r"/console/trouble/([\w-]+)/retry/", answer.content.decode())[1]
        for verb in ("retry", "compensate"):
            yield self.get(f"/console/trouble/{group}/{verb}/")
            yield self.post(f"/console/trouble/{group}/{verb}/", per_second="x")
        given = {"reason": "WHY-7", "per_second": "1000"}
        yield self.post(f"/console/trouble/{group}/retry/", seen="1", **given)
        _name, stopped = self.post(f"/console/trouble/{group}/compensate/", seen="9", **given)
        self.post(f"{stopped.headers['Location']}cancel/")
        yield self.get(stopped.headers["Location"])
        for _twice in range(2):
            _name, begun_one = self.post(f"/console/trouble/{group}/retry/", seen="9", **given)
        remedy = begun_one.headers["Location"]
        yield self.get(remedy)
        yield self.get("/console/trouble/")
        self.done(f"/console/sagas/{self._sagas['parked']}/resolve/", outcome="completed")
        runner = BulkRunner(platform().operations, platform().bulk, "w-1", lambda _: False)
        while runner.run_one():
            pass
        yield self.get(remedy)
        yield self.get("/console/trouble/")

    def _faults(self):
        missing = (
            "sagas/{0}/",
            "bulk/{0}/",
            "trouble/0123abcd/retry/",
            "workflows/nothing/",
            "workflows/commandes/99/",
        )
        for path in missing:
            yield self.get(f"/console/{path.format(UNKNOWN_ID)}")
        yield self.get(f"/console/sagas/{self._sagas['done']}/nonsense/")
        yield self.post("/console/workflows/commandes/start/", client=self._client(enforce_csrf_checks=True))

    def _others(self):
        yield self.get("/console/login/")
        yield self.post("/console/login/", username="anna", password="wrong")
        config = self._settings.SAGA_ORCHESTRATOR_CONFIG
        self._settings.SAGA_ORCHESTRATOR_CONFIG = {**config, "FAULT_INJECTION": True}
        yield self.get("/saga/test")
        yield self.get("/console/trouble/")
        self._settings.SAGA_ORCHESTRATOR_CONFIG = {**config, "DEBUG": False}
        reader, user = self._client(), User.objects.create_user("anna")
        user.groups.add(Group.objects.create(name=READER))
        reader.force_login(user)
        yield self.get("/console/trouble/", client=reader)
        yield self.get(f"/console/sagas/{self._sagas['parked']}/retry/", client=reader)
        yield self.get("/console/", client=self._client(headers={"X-API-Key": "wrong"}))
        self._settings.SAGA_ORCHESTRATOR_CONFIG = config
