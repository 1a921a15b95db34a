"""Who trains, who selects and who is tested: by content, seed and the sizes asked for."""

import numpy as np
import pytest
from array_data import digits
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from imagefolders import settings

from budama.data import splits
from budama.data.manifest import build_manifest
from budama.errors import BudamaError


def test_splits_depend_on_the_seed_and_on_nothing_else():
    other = build_manifest(settings(name="digits", image_size=None, selection=0.1, seed=1), threads=2)
    assert other["splits"]["test"]["indices"] != digits(selection=0.1)["splits"]["test"]["indices"]


def test_selection_may_be_a_count():
    assert digits(selection=200)["counts"]["selection"] == 200


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        (
            "selection",
            5000,
            "data.selection is 5000; of 1438 images that is 5000, and it must leave some on both sides",
        ),
        ("test", 1797, "data.test is 1797; of 1797 images that is 1797, and it must leave some on both sides"),
        ("selection", 1e-6, "data.selection is 1e-06; of 1438 images that is 0, and it must leave some on both sides"),
        ("resize", 4, r"data.resize is 4; it must be at least data.image_size \(8\)"),
    ],
)
def test_settings_that_this_data_cannot_meet_are_told(key, value, line):
    with pytest.raises(BudamaError, match=line):
        digits(**{key: value})


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    content=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=8, max_size=200),
    share=st.floats(0.05, 0.6),
    seed=st.integers(0, 2**31),
)
def test_equal_images_never_part_whatever_their_labels(content, share, seed):
    digests = np.array([digest for digest, _ in content], dtype=np.uint64)
    labels = np.array([label for _, label in content], dtype=np.int64)
    chosen = splits.choose(digests, labels, round(share * len(digests)), seed, "selection")
    assert not np.isin(digests[chosen], digests[~chosen]).any()
    order = np.random.default_rng(seed).permutation(len(digests))
    if len(set(digests.tolist())) == len(digests):  # with copies the first one's label counts
        assert np.array_equal(
            splits.choose(digests[order], labels[order], round(share * len(digests)), seed, "selection"), chosen[order]
        )
