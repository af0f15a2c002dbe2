"""The chaos run can fail: with each deliberate bug the invariants report violations, and the right ones."""

import pytest

from tests.chaos.drivers import PROC
from tests.chaos.run import run
from tests.chaos.sizes import MUTATIONS

pytestmark = [
    pytest.mark.skipif(not (PROC / "net" / "tcp").exists(), reason="faults find their driver in Linux's /proc"),
    # The proxies cut connections on purpose: see test_chaos.py.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TELLING = {
    "no_fencing": "a history has no gap, and its last event says what the saga's row says",
    "unknown_not_undone": "a compensated or failed saga has no effect left",
    "forgotten_before_sent": "every event of every saga is told, in order",
    "new_key_per_attempt": "each step and item has at most one effect and at most one undo",
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_deliberate_bug_is_found(mutation, tmp_path):
    result = run(MUTATIONS[mutation], seed=1, directory=tmp_path, mutation=mutation)
    assert not result.missing
    assert TELLING[mutation] in {violation.rule for violation in result.violations}
