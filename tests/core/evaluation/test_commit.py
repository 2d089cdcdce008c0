"""When a digit commits, against a plain loop."""

from __future__ import annotations

import numpy as np

from core.evaluation.decision_step import commit_frame


def test_it_is_the_first_frame_from_which_the_final_class_stays_above_one_half() -> None:
    turns_away_once = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.9, 0.1]]
    never_above_half = [[0.5, 0.5]] * 4
    from_the_start = [[0.1, 0.9]] * 4
    at_the_end = [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.4, 0.6]]
    odds = np.array([turns_away_once, never_above_half, from_the_start, at_the_end]).swapaxes(0, 1)
    assert commit_frame(odds).tolist() == [2, -1, 0, 3]


def test_the_likeliest_of_three_classes_is_not_sure_before_it_has_more_than_half() -> None:
    odds = np.array([[0.4, 0.3, 0.3], [0.5, 0.3, 0.2], [0.51, 0.29, 0.2], [0.8, 0.1, 0.1]])[:, None]
    assert commit_frame(odds).tolist() == [2]
    assert commit_frame(odds, sure=0.0).tolist() == [0]


def test_it_agrees_with_a_plain_loop() -> None:
    odds = np.random.default_rng(0).dirichlet((0.3, 0.3, 0.3), size=(4, 500))  # (F, N, K)
    final = odds[-1].argmax(axis=1)
    expected = [next((f for f in range(4) if (odds[f:, n, final[n]] > 0.5).all()), -1) for n in range(500)]
    assert commit_frame(odds).tolist() == expected
    assert {-1, 0, 3} <= set(expected)
