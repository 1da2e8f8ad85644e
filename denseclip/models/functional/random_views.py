"""Random crops and colour changes of whole batches, on the device of the pictures, without a loop over them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def random_crops(images: Tensor, size: int, scale: tuple[float, float]) -> Tensor:
    """A random window of each picture, mirrored in half of the cases.

    Args:
        images: Pictures.
        size: Side of the result.
        scale: Range of the window's share of the picture's area; its aspect is within 3/4 and 4/3.

    Shape:
        - images: :math:`(N, C, H, W)`
        - result: :math:`(N, C, S, S)`
    """
    count = images.shape[0]
    draw = torch.rand(5, count, device=images.device, dtype=images.dtype)
    area = scale[0] + (scale[1] - scale[0]) * draw[0]
    aspect = torch.exp((2 * draw[1] - 1) * 0.28768)  # log(4 / 3)
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    x, y = (1 - width) * (2 * draw[2] - 1), (1 - height) * (2 * draw[3] - 1)
    mirror = torch.where(draw[4] < 0.5, -1.0, 1.0).to(width)
    zero = torch.zeros_like(width)
    theta = torch.stack([width * mirror, zero, x, zero, height, y], dim=1).view(count, 2, 3)
    grid = F.affine_grid(theta, [count, images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images, grid, mode='bilinear', padding_mode='reflection', align_corners=False)


def random_colours(images: Tensor, strength: float = 0.4, grey: float = 0.1) -> Tensor:
    """Change brightness, contrast and saturation of each picture; some lose their colours.

    Args:
        images: Normalised pictures of three channels.
        strength: Contrast and saturation are multiplied by 1 ± this; brightness moves by this times 0.8 of a
            standard deviation at most.
        grey: Share of pictures that lose their colours.

    Shape:
        - images, result: :math:`(N, 3, H, W)`
    """
    draw = torch.rand(4, images.shape[0], 1, 1, 1, device=images.device, dtype=images.dtype)
    contrast, saturation = 1 + strength * (2 * draw[0] - 1), 1 + strength * (2 * draw[1] - 1)
    saturation = torch.where(draw[3] < grey, torch.zeros_like(saturation), saturation)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + contrast * (images - mean) + 0.8 * strength * (2 * draw[2] - 1)
    grey_images = images.mean(dim=1, keepdim=True)
    return grey_images + saturation * (images - grey_images)
