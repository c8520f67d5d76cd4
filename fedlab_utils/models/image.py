"""A convolutional autoencoder of images [n, h, w, c]. Taught in chapter 11."""

from __future__ import annotations

import torch
from torch import nn

from fedlab_utils.errors import FedlabError
from fedlab_utils.models.sequence import check_sizes, seeded


class ConvAutoencoder(nn.Module):
    """Two convolutions that halve the image, a code [z], and the way back.

    A convolution looks at 3 x 3 pixels with the same weights everywhere; channels come last, as in
    windows. Taught in chapter 11.

    Args:
        shape: (h, w, c); h and w are multiples of 4.
        filters: channels after the first convolution; twice as many after the second.
        code: z.
    """

    def __init__(self, shape: tuple[int, int, int], filters: int, code: int) -> None:
        super().__init__()
        height, width, channels = shape
        self.small = (2 * filters, height // 4, width // 4)
        pixels = 2 * filters * (height // 4) * (width // 4)
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, filters, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(filters, 2 * filters, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(pixels, code),
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, pixels),
            nn.ReLU(),
            nn.Unflatten(1, self.small),
            nn.ConvTranspose2d(2 * filters, filters, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(filters, channels, 4, stride=2, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruct images: [n, h, w, c] -> [n, h, w, c]."""
        return self.decoder(self.encoder(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)


def conv_autoencoder(
    shape: tuple[int, int, int], filters: int = 8, code: int = 16, seed: int = 0
) -> ConvAutoencoder:
    """A ConvAutoencoder with weights fixed by `seed` (the global generator is left alone).

    `shape` is that of one image, for example `client.x_train.shape[1:]`. Raises FedlabError for
    sizes below 1, sides that are no multiple of 4, and a code as wide as the image.
    Taught in chapter 11.
    """
    if len(shape) != 3:
        raise FedlabError(f"conv_autoencoder: shape={shape} must be (height, width, channels).")
    height, width, channels = shape
    sizes = {"height": height, "width": width, "channels": channels}
    check_sizes("conv_autoencoder", **sizes, filters=filters, code=code)
    if height % 4 or width % 4:
        raise FedlabError(
            f"conv_autoencoder: images of {height} x {width} pixels cannot be halved twice; pad "
            f"them to multiples of 4."
        )
    if code >= height * width * channels:
        raise FedlabError(
            f"conv_autoencoder: code={code} is as wide as an image of {height * width * channels} "
            f"numbers, so it can copy every image. Choose a smaller one."
        )
    return seeded(lambda: ConvAutoencoder((height, width, channels), filters, code), seed)
