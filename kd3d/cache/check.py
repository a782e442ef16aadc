"""Whether a training is the one that its caches were made for."""

from __future__ import annotations

from typing import Any

from kd3d.cache import manifest
from kd3d.cache.plan import cached_teachers
from kd3d.errors import UserError
from kd3d.teachers.cached import open_complete


def check_stores(config: Any) -> None:
    """Refuse a training whose teachers, data, augmentation or views are not its caches'.

    Args:
        config: A training config; nothing is built.

    Raises:
        UserError: With what differs.
    """
    for name in cached_teachers(config):
        teacher, where = config.model.teachers[name].to_dict(), f"teacher {name}"
        wanted = manifest.teacher_identity(teacher, where)
        mode, stored = wanted["mode"], open_complete(teacher["store"]).manifest
        manifest.refuse_difference(stored, wanted, teacher["store"])
        manifest.refuse_difference(stored, manifest.data_identity(config, mode), teacher["store"])
        if mode == "canonical":
            continue
        if not config.get("seeded_data"):
            raise UserError("replay needs seeded data", where, "seeded_data=True")
        shown, have = config.get("views"), int(teacher.get("views", 1))
        needed = shown or (config.get("train_cfg") or {}).get("max_epochs") or have
        if needed > have:
            raise UserError(
                f"the training shows {needed} views of every sample, {have} are stored",
                where,
                f"views={have} in the config shows them in turn, or store {needed} views",
            )
