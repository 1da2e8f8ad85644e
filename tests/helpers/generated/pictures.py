"""Layout of pictures without labels for :func:`generated.write_dataset`."""

from PIL import Image

from generated.writing import Request, register_layout


@register_layout('imagenet', dataset_types=('PictureFolderDataset',), num_classes=40, size=(75, 100))
def _write_imagenet(request: Request) -> None:
    """ImageNet: a folder for each class, named by a WordNet number, JPEG files in it; no label maps."""
    for split, count in (('train', request.num_train), ('val', request.num_val)):
        for index, scene in enumerate(request.scenes(split, count)):
            synset = f'n{1440764 + index % 2:08d}'
            path = request.root / split / synset / f'{synset}_{index}.JPEG'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene.image).save(path, quality=95)
