"""Parts of the export of a two-stage model on their way into a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from denseclip.export.checks import check_region_graph
from denseclip.export.graphs import write_region_graph
from denseclip.export.region_graphs import RegionGraph
from denseclip.export.substitutes import ready_for_export
from denseclip.export.writing import SegmentorWriting
from denseclip.runtime.kinds import Regions
from denseclip.runtime.manifest import Manifest


class RegionWriting(SegmentorWriting):
    """Export of a model that classifies masks by pictures of them; the second stage is not lowered in precision."""

    def write(self, precision: str = 'fp32', calibrate: str | Path | None = None) -> Manifest:
        """See :class:`Writing`."""
        model = self.model
        second = None if model.stages == 'first' else model.region_classifier
        prompted = second is not None and self._regions()
        manifest = super().write(precision, calibrate)
        rule = Regions(
            scale=float(model.scale),
            stages='first' if second is None else model.stages,
            weight=float(model.ensemble_weight),
            selection=model.selection,
            guided=hasattr(model, 'prompt_guide'),
            threshold=0.5 if model.region_classifier is None else float(model.region_classifier.threshold),
        )
        if second is not None:
            rule = replace(
                rule,
                size=(int(second.size[0]), int(second.size[1])),
                mean=tuple(map(float, second.mean)),
                std=tuple(map(float, second.std)),
                fill=tuple(map(float, second.fill)),
                expand=float(second.expand),
                matting=bool(second.matting),
                prompted=prompted,
                at_once=int(second.batch_size),
                min_area=float(second.min_area),
                max_overlap=None if second.max_overlap is None else float(second.max_overlap),
            )
        return replace(manifest, rule=rule)

    def _regions(self) -> bool:
        """Write the second stage, and compare it; whether it takes masks."""
        path = self.part('regions')
        made = path.with_suffix(self.form.made)
        write_region_graph(RegionGraph(ready_for_export(self.model.region_classifier)), made)
        own = RegionGraph(self.model.region_classifier).eval()
        self.checked['regions'] = check_region_graph(self.form.finish(made), own)
        return own.prompted
