"""What a linear classifier reads off the latents, beside what it reads off the raw pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from core.errors import UsageError

MAX_ITERATIONS = 400
STRENGTH = 0.02  # scikit-learn's C: of the summed losses against half the squared weights
LEAST_TRAINING = 10


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Correct answers of `num_test` after training on `num_train`; inputs of D numbers."""

    num_train: int
    num_test: int
    correct: int
    num_inputs: int
    converged: bool

    @property
    def accuracy(self) -> float:
        """0 to 1."""
        return self.correct / self.num_test


def linear_probe(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> Probe:
    """Logistic regression (scikit-learn, lbfgs) on flattened inputs (N, …), standardised over the training part.

    Numbers that never vary in training are left at zero. Deterministic. Raises UsageError for fewer than 10 training
    pictures, no test picture, or one class only. Source: arXiv 1610.01644.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(train) < LEAST_TRAINING or not len(test):
        raise UsageError(f"the linear probe needs at least {LEAST_TRAINING} images to learn from and 1 to test on")
    if len(np.unique(train_labels)) < 2:
        raise UsageError("the linear probe needs images of at least 2 classes")
    first = train.reshape(len(train), -1).astype(np.float32)
    second = test.reshape(len(test), -1).astype(np.float32)
    mean, spread = first.mean(axis=0), first.std(axis=0)
    scale = np.where(spread > 1e-6, 1.0 / np.maximum(spread, 1e-6), 0.0)
    model = LogisticRegression(C=STRENGTH, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit((first - mean) * scale, train_labels)
    correct = int((model.predict((second - mean) * scale) == test_labels).sum())
    return Probe(
        num_train=len(train),
        num_test=len(test),
        correct=correct,
        num_inputs=first.shape[1],
        converged=not any(issubclass(warning.category, ConvergenceWarning) for warning in caught),
    )
