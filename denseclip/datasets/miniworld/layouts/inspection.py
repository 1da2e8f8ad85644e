"""Inspection: the layouts of MVTec AD and VisA, one category for each kind of part."""

from __future__ import annotations

from collections.abc import Sequence

from .. import world
from ..parts import DEFECTS, PARTS, PartPicture
from .base import Job, Layout, save_image, save_text

_GOOD_IN_THREE = 3  # every third test picture is flawless


class _Inspection(Layout):
    """Parts: ``count`` flawless pictures for training and ``val_count`` test pictures in each category."""

    @property
    def classes(self) -> Sequence[str]:
        """Categories."""
        return [part.name for part in PARTS]

    def jobs(self) -> list[Job]:
        """Training pictures are flawless; test pictures walk through flawless and all defects."""
        jobs = []
        for category in range(len(PARTS)):
            jobs += [Job('train', index, category) for index in range(self.request.count)]
            for index in range(self.request.val_count):
                turn = index // _GOOD_IN_THREE * (_GOOD_IN_THREE - 1) + index % _GOOD_IN_THREE - 1
                defect = None if index % _GOOD_IN_THREE == 0 else turn % len(DEFECTS)
                jobs.append(Job('val', index, category, defect))
        return jobs

    def part(self, job: Job) -> PartPicture:
        """The picture of a job."""
        return world.part(self.request.seed, job.split, job.index, job.category, job.defect, self.request.size)


class MVTecAD(_Inspection):
    """``CATEGORY/{train/good, test/DEFECT, ground_truth/DEFECT}``."""

    name = 'mvtec'
    about = 'MVTec AD: CATEGORY/train/good, test/DEFECT, ground_truth/DEFECT (--count is per category)'

    def write(self, job: Job) -> None:
        """See :meth:`Layout.write`."""
        picture = self.part(job)
        folder = self.root / PARTS[job.category].name
        stem = f'{job.index:03d}'
        if job.split == 'train':
            save_image(picture.image, folder / 'train' / 'good' / f'{stem}.png')
            return
        kind = 'good' if job.defect is None else DEFECTS[job.defect]
        save_image(picture.image, folder / 'test' / kind / f'{stem}.png')
        if job.defect is not None:
            save_image(picture.mask, folder / 'ground_truth' / kind / f'{stem}_mask.png')


class VisA(_Inspection):
    """``CATEGORY/Data/{Images/{Normal,Anomaly}, Masks/Anomaly}`` and ``split_csv/1cls.csv``."""

    name = 'visa'
    about = 'VisA: CATEGORY/Data/{Images,Masks}, split_csv/1cls.csv (--count is per category)'

    def write(self, job: Job) -> None:
        """See :meth:`Layout.write`; masks hold the number of the defect, as VisA's do."""
        picture = self.part(job)
        image, mask = self._paths(job)
        save_image(picture.image, self.root / image)
        if job.defect is not None:
            save_image((picture.mask > 0) * picture.mask.dtype.type(job.defect + 1), self.root / mask)

    def finish(self) -> None:
        """The table of all pictures."""
        lines = ['object,split,label,image,mask\n']
        for job in self.jobs():
            image, mask = self._paths(job)
            label = 'normal' if job.defect is None else 'anomaly'
            split = 'train' if job.split == 'train' else 'test'
            lines.append(f'{PARTS[job.category].name},{split},{label},{image},{mask}\n')
        save_text(''.join(lines), self.root / 'split_csv' / '1cls.csv')

    def _paths(self, job: Job) -> tuple[str, str]:
        """Picture and mask relative to the root; no mask for a flawless part."""
        data = f'{PARTS[job.category].name}/Data'
        number = job.index + (self.request.count if job.split == 'val' else 0)
        if job.defect is None:
            return f'{data}/Images/Normal/{number:04d}.JPG', ''
        return f'{data}/Images/Anomaly/{number:03d}.JPG', f'{data}/Masks/Anomaly/{number:03d}.png'
