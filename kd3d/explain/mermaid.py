"""A data flow as a Mermaid graph."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kd3d.explain.flow import Flow, ModelFlow, TermFlow


def mermaid(flow: Flow) -> str:
    """Return the graph as text, for a Mermaid block of Markdown."""
    return "\n".join(_lines(flow)) + "\n"


def state(model: ModelFlow) -> str:
    """Return whether a model is trained, in words."""
    if not model.detectors:
        return "stored"
    if not model.trained:
        return "frozen" if model.kind != "EMA" else "follows the student"
    return "trained" if model.trained == model.parameters else "partly trained"


def _lines(flow: Flow) -> Iterator[str]:
    yield "flowchart LR"
    yield '  batch(["batch"])'
    for model in flow.models:
        kinds = ", ".join(model.detectors) or model.kind
        told = f"{model.name}: {kinds}, {model.parameters:,} parameters, {state(model)}"
        yield f"  subgraph {_id('m', model.name)}[{_text(told)}]"
        for tap, spec in model.taps.items():
            yield f"    {_id('tap', model.name, tap)}[{_text(f'{tap}<br/>{spec}')}]"
        if not model.taps:
            yield f"    {_id('tap', model.name, 'none')}[{_text('no tap is read')}]"
        yield "  end"
        yield f"  batch -->|{_text(', '.join(model.reads) or 'keys')}| {_id('m', model.name)}"
    for term in flow.terms:
        yield from _term(term)
    for model in flow.models:
        if model.trained:
            told = f"detection losses x {flow.task_weight:g}"
            yield f"  {_id('m', model.name)} -->|{_text(told)}| total"
    for i, label in enumerate(flow.labels):
        yield f"  {_id('label', str(i))}>{_text(label)}] --> {_id('m', 'student')}"
    for i, origin in enumerate(flow.inherits):
        yield f"  {_id('origin', str(i))}>{_text(origin)}] -.-> {_id('m', 'student')}"
    yield '  total(("loss"))'
    yield "  classDef trained stroke:#00805f,stroke-width:2px"
    yield "  classDef frozen stroke:#0a6fb8,stroke-dasharray:4"
    for model in flow.models:
        yield f"  class {_id('m', model.name)} {'trained' if model.trained else 'frozen'}"


def _term(term: TermFlow) -> Iterator[str]:
    node = _id("term", term.name)
    source = f"{term.method}: " if term.method else ""
    told = f"{source}{term.name}<br/>{term.loss}<br/>x {term.weight}"
    yield f"  {node}{{{{{_text(told)}}}}}"
    student, teacher = _id("tap", *term.student), _id("tap", *term.teacher)
    yield f"  {student} --> {_id('adapter', term.name)}[{_text(term.adapter)}] --> {node}"
    arrow = f"-->|{_text(term.resample)}|" if term.resample else "-->"
    yield f"  {teacher} {arrow} {node}"
    for other in term.further:
        model, _, tap = other.partition(":")
        yield f"  {_id('tap', model, tap)} -.-> {node}"
    if term.mask != "none":
        yield f"  {_id('mask', term.name)}([{_text('mask: ' + term.mask)}]) --> {node}"
    yield f"  {node} --> total"


def _id(*parts: str) -> str:
    return "_".join(re.sub(r"\W", "_", part) for part in parts)


def _text(text: str) -> str:
    """Quote a label; Mermaid reads entities with a hash for quotes."""
    return '"' + text.replace('"', "#quot;") + '"'
