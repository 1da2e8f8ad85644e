"""Miniworld's own layouts for :func:`generated.write_dataset`."""

from denseclip.datasets.miniworld.kinds import CLASSES, NUM_THINGS
from denseclip.datasets.miniworld.writer import write_miniworld
from generated.writing import Request, register_layout


@register_layout('miniworld', dataset_types=('MiniworldDataset',), num_classes=len(CLASSES), size=(64, 64))
def _write_label_maps(request: Request) -> None:
    _write_for_tests('ade20k', request)


@register_layout('miniworld_instances', dataset_types=('MiniworldInstances',), num_classes=NUM_THINGS, size=(64, 64))
def _write_instances(request: Request) -> None:
    _write_for_tests('coco', request)


def _write_for_tests(layout: str, request: Request) -> None:
    write_miniworld(
        layout,
        request.root,
        count=request.num_train,
        val_count=request.num_val,
        seed=request.seed,
        size=request.size,
    )
