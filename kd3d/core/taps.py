"""Taps: named tensors inside an unmodified detector, read by forward hooks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kd3d.core.head_rest import middle_taps
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError, did_you_mean

# alias -> path, for the two ways in which mmdet3d names the parts of a LiDAR detector.
_PLAIN = {
    "pillars": "voxel_encoder",
    "voxel": "voxel_encoder",
    "bev_in": "middle_encoder",
    "stage0": "backbone.0",
    "stage1": "backbone.1",
    "stage2": "backbone.2",
    "bev": "neck.0",
    "head": "bbox_head",
    "boxes": "bbox_head",
    "proposals": "bbox_head",
}
BOXES, PROPOSALS = "boxes", "proposals"
DECODED = (BOXES, PROPOSALS)  # the head's output, turned into detections by run.decoded
_IMAGE = {"image": "img_neck.0", "image_backbone": "img_backbone"}
# Camera detectors that lift their features into a map (`kd3d.models.bev`), alone or with a LiDAR.
_LIFTED = {"bev_in": "view_transform", "depth": "img_depth_net.0"}
_FUSED = {"bev_in": "bev_fuser", "bev_lidar": "pts_middle_encoder", "bev_camera": "view_transform"}
_POINTS = {"points": "neck.fp_features"}  # (B, C, N), of PointRCNN


def aliases(model: nn.Module) -> dict[str, str]:
    """Return alias -> path for the detector's family.

    The MVX family (CenterPoint, MVXFasterRCNN, ...) prefixes its LiDAR parts with ``pts_``; the
    VoxelNet family does not. Networks on points have no map; PointRCNN has ``points``. Aliases
    whose module is absent are left out, also stages that the backbone does not have, and
    ``pillars`` where the voxel encoder learns nothing (it then takes the mean of the points).
    """
    if on_points(model):
        return _POINTS if hasattr(getattr(model, "neck", None), "FP_modules") else {}
    prefix = "pts_" if any(hasattr(model, f"pts_{p}") for p in ("backbone", "bbox_head")) else ""
    known = {alias: prefix + path for alias, path in _PLAIN.items()} | _IMAGE
    if hasattr(model, "view_transform"):
        known |= _LIFTED | (_FUSED if hasattr(model, "bev_fuser") else {})
    found = {alias: path for alias, path in known.items() if hasattr(model, path.split(".")[0])}
    backbone: Any = getattr(model, f"{prefix}backbone", None)
    blocks: Any = getattr(backbone, "blocks", None) or getattr(backbone, "out_indices", ())
    absent = {f"stage{i}" for i in range(len(blocks), 3)}
    encoder = getattr(model, f"{prefix}voxel_encoder", None)
    if encoder is not None and next(encoder.parameters(), None) is None:
        absent.add("pillars")
    return {alias: path for alias, path in found.items() if alias not in absent}


def groups(model: nn.Module) -> dict[str, list[str]]:
    """Return alias -> taps that are read together.

    ``stages``: every stage of the backbone that has an alias, the shallowest first; ``head_mid``
    and ``head_branches``: see `kd3d.core.head_rest.middle_taps`.
    """
    known = aliases(model)
    stages = [alias for alias in known if alias.startswith("stage")]
    points = middle_taps(head_of(model), known.get("head", ""))
    return {**({"stages": stages} if stages else {}), **points}


def head_of(model: nn.Module) -> nn.Module | None:
    """Return the detection head, None where the alias ``head`` has no meaning."""
    path = aliases(model).get("head")
    return None if path is None else model.get_submodule(path)


def members(model: nn.Module, name: str) -> list[str]:
    """Return the taps that a name stands for: itself, those of a group, those joined by commas."""
    known = groups(model)
    parts = [part.strip() for part in name.split(",")]
    return [tap for part in parts for tap in known.get(part, [part])]


def on_points(model: nn.Module) -> bool:
    """Whether the detector is a PointNet++, which stacks the clouds of a batch as they are."""
    return hasattr(getattr(model, "backbone", None), "SA_modules")


class StopForward(BaseException):
    """Ends a teacher's forward pass once every tap has fired; never leaves `kd3d.core`."""


@dataclass(frozen=True)
class TapAddress:
    """Where a tap sits: a module and the way into its output.

    Attributes:
        module: Dotted module path.
        index: Keys or positions into the module's output.
        clone: Copy on capture, because a later module writes into the tensor in place.
    """

    module: str
    index: tuple[str, ...] = ()
    clone: bool = False


def resolve(model: nn.Module, name: str) -> TapAddress:
    """Turn a path or alias into an address.

    ``neck.0`` is output 0 of ``neck`` unless ``neck`` has a child called 0; ``bev`` is an alias;
    a trailing ``+clone`` copies on capture. Head outputs are always copied, since CenterHead's loss
    applies the sigmoid to its heat map in place.

    Raises:
        UserError: No such module; the nearest names are suggested.
    """
    plain, _, suffix = name.partition("+")
    if suffix not in ("", "clone"):
        raise UserError(f"unknown tap suffix +{suffix}", name, "use +clone")
    known = aliases(model)
    parts = known.get(plain, plain).split(".")
    modules = dict(model.named_modules())
    for length in range(len(parts), 0, -1):
        path = ".".join(parts[:length])
        if path in modules:
            clone = bool(suffix) or path.endswith("head")
            return TapAddress(path, tuple(parts[length:]), clone)
    names = [*known, *groups(model), *(m for m in modules if m.count(".") < 2 and m)]
    hint = did_you_mean(plain, names)
    raise UserError(f"no tap {plain!r} in {type(model).__name__}", "tap", hint)


class Tap:
    """One tensor (or head output) captured by a bound-method forward hook.

    The hook is a bound method, so a deep copy of the model (an EMA) carries copies of its taps and
    never writes into the original's.
    """

    def __init__(self, owner: TapSet, name: str, address: TapAddress, module: nn.Module) -> None:
        self.owner, self.name, self.address = owner, name, address
        self.values: list[Any] = []
        self.versions: list[int] = []
        module.register_forward_hook(self._capture)

    def _capture(self, module: nn.Module, inputs: tuple, output: Any) -> None:
        if not self.owner.armed:
            return
        for key in self.address.index:
            output = _step_into(output, key, self)
        if self.address.clone:
            output = _clone(output)
        self.values.append(output)
        self.versions.append(output._version if isinstance(output, Tensor) else 0)
        self.owner.fired(self)

    def pop(self, needs_grad: bool) -> Any:
        """Return the captured value and forget it.

        Raises:
            UserError: It fired not once, was changed in place afterwards, or carries no gradient
                although one is needed.
        """
        values, versions = self.values, self.versions
        self.values, self.versions = [], []
        where = f"tap {self.name}"
        if len(values) != 1:
            raise UserError(f"fired {len(values)} times in one forward pass, wanted once", where)
        value = values[0]
        if isinstance(value, Tensor):
            if value._version != versions[0]:
                raise UserError(
                    "a later module changed it in place", where, f"tap '{self.name}+clone'"
                )
            if needs_grad and not value.requires_grad:
                raise UserError(
                    "it carries no gradient",
                    where,
                    "is it frozen, or inside a reentrant activation checkpoint?",
                )
        return value


class TapSet:
    """The taps of one model, armed for one forward pass at a time.

    Args:
        model: The detector; hooks are registered at once, so do this before any compile.
        names: Paths, aliases, or several of them joined by commas, whose value is the list of
            theirs; see `groups` for lists that have an alias.
        stop: Raise `StopForward` as soon as every tap has fired (teachers).

    Attributes:
        members: Name -> the taps it stands for.
        taps: The same taps, each once.
        specs: Name -> spec; filled by `kd3d.core.probe.probe`.
    """

    def __init__(self, model: nn.Module, names: Iterable[str], stop: bool = False) -> None:
        self.armed, self.stop = False, stop
        self.specs: dict[str, FeatureSpec] = {}
        modules = dict(model.named_modules())
        self.members = {name: members(model, name) for name in names}
        self.taps: dict[str, Tap] = {}
        for name in dict.fromkeys(tap for several in self.members.values() for tap in several):
            address = resolve(model, name)
            self.taps[name] = Tap(self, name, address, modules[address.module])

    def arm(self) -> None:
        """Forget old values and capture the next forward pass."""
        for tap in self.taps.values():
            tap.values, tap.versions = [], []
        self.armed = True

    def disarm(self) -> None:
        """Stop capturing (the recomputation of a checkpointed block must not fire a tap)."""
        self.armed = False

    def fired(self, tap: Tap) -> None:
        """Called by a tap; ends the forward pass when it was the last one and `stop` is set."""
        if self.stop and all(t.values for t in self.taps.values()):
            raise StopForward

    def pop(self, needs_grad: bool = False) -> dict[str, Any]:
        """Return name -> value, of several taps the list of their values, and disarm."""
        self.disarm()
        values = {name: tap.pop(needs_grad) for name, tap in self.taps.items()}
        return {name: self._of(name, values) for name in self.members}

    def _of(self, name: str, values: dict[str, Any]) -> Any:
        found = [values[tap] for tap in self.members[name]]
        return found[0] if found and self.members[name] == [name] else found


def _step_into(output: Any, key: str, tap: Tap) -> Any:
    try:
        return output[int(key)] if isinstance(output, (list, tuple)) else output[key]
    except (KeyError, IndexError, ValueError, TypeError):
        held = (
            f"{type(output).__name__} of {len(output)}"
            if hasattr(output, "__len__")
            else type(output)
        )
        raise UserError(
            f"the module's output is a {held}, it has no [{key}]", f"tap {tap.name}"
        ) from None


def _clone(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _clone(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clone(item) for item in value]
    return value
