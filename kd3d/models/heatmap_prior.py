"""An initialiser that gives CenterHead's heat maps the prior that mmdet3d 1.4 leaves out.

``SeparateHead.init_weights`` would set the last bias of a heat map to ``init_bias`` (-2.19: a score
of 0.1), but CenterHead keeps its heads in a plain ``torch.nn.ModuleList``, which mmengine's
``init_weights`` does not enter. Every cell begins at a score of 0.5, with a loss of 150 rather than
4, and the first hundred steps of a training go into that alone. In a config::

    model = dict(init_cfg=dict(type='HeatmapPrior'))

Source: T.-Y. Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, section 4.1 (the prior
pi of the last bias).
"""

from __future__ import annotations

from mmengine.registry import WEIGHT_INITIALIZERS
from torch import nn

from kd3d.errors import UserError


@WEIGHT_INITIALIZERS.register_module()
class HeatmapPrior:
    """Set the last bias of every heat map in a detector to its head's ``init_bias``, nothing else.

    Raises:
        UserError: The detector has no such head.
    """

    def __call__(self, module: nn.Module) -> None:
        """Initialise `module`, a detector."""
        from mmdet3d.models.dense_heads.centerpoint_head import DCNSeparateHead, SeparateHead

        heads = [m for m in module.modules() if isinstance(m, SeparateHead | DCNSeparateHead)]
        if not heads:
            fix = "give HeatmapPrior to detectors with a CenterHead only"
            raise UserError("no SeparateHead of a CenterHead", "model.init_cfg", fix)
        for head in heads:
            layers = head.cls_head if isinstance(head, DCNSeparateHead) else head.heatmap
            nn.init.constant_(layers[-1].bias, head.init_bias)
