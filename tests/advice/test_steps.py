"""Steps of a training: what wrappers repeat and leave out counts, and so does a dropped batch."""

from kd3d.advice.advise import steps_of
from kd3d.engine.register import register_all
from kd3d.engine.runner import load_config
from tests.engine.tiny import prepared


def test_steps_count_the_frames_that_are_shown(tmp_path):
    register_all()
    prepared(tmp_path / "kitti")
    config = load_config("kd3d::demo/baseline.py", data_root=tmp_path / "kitti")
    inner = config.train_dataloader.dataset.to_dict()
    frames = steps_of_dataset(config, inner, batch=1, drop=False)
    assert frames > 1
    few = dict(type="PartlyLabelled", labelled=1, repeat=5, unlabelled=False, dataset=inner)
    assert steps_of_dataset(config, few, batch=2, drop=False) == 3
    assert steps_of_dataset(config, few, batch=2, drop=True) == 2
    twice = dict(type="RepeatDataset", times=2, dataset=inner)
    assert steps_of_dataset(config, twice, batch=1, drop=False) == 2 * frames


def steps_of_dataset(config, dataset, batch, drop):
    """Steps of one epoch."""
    config = config.copy()
    config.train_cfg.max_epochs = 1
    config.train_dataloader.dataset = dataset
    config.train_dataloader |= dict(batch_size=batch, drop_last=drop)
    return steps_of(config)
