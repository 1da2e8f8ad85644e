"""Reading pictures: every common kind comes out as 8-bit colour, everything else as an error that names file and cure.

What becomes of other depths, palettes, transparency and orientation: :mod:`denseclip.files.pixels`.

Pillow's guard against decompression bombs stays on. Pixels in memory are RGB, as Pillow and torchvision have them,
unless ``channel_order='bgr'`` says that they come from OpenCV or mmcv.
"""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from PIL import Image, UnidentifiedImageError

from denseclip.apis.errors import UserError
from denseclip.files.pixels import NoRangeError, deep_to_uint8, open_safely, rgb_pixels

if TYPE_CHECKING:
    import torch

ChannelOrder = Literal['rgb', 'bgr']
ImageLike: TypeAlias = 'str | Path | bytes | IO[bytes] | np.ndarray | torch.Tensor | Image.Image | Picture'
"""One picture, see :meth:`Picture.of`."""
Images: TypeAlias = 'list[Any] | tuple[Any, ...]'
"""Several pictures."""

_CHANNELS = (1, 3, 4)
_opening = threading.Lock()


class UnreadableImageError(UserError):
    """A picture that cannot be read; the message names the file, the reason and what to do."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"cannot read picture '{path}': {reason}")
        self.path = Path(path)


class TooManyPixelsError(UnreadableImageError):
    """A picture that is larger than a caller allows."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in one form, wherever it came from.

    Attributes:
        rgb: ``H x W x 3``, ``uint8``, contiguous.
        source: Its file, if it came from one.
    """

    rgb: np.ndarray
    source: Path | None = None

    @property
    def bgr(self) -> np.ndarray:
        """Pixels as mmcv has them, contiguous."""
        return np.ascontiguousarray(self.rgb[..., ::-1])

    @classmethod
    def of(cls, image: Any, channel_order: ChannelOrder | None = None) -> Picture:
        """Read what a caller calls a picture.

        Args:
            image: A file; the bytes of one, or an open one; a Pillow image; an array ``H x W``, ``H x W x 3`` or
                ``H x W x 4`` (or with the channels first); or a tensor, channels first (or last). 8-bit, 16-bit, bool,
                or float in 0..1. A picture that was read already stays as it is.
            channel_order: ``'rgb'`` or ``'bgr'``, for arrays and tensors; None: RGB.

        Raises:
            UnreadableImageError: If a file cannot be read.
            UserError: If it is no picture.
        """
        check_channel_order(channel_order)
        if isinstance(image, Picture):
            return image
        if isinstance(image, str | Path):
            return cls(_read(Path(image)), Path(image))
        if isinstance(image, bytes | bytearray | memoryview):
            return cls.of_bytes(image)
        if isinstance(image, Image.Image):
            try:
                return cls(rgb_pixels(image))
            except NoRangeError as error:
                raise UserError(f'a Pillow image: {error}.') from error
        if hasattr(image, 'read'):
            return cls(_read_stream(image))
        if hasattr(image, '__array__'):
            return cls(_array_pixels(image, channel_order))
        raise UserError(
            f'a picture must be a file, bytes, an open file, a Pillow image, an array or a tensor, got '
            f'{type(image).__name__}.'
        )

    @classmethod
    def of_bytes(
        cls,
        data: bytes | bytearray | memoryview,
        name: str = '(bytes)',
        formats: tuple[str, ...] | None = None,
        most_pixels: int | None = None,
    ) -> Picture:
        """Read the content of a picture file.

        Args:
            data: The content.
            name: What errors call it.
            formats: The only formats that may be read, as Pillow names them; None: all that start no programs.
            most_pixels: The largest picture that is decoded; None: Pillow's own limit.

        Raises:
            UnreadableImageError: If it cannot be read.
            TooManyPixelsError: If it is larger.
        """
        return cls(_decode(io.BytesIO(data), name, formats, most_pixels))


def pictures_of(image: Any, channel_order: ChannelOrder | None = None) -> tuple[list[Picture], bool]:
    """One picture or several: a list or tuple of them, or an array or tensor with four dimensions.

    Returns:
        The pictures, and whether there may be several.

    Raises:
        UserError: If one is no picture; where there are several, the message says which.
    """
    several = isinstance(image, list | tuple) or getattr(image, 'ndim', 0) == 4
    if not several:
        return [Picture.of(image, channel_order)], False
    found = []
    for number, item in enumerate(image, start=1):
        try:
            found.append(Picture.of(item, channel_order))
        except UnreadableImageError:
            raise
        except UserError as error:
            raise UserError(f'picture {number} of {len(image)}: {error}') from error
    return found, True


def check_channel_order(channel_order: Any) -> None:
    """Refuse an order of channels that is none.

    Raises:
        UserError: If it is not ``'rgb'``, ``'bgr'`` or None.
    """
    if channel_order not in (None, 'rgb', 'bgr'):
        raise UserError(f"channel_order={channel_order!r} must be 'rgb' or 'bgr'.")


def read_image(path: str | Path, channel_order: ChannelOrder = 'bgr') -> np.ndarray:
    """Read a picture file.

    Args:
        path: a file in any format that Pillow reads by itself.
        channel_order: ``'bgr'`` gives pixels as mmcv and OpenCV read them.

    Returns:
        Pixels ``H x W x 3``, ``uint8``.

    Raises:
        UnreadableImageError: if the file is missing, empty, truncated, no picture, too large, or may not be read.
    """
    check_channel_order(channel_order)
    picture = Picture.of(Path(path))
    return picture.bgr if channel_order == 'bgr' else picture.rgb


# --- files ----------------------------------------------------------------------------------------------------------


def _read(path: Path) -> np.ndarray:
    _check_file(path)
    return _decode(path, path)


def _read_stream(stream: Any) -> np.ndarray:
    name = getattr(stream, 'name', None)
    name = name if isinstance(name, str) else '(open file)'
    data = stream.read()
    if not isinstance(data, bytes | bytearray):
        raise UnreadableImageError(name, "it was opened as text. Open it with mode 'rb'.")
    return _decode(io.BytesIO(data), name)


def _decode(
    source: Path | io.BytesIO, name: str | Path, formats: tuple[str, ...] | None = None, most_pixels: int | None = None
) -> np.ndarray:
    if isinstance(source, io.BytesIO) and not source.getbuffer().nbytes:
        raise UnreadableImageError(name, 'there are no bytes in it. Rewind the file (seek(0)), or read it again.')
    try:
        with _open(source, formats) as picture:
            if most_pixels is not None and picture.width * picture.height > most_pixels:
                raise TooManyPixelsError(
                    name, f'it has {picture.width * picture.height:,} pixels, more than {most_pixels:,}. Scale it down.'
                )
            picture.load()
            return rgb_pixels(picture)
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UnreadableImageError(
            name, f'more than {limit:,} pixels, which may be a decompression bomb. Scale it down or cut it into tiles.'
        ) from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(name, 'not a picture in a known format. Save it as PNG or JPEG.') from error
    except UnreadableImageError:
        raise
    except NoRangeError as error:
        raise UnreadableImageError(name, f'{error}.') from error
    except PermissionError as error:
        how = f'chmod u+r {Path(name).name}'
        raise UnreadableImageError(name, f'no permission. Allow reading it ({how}).') from error
    except MemoryError:
        raise
    except Exception as error:  # decoders of rarer formats raise anything: RuntimeError, struct.error, KeyError ...
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableImageError(name, f'damaged or truncated ({reason}). Copy or download it again.') from error


def _open(source: Path | io.BytesIO, formats: tuple[str, ...] | None = None) -> Image.Image:
    # Filters of warnings belong to the process: two threads that changed them at a time would leave them changed.
    with _opening, warnings.catch_warnings():
        # Pillow warns from half of its limit on; beyond the limit it raises, and only that stops us.
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        return open_safely(source, formats)


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise UnreadableImageError(path, 'it is a folder. Name a picture, for example one inside it.')
        if not path.is_file():
            raise UnreadableImageError(path, 'there is no such file. Check the spelling and the folder.')
        if path.stat().st_size == 0:
            raise UnreadableImageError(path, 'the file is empty (0 bytes). Copy or download it again.')
    except OSError as error:
        raise UnreadableImageError(path, f'{error.strerror or error}. Check the path.') from error


# --- pixels ---------------------------------------------------------------------------------------------------------


def _array_pixels(image: Any, channel_order: ChannelOrder | None) -> np.ndarray:
    """Pixels of an array or tensor, RGB."""
    first = hasattr(image, 'detach')
    array = np.asarray(_host(image) if first else image)
    array = _channels_last(array, first)
    if channel_order is None and not first and array.ndim == 3 and array.shape[2] > 1:
        warnings.warn(
            'arrays are read as RGB, as Pillow and torchvision have them; they were read as BGR before. Say '
            "channel_order='bgr' for pictures of cv2.imread, or 'rgb' to leave this note out.",
            FutureWarning,
            stacklevel=2,
        )
    array = _to_uint8(array)
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    colours = array[..., 2::-1] if channel_order == 'bgr' else array[..., :3]
    if array.shape[2] == 4:
        alpha = array[..., 3:].astype(np.uint16)
        colours = ((colours * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.array(colours, order='C')  # callers may use their buffer again


def _host(tensor: torch.Tensor) -> Any:
    """A tensor as numpy takes it: on the CPU, without a graph, in a type that numpy has."""
    if tensor.is_meta or str(tensor.layout) != 'torch.strided':
        raise UserError('a picture must be a plain tensor with its numbers in it, not a meta or sparse one.')
    tensor = tensor.detach().cpu()
    return tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()


def _channels_last(array: np.ndarray, first: bool) -> np.ndarray:
    """``H x W`` or ``H x W x C``; where both ends could be channels, tensors have them first and arrays last."""
    shape = array.shape
    if array.ndim == 3 and array.size:
        ends = (shape[0] in _CHANNELS, shape[2] in _CHANNELS)
        if ends == (True, False) or (first and ends[0]):
            array = array.transpose(1, 2, 0)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS) or array.size == 0:
        raise UserError(
            f'a picture must be H x W, H x W x 3 or H x W x 4 (or with the channels first) with at least one pixel, '
            f'got {" x ".join(map(str, shape)) or "a single number"}.'
        )
    return array


def _to_uint8(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return deep_to_uint8(array)
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f'pixels must be bool, uint8, uint16 or float in 0..1, got {array.dtype}; convert to uint8.')
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        cure = 'divide by 255 or convert to uint8'
        if low < 0:
            cure = 'give the picture before mean and std are applied, or ' + cure
        raise UserError(f'float pixels must lie in 0..1, got {low:g}..{high:g}; {cure}.')
    return (array * 255 + 0.5).astype(np.uint8)
