"""How the weights of a layer lie in memory, and one order for all: (out, in, *kernel)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from kd3d.errors import UserError

# layout -> (axis of the output channels, axis of the input channels)
AXES = {
    "linear": (0, 1),  # (out, in)
    "conv": (0, 1),  # (out, in, k, k)
    "deconv": (1, 0),  # (in, out, k, k): nn.ConvTranspose2d
    "KRSC": (0, -1),  # (out, k, k, k, in): spconv 2
    "RSCK": (-1, -2),  # (k, k, k, in, out): spconv 1 and mmcv
}
_DENSE = ((nn.Linear, "linear"), (nn.ConvTranspose2d, "deconv"), (nn.Conv2d, "conv"))


def canonical(weight: Tensor, layout: str) -> Tensor:
    """Return a view of `weight` as (out, in, *kernel)."""
    return weight.movedim(AXES[layout], (0, 1))


def arranged(weight: Tensor, layout: str) -> Tensor:
    """Return (out, in, *kernel) in `layout`, contiguous: the inverse of `canonical`."""
    return weight.movedim((0, 1), AXES[layout]).contiguous()


def converted(weight: Tensor, old: str, new: str) -> Tensor:
    """Return a sparse kernel in another layout, e.g. from ``"RSCK"`` to ``"KRSC"``."""
    return arranged(canonical(weight, old), new)


def sparse_layout(
    shape: Sequence[int], inputs: int, outputs: int, kernel: Sequence[int], package: str = ""
) -> str:
    """Return ``"KRSC"`` or ``"RSCK"``, whichever a sparse kernel's shape is.

    Where both fit, as in a (3, 3, 3, 3, 3) kernel, the package decides: spconv 2 has KRSC, mmcv
    RSCK.

    Args:
        shape: The weight's shape.
        inputs: Input channels of the layer.
        outputs: Output channels of the layer.
        kernel: Kernel size.
        package: The layer's package, ``"spconv"`` or ``"mmcv"``; empty for weights without one.

    Raises:
        UserError: Neither fits, or both do and the package does not decide.
    """
    fits = []
    if tuple(shape) == (outputs, *kernel, inputs):
        fits.append("KRSC")
    if tuple(shape) == (*kernel, inputs, outputs):
        fits.append("RSCK")
    if len(fits) == 2:
        fits = {"spconv": ["KRSC"], "mmcv": ["RSCK"]}.get(package, fits)
    if len(fits) == 1:
        return fits[0]
    reason = "may be KRSC or RSCK" if fits else "is neither KRSC nor RSCK"
    raise UserError(
        f"a sparse kernel of shape {tuple(shape)} with {inputs} inputs and {outputs} outputs "
        f"{reason}",
        "sparse convolution",
        "load the weights into their own detector first",
    )


def loadable(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict whose sparse kernels lie as the model's, and say so in its metadata.

    mmdet3d takes a state without metadata for one of spconv 1 and permutes every sparse kernel.

    Args:
        model: The detector that will load it.
        state: With kernels of spconv 1, mmcv or spconv 2; not changed.

    Raises:
        UserError: A kernel whose layout its shape does not tell.
    """
    found: OrderedDict[str, Tensor] = OrderedDict(state)
    metadata = OrderedDict(getattr(state, "_metadata", {}))
    for name, module in model.named_modules():
        key = f"{name}.weight"
        if _sparse_package(module) != "spconv" or key not in found:
            continue
        own, kernel = layout_of(module), tuple(module.kernel_size)
        shape, (inputs, outputs) = found[key].shape, widths(module)
        if sorted(shape) == sorted(module.weight.shape):
            package = "spconv" if metadata.get(name, {}).get("version") == 2 else ""
            layout = sparse_layout(shape, inputs, outputs, kernel, package)
            found[key] = converted(found[key], layout, str(own))
        metadata[name] = {**metadata.get(name, {}), "version": 2}
    found._metadata = metadata  # type: ignore[attr-defined]
    return found


def layout_of(module: Any) -> str | None:
    """Return the layout of a layer's weight, or None for a module that is no such layer.

    Raises:
        UserError: A grouped convolution, or a sparse kernel of unknown layout.
    """
    for kind, layout in _DENSE:
        if isinstance(module, kind):
            if getattr(module, "groups", 1) != 1:
                raise UserError("grouped convolutions are not sliced", type(module).__name__)
            return layout
    package = _sparse_package(module)
    if package:
        shape, kernel = tuple(module.weight.shape), tuple(module.kernel_size)
        return sparse_layout(shape, module.in_channels, module.out_channels, kernel, package)
    return None


def _sparse_package(module: Any) -> str:
    """Return the package of a sparse convolution, or an empty string for other modules."""
    package = type(module).__module__.split(".")[0]
    sparse = hasattr(module, "indice_key") and hasattr(module, "weight")
    return package if package in ("spconv", "mmcv") and sparse else ""


def widths(module: Any) -> tuple[int, int]:
    """Return the numbers of input and output channels of a layer."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    return module.in_channels, module.out_channels
