"""Whatever happens to a saga, its spans are a tree: each id once, each parent told, one root."""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infrastructure.saga_spans import told
from tests.unit.domain import test_any_schedule as schedules


class Traced(schedules.Run):
    """A run whose every batch of events is told when it is stored."""

    def __init__(self, *drawn):
        self.spans = []
        super().__init__(*drawn)

    def deliver(self, events):
        super().deliver(events)
        if events:
            self.spans += told(self.saga, events, 0, 0)

    def is_a_tree(self):
        ids = Counter(span.id for span in self.spans)
        assert not [span for span in self.spans if ids[span.id] > 1], "told twice"
        assert not [span for span in self.spans if span.parent and span.parent not in ids], "never told"
        assert len([span for span in self.spans if span.parent is None]) == 1


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(definition=schedules.definitions(), items=st.integers(0, 3), moves=schedules.MOVES)
def test_the_spans_of_a_saga_whose_drivers_crash_are_a_tree(definition, items, moves):
    Traced(definition, items, moves).is_a_tree()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(definition=schedules.definitions(), items=st.integers(0, 3), moves=schedules.OPERATED)
def test_the_spans_of_a_saga_that_people_pause_resume_skip_and_turn_back_are_a_tree(definition, items, moves):
    Traced(definition, items, moves).is_a_tree()
