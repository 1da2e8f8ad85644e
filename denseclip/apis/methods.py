"""Published methods by name: which config stands for each, what it gives, and what it needs.

Nothing heavy is imported here: the command line must answer ``--help`` at once.
"""

from __future__ import annotations

from dataclasses import dataclass

SEGMENTATION_TASKS = ('semantic', 'panoptic', 'instance')
STAGES = ('both', 'first', 'second')
MASK_SOURCES = (
    'model, superpixels, sam:FILE (weights of Segment Anything), sam:FOLDER (SAM, SAM 2, SAM 3 or '
    'EoMT of transformers), or a folder of mask files'
)


@dataclass(frozen=True)
class Method:
    """A method with a config.

    Attributes:
        config: Config where none is given: that of the published checkpoint, where there is one.
        tasks: What it gives.
        needs: Arguments of ``load_model`` that it cannot do without.
        line: What it is, in a few words.
        model: Class of the config's model.
        part: A part of the config's model that keeps it from being exported, see ``denseclip.export.reasons``.
    """

    config: str
    tasks: tuple[str, ...]
    needs: tuple[str, ...]
    line: str
    model: str
    part: str = ''


METHODS: dict[str, Method] = {
    'ovseg': Method(
        'configs/ovseg/ovseg_swin-b_vit-l14_120k_ade20k-640x640.py',
        ('semantic',),
        ('weights',),
        'OVSeg: masks, then CLIP on every mask; with masks= from elsewhere it needs words and no weights',
        'OVSeg',
    ),
    'fcclip': Method(
        'configs/fcclip/fcclip_convnext-l_369k_ade20kpanoptic-1333x800.py',
        SEGMENTATION_TASKS,
        ('weights',),
        'FC-CLIP: masks and their classes in one pass',
        'FCCLIP',
    ),
    'maft': Method(
        'configs/maft/maft-plus_convnext-l_55k_ade20k-1333x800.py',
        SEGMENTATION_TASKS,
        ('weights',),
        'MAFT+: FC-CLIP with a CLIP that has learned about masks',
        'MAFTPlus',
    ),
    'pmp': Method(
        'configs/pmp/pmp_fcclip_convnext-l_20k_ade20k-1333x800.py',
        SEGMENTATION_TASKS,
        ('weights',),
        'PMP: masks that listen to the words',
        'PMPFCCLIP',
    ),
    'sam3': Method(
        'configs/sam3/sam3_vit-l14_zs_ade20k-1008x1008.py',
        SEGMENTATION_TASKS,
        ('weights',),
        "SAM 3: masks of every word; weights are the folder of facebook/sam3; it needs the extra 'sam'",
        'SAM3Segmentor',
    ),
    'anovl': Method(
        'configs/anovl/anovl-tfa_vit-b16-plus_folder-240x240.py',
        ('anomaly',),
        ('words',),
        'AnoVL without adaptation: defects of a named product, no training picture',
        'AnoVL',
    ),
    'anovl-tta': Method(
        'configs/anovl/anovl_vit-b16-plus_folder-240x240.py',
        ('anomaly',),
        ('words',),
        'AnoVL, adapted to each picture while it is looked at',
        'AnoVL',
        'adaptation',
    ),
    'winclip': Method(
        'configs/anovl/winclip_vit-b16-plus_mvtec-240x240.py',
        ('anomaly',),
        ('words',),
        'WinCLIP: windows of several sizes',
        'WinCLIP',
    ),
    'april-gan': Method(
        'configs/anovl/april-gan_vit-l14-336_mvtec-518x518.py',
        ('anomaly',),
        ('weights', 'words'),
        'APRIL-GAN: linear layers trained on another set of products',
        'AprilGAN',
    ),
}
"""Methods by the name that ``load_model`` and ``--method`` take."""


def methods_for(*tasks: str) -> list[str]:
    """Names of the methods that give one of these tasks."""
    return sorted(name for name, method in METHODS.items() if set(tasks) & set(method.tasks))
