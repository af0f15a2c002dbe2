"""A workflow drawn as text that Mermaid (and so GitHub, GitLab and many editors) shows: its states, or its steps.

Names in a definition are letters, digits, `_` and `-`, so they need no escaping; but some are words of Mermaid's own.
"""

from collections.abc import Iterator
from itertools import pairwise

from domain.definition import SagaDefinition, Step

_RESERVED = frozenset(
    [
        "as",
        "choice",
        "class",
        "classdef",
        "click",
        "default",
        "direction",
        "end",
        "fork",
        "hide",
        "href",
        "join",
        "note",
        "scale",
        "state",
        "statediagram",
        "style",
    ]
)
"""Words at which Mermaid stops reading a state's name as one, in any case of letters."""


def way_forward(definition: SagaDefinition) -> list[str]:
    """The states of a saga that meets no obstacle, in order."""
    path = [definition.initial_state]
    for step in definition.steps:
        path += [word for word in (step.running_state, step.done_state) if word and word != path[-1]]
    return [*path, definition.completed_state]


def changes(definition: SagaDefinition) -> list[tuple[str, str]]:
    """Every change of the business state, each once: the way forward, then the ways out of it in their order."""
    path = way_forward(definition)
    forward = list(pairwise(path))
    others = definition.transitions() - set(forward)
    return forward + sorted(others, key=lambda edge: _place(edge, path, definition))


def ends(definition: SagaDefinition) -> list[str]:
    """The states in which a saga of this workflow can end, done first."""
    reached = {end for _, end in definition.transitions()}
    return [definition.completed_state, *sorted({definition.compensated_state, definition.failed_state} & reached)]


def state_diagram(definition: SagaDefinition) -> str:
    """`stateDiagram-v2` of the business states: the way forward first, then every way out of it."""
    words = _states(definition)
    alias = {word: _unlike(f"{word}_", words) for word in words if word.lower() in _RESERVED}
    lines = [f'state "{word}" as {name}' for word, name in sorted(alias.items())]
    forward = len(way_forward(definition)) - 1
    edges, (done, *undone) = changes(definition), ends(definition)
    edges = [("[*]", definition.initial_state), *edges[:forward], (done, "[*]"), *edges[forward:]]
    edges += [(end, "[*]") for end in undone]
    lines += [f"{alias.get(a, a)} --> {alias.get(b, b)}" for a, b in edges]
    return _text("stateDiagram-v2", lines)


def step_diagram(definition: SagaDefinition) -> str:
    """`flowchart` of the steps with the undos that a failure of each begins with, and the ends."""
    lines = [f'begin(["{definition.initial_state}"]) --> s0']
    for index, step in enumerate(definition.steps):
        lines.append(f"s{index}{_shape(step, f'{index + 1}. {step.name}')}")
        lines.append(f"s{index} --> {f's{index + 1}' if index + 1 < len(definition.steps) else 'completed'}")
    lines += [line for index in range(len(definition.steps)) for line in _failure_lines(definition, index)]
    for index, step in enumerate(definition.steps):
        if step.undoable and not _after_pivot(definition, index):
            lines.append(f'u{index}["undo {step.name}<br/>{_undo_call(step)}"]')
            lines.append(f"u{index} --> {_back_from(definition, index) or 'compensated'}")
    names = {
        "completed": definition.completed_state,
        "compensated": definition.compensated_state,
        "failed": definition.failed_state,
        "parked": "a person decides",
    }
    told = "\n".join(lines)
    lines += [f'{name}(["{word}"])' for name, word in names.items() if f" {name}" in told]
    return _text("flowchart TD", lines)


def _text(head: str, lines: list[str]) -> str:
    return "\n    ".join([head, *lines]) + "\n"


# --- states -----------------------------------------------------------------------------------------------------------


def _states(definition: SagaDefinition) -> set[str]:
    return {word for edge in definition.transitions() for word in edge} | {definition.initial_state}


def _unlike(name: str, taken: set[str]) -> str:
    return _unlike(f"{name}_", taken) if name in taken else name


def _place(edge: tuple[str, str], path: list[str], definition: SagaDefinition) -> tuple[int, int, str, str]:
    """Ways out in the order of the states that they leave; then failed states, in the order of their steps; then on."""
    failed = [step.failed_state for step in definition.steps]
    start, end = edge
    if start in path:
        return 0, path.index(start), start, end
    return (1, failed.index(start), start, end) if start in failed else (2, 0, start, end)


# --- steps ------------------------------------------------------------------------------------------------------------


def _shape(step: Step, name: str) -> str:
    """A box; a hexagon for a point of no return."""
    label = f'"{name}<br/>{_doing(step)}{_condition(step)}"'
    return f"{{{{{label}}}}}" if step.pivot else f"[{label}]"


def _doing(step: Step) -> str:
    if step.action:
        return f"{step.action.method} {step.action.service}"
    told = f"publish to {step.publish.topic}" if step.publish else ""
    answer = f"await {', '.join(step.awaits.types)}" if step.awaits else ""
    return ", ".join(filter(None, (told, answer)))


def _undo_call(step: Step) -> str:
    if step.compensation:
        return f"{step.compensation.method} {step.compensation.service}"
    return f"publish to {step.undo_publish.topic}" if step.undo_publish else ""


def _condition(step: Step) -> str:
    return ("<br/>for each item" if step.foreach else "") + ("<br/>under a condition" if step.when else "")


def _failure_lines(definition: SagaDefinition, index: int) -> Iterator[str]:
    """Where a failure of this step leads: one that was certainly not done left nothing, but for its other items."""
    step, back = definition.steps[index], _back_from(definition, index) or "failed"
    if _after_pivot(definition, index):
        yield f"s{index} -. fails .-> parked"
    elif step.undoable and step.foreach:
        yield f"s{index} -. fails .-> u{index}"
    elif step.undoable or step.pivot:
        yield f"s{index} -. not done .-> {back}"
        yield f"s{index} -. perhaps done .-> {'parked' if step.pivot else f'u{index}'}"
    else:
        yield f"s{index} -. fails .-> {back}"


def _back_from(definition: SagaDefinition, index: int) -> str:
    """The undo that comes next on the way back from this step; none when nothing before it is undone."""
    earlier = [place for place in range(index) if definition.steps[place].undoable]
    return f"u{earlier[-1]}" if earlier else ""


def _after_pivot(definition: SagaDefinition, index: int) -> bool:
    return any(step.pivot for step in definition.steps[:index])
