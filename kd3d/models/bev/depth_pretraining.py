"""The image side of a BEVDet learns depth before it learns objects."""

from __future__ import annotations

from typing import Any, NoReturn

from mmdet3d.registry import MODELS
from torch import Tensor

from kd3d.errors import UserError
from kd3d.models.bev.bevdet import BEVDet


@MODELS.register_module()
class DepthPretraining(BEVDet):
    """Image backbone, neck and depth net of a `BEVDet`, trained on the depth of LiDAR points alone.

    It needs no labels. The detector then begins with its weights, by ``model.inherit`` (see
    `kd3d.models.inherit.kinds.Prefix`, and ``configs/demo/camera``) or by mmengine's
    ``init_cfg=dict(type='Pretrained', prefix='img_backbone.', checkpoint=...)``, likewise
    ``img_neck`` and ``img_depth_net``. Take the detector's config and set ``pts_backbone``,
    ``pts_neck``, ``pts_bbox_head`` and ``init_cfg`` to None.

    Source of the idea: D. Park et al., "Is Pseudo-LiDAR needed for Monocular 3D Object detection?",
    ICCV 2021 (depth as the pre-training of a detector).

    Args:
        **options: Of `BEVDet`, with a `depth_loss`.

    Raises:
        UserError: No `depth_loss`, or parts that would not be trained.
    """

    def __init__(self, **options: Any) -> None:
        if options.get("depth_loss") is None:
            raise UserError("nothing to learn", "model.depth_loss", "give a depth loss")
        unused = [name for name in options if name.startswith("pts_") and options[name] is not None]
        if unused:
            raise UserError(f"{', '.join(unused)} would not be trained", "model", "set it to None")
        super().__init__(**options)

    def extract_feat(
        self, batch_inputs_dict: dict, batch_input_metas: list[dict]
    ) -> tuple[tuple[Tensor], None]:
        """Return the depth logits (B N, D, H, W), and no map."""
        logits, _, _ = self.look(batch_inputs_dict["imgs"], batch_input_metas)
        return (logits,), None

    def predict(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse.

        Raises:
            UserError: Always.
        """
        fix = "train a BEVDet that begins with its weights; kd3d eval depth measures the depth"
        raise UserError("it finds no boxes", type(self).__name__, fix)
