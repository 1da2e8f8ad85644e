"""A written picture side in fewer bits, by onnxruntime's own tools, and what that costs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from denseclip.apis.errors import UserError
from denseclip.apis.images import pictures_of
from denseclip.apis.inputs import expand_inputs
from denseclip.export.errors import ExportError
from denseclip.export.formats import FORMATS, Format
from denseclip.export.image_graphs import ImageGraph
from denseclip.runtime.graphs import session
from denseclip.runtime.manifest import Picture
from denseclip.runtime.pictures import extend, prepare

PRECISIONS = FORMATS['onnx'].precisions
_MOST = 32
"""Pictures that a calibration looks at."""
_COMPARED = 8
Feeds = list[dict[str, np.ndarray]]


def calibration_feeds(
    folder: str | Path, steps: Picture, text: np.ndarray | None, graph: ImageGraph | None = None
) -> Feeds:
    """Inputs of the graph for the pictures of a folder, evenly drawn where there are many.

    Args:
        folder: Pictures as the model will see them.
        steps: How they become inputs.
        text: Class embeddings.
        graph: Says what inputs it has besides.

    Raises:
        UserError: If there is no picture, or one cannot be read.
    """
    files = expand_inputs([folder])
    drawn = files[:: -(-len(files) // _MOST)]
    found = []
    for picture in pictures_of([Path(file) for file in drawn], None)[0]:
        inputs, _ = prepare(extend(picture.rgb), steps)
        if steps.crop is not None:
            inputs = np.ascontiguousarray(inputs[:, :, : steps.crop[0], : steps.crop[1]])
        more = {} if graph is None else graph.more_of_photographs(inputs.shape[2], inputs.shape[3])
        found.append({'images': inputs, **({} if text is None else {'text': text}), **more})
    return found


class Lowered:
    """A graph of a lower precision.

    ``fp16`` halves the weights; inputs and outputs stay float32. ``int8`` quantises convolutions, statically and per
    channel, with the ranges that the feeds show; depthwise ones and the first stay as they are, since few numbers share
    a range there and rounding them costs most.

    Args:
        path: A graph of ONNX.
        precision: ``'fp16'`` or ``'int8'``.
        feeds: What it is calibrated and compared with.

    Raises:
        ExportError: If onnxruntime's tools cannot do it.
    """

    def __init__(self, path: Path, precision: str, feeds: Feeds) -> None:
        self.path, self.precision, self.feeds = path.with_suffix('.lower.onnx'), precision, feeds
        try:
            with _quiet():
                (_half if precision == 'fp16' else _quantise)(path, self.path, feeds)
        except Exception as error:  # tools raise types of their own
            raise ExportError(f'onnxruntime cannot write this model in {precision}: {str(error):.300}') from error

    def replace(self, graph: Path, form: Format, model: ImageGraph) -> dict[str, Any]:
        """Take the place of a graph.

        Args:
            graph: The graph in float32.
            form: The format of it.
            model: Says what is compared.

        Returns:
            What it costs: share of the labels (or what a model gives instead) that are others, megabytes and
            milliseconds of both.

        Raises:
            ExportError: If one of them does not run.
        """
        made, few = form.finish(self.path), self.feeds[:_COMPARED]
        try:
            (right, took), (others, takes) = (_outputs(one, few, model.seen) for one in (graph, made))
        except Exception as error:  # graphs raise types of their own
            raise ExportError(f'the graph does not run in {self.precision}: {str(error):.300}') from error
        differ = np.mean([model.changed(a, b) for a, b in zip(others, right, strict=True)])
        sizes = [sum(file.stat().st_size for file in form.files(one)) / 1e6 for one in (graph, made)]
        for file in form.files(graph):
            file.unlink()
        for file in form.files(made):
            file.replace(file.with_name(file.name.replace('.lower', '', 1)))
        return {
            'precision': self.precision,
            'pictures': len(few),
            'what': model.changes,
            'places that differ': round(float(differ), 5),
            'MB': [round(size, 2) for size in sizes],
            'ms': [round(1000 * took, 1), round(1000 * takes, 1)],
        }


def _half(path: Path, target: Path, feeds: Feeds) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    del feeds
    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True, disable_shape_infer=True), target)


def _quantise(path: Path, target: Path, feeds: Feeds) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        """One picture after another."""

        def __init__(self) -> None:
            self.rest = iter(feeds)

        def get_next(self) -> Any:
            return next(self.rest, None)

    quantize_static(
        path,
        target,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=['Conv'],
        nodes_to_exclude=_kept(onnx.load(path, load_external_data=False)),
    )


def _kept(model: Any) -> list[str]:
    """Names of convolutions that stay in float32: the first, and those that work on single channels."""
    layers = [node for node in model.graph.node if node.op_type == 'Conv']
    if not layers:
        raise ExportError('it has no convolutions, the only layers that are quantised.')
    single = [n.name for n in layers if any(a.name == 'group' and a.i > 1 for a in n.attribute)]
    return [*([layers[0].name] if len(layers) > 1 else []), *single]


def _outputs(path: Path, feeds: Feeds, names: Sequence[str]) -> tuple[list[list[np.ndarray]], float]:
    """Outputs of each picture, and the median seconds of a picture, on one thread."""
    graph = session(path, threads=1)
    found, took = [], []
    for feed in feeds:
        graph.run(list(names), feed)  # another size is made ready first
        start = time.perf_counter()
        found.append(graph.run(list(names), feed))
        took.append(time.perf_counter() - start)
    return found, median(took)


def cost_line(cost: dict[str, Any]) -> str:
    """The costs for the terminal."""
    (before, after), (slow, fast) = cost['MB'], cost['ms']
    return (
        f'{cost["precision"]}: {100 * cost["places that differ"]:.2f} % of the {cost["what"]} differ from fp32 on '
        f'{cost["pictures"]} pictures of the calibration; {before:.1f} -> {after:.1f} MB, {slow:.0f} -> {fast:.0f} ms '
        'a picture on one thread'
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without advice to run other tools first."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def check_precision(precision: str, calibrate: str | Path | None, to: str = 'onnx') -> None:
    """Refuse what does not go together.

    Raises:
        ExportError: If there is no such precision, or pictures are missing or of no use.
        UserError: If there is no such folder, or no picture in it.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"no precision is called '{precision}'; choose from {', '.join(PRECISIONS)}.")
    if precision not in FORMATS[to].precisions:
        able = ' or '.join(name for name, form in FORMATS.items() if precision in form.precisions)
        raise ExportError(
            f"precision '{precision}' is made by onnxruntime's tools, which cannot lower --to {to}: choose --to {able}."
        )
    if (precision == 'fp32') != (calibrate is None):
        raise ExportError(
            f"precision '{precision}' "
            + ('needs pictures to compare with: --calibrate FOLDER.' if calibrate is None else 'needs no --calibrate.')
        )
    # Said before graphs are made, which takes minutes.
    if calibrate is not None and not Path(expand_inputs([calibrate])[0]).is_file():
        raise UserError(f"'{calibrate}' is not there: --calibrate names a folder of pictures.")
