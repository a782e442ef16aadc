"""Training data that depend on (seed, view, index) alone: for exact resume, ranks and caches."""

from __future__ import annotations

import contextlib
import copy
import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.registry import DATA_SAMPLERS, DATASETS

from kd3d.errors import UserError


@contextlib.contextmanager
def random_state(*words: int) -> Iterator[None]:
    """Run a block under its own state of Python's, numpy's and torch's CPU generators.

    The states before are restored afterwards, whatever happens in the block. Generators of other
    devices are left alone.

    Args:
        *words: Non-negative integers from which the three seeds are derived.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seeds = [int(word) for word in np.random.SeedSequence(words).generate_state(3)]
    random.seed(seeds[0])
    np.random.seed(seeds[1])
    torch.default_generator.manual_seed(seeds[2])
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


@DATASETS.register_module()
class SeededViews:
    """A dataset whose sample (index, view) is always the same.

    Each sample is loaded under a random state of its own, derived from (seed, view, index), so it
    depends neither on the number of workers or ranks, nor on the order of loading, nor on where a
    training was resumed. A view is one augmented appearance of all samples; a training shows view
    ``epoch``, or ``epoch % views``. Pasting of objects and the re-draw of samples that
    augmentation left empty are part of the view. Transforms that keep a memory of their own across
    samples would break this: use `kd3d.data.transforms.ObjectDatabase` to paste objects.

    Every data sample gets the metainfo ``view_index`` (the index asked for), ``view`` and
    ``view_seed``.

    Args:
        dataset: An mmengine dataset or its config; wrap it outside of ``RepeatDataset``, so that
            repetitions differ.
        seed: Of the views.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.seed = seed
        with (
            random_state(seed),  # CBGSDataset draws its samples when it is built
            DATASETS.switch_scope_and_registry("mmdet3d") as registry,
        ):
            self.dataset = registry.build(dataset) if isinstance(dataset, dict) else dataset
            self.full_init()

    def full_init(self) -> None:
        """Load the annotations."""
        if hasattr(self.dataset, "full_init"):
            self.dataset.full_init()

    @property
    def metainfo(self) -> dict[str, Any]:
        """Classes and the like, as the wrapped dataset gives them."""
        return copy.deepcopy(self.dataset.metainfo)

    def __len__(self) -> int:
        """Return the number of samples in one view."""
        return len(self.dataset)

    def __getitem__(self, key: int) -> dict[str, Any]:
        """Return sample ``key % len(self)`` of view ``key // len(self)``."""
        return self.sample(key % len(self), key // len(self))

    def sample(self, index: int, view: int = 0) -> dict[str, Any]:
        """Return one packed sample: ``inputs`` and ``data_samples``.

        Args:
            index: In the wrapped dataset.
            view: Which augmented appearance.
        """
        with random_state(self.seed, view, index):
            data = self.dataset[index]
        data["data_samples"].set_metainfo(dict(view_index=index, view=view, view_seed=self.seed))
        return data

    def get_data_info(self, key: int) -> dict[str, Any]:
        """Return the annotation of sample ``key % len(self)``."""
        return self.dataset.get_data_info(key % len(self))

    def get_cat_ids(self, key: int) -> Any:
        """Return the classes in sample ``key % len(self)``."""
        return self.dataset.get_cat_ids(key % len(self))


@DATA_SAMPLERS.register_module()
class ViewSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` in the same order, asking for the epoch's view.

    Yields ``view * len(dataset) + index`` with view = epoch, or epoch % views. With W ranks, rank r
    takes every W-th sample of one common order, starting at r: with batches of b, the ranks
    together see in each step the samples that one process sees in a batch of W * b.

    Args:
        dataset: A `SeededViews`.
        seed: Of the order.
        shuffle: Another order in every epoch; otherwise by index.
        round_up: Repeat the first samples until every rank has as many.
        views: Number of views that are shown in turn; None: a new one in every epoch.
    """

    def __init__(
        self,
        dataset: SeededViews,
        seed: int,
        shuffle: bool = True,
        round_up: bool = True,
        views: int | None = None,
    ) -> None:
        super().__init__(dataset, shuffle=shuffle, seed=seed, round_up=round_up)
        self.views = views

    def __iter__(self) -> Iterator[int]:
        """Yield the keys of this rank."""
        start = _view(self.epoch, self.views) * len(self.dataset)
        return (start + index for index in super().__iter__())


@DATA_SAMPLERS.register_module()
class InfiniteViewSampler(InfiniteSampler):
    """mmengine's ``InfiniteSampler`` in the same order; the view is the number of the pass.

    Args:
        dataset: A `SeededViews`.
        seed: Of the order.
        shuffle: Another order in every pass.
        views: Number of views that are shown in turn; None: a new one in every pass.
    """

    def __init__(
        self, dataset: SeededViews, seed: int, shuffle: bool = True, views: int | None = None
    ) -> None:
        self.views = views
        super().__init__(dataset, shuffle=shuffle, seed=seed)

    def _infinite_indices(self) -> Iterator[int]:
        indices = super()._infinite_indices()
        for number in itertools.count():
            start = _view(number, self.views) * self.size
            yield from (start + index for index in itertools.islice(indices, self.size))


def _view(number: int, views: int | None) -> int:
    return number if views is None else number % views


_SAMPLERS = {"DefaultSampler": "ViewSampler", "InfiniteSampler": "InfiniteViewSampler"}


def seeded_dataloader(
    dataloader: dict[str, Any], seed: int | None = None, views: int | None = None
) -> dict[str, Any]:
    """Return a data loader's config with its dataset and sampler made independent of order.

    Args:
        dataloader: Config in mmengine's style; not changed.
        seed: Of views and order; None leaves it to `kd3d.engine.runner.SafeRunner`.
        views: See `ViewSampler`.

    Raises:
        UserError: Another sampler than mmengine's two, or ``num_batch_per_epoch``.
    """
    where, fix = "train_dataloader", "correct it, or set seeded_data = False in the config"
    dataloader = copy.deepcopy(dict(dataloader))
    sampler = dict(dataloader.get("sampler") or {})
    if sampler.get("type") not in _SAMPLERS:
        raise UserError(
            f"seeded data need one of {', '.join(_SAMPLERS)}, not {sampler.get('type')}",
            f"{where}.sampler",
            fix,
        )
    if "num_batch_per_epoch" in dataloader:
        raise UserError("seeded data need whole epochs", f"{where}.num_batch_per_epoch", fix)
    if views is not None and views < 1:
        raise UserError(f"{views} is no number of views", "views", "write 1 or more, or None")
    known = {} if seed is None else {"seed": seed}
    dataloader["sampler"] = sampler | {"type": _SAMPLERS[sampler["type"]], "views": views} | known
    dataloader["dataset"] = {"type": "SeededViews", "dataset": dataloader["dataset"]} | known
    return dataloader
