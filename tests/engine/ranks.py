"""What two gloo processes do for test_distributed.py; they leave their results in files.

Stock heads divide their own losses by the objects of their own process. Where two processes are
compared with one, all samples therefore hold the same number of boxes of each class (centre heads),
or the detection losses weigh nothing (anchor heads count matched anchors).
"""

import copy
import os
import socket

import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData
from torch import multiprocessing

from kd3d.core.distiller import Distiller
from kd3d.engine.distributed import DistilledDataParallel, set_up
from kd3d.engine.register import register_all
from kd3d.engine.sharded import FullyShard
from tests import toy

METHODS = [
    dict(type="response", scores=2.0),
    dict(type="fitnets", weight=3.0, mask=dict(type="box")),
]
NORMALISED = ("PillarFeatureNet", "SECOND", "SECONDFPN", "SeparateHead")
STEPS = 2
RATE = dict(centerpoint=1e-4, pointpillars=1e-2)
PROCESSES = 2


def without_batch_statistics(config):
    """Return a detector's config with GroupNorm in the place of BatchNorm."""
    if isinstance(config, dict):
        config = {key: without_batch_statistics(value) for key, value in config.items()}
        if str(config.get("type")).startswith("BN"):
            return dict(type="GN", num_groups=1)
        if config.get("type") in NORMALISED:
            config["norm_cfg"] = dict(type="GN", num_groups=1)
        return config
    if isinstance(config, (list, tuple)):
        return [without_batch_statistics(item) for item in config]
    return config


def distiller(family="centerpoint", batch_norm=False, teacher=None, **changes):
    """Return a distiller, initialised alike in every process."""
    register_all()
    detector = toy.FAMILIES[family]()
    for loss in ("loss_cls", "loss_bbox", "loss_dir") if family == "pointpillars" else ():
        detector["bbox_head"][loss]["loss_weight"] = 0.0
    if not batch_norm:
        detector = without_batch_statistics(detector)
    torch.manual_seed(0)
    frozen = dict(type="Frozen", checkpoint=None, model=toy.FAMILIES[family](width=0.5))
    teachers = dict(teacher=teacher or frozen)
    methods = copy.deepcopy(METHODS)
    methods[0]["confident"] = 0.1 if family == "centerpoint" else 0.01  # untrained heads' scores
    model = Distiller(detector, teachers, methods, **changes)
    model.init_weights()
    return model.train()


def sgd(model, family="centerpoint", **options):
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE[family], momentum=0.9)
    return OptimWrapper(optimizer, clip_grad=dict(max_norm=20.0), **options)


def whole_batch(step, box_dim=9):
    """Two samples; the boxes of the second are twice as long, so masks differ in size."""
    data = toy.batch(samples=PROCESSES, seed=step, box_dim=box_dim)
    data["data_samples"][1].gt_instances_3d.bboxes_3d.tensor[:, 3] *= 2
    return data


def part(data, rank):
    """Return the sample of one process."""
    only = slice(rank, rank + 1)
    return {
        "inputs": {"points": data["inputs"]["points"][only]},
        "data_samples": data["data_samples"][only],
    }


def without_boxes(data, rank):
    """Take the objects out of one sample."""
    empty = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(torch.zeros(0, 9), box_dim=9),
        labels_3d=torch.zeros(0, dtype=torch.long),
    )
    data["data_samples"][rank].gt_instances_3d = empty
    return data


def train(wrapped, optim, batches):
    """Take steps and return what the last one logs."""
    for data in batches:
        logs = wrapped.train_step(data, optim)
    return {name: value.detach().clone() for name, value in logs.items()}


def all_state(model):
    """Return every weight and buffer, a moving average's included, as copies."""
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def data_parallel(family, rank, only, **changes):
    model = distiller(family, **changes)
    wrapped = DistilledDataParallel(model)
    dim = 9 if family == "centerpoint" else 7
    batches = [part(whole_batch(step, dim), only) for step in range(STEPS)]
    logs = train(wrapped, sgd(wrapped, family), batches)
    return dict(state=all_state(model), logs=logs)


def empty_foreground(rank):
    model = distiller()
    wrapped = DistilledDataParallel(model)
    logs = train(wrapped, sgd(wrapped), [part(without_boxes(whole_batch(0), 1), rank)])
    return dict(state=all_state(model), logs=logs)


def one_bad_process(rank):
    model = distiller(batch_norm=True)
    before = all_state(model)
    wrapped = DistilledDataParallel(model)
    optim = sgd(wrapped)
    data = part(whole_batch(0), rank)
    if rank == 1:
        data["inputs"]["points"][0][:, 3] = float("nan")
    train(wrapped, optim, [data])
    skipped = all_state(model)
    train(wrapped, optim, [part(whole_batch(1), rank)])
    return dict(before=before, skipped=skipped, after=all_state(model))


def sharded(rank):
    batches = [part(whole_batch(step), rank) for step in range(STEPS)]
    wrapped = _shard(distiller())
    optim = sgd(wrapped)
    wrapped.follow(optim.optimizer)
    shards = sum(p.to_local().numel() for p in wrapped.parameters())
    train(wrapped, optim, batches[:1])
    saved = all_state(wrapped.module), copy.deepcopy(optim.state_dict())
    logs = train(wrapped, optim, batches[1:])
    result = dict(state=all_state(wrapped.module), logs=logs, shards=shards)

    other = _shard(distiller())
    optim = sgd(other)
    other.follow(optim.optimizer)
    other.module.load_state_dict(saved[0])
    optim.load_state_dict(saved[1])
    train(other, optim, batches[1:])
    wrapped.eval()
    with torch.no_grad():
        boxes = wrapped.test_step(copy.deepcopy(batches[0]))[0].pred_instances_3d.bboxes_3d.tensor
    return dict(result, resumed=all_state(other.module), saved=saved, boxes=boxes)


def _shard(model):
    torch.manual_seed(0)  # the wrapper initialises the weights; here they must be the same again
    state = all_state(model)
    wrapped = FullyShard(model)
    wrapped.module.load_state_dict(state)
    return wrapped.train()


def work(rank, port, folder):
    """Run every scenario in one process."""
    os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(PROCESSES))
    os.environ |= dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    config = Config(dict(launcher="pytorch"))
    set_up(config)
    assert config.model_wrapper_cfg.type == "DistilledDataParallel"
    ema = dict(type="EMA", momentum=0.9)
    results = dict(
        centerpoint=data_parallel("centerpoint", rank, rank),
        pointpillars=data_parallel("pointpillars", rank, rank),
        following=data_parallel("centerpoint", rank, rank, batch_norm=True, teacher=ema),
        empty=empty_foreground(rank),
        bad=one_bad_process(rank),
        sharded=sharded(rank),
    )
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run_two(folder):
    """Start the processes and return what each left."""
    multiprocessing.spawn(work, (free_port(), folder), PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(PROCESSES)]
