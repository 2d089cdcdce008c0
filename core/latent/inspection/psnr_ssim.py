"""How like two pictures are: mean squared error, PSNR and SSIM, in NumPy. The lab has no other definition of them."""

from __future__ import annotations

import numpy as np

from core.latent.inspection.statistics import psnr_of

SSIM_WINDOW = 11


def squared_error(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W, C) uint8 twice → mean squared difference a pixel (N,), of values 0..255."""
    difference = images.astype(np.float64) - others
    mean: np.ndarray = np.square(difference).mean(axis=(1, 2, 3))
    return mean


def picture_psnr(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each picture (N,), dB, at most 100. A set's is the mean over its pictures."""
    return psnr_of(squared_error(images, others))


def ssim_of(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Structural similarity a picture (N,), mean over the pixels whose 11 x 11 Gaussian window lies inside.

    NaN for pictures smaller than that window. A window is two products with a banded matrix, about 50 times faster on a
    CPU than the convolution of torchmetrics, with the result of scikit-image.
    Source: Wang et al. 2004, IEEE TIP 13(4), section III.B.
    """
    height, width = images.shape[1:3]
    if min(height, width) < SSIM_WINDOW:
        return np.full(len(images), np.nan)
    down, across = _window(height), _window(width).T

    def local(values: np.ndarray) -> np.ndarray:
        smooth: np.ndarray = down @ values @ across
        return smooth

    x, y = (np.moveaxis(each, 3, 1).astype(np.float64) for each in (images, others))  # (N, C, H, W)
    mean_x, mean_y = local(x), local(y)
    variance_x, variance_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    mean: np.ndarray = similarity.mean(axis=(1, 2, 3))
    return mean


def _window(size: int) -> np.ndarray:
    """(size - 10, size): each row weighs the 11 pixels around one by a Gaussian of sigma 1.5."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * 1.5**2))
    rows = size - SSIM_WINDOW + 1
    matrix = np.zeros((rows, size))
    for row in range(rows):
        matrix[row, row : row + SSIM_WINDOW] = weights / weights.sum()
    return matrix
