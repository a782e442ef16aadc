"""Making a student's feature comparable with a teacher's: channels, and cells in metres."""

from kd3d.adapters.feature import FeatureAdapter
from kd3d.adapters.resample import MetricResample

__all__ = ["FeatureAdapter", "MetricResample"]
