"""Whether the gateway answers: anything it says will do, and nobody else is asked."""

from wire import answer, close, reset, say, served

from infrastructure.health import gateway


def test_a_gateway_that_answers_anything_is_there():
    for status in (200, 301, 401, 404, 503):
        with served(say(answer(status, b"", "Location: http://participant.invalid/"))) as wire:
            assert gateway(wire.url).ok


def test_a_gateway_that_does_not_answer_is_named():
    for script in (close, reset):
        with served(script) as wire:
            check = gateway(wire.url)

            assert not check.ok
            assert check.detail == f"{wire.url}: ConnectionError"


def test_no_proxy_of_the_environment_answers_for_it(monkeypatch):
    with served() as proxy, served(close) as wire:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)

        assert not gateway(wire.url).ok
        assert proxy.connections == 0
